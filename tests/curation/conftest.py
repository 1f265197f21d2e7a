import json
from pathlib import Path

import pytest

from alpaca_lora.records import Record


@pytest.fixture(scope="session")
def labelled():
    """Records written for this project, each with the names of the rules that it breaks."""
    lines = (Path(__file__).parent / "labelled.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    return [(Record(row["instruction"], row["input"], row["output"]), set(row["labels"])) for row in rows]


@pytest.fixture
def rows():
    """A small set in which something is found by a repair, by a check, by each comparison, and by nothing."""
    return [
        {"instruction": "Name a river in Africa.", "input": "<noinput>", "output": "The Nile."},
        {"instruction": "What is 17 + 26?", "input": "", "output": "17 + 26 = 44"},
        {"instruction": "What is 17 + 26?", "input": "", "output": "17 + 26 = 43"},
        {"instruction": "Translate into German.", "input": "The sea is wide.", "output": "Das Meer ist weit."},
        {"instruction": "Translate into German.", "input": "The sea is wide.", "output": "Die See ist weit."},
        {"instruction": "Translate into German.", "input": "It rains today.", "output": "Heute regnet es."},
        {"instruction": "Write a short poem about the sea.", "input": "", "output": "Blue and wide it lies."},
        {"instruction": "Write a very short poem about the sea.", "input": "", "output": "Salt and foam."},
        {"instruction": "Write a very silly song about the sea.", "input": "", "output": "Row, row, my boat."},
        {"instruction": "Name a river in Africa.", "input": "", "output": "The  Nile."},
        {"instruction": "Describe your house.", "input": "", "output": "As an AI, I have no house."},
        {"instruction": "Explain why leaves fall from the trees in autumn.", "input": "", "output": "To save water."},
    ]
