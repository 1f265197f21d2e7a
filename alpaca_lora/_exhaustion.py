"""Tell by an error that a machine has run out of something, whichever library says so and in whatever words."""

import errno
import re

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FULL_IN_WORDS = re.compile(
    r"No space left on device|os error 28\b|\d+ requested and \d+ written|PytorchStreamWriter failed|unexpected pos \d+"
)
"""What safetensors, tokenizers, NumPy and torch say, whose errors carry no number."""

_NO_MEMORY_IN_WORDS = re.compile(
    r"[\w.]*(MemoryError|OutOfMemoryError)\b|RuntimeError: .*can't allocate memory", re.DOTALL
)
"""How the last line of a traceback begins; the second is torch's on a CPU."""


def is_disk_full(error: BaseException) -> bool:
    """Tell whether an error means that there is no room to write."""
    return (isinstance(error, OSError) and error.errno in _FULL) or bool(_FULL_IN_WORDS.search(str(error)))


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error means that there is no memory; torch's are known by name, so that nobody need import it."""
    return isinstance(error, MemoryError) or says_out_of_memory(f"{type(error).__name__}: {error}")


def says_out_of_memory(line: str) -> bool:
    """Tell whether the last line of a traceback is that of such an error."""
    return bool(_NO_MEMORY_IN_WORDS.match(line))
