"""The parts of the benchmark that only compute."""

import importlib
import sys

import pytest

CELL = {
    "tool": "ours",
    "mode": "defaults",
    "round": 0,
    "code": "abc",
    "losses": [1.5, 1.25],
    "cosines": {"layers.0": 0.998, "layers.20": 0.9995, "layers.25": 0.9995, "layers.29": 0.9995},
    "heldout_loss": 1.0,
    "step_ends_seconds": [2.0, 4.0],
    "peak_rss_bytes": 2**30,
    "first_step_seconds": 8.0,
    "faults": [],
}


@pytest.fixture
def part(repository, monkeypatch):
    """Import a file of the benchmark, whose files find each other because its folder is on the path."""
    monkeypatch.syspath_prepend(str(repository / "benchmarks" / "training_speed"))
    parts = ("ablation", "environments", "examine", "gate", "provenance", "report", "results", "run")
    names = (*parts, "shapes", "work", "workload")
    yield lambda name: importlib.import_module(name)
    for name in names:
        sys.modules.pop(name, None)


@pytest.fixture
def cell():
    """Make the report of one process, with whatever differs from a good one."""
    return lambda **changes: CELL | changes
