"""Two ways to ask for tasks: as Stanford did in 2023, defects included, and with the defects mended.

A profile is data. Whatever differs from the published recipe is printed by every run, each with its reason.

Source: https://github.com/tatsu-lab/stanford_alpaca/blob/761dc5bfbdeeffa89b8bff5d038781a4055f796a/generate_instruction.py
and its prompt.txt. The requirements are asked for in words of our own; a run's `requirements` takes the published file.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from alpaca_lora.errors import ConfigError

__all__ = ["MODERN", "PROFILES", "STANFORD", "Profile", "find_profile"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """How tasks are asked for, read and chosen."""

    name: str
    tasks: int
    """Tasks that a request asks for, the examples counted where they are numbered."""

    examples: int
    """Seed tasks shown in each request."""

    temperature: float
    top_p: float
    max_tokens: int
    stop: tuple[str, ...]
    form: Literal["numbered", "json"]
    """How tasks are written: numbered headings between `###`, or one JSON object each."""

    output_first: bool
    """Ask for classification tasks with the label before the input, as Self-Instruct does."""

    instruction_rules: Literal["stanford", "modern"]
    output_rules: bool
    """Whether outputs are looked at too."""

    words: Literal["rouge", "unicode"]
    """What tasks are compared by: rouge_score's words, which are ASCII letters and digits, or those of any script."""

    exact_duplicates: bool
    """Drop an instruction and input that were seen letter by letter, also where they hold no word to compare."""

    requirements: str

    def deviations(self) -> Iterator[str]:
        """Yield what differs from the published generator, each with its reason."""
        for name, reason in _REASONS.items():
            published, here = getattr(STANFORD, name), getattr(self, name)
            if here != published:
                values = f"published {published!r}, here {here!r}: " if len(repr(here)) < _LONGEST_VALUE else ""
                yield f"{name}: {values}{reason}"


STANFORD = Profile(
    name="stanford-2023",
    tasks=20,
    examples=3,
    temperature=1.0,
    top_p=1.0,
    max_tokens=3072,
    stop=("\n20", "20.", "20."),
    form="numbered",
    output_first=False,
    instruction_rules="stanford",
    output_rules=False,
    words="rouge",
    exact_duplicates=False,
    requirements="""\
Please write 20 task instructions, each unlike the others. They will be given to a GPT model, and we shall judge how \
well the model carries them out.

What is required:
1. Hardly use a verb twice, so that the instructions are diverse.
2. Vary the wording as well: questions beside commands.
3. Vary the kind of task: open-ended writing, classification, editing, extraction, and so on.
4. A language model must be able to do it. Ask for no picture and no sound, and for no action such as waking somebody \
at five or setting a reminder.
5. Write the instructions in English.
6. Make each instruction one or two sentences long, as a command or as a question.
7. Give each instruction a fitting input: realistic and concrete, never a placeholder, substantial enough to make the \
task a challenge, but of no more than 100 words.
8. Some instructions need no input, as a question about a general fact. Then write "<noinput>" in its place.
9. The output is a fitting answer to instruction and input. Keep it below 100 words.

List of 20 tasks:
""",
)

MODERN = Profile(
    name="modern",
    tasks=8,
    examples=3,
    temperature=0.8,
    top_p=0.9,
    max_tokens=2560,
    stop=(),
    form="json",
    output_first=True,
    instruction_rules="modern",
    output_rules=True,
    words="unicode",
    exact_duplicates=True,
    requirements="""\
You write tasks from which a language model learns to follow instructions. A task has an instruction, an input where \
the instruction needs something to work on, and the output of an excellent assistant.

Good tasks
- differ from each other in verb, wording, subject and kind: writing, editing, classifying, extracting, explaining, \
calculating, planning, programming;
- can be done by reading and writing alone: no pictures, no sound, no links, no facts of today, no actions in the world;
- are complete: an input is real and specific, never a placeholder, and everything the output needs is there;
- leave the input empty where the instruction says everything;
- have an output that is correct, does exactly what is asked and says no more than it must.
""",
)

_LONGEST_VALUE = 60

PROFILES = {profile.name: profile for profile in (MODERN, STANFORD)}

_REASONS = {
    "tasks": "fewer tasks leave room for whole outputs, and none is lost to the limit of tokens",
    "temperature": "the examples differ from request to request, which is variety enough",
    "top_p": "the unlikeliest tokens are slips, not ideas, in small models above all",
    "max_tokens": "as much as that many tasks need",
    "stop": "the published strings cut every output that holds '2020.' or '$20.'",
    "form": "splitting at '###' breaks on Markdown headings, and every later task of that answer is lost",
    "output_first": "labels come out balanced when the output is written before the input (Self-Instruct)",
    "instruction_rules": "'map', 'file', 'graph', 'draw', 'plot' and 'go to' occur in tasks of pure text too, programs "
    "can be written, and not every language begins with ASCII",
    "output_rules": "the published generator keeps empty, refused and repeated outputs",
    "words": "rouge_score reads ASCII letters and digits only, so that tasks in another language are the same by one "
    "English word that they share, and C++ is C#",
    "exact_duplicates": "what comes again letter by letter is told apart from what is only alike",
    "requirements": "other words, which describe JSON instead of numbered headings",
}


def find_profile(name: str) -> Profile:
    """Return a profile by its name.

    Raises:
        ConfigError: there is none of this name.
    """
    if name not in PROFILES:
        raise ConfigError(f"unknown profile {name!r}; allowed: {', '.join(map(repr, PROFILES))}")
    return PROFILES[name]
