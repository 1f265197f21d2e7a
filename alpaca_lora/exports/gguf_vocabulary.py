r"""A tokenizer in the terms of llama.cpp, such that it reads a prompt as the same ids.

llama.cpp does not read `tokenizer.json`. It has two tokenizers of its own for the models exported here, and a file says
which, with the vocabulary in the order of the ids:

- `gpt2`: byte-level BPE. Text is first split by a regular expression, of which a file gives only a *name*; one that
  llama.cpp does not know, or a wrong one, gives other ids and no error. The name is therefore found by comparing the
  expressions themselves, and a tokenizer with another is refused.
- `llama`: BPE over characters with `▁` for a space, as SentencePiece trains it. It has no list of merges: of all pairs
  of neighbours that together are a token, it joins the one of the highest score. Scores are made from the order of the
  merges, which says the same if each token's merges stand together and all its splits are among them. Both are checked.

Known differences that a file cannot express: llama.cpp normalises no text (Qwen2's tokenizer composes accents, NFC),
and a `llama` vocabulary lets plain text like `</s>` become the control token.
"""

import itertools
import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from transformers import PreTrainedTokenizerBase

from alpaca_lora.errors import ModelError
from alpaca_lora.models import prefix_ids

__all__ = ["Vocabulary", "read_vocabulary"]

