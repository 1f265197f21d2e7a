"""The quick tier of `make crash`: some of its points and kills, and proof that its checks find what is planted."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture
def script(repository, tiny_base):
    """Run code that begins with the imports of the scripts in a fresh process, and return what it printed."""

    def run(*command):
        environment = {**os.environ, "PYTHONPATH": str(repository), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [sys.executable, *map(str, command)],
            capture_output=True,
            text=True,
            timeout=1800,
            env=environment,
            cwd=repository,
            check=False,
        )
        assert done.returncode in (0, 1), done.stderr
        return done.stdout + done.stderr

    return run


def test_a_run_that_fails_anywhere_ends_in_the_same_bytes(script, tiny_base):
    said = script("tests/crash/crash_points.py", "--base", tiny_base, "--every", "71", "--trainer", "ours")
    assert "FAILED" not in said
    assert "alpaca-lora        14 of 14" in said


def test_thirty_random_kills_lose_no_run(script, tiny_base):
    said = script("tests/crash/random_kills.py", "--base", tiny_base, "--kills", "30")
    assert said.splitlines()[-1] == "30 kills: 0 faults"


PLANT = """
import sys
from alpaca_lora import _files
from alpaca_lora.training import checkpoints, trainer
from tests.crash.crash_points import attempt, resumed
from tests.crash.faults import fresh
from tests.crash.runs import place, train, warm

base, planted = sys.argv[1:]
warm()
root = place()

def work(base, run):
    if "unflushed" in planted:
        _files._sync = lambda path: None
    if "unverified" in planted:
        checkpoints.fault_of = lambda path, *_: None if path.exists() else "missing"
    return train(base, run)

_, reference, operations = attempt(lambda: train(base, root / "run"), fresh(root))
"""


@pytest.mark.parametrize(
    ("planted", "said"),
    [("unflushed", "None"), ("unflushed,unverified", "the next run failed")],
)
def test_what_is_not_flushed_is_lost_and_what_is_not_verified_is_used(script, tiny_base, planted, said):
    code = f"""{PLANT}
_, _, operations = attempt(lambda: work(base, root / "run"), fresh(root))
at = operations.index(["rename", "checkpoint-4"])
print("found:", resumed(base, fresh(root), reference["sha256"], "reorder", at, work))
"""
    assert f"found: {said}" in script("-c", code, tiny_base, planted)
