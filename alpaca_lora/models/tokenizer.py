"""Text to token ids, the same way in training, evaluation and chat.

Two rules hold everywhere. Text that looks like a control token (`</s>`, `<|im_end|>`) stays text: a row of a dataset
must not be able to end a turn. And the beginning-of-text token is added exactly where the model's own tokenizer adds
one.
"""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from alpaca_lora.errors import ModelError
from alpaca_lora.models.documents import check_documents, stops_of

_STATE = threading.Lock()
"""Held while a tokenizer is set up and asked: each call leaves its settings in the Rust half for the next one."""


def load_tokenizer(directory: Path) -> PreTrainedTokenizerBase:
    """Load the tokenizer of a base model or adapter.

    A missing padding token is not added, since that would change the vocabulary: padding is masked wherever it is used,
    so any id serves, and the end-of-text id is taken.

    Raises:
        ModelError: the directory has no readable tokenizer, or it knows no end-of-text token; or a file in it would do
            harm, see `check_documents`.
    """
    check_documents(directory)
    try:
        tokenizer = AutoTokenizer.from_pretrained(directory, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # the Rust half raises nothing more precise
        raise ModelError(f"{str(directory)!r} has no tokenizer that can be read ({error})") from error
    if tokenizer.eos_token_id is None:
        raise ModelError(
            f"the tokenizer in {str(directory)!r} has no end-of-text token, so the model could never learn to stop: "
            'set "eos_token" in tokenizer_config.json to the token that ends an answer'
        )
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def encode_texts(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[list[int]]:
    """Return the ids of each text, control tokens as plain text, nothing added at either end.

    A fast tokenizer is asked for ids alone, in the state that calling it would bring about. That spares masks and
    offsets, which nobody here reads, and a quarter of the time.
    """
    if not texts:
        return []
    if _is_fast(tokenizer):
        backend = tokenizer.backend_tokenizer
        with _STATE:
            backend.no_truncation()
            backend.no_padding()
            backend.encode_special_tokens = True
            return [encoding.ids for encoding in backend.encode_batch_fast(list(texts), add_special_tokens=False)]
    with _STATE:
        ids: list[list[int]] = tokenizer(list(texts), add_special_tokens=False, split_special_tokens=True)["input_ids"]
    return ids


def _is_fast(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Return whether calling the tokenizer does what its Rust half does, and nothing of its own."""
    methods = ("__call__", "_encode_plus")
    return all(getattr(type(tokenizer), name) is getattr(PreTrainedTokenizerFast, name, None) for name in methods)


def encode_text(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Return the ids of one text, control tokens as plain text, nothing added at either end."""
    return encode_texts(tokenizer, [text])[0]


def prefix_ids(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Return what this tokenizer puts before every text: a beginning-of-text id, or nothing."""
    with _STATE:
        ids: list[int] = tokenizer("")["input_ids"]
    return [token for token in ids if token == tokenizer.bos_token_id][:1]


def encode_prompt(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Return the ids of a prompt as the model sees it, in training and at inference."""
    return prefix_ids(tokenizer) + encode_text(tokenizer, text)


def stop_ids(tokenizer: PreTrainedTokenizerBase, model: Any = None) -> tuple[int, ...]:
    """Return every id that ends an answer: the tokenizer's end-of-text and those of the generation config, sorted.

    Args:
        tokenizer: the tokenizer of the model.
        model: the loaded model, or its directory; None knows of no generation config.

    Raises:
        ModelError: a file of the directory names something else than ids.
    """
    if isinstance(model, Path):
        configured = stops_of(model)
    else:
        named = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
        configured = [] if named is None else [named] if isinstance(named, int) else named
    return tuple(sorted({int(tokenizer.eos_token_id), *configured}))


def check_vocabulary(tokenizer: PreTrainedTokenizerBase, model: Any) -> None:
    """Refuse a tokenizer whose ids do not fit the model's embeddings.

    Raises:
        ModelError: an id of the tokenizer has no embedding.
    """
    rows = model.get_input_embeddings().num_embeddings
    if len(tokenizer) > rows:
        raise ModelError(
            f"the tokenizer knows {len(tokenizer)} tokens but the model has {rows} embeddings: "
            "it belongs to another model"
        )
