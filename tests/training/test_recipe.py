import json
import shutil
import signal
import time
from hashlib import sha256

import pytest
import torch

from alpaca_lora import Record, _files
from alpaca_lora._seals import SEAL, read_seal, seal, seal_faults
from alpaca_lora.adapters import check_adapter, read_sidecar
from alpaca_lora.errors import ConfigError, EncodingError, NonFiniteLossError, RecordError, RunError
from alpaca_lora.training import recipe
from alpaca_lora.training.checkpoints import fault_of

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("warm_gates")]


def digest(result):
    return sha256((result.adapter_dir / "adapter_model.safetensors").read_bytes()).hexdigest()


def test_the_run_directory_holds_what_it_promises(finished):
    names = {path.name for path in finished.output_dir.iterdir() if not path.name.startswith(".")}
    assert names == {
        "run.json",
        "metrics.jsonl",
        "checkpoint-4",
        "checkpoint-6",
        "adapter",
        "report.html",
        "loss.png",
        "README.md",
        "COMPLETE",
        "status.json",
        "SHA256SUMS",
    }
    assert json.loads((finished.output_dir / "status.json").read_text()) == {"status": "completed", "reason": ""}


def test_training_lowers_the_loss_on_records_that_it_never_saw(finished):
    assert finished.metrics["heldout_loss_after"] < finished.metrics["heldout_loss_before"]
    assert finished.status == "completed"
    assert finished.metrics["steps"] == 6


def test_metrics_hold_one_line_per_step_and_evaluation(finished):
    lines = [json.loads(line) for line in (finished.output_dir / "metrics.jsonl").read_text().splitlines()]
    steps = [line for line in lines if "loss" in line]
    assert [line["step"] for line in steps] == [1, 2, 3, 4, 5, 6]
    assert [line["step"] for line in lines if "heldout_loss" in line] == [0, 2, 4, 6]
    assert set(steps[0]) == {
        "step",
        "loss",
        "grad_norm",
        "learning_rate",
        "tokens",
        "tokens_per_second",
        "memory_bytes",
        "seconds",
    }
    assert steps[-1]["tokens"] == finished.summary.tokens_trained


def test_the_sidecar_knows_its_training(finished, tiny_base):
    sidecar = read_sidecar(finished.adapter_dir)
    assert sidecar.base_model == str(tiny_base)
    assert sidecar.losses != sidecar.base_losses
    assert check_adapter(finished.adapter_dir, tiny_base) == pytest.approx(sidecar.losses, abs=1e-5)


def test_every_record_is_accounted_for(run_tiny, tmp_path):
    long = Record("Say it.", "", "word " * 400, origin="words.json:99")
    result = run_tiny(tmp_path / "run", [*[Record(f"Say {n}.", "", f"{n} {n}") for n in range(12)], long], max_steps=1)
    data = result.summary.data
    assert data.trained_rows + data.heldout_rows + len(data.dropped) == 13
    assert [(row.origin, row.reason) for row in data.dropped] == [("record 13", "longer than 512 tokens")]


class TestRepeat:
    """Equal input gives equal bytes, and a finished run is not run again."""

    def test_two_runs_give_the_same_bytes(self, finished, run_tiny, tmp_path):
        assert digest(run_tiny(tmp_path / "again")) == digest(finished)

    def test_another_seed_gives_other_bytes(self, finished, run_tiny, tmp_path):
        assert digest(run_tiny(tmp_path / "other", seed=43)) != digest(finished)

    def test_a_complete_run_returns_its_result(self, finished, run_tiny):
        before = {path: path.stat().st_mtime_ns for path in finished.output_dir.rglob("*") if path.is_file()}
        again = run_tiny(finished.output_dir)
        assert again.summary == finished.summary
        assert {p: p.stat().st_mtime_ns for p in before} == before

    def test_what_an_export_is_writing_into_the_run_stays(self, finished, run_tiny):
        with _files.scratch_directory(finished.output_dir) as staged:
            run_tiny(finished.output_dir)
            assert staged.is_dir()

    @pytest.mark.catalogue(42)
    def test_other_data_may_not_enter(self, finished, run_tiny):
        with pytest.raises(RunError, match=r"data\.sha256 was '[0-9a-f]{32}"):
            run_tiny(finished.output_dir, [Record(f"Say {n}.", "", f"{n}") for n in range(20)])

    @pytest.mark.catalogue(75, 82)
    def test_other_settings_may_not_enter(self, finished, run_tiny):
        with pytest.raises(RunError, match=r"config\.learning_rate was 0\.005, now 0\.004"):
            run_tiny(finished.output_dir, learning_rate=4e-3)


