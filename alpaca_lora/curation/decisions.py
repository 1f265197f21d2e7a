"""From findings to decisions: which records stay. A pure function, so a stored ledger gives what a fresh run would."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from alpaca_lora.curation.catalog import EXACT, RULES
from alpaca_lora.curation.measured import Finding, Measured
from alpaca_lora.curation.settings import CurationSettings

__all__ = ["Decision", "Outcome", "RuleCount", "count_rules", "decide"]

Outcome = Literal["kept", "repaired", "dropped"]


class Decision(NamedTuple):
    """What becomes of one row."""

    outcome: Outcome
    by: str | None
    """The rule that dropped it, the first in the order of the rules; None for a row that stays."""

    counted: tuple[Finding, ...]
    """Its findings above their thresholds, of rules that are not off."""


class RuleCount(NamedTuple):
    """What one rule found in a set."""

    rule: str
    found: int
    """Rows with a finding that counts."""

    dropped: int
    """Rows that are dropped by this rule, each counted at one rule only."""

    repaired: int
    flagged: int
    """Rows that stay although the rule found something it does not mend."""

    verified: int
    """Rows in which the rule computed the right answer and found it."""


def decide(measured: Sequence[Measured], settings: CurationSettings) -> list[Decision]:
    """Decide about every row, in order.

    A row that is like earlier ones is dropped only if one of those stays; so of each group one is left. A row that is
    the same as an earlier one is dropped in any case.

    Args:
        measured: what was found, by row.
        settings: thresholds and actions; repairs must be those that were measured.

    Returns:
        One decision for each row.
    """
    decisions: list[Decision] = []
    for row in measured:
        counted = tuple(finding for finding in row.findings if _counts(finding, decisions, settings))
        reasons = [finding.rule for finding in counted if settings.action(finding.rule) == "drop"]
        repaired = any(settings.action(finding.rule) == "fix" for finding in counted)
        by = min(reasons, key=list(RULES).index, default=None)
        decisions.append(Decision("dropped" if by else "repaired" if repaired else "kept", by, counted))
    return decisions


def _counts(finding: Finding, decisions: Sequence[Decision], settings: CurationSettings) -> bool:
    threshold = settings.threshold(finding.rule)
    if settings.action(finding.rule) == "off" or (threshold is not None and finding.score <= threshold):
        return False
    return finding.other is None or finding.rule == EXACT or decisions[finding.other].outcome != "dropped"


def count_rules(
    measured: Iterable[Measured], decisions: Sequence[Decision], settings: CurationSettings
) -> list[RuleCount]:
    """Count what each rule found and what was done, in the order of the rules; rules without anything are left out."""
    verified = Counter(name for row in measured for name in row.verified)
    found: Counter[str] = Counter()
    flagged: Counter[str] = Counter()
    dropped = Counter(decision.by for decision in decisions)
    for decision in decisions:
        names = {finding.rule for finding in decision.counted}
        found.update(names)
        if decision.outcome != "dropped":
            flagged.update(name for name in names if settings.action(name) == "flag")
    repaired = Counter(
        name
        for decision in decisions
        if decision.outcome == "repaired"
        for name in {finding.rule for finding in decision.counted if settings.action(finding.rule) == "fix"}
    )
    return [
        RuleCount(name, found[name], dropped[name], repaired[name], flagged[name], verified[name])
        for name in RULES
        if found[name] or verified[name]
    ]
