"""What `make bench-gpu` says and decides before a GPU is asked."""

import os
import subprocess
import sys

import pytest

SAID = "NVIDIA H100 80GB HBM3, 81559 MiB, 570.86.15"


@pytest.fixture
def with_gpu(tmp_path, monkeypatch):
    """Put an nvidia-smi on the path that answers as one of an H100 does."""
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\necho '{SAID}'\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)


@pytest.mark.parametrize("script", ["run.py", "ablation.py"])
def test_without_a_gpu_nothing_is_measured(script, repository, tmp_path):
    command = [sys.executable, str(repository / "benchmarks" / "training_speed" / script), "--device", "cuda"]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PATH": str(tmp_path)})
    assert (done.returncode, done.stderr) == (1, "not measured: nvidia-smi finds no GPU\n")


@pytest.mark.usefixtures("with_gpu")
def test_a_gpu_gets_a_7b_shape_and_the_memory_of_one_card(part, monkeypatch):
    run = part("run")
    monkeypatch.setattr(run, "ENVIRONMENT", dict(run.ENVIRONMENT))
    monkeypatch.setattr(sys, "argv", ["run.py", "--device", "cuda", "--quantization", "nf4"])
    given = run.read_arguments()
    assert (given.shape, given.precision, given.memory_gib) == ("7B", "bf16", 24.0)
    assert given.only == ["ours", "unsloth", "trl"]
    assert "CUDA_VISIBLE_DEVICES" not in run.ENVIRONMENT
    assert part("provenance").machine()["gpu"]["name"] == "NVIDIA H100 80GB HBM3"


def test_a_processor_gets_the_embedded_model(part, monkeypatch):
    run = part("run")
    monkeypatch.setattr(sys, "argv", ["run.py"])
    given = run.read_arguments()
    assert (given.shape, given.memory_gib, run.ENVIRONMENT["CUDA_VISIBLE_DEVICES"]) == ("135M", None, "")


def test_the_work_of_a_token_is_four_operations_per_weight(part):
    """A Llama-2-7B has 6.476 billion weights in its layers, and 131 million in its head."""
    config = part("shapes").config_of("llama-2-7b")
    shape = type("Config", (), config)()
    flops = part("work").flops
    assert flops(shape, [1], 0) == pytest.approx(4 * 6.476e9, rel=1e-3)
    assert flops(shape, [1], 1) - flops(shape, [1], 0) == 4 * 32000 * 4096
    assert flops(shape, [100, 50], 0) < flops(shape, [150], 0)


@pytest.mark.reference
@pytest.mark.usefixtures("reference_data")
def test_ids_stay_within_the_vocabulary_of_a_shape(part):
    workload = part("workload").make_workload(8, "7B", 1000)
    rows = [row for step in workload["steps"] for row in step] + workload["heldout"]
    assert max(token for row in rows for token in row["input_ids"]) < 1000
    assert all(label in (-100, token) for row in rows for token, label in zip(*row.values(), strict=True))
