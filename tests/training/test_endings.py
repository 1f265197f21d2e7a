"""How runs end that do not reach their last step, and that the next one makes up for it."""

import json
import math
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from hashlib import sha256

import pytest
import torch

from alpaca_lora.errors import DiskFullError, DivergenceError, NonFiniteLossError, RunError
from alpaca_lora.training.checkpoints import fault_of, list_checkpoints
from tests.training.conftest import RECORDS, as_rows

pytestmark = pytest.mark.slow
FEW = {"validation_size": 0, "probe_size": 0, "save_steps": 2}


def digest(run):
    return sha256((run / "adapter" / "adapter_model.safetensors").read_bytes()).hexdigest()


def status(run):
    return json.loads((run / "status.json").read_text())


@pytest.fixture(scope="module", autouse=True)
def no_health_gate():
    """Leave out the gate at the end of each run, which starts an interpreter and is not in question here."""
    from alpaca_lora.training import recipe

    gate, recipe.check_adapter = recipe.check_adapter, lambda *_: ()
    yield
    recipe.check_adapter = gate


@pytest.fixture(scope="module")
def whole(run_tiny, tmp_path_factory):
    """The digest of the run that nothing happens to."""
    return digest(run_tiny(tmp_path_factory.mktemp("whole") / "run", **FEW).output_dir)


@pytest.fixture
def at_step(monkeypatch):
    """Let something happen in the forward pass of one optimizer step, once."""

    def plan(step, act):
        from alpaca_lora.training.trainer import AlpacaTrainer

        real, due = AlpacaTrainer.training_step, [True]

        def stepped(trainer, model, inputs, num_items_in_batch=None):
            if due and trainer.state.global_step == step - 1:
                due.clear()
                act(trainer)
            return real(trainer, model, inputs, num_items_in_batch)

        monkeypatch.setattr(AlpacaTrainer, "training_step", stepped)

    return plan


class TestNotANumber:
    """Stops within a step, and nothing of it is on the disk."""

    def spoil(self, trainer):
        """Plant a NaN in the gradient of one matrix, behind the loss."""
        name, parameter = next((n, p) for n, p in trainer.model.named_parameters() if p.requires_grad)
        handle = parameter.register_hook(lambda gradient: (handle.remove(), gradient * math.nan)[1])

    def test_a_gradient_ends_the_run_and_names_the_records(self, run_tiny, tmp_path, at_step, whole):
        run = tmp_path / "run"
        at_step(4, self.spoil)
        with pytest.raises(NonFiniteLossError, match=r"the gradient is nan at step 4, before it reached the weights"):
            run_tiny(run, **FEW)
        report = json.loads((run / "nan_report.json").read_text())
        assert report["step"] == 4
        assert len(report["records"]) == 4
        assert set(report["records"]) <= {f"record {number}" for number in range(1, len(RECORDS) + 1)}
        assert "lora_" in report["first_gradient_not_finite"]
        assert status(run)["status"] == "failed"
        assert [path.name for path in list_checkpoints(run)] == ["checkpoint-2"]
        assert not (run / "adapter").exists()
        self.everything_is_finite(run / "checkpoint-2")
        assert digest(run_tiny(run, **FEW).output_dir) == whole
        assert not (run / "nan_report.json").exists()

    def test_a_held_out_loss_ends_the_run(self, run_tiny, tmp_path, at_step):
        def spoil(trainer):
            embeddings = trainer.model.get_input_embeddings()
            embeddings.register_forward_hook(lambda module, _, output: output * (1 if module.training else math.nan))

        at_step(2, spoil)
        with pytest.raises(NonFiniteLossError, match="the held-out loss is nan: the model overflows"):
            run_tiny(tmp_path / "run", **FEW | {"validation_size": 4})
        assert status(tmp_path / "run")["status"] == "failed"
        assert "NaN" not in read(tmp_path / "run" / "metrics.jsonl")

    def everything_is_finite(self, checkpoint):
        from safetensors.torch import load_file

        assert fault_of(checkpoint) is None
        assert all(tensor.isfinite().all() for tensor in load_file(checkpoint / "adapter_model.safetensors").values())
        state = torch.load(checkpoint / "optimizer.pt", weights_only=True)["state"]
        assert all(torch.as_tensor(value).isfinite().all() for moments in state.values() for value in moments.values())
        json.loads((checkpoint / "trainer_state.json").read_text(), parse_constant=pytest.fail)


