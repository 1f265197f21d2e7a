"""Two processes train what one does: rows, order, sums, checkpoints. The slow tests start them with torchrun."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import pytest
import torch

from alpaca_lora.config import FinetuneConfig
from alpaca_lora.errors import ConfigError
from alpaca_lora.training import ranks
from alpaca_lora.training.sharding import check_sharding

SETTINGS = {
    "epochs": "2",
    "batch-size": "4",
    "micro-batch-size": "1",
    "validation-size": "0",
    "probe-size": "0",
    "precision": "fp32",
    "save-steps": "1",
    "save-limit": "20",
    "learning-rate": "1e-3",
    "lora.dropout": "0.1",
}


class Order:
    def __init__(self, rows):
        self.rows = rows

    def __len__(self):
        return self.rows

    def __iter__(self):
        return iter(range(self.rows))


def batches_of(monkeypatch, processes, rows, micro):
    monkeypatch.setenv("WORLD_SIZE", str(processes))
    for number in range(processes):
        monkeypatch.setenv("RANK", str(number))
        batches = ranks.RankBatches(Order(rows), micro)
        found = list(batches)
        assert len(found) == len(batches)
        yield found


@pytest.mark.parametrize(("processes", "rows", "micro"), [(2, 19, 1), (2, 16, 4), (3, 20, 3), (4, 2, 1), (2, 7, 4)])
def test_every_row_is_taken_once_and_steps_hold_what_they_hold_in_one_process(monkeypatch, processes, rows, micro):
    shares = list(batches_of(monkeypatch, processes, rows, micro))
    turns = [[row for batch in turn for row in batch if row >= 0] for turn in zip(*shares, strict=True)]
    whole = [[*range(start, min(start + processes * micro, rows))] for start in range(0, rows, processes * micro)]
    assert turns == whole


def test_a_process_without_rows_gets_a_blank_one_of_which_nothing_is_learned(monkeypatch):
    shares = list(batches_of(monkeypatch, 2, 3, 1))
    assert shares == [[[0], [2]], [[1], [ranks.RankBatches.BLANK]]]

    class Rows(list):
        column_names = ("input_ids", "labels", "position_ids")

    blank = ranks.WithBlank(Rows(), pad_id=7)[ranks.RankBatches.BLANK]
    assert blank == {"input_ids": [7], "labels": [-100], "position_ids": [0]}


def test_an_open_micro_batch_is_made_smaller_and_the_batch_stays(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "4")
    decided = FinetuneConfig(batch_size=8, micro_batch_size=8)
    shared = ranks.shared_batch(FinetuneConfig(batch_size=8), decided)
    assert (shared.batch_size, shared.micro_batch_size) == (8, 2)
    with pytest.raises(
        ConfigError, match=r"batch_size 8 must be a multiple of 32: 4 processes with micro_batch_size 8"
    ):
        ranks.shared_batch(decided, decided)
    with pytest.raises(ConfigError, match=r"batch_size 6 must be a multiple of"):
        ranks.shared_batch(FinetuneConfig(), FinetuneConfig(batch_size=6, micro_batch_size=2))


def test_one_process_changes_nothing():
    decided = FinetuneConfig(batch_size=8, micro_batch_size=8)
    assert ranks.shared_batch(FinetuneConfig(), decided) == decided
    assert ranks.from_leader(lambda: 3) == 3


@pytest.mark.parametrize("place", ["0", "1"])
def test_more_processes_than_cards_are_refused_by_all_of_them(monkeypatch, place):
    for name, value in {"WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2", "LOCAL_RANK": place}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ConfigError, match=r"2 processes were started .* 1 CUDA devices .* --nproc-per-node 1 "):
        ranks.join()


def test_a_base_is_divided_over_several_processes_and_not_in_four_bits(monkeypatch):
    with pytest.raises(ConfigError, match="this is one: start it with torchrun"):
        check_sharding(FinetuneConfig(shard_base=True))
    monkeypatch.setenv("WORLD_SIZE", "2")
    check_sharding(FinetuneConfig(shard_base=True))
    with pytest.raises(ConfigError, match="divides an unquantised base"):
        check_sharding(FinetuneConfig(shard_base=True, quantization="nf4"))


class TestOwnDirectory:
    """Nothing that a process beside the first one wrote stays behind, even if it was killed."""

    @pytest.fixture(autouse=True)
    def second(self, monkeypatch, tmp_path):
        monkeypatch.setenv("WORLD_SIZE", "2")
        monkeypatch.setenv("RANK", "1")
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def test_it_is_deleted_after_use_and_others_stay(self, tmp_path):
        (tmp_path / "mine").mkdir()
        with ranks.own_directory(tmp_path / "run") as directory:
            directory.mkdir()
            with ranks.own_directory(tmp_path / "run") as other:  # the first one is in use, so it is let be
                other.mkdir()
                assert len(list(tmp_path.iterdir())) == 3
            assert directory.exists()
        assert [path.name for path in tmp_path.iterdir()] == ["mine"]

    def test_what_no_process_holds_any_more_is_deleted_by_the_next(self, tmp_path):
        left = tmp_path / "alpaca-lora-rank-x"
        (left / "run").mkdir(parents=True)
        with ranks.own_directory(tmp_path / "run"):
            assert not left.exists()
        assert list(tmp_path.iterdir()) == []

    def test_a_link_is_not_followed(self, tmp_path):
        (tmp_path / "kept").mkdir()
        (tmp_path / "alpaca-lora-rank-x").symlink_to(tmp_path / "kept")
        with ranks.own_directory(tmp_path / "run"):
            pass
        assert (tmp_path / "kept").is_dir()


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    path = tmp_path_factory.mktemp("records") / "records.json"
    rows = [{"instruction": f"Say {n} in words.", "input": "", "output": f"number {n} is here"} for n in range(15)]
    path.write_text(json.dumps(rows), encoding="utf-8")
    return path


WITHOUT_GATE = """
import sys
from alpaca_lora.cli import main
from alpaca_lora.training import recipe

