"""What is found about each row, apart from what is done about it."""

from typing import NamedTuple

from alpaca_lora.curation.catalog import RULES
from alpaca_lora.curation.settings import CurationSettings
from alpaca_lora.records import Record

__all__ = ["Finding", "Measured", "check_record", "repair_record"]


class Finding(NamedTuple):
    """One rule that a row may break."""

    rule: str
    detail: str
    score: float = 1.0
    """Compared with the rule's threshold, where it has one."""

    other: int | None = None
    """Position of the earlier record that this one is like."""


class Measured(NamedTuple):
    """Everything that was found about one row."""

    findings: tuple[Finding, ...]
    """Whatever is above the floor of its rule, in the order of the rules."""

    verified: tuple[str, ...] = ()
    """Rules that computed the right answer and found it."""


def repair_record(record: Record, settings: CurationSettings) -> tuple[Record, list[Finding]]:
    """Mend what can be mended without a person.

    Args:
        record: as it was read.
        settings: decides which repairs are made.

    Returns:
        The mended record, and what was found wrong with it.
    """
    findings = []
    for name in settings.repairs:
        rule = RULES[name]
        if rule.check and rule.repair and (verdict := rule.check(record)):
            findings.append(Finding(name, verdict.detail, verdict.score))
            record = rule.repair(record)
    return record, findings


def check_record(record: Record, settings: CurationSettings) -> Measured:
    """Apply every rule that looks at one record and does not mend it.

    Args:
        record: after repairs.
        settings: decides which repairs were made.
    """
    findings, verified = [], []
    for name, rule in RULES.items():
        if settings.action(name) == "fix" or rule.check is None or not (verdict := rule.check(record)):
            continue
        if verdict.ok:
            verified.append(name)
        elif verdict.score > (rule.floor or 0):
            findings.append(Finding(name, verdict.detail, verdict.score))
    return Measured(tuple(findings), tuple(verified))
