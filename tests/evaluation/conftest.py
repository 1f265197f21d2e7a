import json
import re

import pytest

from alpaca_lora.evaluation import ModelOutput

_SHOWN = re.compile(
    r"<instruction-(\w{8})>\n(.*)\n</instruction-\1>.*<answer-A-\1>\n(.*)\n</answer-A-\1>"
    r".*<answer-B-\1>\n(.*)\n</answer-B-\1>",
    re.DOTALL,
)


def shown(prompt):
    """What a judge is shown: instruction, answer A, answer B."""
    return _SHOWN.search(prompt).groups()[1:]


def verdict(letter):
    return json.dumps({"verdict": letter})


def prefer_good(prompt):
    """A judge that sees which answer is good, and nothing else."""
    _, first, second = shown(prompt)
    good = [text.startswith("good") for text in (first, second)]
    return verdict("tie" if good[0] == good[1] else "A" if good[0] else "B")


def answers(kinds, generator):
    """One answer to each instruction; no two are equal."""
    return [
        ModelOutput(instruction=f"task {number}", output=f"{kind} answer {number} of {generator}", generator=generator)
        for number, kind in enumerate(kinds)
    ]


@pytest.fixture
def quick_disk(monkeypatch):
    """Do not wait for the disk, where what a crash of the machine leaves is not in question."""
    monkeypatch.setattr("os.fsync", lambda descriptor: None)