recipe.check_adapter = lambda *_: ()  # it starts an interpreter and is not in question here
sys.exit(main(sys.argv[1:]))
"""


SPOILED = """
import sys
from alpaca_lora.cli import main
from alpaca_lora.kernels import FastPath

honest = FastPath.loss
FastPath.loss = lambda path, batch, total: honest(path, batch, total) * float("nan")
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def ungated(tmp_path_factory):
    """The program of a command whose runs end without the health gate."""
    script = tmp_path_factory.mktemp("program") / "ungated.py"
    script.write_text(WITHOUT_GATE, encoding="utf-8")
    return (script,)


@pytest.fixture(scope="module")
def command(repository, tiny_base, records):
    """The command of a run in so many processes, and the environment of the tests; `program` may replace ours."""

    def command(processes, output_dir, *flags, program=("-m", "alpaca_lora")):
        launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
        given = [word for name, value in SETTINGS.items() for word in (f"--{name}", value)]
        run = [*program, "finetune", "--base-model", tiny_base, "--data", records, "--no-packing", "--quiet"]
        arguments = [
            sys.executable,
            *(launch if processes > 1 else []),
            *run,
            *given,
            "--output-dir",
            output_dir,
            *flags,
        ]
        environment = {**os.environ, "PYTHONPATH": str(repository), "OMP_NUM_THREADS": "1"}
        return {"args": [str(part) for part in arguments], "env": environment, "text": True, "stderr": subprocess.PIPE}

    return command


def furthest(one, other):
    """The largest difference of two adapters."""
    from safetensors.torch import load_file

    old, new = (load_file(run / "adapter" / "adapter_model.safetensors") for run in (one, other))
    assert old.keys() == new.keys()
    return max((old[name] - new[name]).abs().max().item() for name in old)


def finished(options):
    done = subprocess.run(**options, timeout=300)
    assert done.returncode == 0, done.stderr
    return done


def _remove(path):
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def first_step(run):
    """The line of the first step, whose times no second training gives again."""
    return next(line for line in (run / "metrics.jsonl").read_text("utf-8").splitlines() if '"loss"' in line)


@pytest.fixture(scope="module")
def without_dropout():
    return ("--lora.dropout", "0")


@pytest.fixture(scope="module")
def one_process(command, ungated, tmp_path_factory, without_dropout):
    run = tmp_path_factory.mktemp("one") / "run"
    finished(command(1, run, *without_dropout, program=ungated))
    return run


