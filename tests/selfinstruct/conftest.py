import json
from decimal import Decimal

import pytest

from alpaca_lora import OpenAITeacher, SelfInstructConfig, generate_instructions

KEY = "sk-canary-0123456789abcdef"


@pytest.fixture
def key(monkeypatch):
    """A key in the environment, to be looked for everywhere."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    return KEY


@pytest.fixture
def quick_disk(monkeypatch):
    """Do not wait for the disk, where what a crash of the machine leaves is not in question."""
    monkeypatch.setattr("os.fsync", lambda descriptor: None)


@pytest.fixture
def generate(key, quick_disk, tmp_path):
    """Run one session against a server: `generate(server, num=20)`; the directory is always the same."""

    def run(server, directory="run", *, answers=None, judge=None, deadline_seconds=5.0, **settings):
        config = SelfInstructConfig(**{"num": 20, "budget_tokens": 10**9, "pause_seconds": 0.001, **settings})
        others = [None if model is None else OpenAITeacher(model, base_url=server.url) for model in (answers, judge)]
        return generate_instructions(
            OpenAITeacher("teacher-a", base_url=server.url, deadline_seconds=deadline_seconds),
            tmp_path / directory,
            config=config,
            answers=others[0],
            judge=others[1],
            progress=False,
        )

    return run


@pytest.fixture
def prices(tmp_path):
    """A price file: 1 dollar per million tokens in, 2 out."""
    path = tmp_path / "prices.json"
    path.write_text(json.dumps({"teacher-a": {"input": 1, "output": 2}}))
    return str(path)


def billed(server):
    """What the server would charge, in tokens and in dollars at the prices above."""
    tokens = sum(charge.prompt_tokens + charge.completion_tokens for charge in server.bill)
    usd = sum(Decimal(charge.prompt_tokens + 2 * charge.completion_tokens) for charge in server.bill) / 10**6
    return tokens, usd


@pytest.fixture(name="billed")
def _billed():
    return billed