def test_a_loss_that_runs_away_stops_the_run(run_tiny, tmp_path, monkeypatch):
    from alpaca_lora.training.guards import Watchdog

    honest = Watchdog.see
    monkeypatch.setattr(Watchdog, "see", lambda self, loss, step: honest(self, loss * (1 if step < 11 else 50), step))
    with pytest.raises(DivergenceError, match="at step 20"):
        run_tiny(tmp_path / "run", **FEW | {"max_steps": 30, "save_steps": 10})
    assert status(tmp_path / "run")["status"] == "stopped"


class TestSignals:
    """The command saves at the next step, and the same command goes on."""

    @pytest.fixture
    def command(self, repository, tiny_base, tmp_path):
        """Start the command, and return its process; `start(trap)` gives it a shell's idea of a handler."""
        (tmp_path / "data.json").write_text(json.dumps(as_rows(RECORDS)))
        settings = {"kernels": {"compiled": False}, "lora": {"rank": 4, "alpha": 8.0, "dropout": 0.1}, "packing": False}
        (tmp_path / "config.yaml").write_text(json.dumps(settings))
        code = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)"  # a shell may ignore it
        code += "; from alpaca_lora.cli import main; sys.exit(main(sys.argv[1:]))"
        arguments = ["finetune", "--base-model", tiny_base, "--data", tmp_path / "data.json"]
        arguments += ["--config", tmp_path / "config.yaml", "--batch-size", "4", "--micro-batch-size", "2"]
        arguments += ["--precision", "fp32", "--validation-size", "0", "--probe-size", "0", "--save-steps", "500"]

        def start(run, steps):
            options = ["--output-dir", run, "--max-steps", str(steps)]
            environment = {**os.environ, "PYTHONPATH": str(repository), "OMP_NUM_THREADS": "1"}
            command = [sys.executable, "-c", code, *map(str, arguments + options)]
            return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)

        return start

    def after_a_step(self, run, process):
        while process.poll() is None and '"loss"' not in (read(run / "metrics.jsonl")):
            time.sleep(0.01)

    @pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
    def test_one_signal_saves_and_exits(self, command, tmp_path, number, code):
        run = tmp_path / "run"
        process = command(run, 400)
        self.after_a_step(run, process)
        process.send_signal(number)
        said = process.communicate(timeout=300)[1]
        assert process.returncode == code, said
        assert "the same command goes on from the run's newest checkpoint" in said
        assert status(run)["status"] == "preempted"
        (checkpoint,) = list_checkpoints(run)
        assert fault_of(checkpoint) is None
        logged = [json.loads(line)["step"] for line in read(run / "metrics.jsonl").splitlines()]
        assert checkpoint.name == f"checkpoint-{logged[-1]}"
        assert not (run / "COMPLETE").exists()


def read(path):
    return path.read_text() if path.exists() else ""


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"precision": None},
        {"neftune_alpha": 5.0},
        {"gradient_checkpointing": True},
        {"loraplus_ratio": 16.0},
        {"lora": {"rank": 4, "rslora": True, "dora": True, "dropout": 0.1}},
        {"kernels": {"enabled": False}},
    ],
    ids=lambda settings: "-".join(map(str, settings)) or "plain",
)
def test_a_run_that_a_signal_ended_ends_in_the_same_bytes(run_tiny, tmp_path, at_step, settings):
    settings = {**FEW, **settings}
    whole = run_tiny(tmp_path / "whole", **settings)
    at_step(3, lambda _: os.kill(os.getpid(), signal.SIGTERM))
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        first = run_tiny(tmp_path / "run", **settings)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert (first.status, first.metrics["steps"]) == ("preempted", 3)
    second = run_tiny(tmp_path / "run", **settings)
    assert second.resumed_from.name == "checkpoint-3"
    assert digest(second.output_dir) == digest(whole.output_dir)


