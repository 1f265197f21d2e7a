"""What a rule is: a name, how bad its findings are, a check of one record, and sometimes a repair."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

from alpaca_lora.records import Record

__all__ = ["Action", "Check", "Rule", "Severity", "Verdict", "wrong"]

Severity = Literal["error", "warning", "note"]
Action = Literal["drop", "fix", "flag", "off"]


class Verdict(NamedTuple):
    """What a check says about a record that it applies to."""

    ok: bool
    """Whether the record passed; True comes from rules that compute, and means verified."""

    detail: str
    """What was found, with the place or the numbers."""

    score: float = 1.0
    """How much of it; compared with the rule's threshold, where it has one."""


Check = Callable[[Record], Verdict | None]
"""Returns None where a record gives no occasion, or where a computation does not understand it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One named reason why a record may not belong in a training set."""

    name: str
    severity: Severity
    about: str
    """What is wrong with a record that breaks it, as the end of "The record …"."""

    fix: str
    """What a person does about it."""

    check: Check | None = None
    """Looks at one record; None for rules that compare records with each other."""

    repair: Callable[[Record], Record] | None = None
    """Mends what the check finds without losing anything that was meant."""

    computes: bool = False
    """Whether the check works out the right answer, and so abstains or verifies where it finds nothing wrong."""

    threshold: float | None = None
    """The score above which a finding counts; None where there is no more or less."""

    floor: float | None = None
    """The score above which the ledger keeps a finding, so that other thresholds can be tried later."""

    fixture: Record = Record("")
    """A record that breaks it; for rules that compare, one that breaks it when it comes twice or is held out."""

    @property
    def action(self) -> Action:
        """What is done by default: a repair where there is one, else errors are dropped and the rest is flagged."""
        return "fix" if self.repair else "drop" if self.severity == "error" else "flag"


def wrong(detail: str, score: float = 1.0) -> Verdict:
    """Return the verdict of a check that found something."""
    return Verdict(False, detail, score)
