"""The text of a request, from nothing but the seed tasks, the run's seed and the request's number.

So a request can be written again at any time, by a resumed run or on another machine, without any of the requests
before it. Examples are drawn from the seed tasks only, never from what a teacher wrote: its faults would multiply.
"""

import hashlib
import json
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from alpaca_lora.selfinstruct.profiles import Profile
from alpaca_lora.selfinstruct.seeds import SeedTask
from alpaca_lora.teachers import Request

__all__ = ["NO_INPUT", "Asked", "TaskWriter"]

NO_INPUT = "<noinput>"
_COUNTS = {1: "One task", 2: "Two tasks", 3: "Three tasks"}
_CLASSIFICATION = """\
This time write classification tasks only. Name the possible labels in the instruction, choose the output first, each \
label about as often as the others, and then write an input to which it belongs.
"""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request for tasks, and what it asks for."""

    number: int
    """From 0."""

    request: Request
    smaller: Request
    """The same with one example and half the room, for a teacher with a short context."""

    classification: bool
    topic: str
    """Empty where the run has no topics."""

    first: int
    """Number of the first new task, where tasks are numbered; the same in both requests."""


@dataclass(frozen=True)
class TaskWriter:
    """Writes the requests of one run."""

    profile: Profile
    seeds: Sequence[SeedTask]
    seed: int
    domain: str = ""
    topics: Sequence[str] = ()
    chat: bool = True
    """Whether the teacher answers a message; if not, it goes on with the text and needs a beginning."""

    def asked(self, number: int) -> Asked:
        """Return a request.

        Args:
            number: which one, from 0.
        """
        # A text as seed goes through SHA-512, which is the same on every machine and in every version of Python.
        draw = random.Random(f"{self.seed}/{number}")
        choices = list(self.seeds)
        classification = False
        labelled = [task for task in choices if task.classification]
        if self.profile.output_first and labelled:
            classification = draw.random() < len(labelled) / len(choices)
            choices = labelled if classification else [task for task in choices if not task.classification] or choices
        topic = draw.choice(self.topics) if self.topics else self.domain
        examples = draw.sample(choices, min(self.profile.examples, len(choices)))
        first = len(examples) + 1
        request = Request(
            key=f"tasks/{number}",
            prompt=self._prompt(examples, first, classification=classification, topic=topic),
            opening=self._opening(first),
            max_tokens=self.profile.max_tokens,
            temperature=self.profile.temperature,
            top_p=self.profile.top_p,
            stop=tuple(dict.fromkeys(self.profile.stop)),
            seed=int.from_bytes(hashlib.sha256(f"{self.seed}/{number}".encode()).digest()[:4], "big") >> 1,
            schema=_schema(classification) if self.profile.form == "json" else None,
        )
        smaller = replace(
            request,
            prompt=self._prompt(examples[:1], first, classification=classification, topic=topic),
            max_tokens=request.max_tokens // 2,
        )
        return Asked(number, request, smaller, classification, topic, first)

    def _prompt(self, examples: Sequence[SeedTask], first: int, *, classification: bool, topic: str) -> str:
        if self.profile.form == "numbered":
            numbered = enumerate(examples, start=first - len(examples))
            return self.profile.requirements + "\n" + "".join(_numbered(*item) for item in numbered)
        parts = [self.profile.requirements]
        if self.domain:
            parts.append(f"All tasks belong to this field: {self.domain}\n")
        if topic and topic != self.domain:
            parts.append(f"This time they are about: {topic}\n")
        if classification:
            parts.append(_CLASSIFICATION)
        shown = "\n".join(_object(example, output_first=classification) for example in examples)
        new = "unlike these examples in subject and kind"
        if self.chat:
            parts.append(
                f"Write {self.profile.tasks} new tasks, {new}, each as a JSON object of the same form. Answer with "
                f'{{"tasks": [...]}} and nothing else. Examples:\n{shown}\n'
            )
        else:
            parts.append(
                f"{_COUNTS[len(examples)]}, and then {self.profile.tasks} new ones, {new}, one JSON object per line:\n"
                f"{shown}\n"
            )
        return "\n".join(parts)

    def _opening(self, first: int) -> str:
        if self.profile.form == "numbered":
            return f"###\n{first}. Instruction:"
        return "" if self.chat else '{"instruction": "'


def _numbered(number: int, task: SeedTask) -> str:
    instruction = re.sub(r"\s+", " ", task.record.instruction).strip().rstrip(":")
    given = task.record.input or NO_INPUT
    return (
        f"###\n{number}. Instruction: {instruction}\n{number}. Input:\n{given}\n"
        f"{number}. Output:\n{task.record.output}\n"
    )


def _object(task: SeedTask, *, output_first: bool) -> str:
    record = task.record
    fields = {"instruction": record.instruction, "input": record.input, "output": record.output}
    order = ("instruction", "output", "input") if output_first else ("instruction", "input", "output")
    return json.dumps({name: fields[name] for name in order}, ensure_ascii=False)


def _schema(classification: bool) -> dict[str, Any]:
    order = ["instruction", "output", "input"] if classification else ["instruction", "input", "output"]
    task = {
        "type": "object",
        "properties": {name: {"type": "string"} for name in order},
        "required": order,
        "additionalProperties": False,
    }
    return {
        "type": "object",
        "properties": {"tasks": {"type": "array", "items": task}},
        "required": ["tasks"],
        "additionalProperties": False,
    }
