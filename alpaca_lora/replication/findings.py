"""What a verification found, check by check, and the sheet on which the checks write it down."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from alpaca_lora._exhaustion import is_out_of_memory
from alpaca_lora.errors import AlpacaLoraError, DiskFullError, MissingDependencyError, RunError
from alpaca_lora.training.progress import Progress

__all__ = [
    "NOWHERE",
    "Finding",
    "Sheet",
    "Sources",
    "Unchecked",
    "VerificationResult",
    "alike",
    "differing",
    "read_object",
]

_LARGEST_BYTES = 2**28
_ANYTHING = (ArithmeticError, AttributeError, LookupError, OSError, RecursionError, TypeError, ValueError)
"""What reading a damaged document can end in."""

Outcome = Literal["passed", "failed", "not checked"]
T = TypeVar("T")


class Unchecked(Exception):
    """A check cannot be made here; the text says why, and is no blame."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found."""

    part: str
    """The stage's directory, as `2-curate`, or the name of the directory that is verified."""

    check: str
    outcome: Outcome
    found: str
    """What was found; of a failure the file first, then what to do; of what was not checked the reason."""


@dataclass(frozen=True, kw_only=True)
class VerificationResult:
    """What `verify` found."""

    directory: Path
    kind: str
    """What the directory is: run, generation, curation, evaluation, judging, adapter, export, weight difference or
    replication."""

    findings: tuple[Finding, ...]
    """In the order of the checks."""

    @property
    def passed(self) -> bool:
        """Return whether no check failed; what was not checked counts as neither."""
        return self.failure is None

    @property
    def failure(self) -> Finding | None:
        """Return the first check that failed."""
        return next((finding for finding in self.findings if finding.outcome == "failed"), None)

    def to_json(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        return {
            "directory": str(self.directory),
            "kind": self.kind,
            "passed": self.passed,
            "findings": [asdict(finding) for finding in self.findings],
        }


@dataclass(frozen=True, slots=True)
class Sources:
    """What a stage was made from, where it is known by more than the name that the stage has for it."""

    adapter: Path | None = None
    data: Path | None = None


NOWHERE = Sources()


@dataclass
class Sheet:
    """Where the checks of one part are written down."""

    part: str
    display: Progress
    findings: list[Finding] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        """Return whether a check of this part failed, so that what takes long is not worth it."""
        return any(item.outcome == "failed" and item.part == self.part for item in self.findings)

    def check(self, name: str, work: Callable[[], str]) -> bool:
        """Make a check, whatever it ends in.

        Args:
            name: of the check.
            work: returns what was found; raises Unchecked where it cannot be made, and an error where it fails.

        Returns:
            Whether it passed.
        """
        return self.read(name, work, str) is not None

    def read(self, name: str, work: Callable[[], T], said: Callable[[T], str]) -> T | None:
        """Make a check whose result others need; see `check`."""
        self.display.stage(f"{self.part}: {name}")
        try:
            value = work()
            self._add(name, "passed", said(value))
        except (Unchecked, MissingDependencyError) as reason:
            self._add(name, "not checked", str(reason))
        except DiskFullError:
            raise
        except AlpacaLoraError as error:
            self._add(name, "failed", str(error))
        except _ANYTHING as error:
            self._add(name, "failed", f"a file is damaged ({type(error).__name__}: {error}); copy the directory again")
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            self._add(name, "not checked", f"this machine has not enough memory for it ({error})")
        else:
            return value
        return None

    def skip(self, names: tuple[str, ...], reason: str) -> None:
        """Write down that checks are not made."""
        for name in names:
            self._add(name, "not checked", reason)

    def of(self, part: str) -> "Sheet":
        """Return the sheet of a part of this one; its findings are among these."""
        return Sheet(part, self.display, self.findings)

    def _add(self, name: str, outcome: Outcome, found: str) -> None:
        self.findings.append(Finding(self.part, name, outcome, " ".join(found.split())))


def read_object(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file.

    Raises:
        RunError: the file is missing, too large, or holds something else.
    """
    try:
        if path.stat().st_size > _LARGEST_BYTES:
            raise ValueError(f"it has more than {_LARGEST_BYTES} bytes")
        document = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(document, dict):
            raise TypeError(f"an object is expected, found {type(document).__name__}")
    except FileNotFoundError as error:
        raise RunError(f"{path.name} is missing: copy the directory again") from error
    except (OSError, RecursionError, TypeError, ValueError) as error:
        raise RunError(f"{path.name} is damaged ({error}): copy the directory again") from error
    return document


def alike(first: Any, second: Any) -> bool:
    """Tell whether two JSON values are equal, floats up to the rounding of sums in another order."""
    if isinstance(first, dict) and isinstance(second, dict):
        return first.keys() == second.keys() and all(alike(first[key], second[key]) for key in first)
    if isinstance(first, list | tuple) and isinstance(second, list | tuple):
        return len(first) == len(second) and all(map(alike, first, second))
    if isinstance(first, float) and isinstance(second, float):
        return first == second or abs(first - second) <= 1e-9 * max(abs(first), abs(second))
    return bool(first == second)


def differing(first: dict[str, Any], second: dict[str, Any]) -> str:
    """Return what two documents do not agree on, with both values."""
    names = sorted(name for name in {*first, *second} if not alike(first.get(name), second.get(name)))
    return "; ".join(f"{name} {_short(first.get(name))} instead of {_short(second.get(name))}" for name in names)


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:57]}…"
