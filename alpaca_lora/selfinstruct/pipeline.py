"""The whole of generation, as a story: ask for tasks, read, filter, compare, answer, judge, keep.

The journal is the only memory. A run that goes on begins again from the first request, finds its answers there, and
decides everything once more, so it ends in the same bytes as one that was never interrupted. Files that people read are
written at the end from what was decided.
"""

import itertools
import json
from collections import Counter, deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NoReturn, cast

from alpaca_lora import _files, _runs
from alpaca_lora._seals import seal
from alpaca_lora.config import SelfInstructConfig
from alpaca_lora.records import Record, save_records
from alpaca_lora.selfinstruct.calls import Caller, Priced, Status, Stop
from alpaca_lora.selfinstruct.choosing import Chooser, Decision
from alpaca_lora.selfinstruct.display import Display
from alpaca_lora.selfinstruct.fewshot import Asked
from alpaca_lora.selfinstruct.filters import output_rule, unstorable
from alpaca_lora.selfinstruct.ledger import Ledger
from alpaca_lora.selfinstruct.loops import in_order, run_in_a_loop
from alpaca_lora.selfinstruct.passes import (
    answer_request,
    answered,
    read_topics,
    read_verdict,
    topics_request,
    verdict_request,
)
from alpaca_lora.selfinstruct.preparation import Preparation, prepare_generation
from alpaca_lora.selfinstruct.summary import Coverage, GenerationSummary, usd
from alpaca_lora.teachers import FREE, Answer, Teacher

__all__ = ["GenerationResult", "generate_instructions"]

RECORDS, DECISIONS, SUMMARY = "records.jsonl", "decisions.jsonl", "summary.json"


@dataclass(frozen=True)
class GenerationResult:
    """What a run of generation left behind."""

    output_dir: Path
    records: Path
    """The kept rows, as `finetune` and `curate` read them."""

    summary: GenerationSummary

    @property
    def status(self) -> Status:
        """Return why the run ended: `completed`, or what keeps it from that."""
        return self.summary.status


def generate_instructions(
    teacher: Teacher,
    output_dir: str | Path = "runs/generated",
    *,
    config: SelfInstructConfig | None = None,
    answers: Teacher | None = None,
    judge: Teacher | None = None,
    progress: bool = True,
) -> GenerationResult:
    """Let a teacher write instruction records, within a budget that holds whatever happens.

    The directory is a contract: called again with the same arguments, an interrupted run goes on, and one that is
    complete is read again without a call. A larger `num` or budget goes on from there.

    Args:
        teacher: writes tasks: an `OpenAITeacher`, a `LocalTeacher`, or anything that is a `Teacher`.
        output_dir: the run directory; new, empty, or this very run's.
        config: how many, in which way, at what cost; None takes the defaults.
        answers: answers each new task again, in place of the output that came with it.
        judge: says of each task whether its output is right; only those are kept.
        progress: show a bar on stderr.

    Returns:
        Where the records are, what they cost, and why the run ended.

    Raises:
        ConfigError: settings that cannot work, no budget, or a price that is not known; nothing was sent then.
        RecordError: the seed tasks cannot be read.
        RunError: the directory holds another run, is in use, or its journal is damaged.
        TeacherRefusedError: a wrong key, an unknown model, a redirect; what was answered before is kept.
    """
    prepared = prepare_generation(teacher, output_dir, config=config, answers=answers, judge=judge)
    run_dir = prepared.run_dir
    with _files.lock(run_dir), Display(prepared.config.num, enabled=progress) as display:
        _files.sweep_staging(run_dir)
        _runs.enter_run(run_dir, prepared.contract(), resume="auto")
        with Ledger.open(run_dir / _runs.JOURNAL) as ledger:
            return run_in_a_loop(_Run(prepared, ledger, display).finish)