class TestResume:
    """An interrupted run ends with the bytes of an uninterrupted one."""

    @pytest.fixture
    def interrupted(self, finished, tmp_path):
        """The run as it stood after its fourth step."""
        run = tmp_path / "run"
        shutil.copytree(finished.output_dir, run)
        for name in ("COMPLETE", "report.html", "loss.png", "README.md"):
            (run / name).unlink()
        for name in ("adapter", "checkpoint-6"):
            shutil.rmtree(run / name)
        return run

    def test_the_adapter_is_the_same_to_the_byte(self, interrupted, run_tiny, finished):
        result = run_tiny(interrupted)
        assert result.resumed_from == interrupted / "checkpoint-4"
        assert digest(result) == digest(finished)

    @pytest.mark.parametrize("seen", ["metrics.jsonl", "checkpoint-2", "checkpoint-4", "adapter"])
    def test_kill_9_costs_no_byte(self, start_tiny, run_tiny, finished, tmp_path, seen):
        run, process = tmp_path / "run", start_tiny(tmp_path / "run")
        while process.exitcode is None and not (run / seen).exists():
            time.sleep(0.002)
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        assert digest(run_tiny(run)) == digest(finished)
        assert [path.name for path in run.iterdir() if path.name.startswith((".staging", ".retired"))] == []

    def test_no_step_is_written_twice(self, interrupted, run_tiny):
        run_tiny(interrupted)
        lines = [json.loads(line) for line in (interrupted / "metrics.jsonl").read_text().splitlines()]
        assert [line["step"] for line in lines if "loss" in line] == [1, 2, 3, 4, 5, 6]
        assert [line["step"] for line in lines if "heldout_loss" in line] == [0, 2, 4, 6]

    @pytest.mark.parametrize("schedule", ["cosine", "constant"])
    def test_a_run_whose_last_step_is_done_is_only_finished(self, run_tiny, tmp_path, schedule):
        options = {"lr_schedule": schedule, "max_steps": 5}
        whole = run_tiny(tmp_path / "run", **options)
        (whole.output_dir / "COMPLETE").unlink()
        shutil.rmtree(whole.adapter_dir)
        before = (whole.output_dir / "metrics.jsonl").read_bytes()
        resumed = run_tiny(tmp_path / "run", **options)
        assert resumed.resumed_from.name == "checkpoint-5"
        assert digest(resumed) == digest(whole)
        assert (whole.output_dir / "metrics.jsonl").read_bytes() == before

    def test_a_damaged_checkpoint_is_written_anew(self, finished, run_tiny, tmp_path):
        run = tmp_path / "run"
        shutil.copytree(finished.output_dir, run)
        (run / "COMPLETE").unlink()
        (run / "checkpoint-6" / "optimizer.pt").write_bytes(b"torn")
        result = run_tiny(run, save_limit=1)
        assert digest(result) == digest(finished)
        assert [path.name for path in run.glob("checkpoint-*")] == ["checkpoint-6"]
        assert fault_of(run / "checkpoint-6") is None
        assert result.notes == (
            "skipped checkpoint-6: optimizer.pt has changed since it was written; it is now quarantine/checkpoint-6",
        )
        assert (run / "quarantine" / "checkpoint-6" / "optimizer.pt").read_bytes() == b"torn"

    def test_if_no_checkpoint_verifies_it_begins_anew_and_deletes_nothing(self, interrupted, run_tiny, finished):
        shutil.copytree(interrupted / "checkpoint-4", interrupted / "checkpoint-5")
        (interrupted / "checkpoint-4" / "optimizer.pt").write_bytes(b"")
        result = run_tiny(interrupted)
        assert result.resumed_from is None
        assert result.notes[-1] == "no checkpoint verified, so training began anew; nothing was deleted"
        assert {path.name for path in (interrupted / "quarantine").iterdir() if path.is_dir()} == {
            "checkpoint-4",
            "checkpoint-5",
        }
        assert digest(result) == digest(finished)

    def test_another_number_of_threads_is_written_down(self, interrupted, run_tiny):
        before = (interrupted / "run.json").read_bytes()
        torch.set_num_threads(torch.get_num_threads() + 1)
        try:
            run_tiny(interrupted)
        finally:
            torch.set_num_threads(torch.get_num_threads() - 1)
        contract, first = (json.loads(text) for text in ((interrupted / "run.json").read_bytes(), before))
        (later,) = contract.pop("resumed_with")
        assert contract == first
        assert later == first["environment"] | {"threads": first["environment"]["threads"] + 1, "processes": 1}

    def test_the_same_machine_leaves_the_contract_as_it_is(self, interrupted, run_tiny):
        before = (interrupted / "run.json").read_bytes()
        run_tiny(interrupted)
        assert (interrupted / "run.json").read_bytes() == before

    def test_a_signal_after_the_seal_leaves_none_and_the_next_call_sets_it(self, interrupted, run_tiny, monkeypatch):
        def seal_and_be_stopped(run):
            seal(run)
            raise KeyboardInterrupt

        with monkeypatch.context() as late:
            late.setattr(recipe, "seal", seal_and_be_stopped)
            with pytest.raises(KeyboardInterrupt):
                run_tiny(interrupted)
        assert json.loads((interrupted / "status.json").read_text())["status"] == "stopped"
        assert not (interrupted / SEAL).exists()
        run_tiny(interrupted)
        assert json.loads((interrupted / "status.json").read_text())["status"] == "completed"
        assert list(seal_faults(interrupted, read_seal(interrupted))) == []

    def test_never_refuses_a_directory_with_a_run(self, interrupted, run_tiny):
        with pytest.raises(RunError, match="resume is 'never'"):
            run_tiny(interrupted, resume="never")


