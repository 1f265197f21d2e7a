"""A judge compares the answers of a model with those of a baseline, both ways round and within a budget.

A win counts only if the judge sees it in both orders. The journal is the only memory, as in generation: what was
answered is never asked again, and a run that goes on ends in the same bytes as one that was never interrupted. An
answer that is no verdict was paid for and is kept, but it decides nothing: the judge is asked once more, and where that
gives none either, the comparison has none. Below 95 % of the comparisons there is no score but an error, and the next
session asks for the missing ones again. A budget that ends later leaves a score, with a note.
"""

import hashlib
import itertools
import json
import random
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from alpaca_lora import _files, _runs
from alpaca_lora._seals import seal
from alpaca_lora._version import __version__
from alpaca_lora.config import JudgeConfig
from alpaca_lora.errors import ConfigError, CoverageError
from alpaca_lora.evaluation.annotations import Annotation, ModelOutput, save_annotations
from alpaca_lora.evaluation.judgement import JudgeResult
from alpaca_lora.evaluation.verdicts import (
    PROMPT_SHA256,
    Comparison,
    pair_outputs,
    read_share,
    verdict_request,
    was_weighed,
)
from alpaca_lora.evaluation.winrate import measure_win_rate
from alpaca_lora.selfinstruct.calls import Caller, Limits, Priced, Stop
from alpaca_lora.selfinstruct.display import Display
from alpaca_lora.selfinstruct.ledger import Budget, Ledger
from alpaca_lora.selfinstruct.loops import in_order, run_in_a_loop
from alpaca_lora.selfinstruct.pricing import check_budget, check_teacher, price_teacher
from alpaca_lora.teachers import Answer, Teacher

__all__ = ["ENOUGH", "check_judge", "judge_outputs"]

ENOUGH = 0.95
"""Share of the comparisons that must have a verdict in both orders for a score."""

SUMMARY = "judge.json"
_TRIES = 2
"""Questions for one verdict in one session."""


def judge_outputs(
    outputs: Sequence[ModelOutput],
    baseline: Sequence[ModelOutput],
    *,
    teacher: Teacher,
    directory: str | Path,
    config: JudgeConfig | None = None,
    progress: bool = False,
) -> JudgeResult:
    """Let a judge compare the answers of a model with those of a baseline to the same instructions.

    The directory is a contract: called again with the same arguments, an interrupted run goes on, and one that is
    complete is read again without a call. It gets `annotations.json`, the verdicts as AlpacaEval stores them, and
    `judge.json`, the figures.

    Args:
        outputs: answers of the model.
        baseline: answers of the baseline, one to each of the model's instructions.
        teacher: the judge: an `OpenAITeacher`, a `LocalTeacher`, which weighs A against B, or another `Teacher`.
        directory: the run directory; new, empty, or this very run's.
        config: seed, repeated verdicts, budget and speed; None takes the defaults.
        progress: show a bar on stderr.

    Raises:
        ConfigError: answers that cannot be paired, no budget, or a price that is not known; nothing was sent then.
        CoverageError: fewer than 95 % of the comparisons have a verdict, as where a budget, the judge's credit or
            silence ended the run; what was answered is kept, and the same call asks for the rest.
        RunError: the directory holds another run, is in use, or its journal is damaged.
        TeacherRefusedError: a wrong key, an unknown model, a redirect; what was answered before is kept.
    """
    config = JudgeConfig() if config is None else config
    priced = check_judge(teacher, config)
    comparisons = pair_outputs(outputs, baseline)
    _runs.check_output_dir(Path(directory), base_dir=None, data=None)
    run_dir = Path(directory).expanduser().resolve()
    questions = 2 * sum(not item.identical for item in comparisons)
    with _files.lock(run_dir), Display(questions, enabled=progress, noun="verdicts") as display:
        _files.sweep_staging(run_dir)
        _runs.enter_run(run_dir, _contract(comparisons, teacher, config), resume="auto")
        with Ledger.open(run_dir / _runs.JOURNAL) as ledger:
            return run_in_a_loop(_Run(run_dir, comparisons, priced, config, ledger, display).finish)


