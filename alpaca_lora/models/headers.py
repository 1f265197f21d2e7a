"""The headers of safetensors files, looked at before anything else reads the files.

The library's own parser is sound, but takes headers of 100 MB. What is not bounded there is bounded here, in plain
Python: how long a header is, and what a tensor may be called. And a configuration is held against the headers, since
transformers builds whatever it describes, ten million layers too.
"""

import json
import re
import struct
from pathlib import Path
from typing import Any

from alpaca_lora.errors import ModelError
from alpaca_lora.models.documents import entries, read_document

__all__ = ["check_header", "check_plausible"]

_LARGEST_BYTES = 16 * 2**20
_NAME = re.compile(r"[!-~]{1,512}")
_LENGTH = struct.Struct("<Q")
_POINTER = b"version https://git-lfs"
_COUNTED = re.compile(r"(layer|expert|block|num_labels)(?!.*_(size|dim)$)")
"""How many there are of something, not how large one is, as `shared_expert_intermediate_size` says."""

_MEASURED = re.compile(r"_(size|dim|heads|embeddings|positions)$|^n_|^num_")
_MOST_COUNTED = 1000
_LARGEST_NUMBER = 2**31


def check_header(path: Path) -> dict[str, tuple[int, ...]]:
    """Return the shape of each tensor of a safetensors file, as its header says.

    Args:
        path: the file; its tensors are not read.

    Raises:
        ValueError: the header is longer than 16 MiB or than the file, no JSON object, or names a tensor in other
            characters than those of plain ASCII.
        OSError: the file cannot be read.
    """
    size = path.stat().st_size
    with path.open("rb") as stream:
        start = stream.read(_LENGTH.size)
        if start and _POINTER.startswith(start):
            raise ValueError("it is a pointer, not the file: run  git lfs pull")
        length = _LENGTH.unpack(start)[0] if len(start) == _LENGTH.size else size
        if length > min(_LARGEST_BYTES, size - _LENGTH.size):
            raise ValueError(
                f"its header would have {length} bytes, of {size} in the file and {_LARGEST_BYTES} allowed"
            )
        text = stream.read(length)
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"its header is not JSON ({error})") from error
    if not isinstance(header, dict):
        raise ValueError(f"its header must hold an object, found {type(header).__name__}")
    header.pop("__metadata__", None)
    if odd := next((name for name in header if not _NAME.fullmatch(name)), None):
        raise ValueError(f"a tensor is called {odd[:60]!a}, which no module of a model is")
    return {name: _shape(name, entry) for name, entry in header.items()}


def check_plausible(directory: Path) -> None:
    """Refuse a base model whose `config.json` describes another size of model than the weights beside it.

    Raises:
        ModelError: a file of weights is damaged, or a number in the configuration is beyond what they can fill.
    """
    count = 0
    for path in sorted(directory.glob("*.safetensors")):
        try:
            count += len(check_header(path))
        except (ValueError, OSError) as error:
            raise ModelError(f"{str(path)!r} is damaged or incomplete ({error}): download it again") from error
    path = directory / "config.json"
    for key, value in entries(read_document(path)):
        if not isinstance(value, int):
            continue
        most = max(count, _MOST_COUNTED) if _COUNTED.search(key) else _LARGEST_NUMBER
        if (_COUNTED.search(key) or _MEASURED.search(key)) and value > most:
            raise ModelError(
                f"{str(path)!r}: {key} is {value}, which the {count} tensors beside it do not fill (at most {most}): "
                "copy the base model again"
            )


def _shape(name: str, entry: Any) -> tuple[int, ...]:
    shape = entry.get("shape") if isinstance(entry, dict) else None
    if not isinstance(shape, list) or not all(type(size) is int and size >= 0 for size in shape):
        raise ValueError(f"its header gives {name!r} no shape")
    return tuple(shape)