def steps_of(run):
    lines = [json.loads(line) for line in read(run / "metrics.jsonl").splitlines()]
    return [(line["step"], line["loss"], line["tokens"]) for line in lines if "loss" in line]


def test_with_few_lines_no_step_is_lost_where_a_run_goes_on(run_tiny, tmp_path, at_step):
    def die(_):
        raise KeyboardInterrupt

    options = {**FEW, "logging_steps": 5}
    whole = run_tiny(tmp_path / "whole", **options)
    at_step(4, die)
    with pytest.raises(KeyboardInterrupt):
        run_tiny(tmp_path / "run", **options)
    result = run_tiny(tmp_path / "run", **options)
    assert result.resumed_from.name == "checkpoint-2"
    assert [step for step, *_ in steps_of(tmp_path / "run")] == [2, 4, 5, 6]
    assert steps_of(tmp_path / "run") == steps_of(tmp_path / "whole")
    assert result.summary.tokens_trained == whole.summary.tokens_trained


def test_a_checkpoint_that_a_signal_asks_for_has_its_line_too(run_tiny, tmp_path, at_step):
    options = {**FEW, "logging_steps": 5, "max_steps": 4, "save_steps": 4}
    at_step(3, lambda _: os.kill(os.getpid(), signal.SIGTERM))
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        run_tiny(tmp_path / "run", **options)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert [step for step, *_ in steps_of(tmp_path / "run")] == [3]


class TestFullDisk:
    """Older checkpoints stay, nothing half-written does, and room is all that it takes to go on."""

    def test_too_little_room_is_said_before_training(self, run_tiny, tmp_path, monkeypatch):
        usage = shutil.disk_usage(tmp_path)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=2**10))
        with pytest.raises(DiskFullError, match=r"needs 0\.\d MiB and 0\.0 MiB are free"):
            run_tiny(tmp_path / "run", **FEW)

    @pytest.mark.skipif(
        sys.platform != "linux" or os.geteuid() != 0, reason="mounting a small disk needs root, on Linux"
    )
    def test_a_small_disk(self, run_tiny, tmp_path, whole):
        disk = tmp_path / "disk"
        disk.mkdir()
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)], check=False).returncode:
            pytest.skip("this system does not let us mount a small disk")
        ballast = disk / "ballast"
        try:
            self.run_full(
                run_tiny,
                disk / "run",
                fill=lambda: ballast.write_bytes(b"0" * (shutil.disk_usage(disk).free - 20_000)),
                free=ballast.unlink,
                whole=whole,
            )
        finally:
            subprocess.run(["umount", str(disk)], check=True)

    def test_a_limit_on_the_size_of_files(self, run_tiny, tmp_path, whole):
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        self.run_full(
            run_tiny,
            tmp_path / "run",
            fill=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1])),
            free=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, before),
            whole=whole,
        )

    def run_full(self, run_tiny, run, *, fill, free, whole):
        """Let the disk be full while the second checkpoint is written, make room, and go on."""
        from alpaca_lora.cli.failures import explain
        from alpaca_lora.training.trainer import AlpacaTrainer

        real = AlpacaTrainer._write_checkpoint

        def filling(trainer, model, trial, staged):
            if trainer.state.global_step == 4:
                fill()
            return real(trainer, model, trial, staged)

        AlpacaTrainer._write_checkpoint = filling
        try:
            with pytest.raises(DiskFullError) as caught:
                run_tiny(run, **FEW)
        finally:
            AlpacaTrainer._write_checkpoint = real
            free()
        assert explain(caught.value, "finetune") == 4
        assert [path.name for path in list_checkpoints(run)] == ["checkpoint-2"]
        assert fault_of(run / "checkpoint-2") is None
        assert not list(run.glob(".staging*"))
        result = run_tiny(run, **FEW)
        assert result.resumed_from.name == "checkpoint-2"
        assert digest(result.output_dir) == whole


