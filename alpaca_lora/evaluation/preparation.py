"""Everything about an evaluation that is decided before a model is loaded: whom to ask, and which rows may be used."""

import contextlib
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from alpaca_lora._runs import environment
from alpaca_lora._version import __version__
from alpaca_lora.adapters import find_adapter
from alpaca_lora.config import EvaluationConfig
from alpaca_lora.errors import AlpacaLoraError, ConfigError, RecordError
from alpaca_lora.evaluation.answering import list_misfits
from alpaca_lora.evaluation.contamination import UNKNOWN, TrainingData, find_leaks, find_training_data
from alpaca_lora.evaluation.harness import check_tasks, describe_harness
from alpaca_lora.evaluation.outcome import DroppedRow
from alpaca_lora.evaluation.sets import EvaluationSet, Task, digest_of, load_evaluation_set
from alpaca_lora.evaluation.subjects import StoredAnswers, Subject, find_other, find_subject
from alpaca_lora.training.progress import Progress

__all__ = ["Plan", "prepare_evaluation"]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """An evaluation that is ready to start."""

    evaluated: EvaluationSet
    kept: tuple[Task, ...]
    """Rows that everybody is asked."""

    dropped: tuple[DroppedRow, ...]
    trained_on: TrainingData | None
    other_trained_on: TrainingData | None
    """What the adapter that it is compared with was trained on; None without one, or where nobody knows."""

    asked: tuple[Subject | StoredAnswers, ...]
    """The adapter, its base, and what else it is compared with; the last one is the judge's baseline."""

    models: tuple[Mapping[str, Any], ...]
    """What decides the answers of each of them."""

    tasks: tuple[str, ...]
    versions: Mapping[str, str]
    config: EvaluationConfig

    def contract(self) -> dict[str, Any]:
        """Return what decides the numbers, as JSON values: the content of run.json."""
        return {
            "kind": "evaluation",
            "alpaca_lora": __version__,
            "set_sha256": self.evaluated.sha256,
            "trained_on_sha256": self.trained_on and self.trained_on.sha256,
            "other_trained_on_sha256": self.other_trained_on and self.other_trained_on.sha256,
            "rows": len(self.kept),
            "rows_sha256": digest_of(self.kept),
            "models": {str(model["name"]): model for model in self.models},
            "tasks": list(self.tasks),
            "config": self.config.model_dump(mode="json"),
            "versions": dict(self.versions),
            "environment": environment(),
        }


def prepare_evaluation(
    adapter: str | Path,
    *,
    data: str | Path,
    against: str | Path | None,
    trained_on: str | Path | None,
    against_trained_on: str | Path | None,
    base_model: str | None,
    template: str | None,
    tasks: Sequence[str],
    config: EvaluationConfig,
    display: Progress,
) -> Plan:
    """Decide and check everything that needs no weights; see `evaluate`.

    Raises:
        AlpacaLoraError: whatever is wrong with the adapter, the set, the training data, or the tasks.
    """
    if tasks:
        check_tasks(tasks)
    subject = find_subject(adapter, base_model=base_model, template=template)
    other = [find_other(against, subject)] if against is not None else []
    asked = _named([subject, subject.base, *other])
    evaluated = load_evaluation_set(data, config.column_map)
    display.stage("comparing the rows with the training data")
    trained = find_training_data(find_adapter(adapter), trained_on)
    evaluated = _held_out(evaluated, trained)
    other_trained = _training_data_of(asked[2:], against_trained_on)
    dropped = _refuse(evaluated.tasks, {"": trained, f" of {asked[-1].name}": other_trained}, asked, config, display)
    kept = _draw([place for place in range(len(evaluated.tasks)) if place not in dropped], config)
    if not kept:
        raise _none_left(evaluated, dropped, other_trained)
    plan = Plan(
        evaluated=evaluated,
        kept=tuple(evaluated.tasks[place] for place in kept),
        dropped=tuple(DroppedRow(evaluated.tasks[place].record.origin, why) for place, why in sorted(dropped.items())),
        trained_on=trained,
        other_trained_on=other_trained,
        asked=asked,
        models=tuple(item.describe() for item in asked),
        tasks=tuple(tasks),
        versions=describe_harness(tasks) if tasks else {},
        config=config,
    )
    for item in asked:
        if isinstance(item, StoredAnswers):
            item.answer(plan.kept)
    return plan


