import os

import pytest
import torch

from alpaca_lora.models import detect_hardware
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
