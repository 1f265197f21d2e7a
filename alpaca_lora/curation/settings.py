"""What a person may decide about a curation."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Literal, get_args

from alpaca_lora.curation.catalog import RULES
from alpaca_lora.curation.rule import Action
from alpaca_lora.errors import ConfigError

__all__ = ["Compare", "CurationSettings", "Method"]

Compare = Literal["task", "instruction"]
Method = Literal["exact", "minhash"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CurationSettings:
    """Thresholds, and what is done about each rule."""

    thresholds: Mapping[str, float] = field(default_factory=dict)
    """Scores above which a rule's findings count, by rule; what is not named keeps the rule's own."""

    actions: Mapping[str, Action] = field(default_factory=dict)
    """`drop`, `fix`, `flag` or `off` by rule; what is not named keeps the rule's own."""

    compare: Compare = "task"
    """What makes records alike: instruction and input, or the instruction alone, as Stanford did."""

    method: Method = "exact"
    """How near duplicates are found: ROUGE-L of every pair, or for millions of records MinHash, an estimate."""

    def __post_init__(self) -> None:
        """Check everything at once.

        Raises:
            ConfigError: a rule or a value that does not exist; every fault is named.
        """
        faults = [
            *_threshold_faults(self.thresholds),
            *_action_faults(self.actions),
            *(
                f"{name} must be {' or '.join(map(repr, get_args(kind)))}, got {value!r}"
                for name, value, kind in (("compare", self.compare, Compare), ("method", self.method, Method))
                if value not in get_args(kind)
            ),
        ]
        if faults:
            raise ConfigError("\n".join(faults))

    def threshold(self, rule: str) -> float | None:
        """Return the score above which a rule's findings count; None where it has none."""
        return self.thresholds.get(rule, RULES[rule].threshold)

    def action(self, rule: str) -> Action:
        """Return what is done about a rule's findings."""
        return self.actions.get(rule, RULES[rule].action)

    @property
    def repairs(self) -> list[str]:
        """The rules whose findings are mended, in the order of mending."""
        return [name for name in RULES if self.action(name) == "fix"]


def _unknown(kind: str, name: str) -> str:
    return f"{kind}: there is no rule {name!r}; alpaca-lora curate --rules lists them"


def _threshold_faults(thresholds: Mapping[str, float]) -> list[str]:
    faults = []
    for name, value in thresholds.items():
        rule = RULES.get(name)
        if rule is None:
            faults.append(_unknown("threshold", name))
        elif rule.floor is None:
            allowed = ", ".join(other.name for other in RULES.values() if other.floor is not None)
            faults.append(f"threshold: {name} is found or not, and has no threshold; those that have one are {allowed}")
        elif isinstance(value, bool) or not isinstance(value, int | float) or not rule.floor <= value < inf:
            faults.append(f"threshold of {name} must be a number from {rule.floor:g} on, got {value!r}")
    return faults


def _action_faults(actions: Mapping[str, Action]) -> list[str]:
    faults = []
    for name, action in actions.items():
        if name not in RULES:
            faults.append(_unknown("action", name))
        elif action not in get_args(Action):
            faults.append(f"action of {name} must be one of {', '.join(get_args(Action))}, got {action!r}")
        elif action == "fix" and RULES[name].repair is None:
            faults.append(f"action of {name} cannot be 'fix', which only a person can do here; use drop, flag or off")
    return faults
