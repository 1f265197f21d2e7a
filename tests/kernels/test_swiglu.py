import pytest
import torch
from torch.nn import functional

from alpaca_lora.kernels.swiglu import swiglu


def plain(gate, up):
    return functional.silu(gate) * up


@pytest.fixture
def inputs():
    torch.manual_seed(0)
    return {"gate": 3 * torch.randn(33, 20), "up": torch.randn(33, 20)}


def on_copies(gate, up):
    """The kernel on tensors that nobody else reads: its backward pass writes over them."""
    return swiglu(gate.clone(), up.clone())


@pytest.mark.parametrize("which", ["gate", "up"])
def test_the_gradient_is_that_of_finite_differences(which, relative_error):
    # gradcheck would go backward twice, which a backward pass that uses its inputs up cannot.
    torch.manual_seed(0)
    inputs = {"gate": 3 * torch.randn(4, 5, dtype=torch.float64), "up": torch.randn(4, 5, dtype=torch.float64)}
    weights, moved = torch.randn(4, 5, dtype=torch.float64), inputs[which].clone().requires_grad_()

    def scalar(part):
        return (on_copies(**{**inputs, which: part}) * weights).sum()

    steps = 1e-6 * torch.eye(20, dtype=torch.float64).view(20, 4, 5)
    slopes = [(scalar(inputs[which] + step) - scalar(inputs[which] - step)) / 2e-6 for step in steps]
    (found,) = torch.autograd.grad(scalar(moved), moved)
    assert relative_error(found, torch.stack(slopes).view(4, 5)) <= 1e-8


@pytest.mark.parametrize("rows", [1, 511, 512, 513, 1300])
def test_any_number_of_rows_agrees_with_torch(rows, differentiate, relative_error):
    torch.manual_seed(0)
    inputs = {"gate": torch.randn(rows, 6), "up": torch.randn(rows, 6)}
    assert relative_error(differentiate(swiglu, **inputs), differentiate(plain, **inputs)) <= 1e-5


def test_float32_agrees_with_torch(inputs, differentiate, relative_error):
    assert relative_error(differentiate(swiglu, **inputs), differentiate(plain, **inputs)) <= 1e-5


def test_bf16_agrees_with_float32(inputs, differentiate, relative_error):
    narrow = {name: value.bfloat16() for name, value in inputs.items()}
    exact = differentiate(plain, **{name: value.float() for name, value in narrow.items()})
    assert relative_error(differentiate(swiglu, **narrow), exact) <= 1e-2


def test_large_gates_give_no_infinities(differentiate):
    gate = torch.tensor([[-1e4, -100.0, 0.0, 100.0, 1e4]])
    found = differentiate(swiglu, gate=gate, up=torch.ones_like(gate))
    assert found["out0"].tolist() == [[0, 0, 0, 100, 1e4]]
    assert all(value.isfinite().all() for value in found.values())


def test_the_forward_pass_changes_nothing(inputs):
    leaves = [value.clone() for value in inputs.values()]
    swiglu(*leaves)
    assert all(torch.equal(*pair) for pair in zip(leaves, inputs.values(), strict=True))


def test_a_second_backward_pass_is_the_same_or_refused_and_never_wrong(inputs):
    leaves = [value.clone().requires_grad_() for value in inputs.values()]
    out = on_copies(*leaves)
    first = torch.autograd.grad(out, leaves, torch.ones_like(out), retain_graph=True)
    try:
        again = torch.autograd.grad(out, leaves, torch.ones_like(out))
    except RuntimeError as error:
        assert "modified by an inplace operation" in str(error)  # noqa: PT017 - either outcome is right
    else:
        assert all(map(torch.equal, first, again))
