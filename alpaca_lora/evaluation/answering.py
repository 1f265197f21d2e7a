"""What the models of an evaluation say, piece by piece, each on the disk before the next begins.

The pieces are fixed before anything is asked: which rows share a batch does not depend on where an earlier process
ended, so an evaluation that was killed goes on to the same bytes.
"""

import contextlib
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alpaca_lora import _files
from alpaca_lora.config import EvaluationConfig
from alpaca_lora.errors import NonFiniteLossError, RunError
from alpaca_lora.evaluation.sets import Task
from alpaca_lora.evaluation.subjects import StoredAnswers, Subject
from alpaca_lora.models import (
    IGNORED,
    Decoding,
    Response,
    RowLoss,
    encode_prompt,
    generate_responses,
    positions_of,
    row_losses,
)
from alpaca_lora.training.encoding import EncodedRow, Rejection, encode_records
from alpaca_lora.training.progress import Progress

__all__ = ["Answered", "Journal", "ask", "list_misfits", "stored_answers"]

_SCORED_TOGETHER = 32


@dataclass
class Journal:
    """Finished pieces of work by name."""

    path: Path
    pieces: dict[str, Any] = field(default_factory=dict)
    _stream: Any = None

    @classmethod
    @contextlib.contextmanager
    def open(cls, path: Path) -> Iterator["Journal"]:
        """Read a journal, or begin one; a last line that a crash tore counts for nothing.

        Raises:
            RunError: another line is damaged.
        """
        journal = cls(path)
        with _files.open_journal(path) as journal._stream:
            for number, line in enumerate(path.read_text("utf-8", errors="replace").split("\n")[:-1], start=1):
                try:
                    piece = json.loads(line)
                    journal.pieces[piece["piece"]] = piece["value"]
                except (ValueError, LookupError, TypeError) as error:
                    raise RunError(
                        f"{str(path)!r}:{number}: the line is damaged ({error}): delete the file to ask again, or give "
                        "a new output_dir"
                    ) from error
            yield journal

    def add(self, piece: str, value: Any) -> None:
        """Keep what a piece of work gave; it is on the disk when this returns."""
        _files.append_durably(self._stream, json.dumps({"piece": piece, "value": value}, ensure_ascii=False) + "\n")
        self.pieces[piece] = value


@dataclass(frozen=True)
class Answered:
    """What one model said to every row."""

    texts: tuple[str, ...]
    stopped: tuple[bool | None, ...]
    """Whether it ended the answer itself; None for stored answers."""

    losses: tuple[RowLoss | None, ...]
    """Of the reference answer; None where there is none, and for stored answers."""


def list_misfits(subject: Subject, tasks: Sequence[Task], config: EvaluationConfig) -> dict[int, str]:
    """Return why rows are too long for a model, by place."""
    tokenizer, room = subject.tokenizer, positions_of(subject.base_dir)
    misfits = {}
    for place, outcome in enumerate(_encode(subject, tasks, room)):
        needed = len(encode_prompt(tokenizer, subject.prompter.prompt(tasks[place].record))) + config.max_new_tokens
        if isinstance(outcome, Rejection):
            misfits[place] = f"{outcome.tokens} tokens with its reference answer, and {subject.name} reads {room}"
        elif needed > room:
            misfits[place] = f"{needed} tokens with a longest answer, and {subject.name} reads {room}"
    return misfits


def ask(
    subject: Subject,
    tasks: Sequence[Task],
    journal: Journal,
    config: EvaluationConfig,
    display: Progress,
    opened: Callable[[], Any],
) -> Answered:
    """Let a model answer every row and score the reference answers, as far as the journal does not know it.

    Args:
        subject: whom to ask.
        tasks: rows that fit it.
        journal: takes each piece as soon as it is done.
        config: how long answers may be, and how many are written together.
        display: shows how far it is.
        opened: returns its loaded model; called only where something is left to ask.

    Raises:
        NonFiniteLossError: the model computes NaN or infinity.
    """
    rows = [row for row in _encode(subject, tasks, positions_of(subject.base_dir)) if isinstance(row, EncodedRow)]
    work = _divide(subject.name, tasks, rows, config.batch_size)
    if any(name not in journal.pieces for name in work):
        display.stage(f"asking {subject.name}")
        model = opened()
        for done, (name, (kind, part)) in enumerate(work.items(), start=1):
            if name not in journal.pieces:
                said = (
                    _score(model, subject, [rows[n] for n in part])
                    if kind == "loss"
                    else _answer(model, subject, [tasks[n] for n in part], config)
                )
                journal.add(name, said)
            display.advance(done, len(work))
    losses: dict[int, Any] = {}
    responses: dict[int, Any] = {}
    for name, (kind, part) in work.items():
        into, kept = (losses, RowLoss) if kind == "loss" else (responses, Response)
        into.update(zip(part, (kept(*values) for values in journal.pieces[name]), strict=True))
    every = range(len(tasks))
    return Answered(
        tuple(responses[place].text.strip() for place in every),
        tuple(responses[place].stopped for place in every),
        tuple(losses.get(place) for place in every),
    )


def stored_answers(stored: StoredAnswers, tasks: Sequence[Task]) -> Answered:
    """Return what a model that is not here said to every row."""
    return Answered(tuple(stored.answer(tasks)), (None,) * len(tasks), (None,) * len(tasks))


def _encode(subject: Subject, tasks: Sequence[Task], room: int) -> list[EncodedRow | Rejection]:
    records = [task.record for task in tasks]
    return list(encode_records(records, subject.prompter, subject.tokenizer, max_length=room))


def _divide(
    model: str, tasks: Sequence[Task], rows: Sequence[EncodedRow], batch_size: int
) -> dict[str, tuple[str, Sequence[int]]]:
    """Return the pieces of the work by name: their kind, and the places of their rows."""
    scored = [place for place, task in enumerate(tasks) if task.record.output.strip()]
    by_length = sorted(range(len(tasks)), key=lambda place: rows[place].labels.count(IGNORED))
    work = [("loss", part) for part in _parts(scored, _SCORED_TOGETHER)]
    work += [("answers", part) for part in _parts(by_length, batch_size)]
    return {f"{model}/{kind}/{number}": (kind, part) for number, (kind, part) in enumerate(work)}


def _parts(places: Sequence[int], size: int) -> list[Sequence[int]]:
    return [places[start : start + size] for start in range(0, len(places), size)]


def _score(model: Any, subject: Subject, rows: Sequence[EncodedRow]) -> list[tuple[float, int, bool]]:
    losses = row_losses(model, [(row.input_ids, row.labels) for row in rows])
    if not all(math.isfinite(loss.nll) for loss in losses):
        raise NonFiniteLossError(
            f"{subject.name} computes a loss that is not finite: it overflows in {subject.precision}, or is damaged"
        )
    return [(loss.nll, loss.tokens, loss.greedy) for loss in losses]


def _answer(
    model: Any, subject: Subject, tasks: Sequence[Task], config: EvaluationConfig
) -> list[tuple[str, int, bool]]:
    responses = generate_responses(
        model,
        subject.tokenizer,
        [subject.prompter.prompt(task.record) for task in tasks],
        Decoding(max_new_tokens=config.max_new_tokens),
        batch_size=len(tasks),
    )
    return [(response.text, response.tokens, response.stopped) for response in responses]
