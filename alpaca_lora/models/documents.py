"""The small files of a model or adapter directory, looked at before any library opens one of them.

Such a directory comes from somebody else. Its configuration must not name code to run, its index must not name files
elsewhere, and a link must not lead out of it: what is read through one could be a secret of the reader's, which the
next export would publish.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from alpaca_lora.errors import ModelError

__all__ = ["check_documents", "entries", "positions_of", "read_document", "stops_of"]

_CONFIGS = ("config.json", "tokenizer_config.json", "generation_config.json")
_CODE_KEYS = (
    "_attn_implementation",
    "_attn_implementation_internal",
    "auto_map",
    "custom_pipelines",
    "kernel_config",
)
_NAMES = ("architectures", "model_type", "processor_class", "tokenizer_class", "transformers_version")
"""What libraries print in their warnings."""

_SMALL = {".jinja": 2**16, ".json": 2**26, ".model": 2**26, ".txt": 2**26}
"""Most bytes of a file, by its ending; tokenizer.json of a large vocabulary has 30 MB."""

_LONGEST_CONFIG = 2**22

_POSITIONS = ("max_position_embeddings", "n_positions", "max_seq_len")
"""What architectures call the length that they read: most of them, those after GPT-2, and MPT."""


def check_documents(directory: Path) -> None:
    """Refuse a directory whose small files would harm whoever opens them.

    Raises:
        ModelError: a file leads out of the directory or is too large, a configuration is not JSON or names code to run,
            or an index names files elsewhere.
    """
    for path in sorted(directory.iterdir()):
        if path.suffix != ".safetensors":  # which may lie on another disk, and holds nothing but numbers
            _refuse_link(path, directory)
        limit = _SMALL.get(path.suffix)
        if limit is not None and path.is_file() and path.stat().st_size > limit:
            raise ModelError(f"{str(path)!r} has more than {limit} bytes, so it is not what its name says")
        if path.name.endswith(".safetensors.index.json"):
            _check_index(path)
    for name in _CONFIGS:
        if (directory / name).exists():
            _check_config(directory / name)


def read_document(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file of at most 4 MiB.

    Raises:
        ModelError: it holds something else.
    """
    try:
        if path.stat().st_size > _LONGEST_CONFIG:
            raise ModelError(f"{str(path)!r} has more than {_LONGEST_CONFIG} bytes, so it is no configuration")
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{str(path)!r} is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise ModelError(f"{str(path)!r} must hold an object, found {type(document).__name__}")
    return document


def _refuse_link(path: Path, directory: Path) -> None:
    """Refuse a link that leads out of the directory, but for those in the Hub's cache, which lead to its blobs."""
    if not path.is_symlink():
        return
    blobs = directory.parent.parent / "blobs"
    target = Path(os.path.realpath(path))  # which ends where links lead in a circle, too
    if not any(target.is_relative_to(place.resolve()) for place in (directory, blobs)):
        raise ModelError(f"{str(path)!r} is a link that leads out of its directory: put a copy of the file there")


def _check_config(path: Path) -> None:
    document = read_document(path)
    for key, value in entries(document):
        if not key.isprintable() or (key in _NAMES and not str(value).isprintable()):
            raise ModelError(f"{str(path)!r}: {key[:40]!r} holds characters that a terminal would obey: remove them")
        if value and (key in _CODE_KEYS or (key == "attn_implementation" and "/" in str(value))):
            raise ModelError(
                f"{str(path)!r} names code to run ({key!r}: {str(value)[:80]!r}), which is never run here: "
                "use a model whose architecture is part of transformers"
            )
    template = document.get("chat_template")
    if template is not None and len(json.dumps(template)) > _SMALL[".jinja"]:
        raise ModelError(f"{str(path)!r}: chat_template is longer than {_SMALL['.jinja']} bytes, which no template is")


def positions_of(base_dir: Path) -> int:
    """Return how many tokens a base model reads at most; 2048, as the first Llama, where its config.json does not say.

    Raises:
        ModelError: the file cannot be read.
    """
    document = read_document(base_dir / "config.json")
    return int(next((document[name] for name in _POSITIONS if document.get(name)), 2048))


def stops_of(base_dir: Path) -> list[int]:
    """Return the ids that end an answer by a base model's generation_config.json, else by its config.json.

    Raises:
        ModelError: a file cannot be read, or names something else than ids.
    """
    for path in (base_dir / "generation_config.json", base_dir / "config.json"):
        named = read_document(path).get("eos_token_id") if path.is_file() else None
        if named is None:
            continue
        ids = named if isinstance(named, list) else [named]
        if not all(type(token) is int and token >= 0 for token in ids):
            raise ModelError(
                f"{str(path)!r}: eos_token_id must be a token id or a list of them, found {str(named)[:60]!r}"
            )
        return ids
    return []


def entries(document: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield every key of a document and of the objects in it, with its value."""
    waiting: list[Any] = [document]
    while waiting:
        found = waiting.pop()
        if isinstance(found, dict):
            yield from found.items()
            waiting += found.values()
        elif isinstance(found, list):
            waiting += found


def _check_index(path: Path) -> None:
    weights = read_document(path).get("weight_map")
    if not isinstance(weights, dict):
        raise ModelError(f"{str(path)!r}: weight_map must be an object, found {type(weights).__name__}")
    beside = {item.name for item in path.parent.iterdir()}
    for name, file in weights.items():
        if not isinstance(file, str) or file not in beside:
            raise ModelError(
                f"{str(path)!r}: weight_map gives {name[:60]!r} the file {str(file)[:60]!r}, which is not one "
                "beside it: copy the whole directory again"
            )