class TestMemory:
    """Half the sequences at a time, and the same rows in every step."""

    @pytest.fixture
    def orders(self, monkeypatch):
        """What each step took, by attempt: the records of its passes together."""
        from alpaca_lora.training.trainer import AlpacaTrainer

        real, seen = AlpacaTrainer.training_step, {}

        def stepped(trainer, model, inputs, num_items_in_batch=None):
            seen.setdefault(trainer.state.global_step, []).append(inputs["records"].flatten().tolist())
            return real(trainer, model, inputs, num_items_in_batch)

        monkeypatch.setattr(AlpacaTrainer, "training_step", stepped)
        return seen

    @pytest.mark.parametrize(("step", "place"), [(1, "the start"), (4, "checkpoint-2")])
    def test_a_step_that_does_not_fit_is_done_in_parts(self, run_tiny, tmp_path, orders, at_step, step, place):
        run_tiny(tmp_path / "whole", **FEW)
        wanted = {step: sorted(sum(passes, [])) for step, passes in orders.items()}
        orders.clear()

        def fail(_):
            orders.clear()
            torch.empty(2**50)  # what a processor says, which has no error of its own for it

        at_step(step, fail)
        result = run_tiny(tmp_path / "run", **FEW)
        assert result.notes == (
            f"out of memory with micro_batch_size 2: went on from {place} with 1, batch_size 4 as before",
        )
        assert {step: sorted(sum(passes, [])) for step, passes in orders.items()} == {
            step: records for step, records in wanted.items() if step in orders
        }
        assert all(len(passes) == 4 for passes in orders.values())
        assert max(orders) == 5

    def test_the_checkpoint_that_was_named_is_gone_on_from_again(self, run_tiny, tmp_path, at_step):
        def die(_):
            raise KeyboardInterrupt

        def fail(_):
            raise torch.OutOfMemoryError("CUDA out of memory")

        at_step(6, die)
        with pytest.raises(KeyboardInterrupt):
            run_tiny(tmp_path / "run", **FEW)
        assert [path.name for path in list_checkpoints(tmp_path / "run")] == ["checkpoint-4", "checkpoint-2"]
        at_step(3, fail)
        result = run_tiny(tmp_path / "run", **FEW, resume=str(tmp_path / "run/checkpoint-2"))
        assert "went on from checkpoint-2 with 1" in result.notes[0]
        assert [step for step, *_ in steps_of(tmp_path / "run")] == [1, 2, 3, 4, 5, 6]

    def test_a_checkpoint_that_was_written_anew_is_gone_on_from(self, run_tiny, tmp_path, at_step):
        def fail(_):
            raise torch.OutOfMemoryError("CUDA out of memory")

        run_tiny(tmp_path / "run", **FEW, max_steps=4)
        (tmp_path / "run/checkpoint-4/optimizer.pt").write_bytes(b"torn")
        at_step(5, fail)
        result = run_tiny(tmp_path / "run", **FEW, resume=str(tmp_path / "run/checkpoint-2"))
        assert "went on from checkpoint-4 with 1" in result.notes[-1]

    @pytest.mark.parametrize(("damaged", "place"), [((4,), "checkpoint-2"), ((4, 2), "the start")])
    def test_a_checkpoint_that_is_damaged_by_then_is_passed_over(self, run_tiny, tmp_path, at_step, damaged, place):
        def fail(_):
            for step in damaged:
                (tmp_path / f"run/checkpoint-{step}/optimizer.pt").write_bytes(b"torn")
            raise torch.OutOfMemoryError("CUDA out of memory")

        at_step(5, fail)
        result = run_tiny(tmp_path / "run", **FEW)
        assert result.notes == (
            *(
                f"skipped checkpoint-{step}: optimizer.pt has changed since it was written; it is now "
                f"quarantine/checkpoint-{step}"
                for step in damaged
            ),
            f"out of memory with micro_batch_size 2: went on from {place} with 1, batch_size 4 as before",
        )
        assert [step for step, *_ in steps_of(tmp_path / "run")] == [1, 2, 3, 4, 5, 6]

    def test_noise_is_still_added_once(self, run_tiny, tmp_path, at_step, monkeypatch):
        from alpaca_lora.training.trainer import AlpacaTrainer

        hooks = []

        def fail(_):
            hooks.clear()
            raise torch.OutOfMemoryError("CUDA out of memory")

        at_step(4, fail)
        stepped = AlpacaTrainer.training_step

        def counted(trainer, model, inputs, num_items_in_batch=None):
            hooks.append(len(trainer.model.get_input_embeddings()._forward_hooks))
            return stepped(trainer, model, inputs, num_items_in_batch)

        monkeypatch.setattr(AlpacaTrainer, "training_step", counted)
        run_tiny(tmp_path / "run", **FEW, neftune_alpha=5.0)
        assert hooks == [1] * 4 * 4

    def test_one_sequence_cannot_be_halved(self, run_tiny, tmp_path, at_step):
        def fail(_):
            raise torch.OutOfMemoryError("CUDA out of memory")

        at_step(2, fail)
        with pytest.raises(torch.OutOfMemoryError):
            run_tiny(tmp_path / "run", **FEW, micro_batch_size=1)
        assert status(tmp_path / "run")["status"] == "failed"


