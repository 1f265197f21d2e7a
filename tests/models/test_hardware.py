import os

import pytest
import torch

from alpaca_lora.models import detect_hardware
from alpaca_lora.models.hardware import free_memory_bytes
from alpaca_lora.planning import Hardware


@pytest.fixture(scope="module")
def hardware():
    return detect_hardware()


def test_the_device_is_the_best_that_torch_sees(hardware):
    assert isinstance(hardware, Hardware)
    if torch.cuda.is_available():
        assert hardware.device == "cuda"
        assert hardware.name == torch.cuda.get_device_name()
    else:
        assert hardware.device == ("mps" if torch.backends.mps.is_available() else "cpu")


def test_what_it_says_is_plausible(hardware):
    assert 2**29 < hardware.memory_bytes < 2**46
    assert 1 <= hardware.cores <= os.cpu_count()
    assert hardware.name == hardware.name.strip() != ""


def test_cores_are_those_that_this_process_may_use(hardware):
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("this system does not bind processes to cores")
    allowed = os.sched_getaffinity(0)
    assert hardware.cores == len(allowed)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        assert detect_hardware().cores == 1
    finally:
        os.sched_setaffinity(0, allowed)


def test_bf16_is_what_torch_says(hardware):
    if hardware.device == "cuda":
        assert hardware.bf16 == torch.cuda.is_bf16_supported(including_emulation=False)
    elif hardware.device == "cpu":
        assert hardware.bf16 == torch.ops.mkldnn._is_mkldnn_bf16_supported()
        assert not hardware.fp16


def test_asking_twice_gives_the_same(hardware):
    assert detect_hardware() == hardware


V2 = ("memory.max", "memory.current", "inactive_file")
V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")


@pytest.mark.skipif(torch.cuda.is_available(), reason="a card's memory is no control group's")
@pytest.mark.parametrize(
    ("own", "place", "names"),
    [
        ("0::/", "", V2),  # in a container
        ("0::/user.slice/job", "user.slice", V2),  # the limit of a group above counts too
        ("9:name=systemd:/\n4:cpu,memory:/docker/1a2b", "memory", V1),
    ],
)
def test_memory_is_no_more_than_a_container_may_use(tmp_path, monkeypatch, own, place, names):
    (tmp_path / "cgroup").write_text(f"{own}\n", encoding="utf-8")
    group = tmp_path / "groups" / place
    (group / "user.slice" / "job").mkdir(parents=True)
    limit, use, cached = names
    (group / use).write_text(f"{3 * 2**29}\n", encoding="ascii")
    (group / "memory.stat").write_text(f"anon {2**30}\n{cached} {2**28}\n", encoding="ascii")
    monkeypatch.setattr("alpaca_lora.models.hardware._GROUPS", tmp_path / "groups")
    monkeypatch.setattr("alpaca_lora.models.hardware._OWN_GROUPS", tmp_path / "cgroup")
    free = free_memory_bytes(unlimited := detect_hardware())
    assert free > 2**30
    (group / limit).write_text(f"{2**31}\n", encoding="ascii")
    assert detect_hardware().memory_bytes == 2**31 < unlimited.memory_bytes
    assert free_memory_bytes(unlimited) == 2**31 - 3 * 2**29 + 2**28
    (group / limit).write_text("max\n", encoding="ascii")
    assert detect_hardware() == unlimited