@dataclass
class _Run:
    """One session of a run."""

    prepared: Preparation
    ledger: Ledger
    display: Display
    decisions: list[Decision] = field(default_factory=list)
    kept: list[Decision] = field(default_factory=list)
    requests: int = 0
    waiting: deque[int] = field(default_factory=deque)
    """Of each task that is new and not yet decided about, the request that it comes from."""

    def __post_init__(self) -> None:
        """Take from the preparation what is used all the time."""
        self.config, self.writer = self.prepared.config, self.prepared.writer
        self.chooser = Chooser(
            self.prepared.profile,
            self.prepared.seeds,
            threshold=self.config.novelty_threshold,
            with_input=self.config.novelty_with_input,
            judge_outputs=self.prepared.answers is None,
        )

    async def finish(self) -> GenerationResult:
        """Work until there is a reason to stop, and write the files."""
        self.caller = Caller(self.ledger, self.prepared.budget, self.prepared.limits)
        status: Status = "pilot"
        reason = ""
        try:
            await self._choose_topics()
            async with aclosing(self._stages()) as decided:
                async for decision in decided:
                    if decision is not None:
                        self._decide(decision)
            reason = f"{self.requests} requests were asked for"
        except Stop as stop:
            status, reason = stop.status, "" if stop.status == "completed" else str(stop)
        finally:
            for priced in self.prepared.priced:
                await priced.teacher.close()
        return self._write(status, reason)

    async def _choose_topics(self) -> None:
        if self.config.domain:
            answer = await self.caller.ask(self.prepared.tasks, topics_request(self.config.domain))
            self.writer = replace(self.writer, topics=read_topics(answer))

    def _stages(self) -> AsyncGenerator[Decision | None, None]:
        decided = self._new_tasks()
        if self.prepared.answers is not None:
            decided = self._pass(decided, self._answer)
        if self.prepared.judge is not None:
            decided = self._pass(decided, self._judge)
        return decided

    def _decide(self, decision: Decision) -> None:
        self.waiting.popleft()
        self.decisions.append(decision)
        if not decision.rule:
            self.kept.append(decision)
            self.display.update(len(self.kept), self._cost())
            if len(self.kept) == self.config.num:
                self._stop("completed", "")
        self._check_patience()

    async def _new_tasks(self) -> AsyncGenerator[Decision | None, None]:
        """Yield the tasks that pass the rules on text and novelty, in the order of requests.

        A request without such a task yields None while others are still looked at, so that it has its place in the
        window of a pass: else requests would go on while nothing is decided.
        """
        async with aclosing(in_order(self._requests(), self._ask, self._window)) as answers:
            async for asked, answer in answers:
                self.requests += 1
                decisions = list(self.chooser.decide(asked, answer, chat=self.prepared.tasks.teacher.chat))
                alive: list[Decision | None] = [decision for decision in decisions if not decision.rule]
                self.decisions += [decision for decision in decisions if decision.rule]
                self.waiting += [asked.number] * len(alive)
                for decision in alive or [None] * bool(self.waiting):
                    yield decision
                self.display.update(len(self.kept), self._cost())
                self._check_patience()

    def _check_patience(self) -> None:
        """Stop where too many requests in a row gave nothing, once nothing that they gave is still looked at."""
        decided = self.waiting[0] if self.waiting else self.requests
        if decided >= self._dry_end:
            self._stop("dry", f"the last {self.config.patience} requests gave no row that is kept")

    @property
    def _dry_end(self) -> int:
        """Return how many requests there are before the run is dry, as far as is known."""
        return (self.kept[-1].request if self.kept else -1) + 1 + self.config.patience

    def _stop(self, status: Status, reason: str) -> NoReturn:
        """End the run, and let no other call begin."""
        stop = Stop(status, reason)
        self.caller.halt(stop)
        raise stop

    async def _requests(self) -> AsyncGenerator[Asked, None]:
        for number in itertools.count() if self.config.pilot is None else range(self.config.pilot):
            yield self.writer.asked(number)

    async def _ask(self, asked: Asked) -> Answer | None:
        return await self.caller.ask(self.prepared.tasks, asked.request, asked.smaller)

    def _window(self) -> int:
        """Return how many requests the missing rows need, judged by those so far, within the limit."""
        expected = (len(self.kept) + self.prepared.profile.tasks / 2) / (self.requests + 1)
        missing = self.config.num - len(self.kept) - len(self.waiting)
        return min(self.config.concurrency, max(1, round(missing / expected)))

    async def _pass(
        self, source: AsyncGenerator[Decision | None, None], work: Callable[[Decision], Awaitable[Decision]]
    ) -> AsyncGenerator[Decision | None, None]:
        """Let a teacher look at each task, many at once, and yield them in order."""

        async def look(decision: Decision | None) -> Decision | None:
            return None if decision is None else await work(decision)

        def window() -> int:
            return min(self.config.concurrency, self.config.num - len(self.kept))

        async with aclosing(source), aclosing(in_order(source, look, window)) as results:
            async for _, decision in results:
                yield decision

    async def _answer(self, decision: Decision) -> Decision:
        task, teacher = cast("Record", decision.record), cast("Priced", self.prepared.answers)
        answer = await self.caller.ask(teacher, answer_request(decision.key, task))
        record, rule = answered(task, answer)
        return replace(decision, record=record, rule=rule or unstorable(record) or output_rule(record) or "")

    async def _judge(self, decision: Decision) -> Decision:
        if decision.rule:
            return decision
        task, teacher = cast("Record", decision.record), cast("Priced", self.prepared.judge)
        answer = await self.caller.ask(teacher, verdict_request(decision.key, task))
        return replace(decision, rule=read_verdict(answer) or "")

    def _cost(self) -> str:
        """Return what the rows cost so far, and will cost in the end."""
        settled, paid = self.ledger.settled, self.prepared.tasks.price not in (None, FREE)
        spent = usd(settled.usd) if paid else f"{settled.tokens:,} tokens"
        if not self.kept:
            return spent
        scale = self.config.num / len(self.kept)
        return f"{spent} of about {usd(float(settled.usd) * scale) if paid else format(settled.tokens * scale, ',.0f')}"

    def _write(self, status: Status, reason: str) -> GenerationResult:
        decisions = sorted(self.decisions, key=_place)
        if status == "completed":  # what was looked at ahead of need says nothing about these rows
            decisions = [decision for decision in decisions if _place(decision) <= _place(self.kept[-1])]
            self.requests = self.kept[-1].request + 1
        elif status == "dry":
            self.requests = self._dry_end
            decisions = [decision for decision in decisions if decision.request < self.requests]
        run_dir, ledger = self.prepared.run_dir, self.ledger
        summary = GenerationSummary(
            status=status,
            reason=reason,
            profile=self.prepared.profile.name,
            models=self.prepared.models,
            wanted=self.config.num,
            kept=len(self.kept),
            requests=self.requests,
            dropped=dict(Counter(decision.rule for decision in decisions if decision.rule).most_common()),
            settled=ledger.settled,
            doubtful=ledger.doubtful,
            budget=self.prepared.budget,
            priced=not ledger.total.unpriced and all(priced.price is not None for priced in self.prepared.priced),
            estimated=ledger.estimated,
            faults=ledger.faults,
            skipped=ledger.skipped,
            coverage=Coverage.of(self.kept, self.writer.topics),
            deviations=self.prepared.deviations,
            notes=[note for priced in self.prepared.priced for note in priced.teacher.notes],
        )
        save_records([decision.record for decision in self.kept if decision.record], run_dir / RECORDS)
        lines = (json.dumps(decision.to_dict(), ensure_ascii=False) + "\n" for decision in decisions)
        # Half a character has no UTF-8; with a backslash it is the same text in JSON.
        _files.write_bytes(run_dir / DECISIONS, "".join(lines).encode("utf-8", "backslashreplace"))
        _files.write_json(run_dir / SUMMARY, summary.to_dict())
        seal(run_dir)
        return GenerationResult(run_dir, run_dir / RECORDS, summary)


def _place(decision: Decision) -> tuple[int, int]:
    return decision.request, decision.position