@pytest.mark.slow
def test_the_leader_of_two_reports_the_records_of_both_when_a_loss_is_no_number(command, tmp_path):
    program = tmp_path / "spoiled.py"
    program.write_text(SPOILED, encoding="utf-8")
    options = command(2, tmp_path / "run", program=(program,))
    done = subprocess.run(**options, timeout=300, check=False)
    assert done.returncode != 0
    report = json.loads((tmp_path / "run" / "nan_report.json").read_text(encoding="utf-8"))
    assert report["step"] == 1
    assert len(report["records"]) == int(SETTINGS["batch-size"])


@pytest.mark.slow
def test_two_processes_train_the_adapter_of_one_and_one_goes_on_with_it(
    command, ungated, one_process, tmp_path, without_dropout
):
    two = tmp_path / "two"
    finished(command(2, two, *without_dropout))
    assert furthest(one_process, two) <= 1e-6
    assert furthest(one_process, one_process) == 0
    began = first_step(two)
    for left in (
        "COMPLETE",
        "adapter",
        *(path.name for path in two.glob("checkpoint-*") if path.name > "checkpoint-4"),
    ):
        _remove(two / left)
    finished(command(1, two, *without_dropout, program=ungated))
    assert first_step(two) == began
    assert not (two / "quarantine").exists()
    assert furthest(one_process, two) <= 1e-6


@pytest.mark.slow
def test_a_divided_base_trains_the_adapter_of_a_whole_one_and_it_loads(command, one_process, tmp_path, without_dropout):
    from alpaca_lora import load

    finished(command(2, tmp_path / "divided", "--shard-base", *without_dropout))
    assert furthest(one_process, tmp_path / "divided") <= 1e-5
    assert "its weights are divided over several processes" in (tmp_path / "divided/COMPLETE").read_text("utf-8")
    assert load(tmp_path / "divided").respond("Say 3 in words.", max_new_tokens=4) is not None


UNEQUAL = """
import json, os, sys
from alpaca_lora.config import FinetuneConfig
from alpaca_lora.training import admission, prepare, ranks

base, data, out, *free = sys.argv[1:]
admission.free_memory_bytes = lambda hardware: int(free[ranks.rank()])
ranks.join()
asked = FinetuneConfig(precision="fp32", packing=False, max_length=1024, batch_size=8, validation_size=0)
with open(f"{out}/{ranks.rank()}.json", "w") as stream:
    stream.write(prepare(base, data, f"{out}/run", asked).config.model_dump_json())
"""


@pytest.mark.slow
def test_the_processes_decide_alike_for_the_one_with_the_least_memory(command, tiny_base, records, tmp_path):
    options = command(2, tmp_path)
    launch = options["args"][: options["args"].index("-m", 3)]
    (tmp_path / "unequal.py").write_text(UNEQUAL, encoding="utf-8")
    free = ("8000000000", "86000000")
    finished({**options, "args": [*launch, str(tmp_path / "unequal.py"), tiny_base, records, str(tmp_path), *free]})
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text("utf-8")) for rank in range(2))
    assert first == second
    assert (first["micro_batch_size"], first["gradient_checkpointing"]) == (1, True)


@pytest.mark.slow
def test_one_killed_process_stops_both_and_the_same_command_goes_on_to_the_same_bytes(
    command, ungated, tmp_path, monkeypatch
):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    finished(command(2, tmp_path / "whole", program=ungated))
    with subprocess.Popen(**command(2, tmp_path / "killed", program=ungated)) as agent:
        deadline = time.monotonic() + 240
        while not (tmp_path / "killed/checkpoint-2/MANIFEST.json").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        workers = subprocess.run(["pgrep", "-P", str(agent.pid)], capture_output=True, text=True).stdout.split()
        assert len(workers) == 2
        os.kill(int(workers[1]), signal.SIGKILL)
        agent.communicate(timeout=120)
        assert agent.returncode != 0
    assert not any(os.path.exists(f"/proc/{worker}") for worker in workers)
    assert not (tmp_path / "killed/COMPLETE").exists()
    began = first_step(tmp_path / "killed")
    done = finished(command(2, tmp_path / "killed", program=ungated))
    assert "Traceback" not in done.stderr
    assert list((tmp_path / "temporary").glob("*alpaca*")) == []
    assert not (tmp_path / "killed/quarantine").exists()
    assert first_step(tmp_path / "killed") == began
    assert furthest(tmp_path / "whole", tmp_path / "killed") == 0