def check_judge(teacher: Teacher, config: JudgeConfig) -> Priced:
    """Return the judge with its price, before anything is asked.

    Raises:
        ConfigError: it is no teacher, it has no budget, or its price is not known.
    """
    if not isinstance(config, JudgeConfig):
        raise ConfigError(f"config must be a JudgeConfig, got {type(config).__name__}")
    check_teacher("judge", teacher)
    check_budget([teacher], config)
    return price_teacher(teacher, config)


def _contract(comparisons: Sequence[Comparison], teacher: Teacher, config: JudgeConfig) -> dict[str, Any]:
    """Return what decides the verdicts; another session of the run must bring the same."""
    texts = [[asdict(item.output), asdict(item.baseline)] for item in comparisons]
    return {
        "kind": "judging",
        "config": config.model_dump(mode="json", exclude=set(config.free)),
        "judge": dict(teacher.describe()),
        "prompt_sha256": PROMPT_SHA256,
        "outputs_sha256": hashlib.sha256(json.dumps(texts, sort_keys=True).encode("utf-8")).hexdigest(),
        "environment": {_runs.LIBRARY: __version__, **_runs.environment()},
    }


@dataclass(frozen=True, slots=True)
class _Question:
    """One comparison in one order; a repeated one is asked under another name."""

    comparison: int
    switched: bool
    repeated: bool = False

    def key(self, number: int) -> str:
        """Return the name of one try, counted from 1."""
        order = "model-first" if self.switched else "baseline-first"
        return f"{'repeat' if self.repeated else 'verdict'}/{self.comparison}/{order}/{number}"


@dataclass(frozen=True, slots=True)
class _Verdict:
    """What the model gets, None where the judge gave no verdict, and the judge's own words."""

    share: float | None = None
    text: str | None = None


