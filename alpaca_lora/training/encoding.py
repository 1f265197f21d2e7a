"""Records to token ids and labels, in one walk.

The prompt's ids are those that the model will see at inference; the answer's ids follow, then the end-of-text id.
Since both parts are encoded on their own, the border between them is known and never searched for, and a tokenizer
cannot merge across it. The end-of-text id is put last after any shortening, and it is always learned.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from transformers import PreTrainedTokenizerBase

from alpaca_lora.models import IGNORED, encode_texts, prefix_ids
from alpaca_lora.prompts import Prompter
from alpaca_lora.records import Record

Overlong = Literal["drop", "truncate_input", "truncate_output", "error"]
_CHUNK = 1000


@dataclass(frozen=True, slots=True)
class EncodedRow:
    """One record as the model sees it."""

    input_ids: tuple[int, ...]
    """Prompt, answer and end-of-text, at most max_length."""

    labels: tuple[int, ...]
    """The same ids where they are learned, -100 elsewhere; as long as input_ids."""

    origin: str
    """Where the record came from, as `data.jsonl:7`."""

    cut_tokens: int = 0
    """How many tokens were cut off to fit."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """A record that is not trained on, and why."""

    origin: str
    reason: str
    tokens: int
    """Its full length in tokens."""


def encode_records(
    records: Sequence[Record],
    prompter: Prompter,
    tokenizer: PreTrainedTokenizerBase,
    *,
    max_length: int,
    overlong: Overlong = "drop",
    train_on_prompt: bool = False,
) -> Iterator[EncodedRow | Rejection]:
    """Yield one row or rejection per record, in the order of the records.

    Args:
        records: what to encode.
        prompter: renders prompt and answer.
        tokenizer: must know an end-of-text id.
        max_length: longest row in tokens, end-of-text included.
        overlong: `drop` and `error` reject what does not fit; `truncate_input` shortens the record's input from its
            end; `truncate_output` shortens the answer. What still does not fit is rejected.
        train_on_prompt: learn the prompt's ids too (but never a row's first id, which nothing predicts).
    """
    prefix, eos = prefix_ids(tokenizer), int(tokenizer.eos_token_id)
    for start in range(0, len(records), _CHUNK):
        chunk = records[start : start + _CHUNK]
        prompts = encode_texts(tokenizer, [prompter.prompt(record) for record in chunk])
        answers = encode_texts(tokenizer, [prompter.completion(record) for record in chunk])
        for record, prompt, answer in zip(chunk, prompts, answers, strict=True):
            prompt_ids, answer_ids = prefix + prompt, answer
            full = len(prompt_ids) + len(answer_ids) + 1
            if full > max_length and overlong == "truncate_input":
                prompt_ids = prefix + _shorten_input(record, prompter, tokenizer, full - max_length, len(prompt))
            elif full > max_length and overlong == "truncate_output":
                answer_ids = answer_ids[: max(0, max_length - len(prompt_ids) - 1)]
            length = len(prompt_ids) + len(answer_ids) + 1
            if length > max_length:
                yield Rejection(record.origin, _why(len(prompt_ids), max_length, overlong), full)
            elif answer and not answer_ids:
                yield Rejection(record.origin, "no room for the answer after the prompt", full)
            else:
                ids = (*prompt_ids, *answer_ids, eos)
                learned = 1 if train_on_prompt else len(prompt_ids)
                learned = max(learned, 1)
                yield EncodedRow(ids, (IGNORED,) * learned + ids[learned:], record.origin, full - length)


def _why(prompt_tokens: int, max_length: int, overlong: Overlong) -> str:
    if prompt_tokens + 1 >= max_length:
        return f"the prompt alone needs {prompt_tokens} of {max_length} tokens"
    return f"longer than {max_length} tokens" + ("" if overlong == "drop" else f" even with overlong={overlong!r}")


def _shorten_input(
    record: Record, prompter: Prompter, tokenizer: PreTrainedTokenizerBase, surplus: int, before: int
) -> list[int]:
    """Return the prompt's ids with as many characters cut off the input's end as it takes to lose `surplus` tokens."""
    low, high = 0, max(len(record.input) - 1, 0)
    best = encode_texts(tokenizer, [prompter.prompt(record)])[0]
    while low <= high:
        middle = (low + high) // 2
        shorter = Record(record.instruction, record.input[: len(record.input) - middle], record.output)
        ids = encode_texts(tokenizer, [prompter.prompt(shorter)])[0]
        if before - len(ids) >= surplus:
            best, high = ids, middle - 1
        else:
            low = middle + 1
    return best