def test_a_run_that_is_made_longer_at_a_constant_rate_is_the_longer_run(run_tiny, tmp_path):
    options = {**FEW, "lr_schedule": "constant"}
    longer = run_tiny(tmp_path / "longer", **options, max_steps=8)
    run_tiny(tmp_path / "run", **options)
    result = run_tiny(tmp_path / "run", **options, max_steps=8)
    assert result.notes == ("the run is made longer: config.max_steps was 6, now 8; total_steps was 6, now 8",)
    assert result.resumed_from.name == "checkpoint-6"
    assert digest(result.output_dir) == digest(longer.output_dir)


def test_a_run_that_is_made_longer_goes_on_at_the_rate_of_its_new_curve(run_tiny, tmp_path, at_step):
    run_tiny(tmp_path / "run", **FEW)
    rates = []
    at_step(7, lambda trainer: rates.append(trainer.optimizer.param_groups[0]["lr"]))
    result = run_tiny(tmp_path / "run", **FEW, max_steps=8)
    assert result.resumed_from.name == "checkpoint-6"
    assert rates[0] > 0


def test_a_resumed_run_saves_and_logs_as_often_as_it_is_told_now(run_tiny, tmp_path, at_step):
    def stop(_):
        raise KeyboardInterrupt

    at_step(4, stop)
    with pytest.raises(KeyboardInterrupt):
        run_tiny(tmp_path / "run", **FEW, save_limit=9)
    result = run_tiny(tmp_path / "run", **FEW | {"save_steps": 3}, save_limit=9, logging_steps=2)
    assert result.resumed_from.name == "checkpoint-2"
    assert [path.name for path in list_checkpoints(result.output_dir)] == [f"checkpoint-{step}" for step in (6, 3, 2)]


def test_a_damaged_best_step_is_found_before_anything_is_trained(run_tiny, tmp_path, at_step, monkeypatch):
    from alpaca_lora.training import trainer

    losses = iter(range(1, 9))
    monkeypatch.setattr(trainer, "heldout_loss", lambda *_: float(next(losses)))
    options, trained = {"keep_best": True, "max_steps": 8}, []

    def stop(_):
        raise KeyboardInterrupt

    at_step(7, stop)
    with pytest.raises(KeyboardInterrupt):
        run_tiny(tmp_path / "run", **options)
    state = json.loads((list_checkpoints(tmp_path / "run")[0] / "trainer_state.json").read_text())
    best = tmp_path / "run" / f"checkpoint-{state['best_global_step']}"
    assert best != list_checkpoints(tmp_path / "run")[0]
    with (best / "adapter_model.safetensors").open("r+b") as stream:
        stream.seek(-1, os.SEEK_END)
        stream.write(b"\x7f")
    at_step(7, trained.append)
    with pytest.raises(RunError, match=r"the best step, cannot be used: adapter_model\.safetensors has changed"):
        run_tiny(tmp_path / "run", **options)
    assert not trained


def test_no_secret_of_the_environment_is_on_the_disk(run_tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_canary0123456789")
    run = run_tiny(tmp_path / "run", **FEW).output_dir
    files = [path for path in run.rglob("*") if path.is_file()]
    assert not [path for path in files if b"hf_canary0123456789" in path.read_bytes()]
    assert not [path for path in files if path.name == "training_args.bin"]
