"""What becomes of each piece of an answer: a record, or a decision against it with its reason.

Answers are looked at in the order of their requests, since a task is new only in respect of those before it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from alpaca_lora.records import Record
from alpaca_lora.selfinstruct.fewshot import Asked
from alpaca_lora.selfinstruct.filters import modern_rule, output_rule, stanford_rule, unstorable
from alpaca_lora.selfinstruct.novelty import NoveltyIndex, compared_text, words
from alpaca_lora.selfinstruct.parsing import Parsed, parse_json, parse_numbered
from alpaca_lora.selfinstruct.profiles import Profile
from alpaca_lora.selfinstruct.seeds import Seeds
from alpaca_lora.selfinstruct.tokens import folded, tokens
from alpaca_lora.teachers import Answer

__all__ = ["Chooser", "Decision"]

_CHARACTERS_PER_TOKEN = 32


@dataclass(frozen=True, slots=True)
class Decision:
    """One piece of an answer, and why it is in or out."""

    request: int
    position: int
    """Place in the answer, from 0."""

    record: Record | None
    """None where the piece is no task."""

    rule: str = ""
    """The rule that drops it; empty while it is kept."""

    raw: str = ""
    """The piece, where it is no task."""

    topic: str = ""
    classification: bool = False
    score: float | None = None
    """ROUGE-L to the nearest task, where that drops it."""

    nearest: str = ""
    """That task: `seed 12`, or request and position as `3.1`."""

    @property
    def key(self) -> str:
        """Return its name within the run."""
        return f"{self.request}.{self.position}"

    def to_dict(self) -> dict[str, Any]:
        """Return it as a line of decisions.jsonl."""
        values: dict[str, Any] = {"request": self.request, "position": self.position, "rule": self.rule or "kept"}
        if self.score is not None:
            values |= {"score": round(self.score, 4), "nearest": self.nearest}
        if self.topic:
            values["topic"] = self.topic
        if self.classification:
            values["classification"] = True
        if self.record is None:
            return values | {"raw": self.raw}
        return values | {
            "instruction": self.record.instruction,
            "input": self.record.input,
            "output": self.record.output,
        }


class Chooser:
    """Decides about the answers of one run, one after the other.

    Args:
        profile: which rules apply.
        seeds: tasks that are known from the start.
        threshold: of ROUGE-L.
        with_input: compare inputs too.
        judge_outputs: False where another teacher writes the outputs later.
    """

    def __init__(
        self, profile: Profile, seeds: Seeds, *, threshold: float, with_input: bool, judge_outputs: bool
    ) -> None:
        self._profile, self._with_input = profile, with_input
        self._judge_outputs = judge_outputs and profile.output_rules
        records = [task.record for task in seeds.tasks]
        self._index = NoveltyIndex(
            [compared_text(record, with_input=with_input) for record in records],
            threshold=threshold,
            split=tokens if profile.words == "unicode" else words,
        )
        self._names = [f"seed {number}" for number in range(len(records))]
        self._seen = {_letters(record): name for record, name in zip(records, self._names, strict=True)}

    def decide(self, asked: Asked, answer: Answer | None, *, chat: bool) -> Iterator[Decision]:
        """Yield a decision about each piece of an answer.

        Args:
            asked: the request.
            answer: its answer; None if it was given up.
            chat: whether it comes from a chat model.
        """
        for position, parsed in enumerate(self._pieces(asked, answer, chat=chat)):
            rule, score, nearest = parsed.rule or self._rule(parsed.record), None, ""
            if parsed.record is not None and not rule:
                rule, score, nearest = self._compare(parsed.record, f"{asked.number}.{position}")
            yield Decision(
                request=asked.number,
                position=position,
                record=parsed.record,
                rule=rule or "",
                raw=parsed.raw,
                topic=asked.topic,
                classification=asked.classification,
                score=score,
                nearest=nearest,
            )

    def _pieces(self, asked: Asked, answer: Answer | None, *, chat: bool) -> list[Parsed]:
        if answer is None:
            return [Parsed(None, "no_answer")]
        if answer.finish not in ("stop", "length"):
            return [Parsed(None, f"withheld_{answer.finish}")]
        if len(answer.text) > asked.request.max_tokens * _CHARACTERS_PER_TOKEN:
            return [Parsed(None, "oversized", answer.text[:300])]
        if self._profile.form == "numbered":
            pieces = parse_numbered(answer.text, first=asked.first, finish=answer.finish, chat=chat)
        else:
            pieces = parse_json(asked.request.opening + answer.text, finish=answer.finish)
        return pieces or [Parsed(None, "no_task", answer.text.strip()[:300])]

    def _rule(self, record: Record | None) -> str | None:
        if record is None:
            return None
        instruction_rule = stanford_rule if self._profile.instruction_rules == "stanford" else modern_rule
        rule = unstorable(record) or instruction_rule(record)
        return rule or (output_rule(record) if self._judge_outputs else None)

    def _compare(self, record: Record, name: str) -> tuple[str | None, float | None, str]:
        if self._profile.exact_duplicates:
            known = self._seen.setdefault(_letters(record), name)
            if known != name:
                return "duplicate", 1.0, known
        match = self._index.admit(compared_text(record, with_input=self._with_input))
        if match is not None:
            return "not_novel", match.score, self._names[match.number]
        self._names.append(name)
        return None, None, ""


def _letters(record: Record) -> tuple[str, str]:
    """Return what two tasks have in common that differ in case and white space only."""
    return folded(record.instruction), folded(record.input)