_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+"
_REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_TEKKEN = "|".join(
    (
        rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+",
        rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*",
        r"\p{N}",
        r" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    )
)
_DIGITS = "each digit"
_PRE_TOKENIZERS = {
    (_GPT2,): ("gpt-2", False),
    (_DIGITS, _GPT2): ("smollm", False),
    (rf"{_WORDS}|\p{{N}}|{_REST}",): ("qwen2", False),
    (rf"{_WORDS}|\p{{N}}{{1,3}}|{_REST}",): ("llama-bpe", True),
    (_TEKKEN,): ("tekken", True),
}
"""How text is split before BPE: the name in llama.cpp, and whether a whole word that is a token skips the merges."""

_SPACE = "▁"


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """What a GGUF file says about its tokenizer."""

    kind: str
    """`gpt2` or `llama`."""

    pre: str
    """Name of the pre-tokenizer; `default` for `llama`, which has none."""

    tokens: list[str]
    """Text of each id; ids without a token are `[PAD…]`."""

    types: list[int]
    """llama.cpp's type of each token: 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte."""

    special: dict[str, int]
    """Ids by llama.cpp's names of their roles: `bos`, `eos`, `unk`, `pad`, and `eot`, `eom` for further stop ids."""

    add_bos: bool
    """Whether a prompt begins with the beginning-of-text id."""

    merges: list[str] = field(default_factory=list)
    """Pairs in the order of their rank, for `gpt2`."""

    scores: list[float] = field(default_factory=list)
    """One per token, for `llama`."""

    space_prefix: bool = False
    """Whether a space is put before a text, for `llama`."""

    def add_to(self, writer: Any) -> None:
        """Add it to the metadata of a `GGUFWriter`."""
        writer.add_tokenizer_model(self.kind)
        writer.add_tokenizer_pre(self.pre)
        writer.add_token_list(self.tokens)
        writer.add_token_types(self.types)
        writer.add_token_merges(self.merges)
        writer.add_token_scores(self.scores)
        for role, token in self.special.items():
            getattr(writer, f"add_{role}_token_id")(token)
        writer.add_add_bos_token(self.add_bos)
        writer.add_add_eos_token(False)
        writer.add_add_space_prefix(self.space_prefix)


def read_vocabulary(tokenizer: PreTrainedTokenizerBase, rows: int, stops: tuple[int, ...]) -> Vocabulary:
    """Describe a tokenizer to llama.cpp.

    Args:
        tokenizer: the model's tokenizer.
        rows: rows of the model's embeddings; the vocabulary is padded to as many.
        stops: every id that ends an answer; llama.cpp takes three.

    Raises:
        ModelError: llama.cpp has no tokenizer that would give the same ids, or an id has no embedding.
    """
    try:
        document = json.loads(tokenizer.backend_tokenizer.to_str())
    except AttributeError as error:
        raise ModelError(f"a tokenizer of kind {type(tokenizer).__name__} has no tokenizer.json to export") from error
    model = document["model"]
    tokens, types = _tokens(document, rows)
    described: dict[str, Any]
    if model["type"] == "BPE" and model.get("byte_fallback"):
        described = _sentencepiece(document, tokens, types)
    elif model["type"] == "BPE":
        described = _byte_level(document)
    else:
        raise ModelError(
            f"the tokenizer is of type {model['type']}; a GGUF file takes BPE, byte-level or SentencePiece"
        )
    if len(set(tokens)) < len(tokens):
        twice, _ = Counter(tokens).most_common(1)[0]
        raise ModelError(f"token {twice!r} stands for more than one id, which llama.cpp refuses")
    return Vocabulary(
        tokens=tokens,
        types=types,
        special=_special(tokenizer, stops),
        add_bos=bool(prefix_ids(tokenizer)),
        **described,
    )


def _tokens(document: dict[str, Any], rows: int) -> tuple[list[str], list[int]]:
    """Return text and type of every id."""
    added = {entry["id"]: entry for entry in document["added_tokens"]}
    by_id = {index: token for token, index in document["model"]["vocab"].items()}
    by_id |= {index: entry["content"] for index, entry in added.items()}
    if max(by_id) >= rows:
        raise ModelError(
            f"the tokenizer has the id {max(by_id)} ({by_id[max(by_id)]!r}) but the model only {rows} embeddings: "
            "it belongs to another model, or tokens were added without resizing the embeddings"
        )
    tokens, types = [], []
    for index in range(rows):
        token = by_id.get(index, f"[PAD{index}]")
        if index not in by_id:
            kind = 5
        elif index in added and added[index]["special"]:
            kind = 3
        elif index in added:
            token, kind = token.replace(_SPACE, " "), 4
        else:
            kind = 1
        tokens.append(token)
        types.append(kind)
    return tokens, types


def _special(tokenizer: PreTrainedTokenizerBase, stops: tuple[int, ...]) -> dict[str, int]:
    ids = {role: getattr(tokenizer, f"{role}_token_id") for role in ("bos", "eos", "unk", "pad")}
    further = (token for token in stops if token != ids["eos"])
    ids |= dict(zip(("eot", "eom"), further, strict=False))
    return {role: int(token) for role, token in ids.items() if token is not None}


def _byte_level(document: dict[str, Any]) -> dict[str, Any]:
    model, normalizer = document["model"], document["normalizer"]
    splits = _splits(document["pre_tokenizer"])
    pre, ignores_merges = _PRE_TOKENIZERS.get(splits, ("", False))
    odd = [key for key in ("dropout", "continuing_subword_prefix", "end_of_word_suffix") if model.get(key)]
    if not pre or odd or model.get("ignore_merges", False) != ignores_merges or _kind(normalizer) not in ("", "NFC"):
        raise ModelError(
            "llama.cpp has no pre-tokenizer like this tokenizer's, so it would read other ids: it splits by "
            f"{splits or document['pre_tokenizer']!r}, with normalizer {_kind(normalizer) or None!r}, ignore_merges "
            f"{model.get('ignore_merges', False)!r}{''.join(f', {key} {model[key]!r}' for key in odd)}. Known are "
            f"those of {', '.join(name for name, _ in _PRE_TOKENIZERS.values())}"
        )
    return {"kind": "gpt2", "pre": pre, "merges": [" ".join(pair) for pair in model["merges"]]}


def _splits(pre_tokenizer: dict[str, Any] | None) -> tuple[str, ...]:
    """Return by which expressions text is split before byte-level BPE; nothing where another step is among them."""
    steps = (pre_tokenizer or {}).get("pretokenizers", [pre_tokenizer or {}])
    splits: list[str] = []
    for step in steps:
        kind = step.get("type")
        if kind == "ByteLevel" and not step["add_prefix_space"] and step is steps[-1]:
            splits += [_GPT2] if step.get("use_regex", True) else []
        elif kind == "Digits" and step["individual_digits"]:
            splits.append(_DIGITS)
        elif kind == "Split" and step["behavior"] == "Isolated" and not step["invert"]:
            splits.append(step["pattern"].get("Regex", ""))
        else:
            return ()
    return tuple(splits)


def _sentencepiece(document: dict[str, Any], tokens: list[str], types: list[int]) -> dict[str, Any]:
    prefix = _space_prefix(document)
    if prefix is None:
        raise ModelError(
            "llama.cpp would read other ids than this tokenizer: it knows SentencePiece with spaces as ▁ in one run of "
            f"text, not normalizer {document['normalizer']!r} with pre-tokenizer {document['pre_tokenizer']!r}"
        )
    for index, token in enumerate(tokens):
        if types[index] == 1 and len(token) == 6 and token.startswith("<0x") and token.endswith(">"):
            types[index] = 6
    unknown = document["model"].get("unk_token")
    if unknown in tokens:
        types[tokens.index(unknown)] = 2
    order = _merge_order(document["model"], {token for token, kind in zip(tokens, types, strict=True) if kind == 1})
    scores = [-float(order.get(token, len(order))) if types[index] == 1 else 0.0 for index, token in enumerate(tokens)]
    return {"kind": "llama", "pre": "default", "scores": scores, "space_prefix": prefix}


def _space_prefix(document: dict[str, Any]) -> bool | None:
    """Return whether a space is put before a text; None where text is prepared in another way."""
    normalizer, pre_tokenizer = document["normalizer"], document["pre_tokenizer"]
    if normalizer is None and _kind(pre_tokenizer) == "Metaspace" and not pre_tokenizer["split"]:
        return bool(pre_tokenizer["prepend_scheme"] != "never") if pre_tokenizer["replacement"] == _SPACE else None
    if pre_tokenizer is not None or _kind(normalizer) not in ("Replace", "Sequence"):
        return None
    steps = normalizer.get("normalizers", [normalizer])
    spaces = {"type": "Replace", "pattern": {"String": " "}, "content": _SPACE}
    if steps == [spaces]:
        return False
    return True if steps == [{"type": "Prepend", "prepend": _SPACE}, spaces] else None


def _merge_order(model: dict[str, Any], normal: set[str]) -> dict[str, int]:
    """Return the place of each merged token in the order of merging.

    Raises:
        ModelError: scores of tokens cannot say what these merges say.
    """
    pairs = [tuple(pair) for pair in model["merges"]]
    runs = [merged for merged, _ in itertools.groupby(left + right for left, right in pairs)]
    order = {merged: place for place, merged in enumerate(runs)}
    known = set(pairs)
    missing = (
        (token[:cut], token[cut:])
        for token in sorted(normal)
        for cut in range(1, len(token))
        if token[:cut] in normal and token[cut:] in normal and (token[:cut], token[cut:]) not in known
    )
    if len(order) < len(runs):
        raise ModelError(
            "llama.cpp would read other ids than this tokenizer: merges of one token do not stand together"
        )
    if pair := next(missing, None):
        raise ModelError(
            f"llama.cpp would read other ids than this tokenizer: it joins {pair[0]!r} and {pair[1]!r}, which is not "
            "among the tokenizer's merges"
        )
    return order


def _kind(step: dict[str, Any] | None) -> str:
    return str(step["type"]) if step else ""