def _none_left(evaluated: EvaluationSet, dropped: Mapping[int, str], other_trained: TrainingData | None) -> RecordError:
    """Return the error that no row is left; with the way past another adapter's training data."""
    fix = "give rows that the adapter was not trained on"
    if other_trained is not None:
        fix = (
            "give rows that neither adapter was trained on, or go on as if nobody knew the training data of the other "
            f"one, with a report that says so (--against-trained-on {UNKNOWN})"
        )
    return RecordError(
        f"{evaluated.name}: none of its {len(evaluated.tasks)} rows can be reported on, the first because it is "
        f"{dropped[0]}; {fix}"
    )


def _training_data_of(others: Sequence[Subject | StoredAnswers], trained_on: str | Path | None) -> TrainingData | None:
    """Return what another adapter was trained on; None without one, or where nobody knows, which the report says.

    Raises:
        ConfigError: the data is named, and there is no other adapter.
        RecordError: the data that is named cannot be read, or is not what it was trained on.
    """
    directory = next((item.adapter_dir for item in others if isinstance(item, Subject)), None)
    if trained_on is not None:
        if directory is None:
            raise ConfigError("against_trained_on tells of an adapter in --against, and there is none: leave it out")
        return find_training_data(directory, trained_on, flag="--against-trained-on")
    with contextlib.suppress(AlpacaLoraError):
        return find_training_data(directory) if directory else None
    return None


def _held_out(evaluated: EvaluationSet, trained: TrainingData | None) -> EvaluationSet:
    """Return of the very data of a run what the run held out, so that nothing else is compared with all of it.

    Raises:
        RecordError: it held nothing out.
    """
    if trained is None or trained.heldout is None or trained.sha256 != evaluated.sha256:
        return evaluated
    if not trained.heldout:
        raise RecordError(
            f"{evaluated.name}: the adapter was trained on all of its {len(evaluated.tasks)} rows, and its run held "
            "none out; give rows that the adapter was not trained on"
        )
    held = set(trained.heldout)
    tasks = tuple(task for task in evaluated.tasks if task.record in held)
    return replace(evaluated, tasks=tasks) if tasks else evaluated  # no rows alike: read from other columns


def _named(asked: Sequence[Subject | StoredAnswers]) -> tuple[Subject | StoredAnswers, ...]:
    """Return everybody under a name of their own."""
    named: dict[str, Subject | StoredAnswers] = {}
    for item in asked:
        name, number = item.name, 2
        while name in named:
            name, number = f"{item.name} ({number})", number + 1
        named[name] = replace(item, name=name)
    return tuple(named.values())


def _refuse(
    tasks: Sequence[Task],
    trained: Mapping[str, TrainingData | None],
    asked: Sequence[Subject | StoredAnswers],
    config: EvaluationConfig,
    display: Progress,
) -> dict[int, str]:
    """Return why rows cannot be used, by place: they are in the training data, or too long for a model."""
    refused: dict[int, str] = {}
    subjects = [item for item in asked if isinstance(item, Subject)]
    readers = {(id(item.tokenizer), item.base_dir, item.prompter.sha256): item for item in subjects}
    for reader in readers.values():  # an adapter and its base read alike
        refused |= {place: f"too long: {why}" for place, why in list_misfits(reader, tasks, config).items()}
    for whose, data in trained.items():
        leaks = find_leaks([task.record for task in tasks], data.records, display.advance) if data else {}
        for place, leak in leaks.items():
            refused[place] = f"in the training data{whose}: {leak.score:.0%} like {leak.origin}"
    return refused


def _draw(places: Sequence[int], config: EvaluationConfig) -> list[int]:
    if config.rows is None or config.rows >= len(places):
        return list(places)
    return sorted(random.Random(config.seed).sample(places, config.rows))  # noqa: S311
