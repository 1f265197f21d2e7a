import pytest
import torch

from alpaca_lora.exports.diagnosis import compare_tensors, rounding
from alpaca_lora.exports.weights import DTYPES

GENERATOR = torch.Generator().manual_seed(3)
BASE = torch.randn(64, 96, generator=GENERATOR) * 0.05
UPDATE = torch.randn(64, 4, generator=GENERATOR) @ torch.randn(4, 96, generator=GENERATOR) * 0.002
OTHER = torch.randn(64, 96, generator=GENERATOR) * 0.05
HEADS = torch.cat([torch.arange(16, 32), torch.arange(16), torch.arange(32, 64)])


def codes(found, merged=BASE + UPDATE, dtype="f32"):
    faults = compare_tensors(["w"], {"w": found}.get, lambda _: BASE, lambda _: merged, dtype)
    return [fault.code for fault in faults]


@pytest.mark.parametrize("dtype", DTYPES)
def test_one_rounding_is_no_fault(dtype):
    assert codes((BASE + UPDATE).to(DTYPES[dtype]), dtype=dtype) == []


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("found", "code"),
    [
        (BASE, "not-merged"),
        (BASE + 2 * UPDATE, "wrong-scale"),
        (BASE - UPDATE, "wrong-scale"),
        ((BASE + UPDATE)[HEADS], "permuted"),
        (OTHER + UPDATE, "different"),
        (BASE + UPDATE + 0.01 * (torch.arange(96) == 5), "different"),
    ],
)
def test_a_fault_is_named_by_its_kind(dtype, found, code):
    assert codes(found.to(DTYPES[dtype]), dtype=dtype) == [code]


def test_a_weight_that_the_adapter_leaves_alone_tells_of_another_base():
    assert codes(OTHER, merged=BASE) == ["wrong-base"]


def test_what_is_not_there_or_has_another_shape_is_named():
    assert codes(None) == ["missing"]
    assert codes(BASE.T) == ["wrong-shape"]


def test_a_wrong_scale_is_measured():
    (fault,) = compare_tensors(["w"], lambda _: BASE + 0.5 * UPDATE, lambda _: BASE, lambda _: BASE + UPDATE, "f32")
    assert fault.sentence == "the adapter is in it 0.5 times"


def test_faults_come_in_the_order_of_the_names():
    weights = {"first": BASE + UPDATE, "second": BASE, "third": OTHER}
    faults = compare_tensors(weights, weights.get, lambda _: BASE, lambda _: BASE + UPDATE, "f32")
    assert [(fault.tensor, fault.code) for fault in faults] == [("second", "not-merged"), ("third", "different")]


def test_the_bound_of_q8_0_holds_for_a_block_with_a_common_scale():
    blocks = BASE.reshape(-1, 32)
    scale = (blocks.abs().amax(-1, keepdim=True) / 127).half().float()
    restored = ((blocks / scale).round().clamp(-127, 127) * scale).reshape(BASE.shape)
    error = (restored - BASE).abs()
    assert (error <= rounding(BASE, "q8_0")).all()
    assert (error > 0.5 * rounding(BASE, "q8_0")).any()