@dataclass
class _Run:
    """One session of a run."""

    run_dir: Path
    comparisons: list[Comparison]
    priced: Priced
    config: JudgeConfig
    ledger: Ledger
    display: Display
    asked_now: bool = False
    """Whether anything was asked that the journal did not know."""

    verdicts: dict[_Question, _Verdict] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    """What to know of the verdicts beside those of the teacher."""

    async def finish(self) -> JudgeResult:
        """Ask until enough comparisons have a verdict, or this session has asked each question often enough."""
        self.caller = Caller(self.ledger, Budget.of(self.config), Limits.of(self.config))
        questions = [
            _Question(item.number, switched)
            for item in self.comparisons
            if not item.identical
            for switched in (False, True)
        ]
        try:
            for tries in itertools.count(_TRIES, _TRIES):
                await self._ask_all(questions, tries)
                if self._judged() / len(self.comparisons) >= ENOUGH:
                    break
                if self.asked_now:
                    raise self._too_few(f"the judge was asked {_TRIES} times for each verdict that is missing")
            said = [(question, self.verdicts[question]) for question in questions]
            drawable = [one for one, verdict in said if verdict.share is not None and not was_weighed(verdict.text)]
            drawn = random.Random(self.config.seed).sample(drawable, min(self.config.repeats, len(drawable)))
            await self._ask_all([_Question(item.comparison, item.switched, True) for item in drawn], _TRIES)
        except Stop as stop:
            if self._judged() / len(self.comparisons) < ENOUGH:
                raise self._too_few(f"{stop.status}: {stop}") from stop
            self.notes = (
                f"The judge was not asked everything ({stop.status}: {stop}); the same again asks for the rest.",
            )
        finally:
            await self.priced.teacher.close()
        return self._write()

    async def _ask_all(self, questions: Sequence[_Question], tries: int) -> None:
        async def items() -> AsyncGenerator[_Question, None]:
            for question in questions:
                yield question

        async def ask(question: _Question) -> _Verdict:
            return await self._ask(question, tries)

        async with aclosing(in_order(items(), ask, lambda: self.config.concurrency)) as verdicts:
            async for question, verdict in verdicts:
                self.verdicts[question] = verdict
                self.display.update(len(self.verdicts), f"{self.ledger.settled.tokens:,} tokens")

    async def _ask(self, question: _Question, tries: int) -> _Verdict:
        """Return the first verdict among so many tries, those in the journal first."""
        chat = self.priced.teacher.chat
        answer: Answer | None = None
        for number in range(1, tries + 1):
            key = question.key(number)
            self.asked_now |= key not in self.ledger.answers and key not in self.ledger.skipped
            request = verdict_request(
                self.comparisons[question.comparison],
                key,
                switched=question.switched,
                seed=self.config.seed + number + 10**6 * question.repeated,  # else it is the very request of before
                chat=chat,
            )
            answer = await self.caller.ask(self.priced, request)
            share = read_share(answer, switched=question.switched, chat=chat)
            if share is not None:
                return _Verdict(share, answer.text if answer else None)
        return _Verdict(None, answer.text if answer else None)

    def _judged(self) -> int:
        """Return how many comparisons have a verdict in both orders."""
        shares = {question: verdict.share for question, verdict in self.verdicts.items() if not question.repeated}
        missing = {question.comparison for question, share in shares.items() if share is None}
        return len({question.comparison for question in shares if question.switched} - missing) + sum(
            item.identical for item in self.comparisons
        )

    def _too_few(self, reason: str) -> CoverageError:
        judged, total = self._judged(), len(self.comparisons)
        return CoverageError(
            f"{judged:,} of {total:,} comparisons ({judged / total:.1%}) have a verdict in both orders, and a score "
            f"needs {ENOUGH:.0%} ({reason}). Nothing is lost: run the same again, with a larger budget where that "
            "ended it, and only what is missing is asked for"
        )

    def _write(self) -> JudgeResult:
        annotations = [row for item in self.comparisons for row in self._annotate(item)]
        pairs = [
            (verdict.share, self.verdicts[_Question(question.comparison, question.switched)].share)
            for question, verdict in self.verdicts.items()
            if question.repeated and verdict.share is not None
        ]
        answers = self.ledger.answers
        chat = self.priced.teacher.chat
        price_known = self.priced.price is not None and not self.ledger.total.unpriced
        result = JudgeResult(
            directory=self.run_dir,
            win_rate=measure_win_rate(annotations),
            comparisons=len(self.comparisons),
            identical=sum(item.identical for item in self.comparisons),
            answers_without_verdict=sum(
                read_share(answer, switched=True, chat=chat) is None for answer in answers.values()
            ),
            repeated=len(pairs),
            repeated_alike=sum(_winner(first) == _winner(second) for first, second in pairs),
            tokens=self.ledger.settled.tokens,
            usd=f"{self.ledger.settled.usd:f}" if price_known else None,
            doubtful_tokens=self.ledger.doubtful.tokens,
            judge=dict(self.priced.teacher.describe()),
            prompt_sha256=PROMPT_SHA256,
            seed=self.config.seed,
            notes=(*self.priced.teacher.notes, *self.notes),
        )
        save_annotations(annotations, result.annotations)
        _files.write_json(self.run_dir / SUMMARY, result.to_json())
        seal(self.run_dir)
        return result

    def _annotate(self, item: Comparison) -> list[Annotation]:
        """Return the rows of one comparison: one for each order, or one for two equal answers."""
        rows: list[tuple[bool | None, _Verdict]] = [(None, _Verdict(0.5, None))]
        if not item.identical:
            asked = [_Question(item.number, switched) for switched in (False, True)]
            rows = [(question.switched, self.verdicts.get(question, _Verdict())) for question in asked]
        return [
            Annotation(
                instruction=item.output.instruction,
                output_1=item.baseline.output,
                generator_1=item.baseline.generator,
                output_2=item.output.output,
                generator_2=item.output.generator,
                annotator=str(self.priced.teacher.describe()["model"]),
                preference=None if verdict.share is None else 1 + verdict.share,
                dataset=item.output.dataset,
                is_switched_outputs=switched,
                extra={} if verdict.text is None else {"raw_completion": verdict.text},
            )
            for switched, verdict in rows
        ]


def _winner(share: float | None) -> int | None:
    return None if share is None else (share > 0.5) - (share < 0.5)
