"""A finished run on the tiny base model, and what it takes to make one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from alpaca_lora.records import Record

RECORDS = [
    Record(
        f"Say the word {word}.", "twice" if index % 3 == 0 else "", f"{word} {word}", origin=f"words.json:{index + 1}"
    )
    for index, word in enumerate(
        ("red", "blue", "green", "brown", "white", "black", "gold", "pink", "teal", "grey") * 2
    )
]


@pytest.fixture(scope="session")
def run_tiny(tiny_base: Path) -> Callable[..., Any]:
    """Fine-tune the tiny base for a few steps: `run_tiny(directory, records=..., max_steps=4, ...)`."""
    from alpaca_lora.config import FinetuneConfig
    from alpaca_lora.training import finetune

    def run(directory: Path, records: Any = None, **settings: Any) -> Any:
        options = {
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
            **settings,
        }
        data = [{"instruction": r.instruction, "input": r.input, "output": r.output} for r in records or RECORDS]
        return finetune(tiny_base, data, directory, config=FinetuneConfig(**options), progress=False)

    return run


@pytest.fixture(scope="session")
def finished(run_tiny: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The result of an uninterrupted run of six steps."""
    return run_tiny(tmp_path_factory.mktemp("runs") / "finished")
