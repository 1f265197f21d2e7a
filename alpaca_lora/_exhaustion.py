"""Tell by an error that a machine has run out of something, whichever library says so and in whatever words."""

import errno
import re
import shutil
from pathlib import Path

from alpaca_lora.errors import DiskFullError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FULL_IN_WORDS = re.compile(
    r"No space left on device|os error 28\b|\d+ requested and \d+ written|PytorchStreamWriter failed|unexpected pos \d+"
)
"""What safetensors, tokenizers, NumPy and torch say, whose errors carry no number."""

_NO_MEMORY_IN_WORDS = re.compile(
    r"[\w.]*(MemoryError|OutOfMemoryError)\b"
    r"|(RuntimeError|[\w.]*AcceleratorError): .*"
    r"(can't allocate memory|CUDA error: out of memory|CUBLAS_STATUS_ALLOC_FAILED)",
    re.DOTALL,
)
"""How the last line of a traceback begins; torch says so of main memory, of a card, and of cuBLAS's workspace there."""


def is_disk_full(error: BaseException) -> bool:
    """Tell whether an error means that there is no room to write."""
    return (isinstance(error, OSError) and error.errno in _FULL) or bool(_FULL_IN_WORDS.search(str(error)))


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error means that there is no memory; torch's are known by name, so that nobody need import it."""
    return isinstance(error, MemoryError) or says_out_of_memory(f"{type(error).__name__}: {error}")


def says_out_of_memory(line: str) -> bool:
    """Tell whether the last line of a traceback is that of such an error."""
    return bool(_NO_MEMORY_IN_WORDS.match(line))


def require_space(directory: Path, needed_bytes: int) -> None:
    """Refuse to begin what the disk has no room for.

    Raises:
        DiskFullError: less than this is free where the directory is, or will be.
    """
    place = next(path for path in (directory, *directory.parents) if path.exists())
    free = shutil.disk_usage(place).free
    if free < needed_bytes:
        raise DiskFullError(
            f"{str(directory)!r} needs {needed_bytes / 2**20:,.1f} MiB and {free / 2**20:,.1f} MiB are free: make "
            "room, or choose another place"
        )
