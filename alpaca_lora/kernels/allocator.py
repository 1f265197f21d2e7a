"""Keep freed memory in the process instead of giving it back to the system between two layers.

glibc maps a large tensor anew at each allocation and unmaps it when freed, and the system clears every page on first
touch. A training step allocates the same sizes over and over, so this costs more than many of its operations. What is
free when it begins is given back: it is what loading left between the weights, of other sizes than a step takes.

What is kept has holes: glibc 2.36 seldom puts an aligned tensor where one of its size was (bug 30723). Layers that are
computed again leave tensors between them, and the holes grow with each layer: with 32 of a 7B to a quarter of all
memory. Mapped tensors leave none, and cost the less the more columns a product runs over, so wide models have them.
"""

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # malloc.h
_USUAL = {_TRIM_THRESHOLD: 128 << 10, _MMAP_THRESHOLD: 128 << 10}


def keep_freed_memory(keep: bool = True, *, largest: int = 2**30) -> bool:
    """Set glibc's thresholds for this process, or put them back.

    Args:
        keep: False restores glibc's first values; it no longer adapts them to sizes seen, since they were set by hand.
        largest: bytes from which on a tensor is mapped, and unmapped when it is freed, all the same.

    Returns:
        Whether the C library took them; others than glibc do not.
    """
    if not sys.platform.startswith("linux"):
        return False
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallopt"):
        return False
    library.malloc_trim(0)
    thresholds = {_TRIM_THRESHOLD: 2**31 - 1, _MMAP_THRESHOLD: largest} if keep else _USUAL
    return all(library.mallopt(name, value) for name, value in thresholds.items())
