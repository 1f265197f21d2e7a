"""A finished run on the tiny base model, and what it takes to make one."""

import json
import os
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

from alpaca_lora.records import Record
from tests import warm

RECORDS = [
    Record(
        f"Say the word {word}.", "twice" if index % 3 == 0 else "", f"{word} {word}", origin=f"words.json:{index + 1}"
    )
    for index, word in enumerate(
        ("red", "blue", "green", "brown", "white", "black", "gold", "pink", "teal", "grey") * 2
    )
]


SETTINGS = {
    "max_steps": 6,
    "batch_size": 4,
    "micro_batch_size": 2,
    "packing": False,
    "precision": "fp32",
    "learning_rate": 5e-3,
    "validation_size": 4,
    "probe_size": 2,
    "probe_max_new_tokens": 8,
    "save_steps": 2,
    "eval_steps": 2,
    "lora": {"rank": 4, "alpha": 8.0, "dropout": 0.1},
}


def as_rows(records: Any) -> list[dict[str, str]]:
    return [{"instruction": r.instruction, "input": r.input, "output": r.output} for r in records]


@pytest.fixture(scope="session")
def run_tiny(tiny_base: Path) -> Callable[..., Any]:
    """Fine-tune the tiny base for a few steps: `run_tiny(directory, records=..., max_steps=4, ...)`."""
    from alpaca_lora.config import FinetuneConfig
    from alpaca_lora.training import finetune

    def run(directory: Path, records: Any = None, **settings: Any) -> Any:
        config = FinetuneConfig(**{**SETTINGS, **settings})
        return finetune(tiny_base, as_rows(records or RECORDS), directory, config=config, progress=False)

    return run


@pytest.fixture(scope="session")
def start_tiny(tiny_base: Path) -> Callable[[Path], BaseProcess]:
    """Start the same run in a process of its own, to be killed."""
    code = (
        "import json, sys; from alpaca_lora import FinetuneConfig, finetune; base, data, out, config = sys.argv[1:];"
        "finetune(base, json.loads(data), out, config=FinetuneConfig(**json.loads(config)), progress=False)"
    )

    def start(directory: Path) -> BaseProcess:
        arguments = [str(tiny_base), json.dumps(as_rows(RECORDS)), str(directory), json.dumps(SETTINGS)]
        return warm.start(code, arguments, env=os.environ)

    return start


@pytest.fixture(scope="session")
def finished(run_tiny: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The result of an uninterrupted run of six steps."""
    return run_tiny(tmp_path_factory.mktemp("runs") / "finished")
