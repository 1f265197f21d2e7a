"""The rows that tell most: where a judge said what nobody would have guessed, or where training changed most."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from alpaca_lora.evaluation.annotations import Annotation
from alpaca_lora.evaluation.answering import Answered
from alpaca_lora.evaluation.logistic import fit_logistic
from alpaca_lora.evaluation.sets import Task

__all__ = ["Compared", "Example", "compare_lengths", "pick_examples"]

_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Compared:
    """What a judge said of one row, and by how much the model's answer is longer."""

    place: int
    share: float
    """What the model gets, from 0 to 1; a half where the two orders have different winners."""

    shares: tuple[float, ...]
    """In each order that was judged."""

    longer: int
    """Characters."""


@dataclass(frozen=True, slots=True)
class Example:
    """One row with all that was said to it."""

    task: Task
    answers: Mapping[str, str]
    """By model."""

    stopped: Mapping[str, bool | None]
    why: str
    """What makes it tell much."""


def compare_lengths(tasks: Sequence[Task], annotations: Sequence[Annotation]) -> tuple[Compared, ...]:
    """Put verdicts beside the lengths of the answers, one entry per row that has one in each order that was asked.

    Args:
        tasks: the rows, in the order in which they were judged.
        annotations: the judge's verdicts, those of one row one after the other.
    """
    waiting: dict[str, list[list[Annotation]]] = {}
    for item in annotations:
        groups = waiting.setdefault(item.instruction, [])
        last = [other.is_switched_outputs for other in groups[-1]] if groups else []
        if len(last) == 1 and {*last, item.is_switched_outputs} == {True, False}:
            groups[-1].append(item)
        else:
            groups.append([item])
    found = []
    for place, task in enumerate(tasks):
        groups = waiting.get(task.question, [])
        group = groups.pop(0) if groups else []
        shares = [item.share for item in group]
        if group and None not in shares:
            given = tuple(float(share) for share in shares if share is not None)
            alike = len({(share > 0.5) - (share < 0.5) for share in given}) == 1
            longer = len(group[0].output_2) - len(group[0].output_1)
            found.append(Compared(place, sum(given) / len(given) if alike else 0.5, given, longer))
    return tuple(found)


def pick_examples(
    tasks: Sequence[Task], answered: Mapping[str, Answered], compared: Sequence[Compared]
) -> tuple[Example, ...]:
    """Return the twenty rows that tell most.

    With a judge: those whose verdict is farthest from what the win rate and the two lengths would make one expect.
    Without: those on which the loss of the reference answer changed most, by the first model against the second.

    Args:
        tasks: the rows.
        answered: what each model said.
        compared: what a judge said; empty for none.
    """
    ranked = _by_surprise(compared) if compared else _by_change(tasks, list(answered.values())[:2])
    return tuple(
        Example(
            task=tasks[place],
            answers={name: said.texts[place] for name, said in answered.items()},
            stopped={name: said.stopped[place] for name, said in answered.items()},
            why=why,
        )
        for place, why in ranked[:_SHOWN]
    )


def _by_surprise(compared: Sequence[Compared]) -> list[tuple[int, str]]:
    longer = np.array([item.longer for item in compared], dtype=float)
    features = np.column_stack([np.ones(len(compared)), np.tanh(longer / (longer.std() or 1.0))])
    shares = np.array([item.share for item in compared])
    expected = 1 / (1 + np.exp(-features @ fit_logistic(features, shares).coefficients))
    order = np.argsort(-np.abs(shares - expected), kind="stable")
    return [(compared[at].place, _verdict(compared[at], float(expected[at]))) for at in order.tolist()]


def _verdict(item: Compared, expected: float) -> str:
    orders = " and ".join(f"{share:.0%}" for share in item.shares)
    length = f"{abs(item.longer)} characters {'longer' if item.longer >= 0 else 'shorter'}"
    return f"the judge gave it {orders}, where {expected:.0%} was to be expected; its answer is {length}"


def _by_change(tasks: Sequence[Task], pair: Sequence[Answered]) -> list[tuple[int, str]]:
    changes = []
    for place in range(len(tasks)):
        losses = [said.losses[place] for said in pair]
        own, other = (None if loss is None else loss.nll / loss.tokens for loss in (*losses, None, None)[:2])
        changes.append((place, None if own is None or other is None else own - other))
    ranked = sorted(changes, key=lambda change: -abs(change[1] or 0.0))
    return [
        (place, "" if change is None else f"the loss of the reference answer changed by {change:+.2f} nats per token")
        for place, change in ranked
    ]
