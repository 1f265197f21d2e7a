"""Every row of an evaluation with all that was said to it: what each figure is computed from."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from alpaca_lora import _files
from alpaca_lora.errors import RunError
from alpaca_lora.evaluation.annotations import ModelOutput
from alpaca_lora.evaluation.answering import Answered
from alpaca_lora.evaluation.sets import Task
from alpaca_lora.models import RowLoss
from alpaca_lora.records import Record

__all__ = ["ROWS", "load_rows", "outputs_of", "save_rows"]

ROWS = "rows.jsonl"


def save_rows(path: Path, tasks: Sequence[Task], answered: Mapping[str, Answered]) -> None:
    """Write one line for each row: the task, and by model its answer, whether it ended by itself, and its loss."""
    lines = []
    for place, task in enumerate(tasks):
        models = {
            name: {"answer": said.texts[place], "stopped": said.stopped[place], "loss": loss and asdict(loss)}
            for name, said in answered.items()
            for loss in [said.losses[place]]
        }
        row = asdict(task) | {"models": models}
        row["record"] = {"origin": task.record.origin} | {
            field: getattr(task.record, field) for field in ("instruction", "input", "output")
        }
        lines.append(json.dumps(row, ensure_ascii=False) + "\n")
    _files.write_text(path, "".join(lines))


def load_rows(path: Path) -> tuple[list[Task], dict[str, Answered]]:
    """Read rows back.

    Raises:
        RunError: a line is not what `save_rows` writes.
    """
    tasks, said = [], []
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n")[:-1], start=1):
        try:
            row = json.loads(line)
            said.append({name: _read(model) for name, model in row.pop("models").items()})
            tasks.append(Task(Record(**row.pop("record")), **row))
        except (AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
            raise RunError(f"{path.name}:{number}: the line is damaged ({error})") from error
    names = list(said[0]) if said else []
    if any(list(row) != names for row in said):
        raise RunError(f"{path.name}: every row must have the same models, {', '.join(names)}")
    return tasks, {name: Answered(*zip(*(row[name] for row in said), strict=True)) for name in names}


def outputs_of(tasks: Sequence[Task], name: str, said: Answered) -> list[ModelOutput]:
    """Return what a model answered, as AlpacaEval has it."""
    return [
        ModelOutput(instruction=task.question, output=text, generator=name, dataset=task.dataset)
        for task, text in zip(tasks, said.texts, strict=True)
    ]


def _read(model: Mapping[str, Any]) -> tuple[str, bool | None, RowLoss | None]:
    loss = model["loss"]
    return str(model["answer"]), model["stopped"], None if loss is None else RowLoss(**loss)
