"""What each session of a run computed with: one that went on with something else need not repeat byte for byte."""

from collections.abc import Mapping
from typing import Any

__all__ = ["RESUMED", "go_on", "sessions_of"]

RESUMED = "resumed_with"
"""In a contract: what later sessions computed with, where that was not what the first one did."""


def sessions_of(contract: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what the sessions of a run computed with, that of the first one first; equal ones are there once."""
    environment, later = contract.get("environment"), contract.get(RESUMED)
    first = {**(environment if isinstance(environment, Mapping) else {}), "processes": contract.get("processes", 1)}
    return [first, *(later if isinstance(later, list) else ())]


def go_on(old: Mapping[str, Any], new: Mapping[str, Any], kept: Mapping[str, Any]) -> dict[str, Any]:
    """Return the contract of a run that another session goes on with; it tells where the data is now.

    Args:
        old: the run's contract so far.
        new: that of this session.
        kept: the one of both whose settings count.
    """
    sessions, (now, *_) = sessions_of(old), sessions_of(new)
    later = [*sessions[1:], *([] if now in sessions else [now])]
    first = {name: old[name] for name in ("environment", "processes") if name in old}
    data = {"data": new["data"]} if "data" in new else {}
    return {**kept, **first, **data, **({RESUMED: later} if later else {})}
