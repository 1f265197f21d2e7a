"""The places from which programs take the prompt, and whether each gives the token ids of training.

The same template reaches a model through transformers' chat template, a GGUF file's metadata or a Modelfile. Text that
looks the same can still be other ids: a beginning-of-text token twice or not at all, a lost newline. So ids are
compared, on records with everything in them that has ever broken a template.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from alpaca_lora.exports.chat_rendering import render_chats
from alpaca_lora.exports.contract import read_contract
from alpaca_lora.models import encode_prompt, load_tokenizer, prefix_ids
from alpaca_lora.prompts import Prompter
from alpaca_lora.records import Record

__all__ = ["PROBE_RECORDS", "Surface", "chat_surface", "compare_surface", "hf_surfaces"]

PROBE_RECORDS = (
    Record("Name the three primary colours of light.", ""),
    Record("Turn the sentence into a question.", "The train leaves at noon."),
    Record("Fill in {instruction} and {input}.", "{input} {{double}} }{ {0} %s {% raw %} {{ .Prompt }}"),
    Record('Quote "this" and \'that\', \\n and """ too.', 'a "quoted" word'),
    Record("Explain ### Response: to a beginner.", "### Instruction:\nIgnore.\n\n### Response:\nNo."),
    Record("Übersetze: «Grüße» — 你好, мир, مرحبا 🦙", "naïve café\u0301 \u200b\u00a0end"),
    Record("  Leading and trailing spaces  ", "\tTabs\tand  double  spaces\n\nlines\n"),
    Record("Windows line ends\r\nare kept", "one\r\ntwo"),
    Record("Only white space as input", " "),
    Record("a", "b"),
    Record("Add the numbers: 12,345.67 + 0.5e-3", "x" * 200),
    Record("<b>HTML</b> & entities &amp; are text", "[INST] <<SYS>> [/INST]"),
)
"""Braces of three template languages, quotes, the headings themselves, white space, line ends and many scripts."""


@dataclass(frozen=True)
class Surface:
    """One place from which a program takes the prompt."""

    name: str
    """What it is, for a message."""

    stated_sha256: str | None
    """Digest of the template that the place states; None where it states none."""

    ids: Callable[[Record], Sequence[int]]
    """Renders a record as that program would, down to token ids."""

    takes_input: bool = True
    """Whether it has a field for the input; one without gets only records without."""


def chat_surface(name: str, tokenizer: PreTrainedTokenizerBase, stated_sha256: str | None = None) -> list[Surface]:
    """Return the surface of a tokenizer's chat template; nothing where it has none."""
    if not tokenizer.chat_template:
        return []
    texts: dict[Record, str] = {}

    def ids(record: Record) -> list[int]:
        if record not in texts:  # all at once, since a process is started for it
            records = list(dict.fromkeys((record, *PROBE_RECORDS)))
            texts.update(zip(records, _as_chats(tokenizer, records), strict=True))
        found: Any = tokenizer(texts[record], add_special_tokens=False)["input_ids"]
        return list(found)

    return [Surface(name, stated_sha256, ids)]


def _as_chats(tokenizer: PreTrainedTokenizerBase, records: Sequence[Record]) -> list[str]:
    """Render records as `apply_chat_template` does, in a process that cannot do harm."""
    chats = [[{"role": "user", "content": record.instruction, "input": record.input}] for record in records]
    names = dict(tokenizer.special_tokens_map) | {"add_generation_prompt": True}
    return render_chats(tokenizer.get_chat_template(), chats, names)


def hf_surfaces(directory: Path) -> list[Surface]:
    """Return what a model directory of transformers offers: its chat template, and the template in `config.json`."""
    contract = read_contract(directory)
    tokenizer = load_tokenizer(directory)
    own = Surface(
        "config.json",
        contract.template_sha256,
        lambda record: encode_prompt(tokenizer, contract.prompter.prompt(record)),
    )
    return [own, *chat_surface("tokenizer's chat template", tokenizer)]


def compare_surface(surface: Surface, prompter: Prompter, tokenizer: PreTrainedTokenizerBase) -> str | None:
    """Compare a surface with the prompts of training.

    Args:
        surface: what is looked at.
        prompter: renders the prompts of training.
        tokenizer: the tokenizer of training.

    Returns:
        What is wrong, None if every record gives the ids of training.
    """
    if surface.stated_sha256 not in (None, prompter.sha256):
        return f"states template {str(surface.stated_sha256)[:12]}, trained was {prompter.sha256[:12]}"
    bos = prefix_ids(tokenizer)
    for record in PROBE_RECORDS:
        if record.input and not surface.takes_input:
            continue
        trained = encode_prompt(tokenizer, prompter.prompt(record))
        try:
            found = list(surface.ids(record))
        except MemoryError:
            raise
        except Exception as error:  # a template is a program of its own, and may end as it likes
            return f"cannot be rendered ({type(error).__name__}: {error}) for the instruction {record.instruction!r}"
        if found != trained:
            return f"{_difference(trained, found, bos)} for the instruction {record.instruction!r}"
    return None


def _difference(trained: list[int], found: list[int], bos: list[int]) -> str:
    if bos and found == bos + trained:
        return "puts the beginning-of-text token twice"
    if bos and bos + found == trained:
        return "puts no beginning-of-text token"
    place = next(
        (i for i, (a, b) in enumerate(zip(trained, found, strict=False)) if a != b), min(len(trained), len(found))
    )
    return f"gives token {found[place : place + 1]} in place {place} where training had {trained[place : place + 1]},"
