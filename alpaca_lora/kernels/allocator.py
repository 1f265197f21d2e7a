"""Keep freed memory in the process instead of giving it back to the system between two layers.

glibc maps a large tensor anew at each allocation and unmaps it when freed, and the system clears every page on first
touch. A training step allocates the same sizes over and over, so this costs more than many of its operations. What is
free when it begins is given back: it is what loading left between the weights, of other sizes than a step takes.
"""

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # malloc.h
_KEEP = {_TRIM_THRESHOLD: 2**31 - 1, _MMAP_THRESHOLD: 2**30}
_USUAL = {_TRIM_THRESHOLD: 128 << 10, _MMAP_THRESHOLD: 128 << 10}


def keep_freed_memory(keep: bool = True) -> bool:
    """Set glibc's thresholds for this process, or put them back.

    Args:
        keep: False restores glibc's first values; it no longer adapts them to sizes seen, since they were set by hand.

    Returns:
        Whether the C library took them; others than glibc do not.
    """
    if not sys.platform.startswith("linux"):
        return False
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallopt"):
        return False
    library.malloc_trim(0)
    return all(library.mallopt(name, value) for name, value in (_KEEP if keep else _USUAL).items())