@pytest.mark.parametrize(
    "settings",
    [
        {"packing": True, "micro_batch_size": 1, "max_length": 256},
        {"packing": True, "packed_length": 2048, "batch_size": 1, "micro_batch_size": 1},
        {"precision": None},
        {"quantization": "nf4", "precision": None},
        {"lora": {"rank": 4, "rslora": True, "dora": True}},
        {"lora": {"rank": 4, "init": "pissa"}},
        {"loraplus_ratio": 16.0},
        {"neftune_alpha": 5.0},
        {"gradient_checkpointing": True},
        {"train_on_prompt": True},
        {"lr_schedule": "constant", "warmup_steps": 1},
        {"report_to": ["tensorboard"]},
        {"validation_size": 0},
    ],
    ids=lambda settings: "-".join(map(str, settings)),
)
def test_every_mode_trains_and_passes_the_health_gate(run_tiny, tmp_path, settings):
    result = run_tiny(tmp_path / "run", max_steps=2, **settings)
    assert result.status == "completed"
    assert read_sidecar(result.adapter_dir).losses != read_sidecar(result.adapter_dir).base_losses


@pytest.mark.parametrize("alpha", [None, 5.0])
def test_noise_on_embeddings_keeps_records_from_sharing_and_the_run_says_so(run_tiny, tmp_path, alpha):
    run_tiny(tmp_path / "run", max_steps=1, neftune_alpha=alpha, lora={"rank": 4, "dropout": 0.0})
    report = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert ("the noise on its embeddings is drawn for each" in report) == bool(alpha)
    assert ("kernels: shared_prefixes" in report) == (not alpha)


