"""How several processes share the tests, so that none of them is left with a long one at the end."""

import itertools
from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

T = TypeVar("T")


def in_shares(tests: Sequence[T], processes: int, *, is_slow: Callable[[T], bool], file_of: Callable[[T], Hashable]):
    """Return the tests in an order that gives each process its share of the slow ones first, and quick ones after them.

    `--dist worksteal` gives each process one stretch of the list, and one that is idle takes from the end of another's.
    Files stay whole for the sake of their fixtures. One with few slow tests has the longest, so these come first.
    """
    slow = [test for test in tests if is_slow(test)]
    quick = iter([test for test in tests if not is_slow(test)])
    files = sorted((list(group) for _, group in itertools.groupby(slow, file_of)), key=len)
    order: list[T] = []
    for number in range(processes):
        order += itertools.chain(*files[number::processes])
        end = len(tests) * (number + 1) // processes
        order += itertools.islice(quick, max(0, end - len(order)))
    return order