def test_checkpointing_changes_memory_and_not_the_result(finished, run_tiny, tmp_path):
    assert digest(run_tiny(tmp_path / "run", gradient_checkpointing=True)) == digest(finished)


def test_one_batch_of_four_equals_four_of_one(run_tiny, tmp_path):
    from safetensors.torch import load_file

    options = {"lora": {"rank": 4, "dropout": 0.0}, "max_steps": 2}
    whole = run_tiny(tmp_path / "whole", micro_batch_size=4, **options)
    parts = run_tiny(tmp_path / "parts", micro_batch_size=1, **options)
    first, second = (load_file(run.adapter_dir / "adapter_model.safetensors") for run in (whole, parts))
    for name, tensor in first.items():
        assert second[name] == pytest.approx(tensor, abs=2e-4)


def test_keep_best_ships_the_best_evaluated_step(run_tiny, tmp_path):
    result = run_tiny(
        tmp_path / "run",
        keep_best=True,
        early_stopping_patience=1,
        learning_rate=0.01,
        lr_schedule="constant",
        max_steps=40,
    )
    lines = [json.loads(line) for line in (result.output_dir / "metrics.jsonl").read_text().splitlines()]
    losses = [line["heldout_loss"] for line in lines if "heldout_loss" in line and line["step"] > 0]
    assert losses.index(min(losses)) >= len(losses) - 2
    assert result.metrics["heldout_loss_after"] == pytest.approx(min(losses), abs=1e-6)


class TestBadInput:
    """One error, before anything is written."""

    @pytest.mark.parametrize(
        ("settings", "error", "said"),
        [
            ({"lora": {"target_modules": ("q_prj",)}}, ConfigError, "no linear layer of this llama model is called"),
            ({"max_length": 9}, EncodingError, "no record can be trained on"),
            ({"max_length": 4096}, ConfigError, r"config\.max_length must be at most 1024"),
            ({"validation_size": 20}, ConfigError, "leaves none of 20 records"),
            ({"precision": "fp16"}, ConfigError, "does not work on the cpu"),
            ({"trainer_options": {"no_such_option": 1}}, ConfigError, r"config\.trainer_options"),
        ],
    )
    @pytest.mark.catalogue(46, 69, 73)
    def test_settings_that_cannot_work(self, run_tiny, tmp_path, settings, error, said):
        with pytest.raises(error, match=said):
            run_tiny(tmp_path / "run", **settings)
        assert not (tmp_path / "run" / "adapter").exists()

    @pytest.mark.catalogue(76)
    def test_the_base_model_as_output(self, run_tiny, tiny_base):
        with pytest.raises(ConfigError, match="the base model's own directory"):
            run_tiny(tiny_base)

    def test_a_directory_with_other_things(self, run_tiny, tmp_path):
        (tmp_path / "thesis.txt").write_text("years of work")
        with pytest.raises(ConfigError, match=r"not empty and no run of ours \(it holds thesis\.txt\)"):
            run_tiny(tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]

    def test_records_with_faults(self, tiny_base, tmp_path):
        from alpaca_lora.training import finetune

        with pytest.raises(RecordError, match="record 1"):
            finetune(tiny_base, [{"instruction": "x"}], tmp_path / "run", progress=False)
        assert not (tmp_path / "run").exists()


def test_a_loss_that_is_not_a_number_stops_the_run(run_tiny, tmp_path, monkeypatch):
    from alpaca_lora.kernels import FastPath

    honest = FastPath.loss
    monkeypatch.setattr(FastPath, "loss", lambda path, batch, total: honest(path, batch, total) * float("nan"))
    with pytest.raises(NonFiniteLossError, match="the loss is nan at step 1"):
        run_tiny(tmp_path / "run")
    assert not (tmp_path / "run" / "adapter").exists()
    assert not (tmp_path / "run" / "COMPLETE").exists()
