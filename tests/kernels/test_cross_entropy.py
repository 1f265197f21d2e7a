import pytest
import torch
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from alpaca_lora.kernels.cross_entropy import linear_cross_entropy

ROWS, SIZE, VOCABULARY = 100, 16, 50


class Largest(TorchDispatchMode):
    """Note the size in bytes of the largest tensor that an operation returns."""

    nbytes = 0

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        result = operation(*args, **(kwargs or {}))
        for part in result if isinstance(result, tuple | list) else [result]:
            if isinstance(part, torch.Tensor):
                self.nbytes = max(self.nbytes, part.numel() * part.element_size())
        return result


@pytest.fixture
def problem():
    """Hidden states, output head and targets."""
    torch.manual_seed(0)
    return torch.randn(ROWS, SIZE), torch.randn(VOCABULARY, SIZE), torch.randint(VOCABULARY, (ROWS,))


def plain(hidden, weight, targets, total):
    return functional.cross_entropy(functional.linear(hidden, weight), targets, reduction="sum") / total


def both(problem, differentiate, total=7.0, block_bytes=1 << 20):
    """The kernel on the problem as it is, and torch on it in float32."""
    hidden, weight, targets = problem
    found = differentiate(
        lambda hidden: linear_cross_entropy(hidden, weight, targets, total, block_bytes), hidden=hidden
    )
    return found, differentiate(lambda hidden: plain(hidden, weight.float(), targets, total), hidden=hidden.float())


@pytest.mark.parametrize("block_bytes", [1, 1000, 1 << 20])
def test_the_gradient_is_that_of_finite_differences(block_bytes):
    torch.manual_seed(0)
    hidden = torch.randn(5, 4, dtype=torch.float64, requires_grad=True)
    weight, targets = torch.randn(9, 4, dtype=torch.float64), torch.randint(9, (5,))
    assert torch.autograd.gradcheck(lambda h: linear_cross_entropy(h, weight, targets, 3.0, block_bytes), (hidden,))


@pytest.mark.parametrize("block_bytes", [1, 4 * VOCABULARY, 1000, 1 << 20])
def test_float32_agrees_with_torch_whatever_the_blocks(block_bytes, problem, differentiate, relative_error):
    assert relative_error(*both(problem, differentiate, block_bytes=block_bytes)) <= 1e-5


def test_bf16_agrees_with_float32(problem, differentiate, relative_error):
    hidden, weight, targets = problem
    found, exact = both((hidden.bfloat16(), weight.bfloat16(), targets), differentiate)
    assert found["out0"].dtype == torch.float32
    assert relative_error(found, exact) <= 1e-2


@pytest.mark.parametrize(("margin", "below"), [(5, 0.2), (7, 0.02), (10, 0.001)])
def test_bf16_agrees_where_the_model_is_sure_and_right(margin, below, differentiate, relative_error):
    torch.manual_seed(0)
    weight, targets = functional.one_hot(torch.arange(SIZE)).bfloat16(), torch.randint(SIZE, (ROWS,))
    hidden = (margin * functional.one_hot(targets, SIZE) + 0.1 * torch.randn(ROWS, SIZE)).bfloat16()
    found, exact = both((hidden, weight, targets), differentiate)
    assert exact["out0"] * 7 / ROWS < below
    assert relative_error(found, exact) <= 1e-2


def narrow_logits(hidden, weight, targets, total):
    """The loss in float32 of logits that are rounded to the format of the hidden states, as every head makes them."""
    return functional.cross_entropy(functional.linear(hidden, weight).float(), targets, reduction="sum") / total


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 1e-2)], ids=["fp32", "bf16"])
@pytest.mark.parametrize("scale", [2, 4])
def test_improbable_targets_agree_with_torch(scale, dtype, tolerance, problem, differentiate, relative_error):
    hidden, weight, targets = (scale * problem[0]).to(dtype), problem[1].to(dtype), problem[2]
    found = differentiate(lambda hidden: linear_cross_entropy(hidden, weight, targets, 7.0, 1000), hidden=hidden)
    exact = differentiate(lambda hidden: narrow_logits(hidden, weight, targets, 7.0), hidden=hidden)
    assert relative_error(found, exact) <= tolerance


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 1e-2)], ids=["fp32", "bf16"])
def test_targets_that_the_model_rules_out_have_a_finite_loss_and_the_right_gradient(
    dtype, tolerance, problem, differentiate, relative_error
):
    hidden, weight, targets = (40 * problem[0]).to(dtype), problem[1].to(dtype), problem[2]
    found = differentiate(lambda hidden: linear_cross_entropy(hidden, weight, targets, 7.0, 1000), hidden=hidden)
    exact = differentiate(lambda hidden: narrow_logits(hidden, weight, targets, 7.0), hidden=hidden)
    assert exact["out0"] * 7 / ROWS > 300
    assert 60 < found["out0"] * 7 / ROWS < float("inf")
    assert relative_error(found["d hidden"], exact["d hidden"]) <= tolerance


@pytest.mark.parametrize("total", [1, 640.0, torch.tensor(640), torch.tensor(3.5)])
def test_the_sum_is_divided_by_a_number_or_a_tensor(total, problem, differentiate, relative_error):
    assert relative_error(*both(problem, differentiate, total=total)) <= 1e-5


def test_the_gradient_scales_with_what_is_made_of_the_loss(problem, differentiate, relative_error):
    hidden, weight, targets = problem
    scaled = differentiate(lambda hidden: 3 * linear_cross_entropy(hidden, weight, targets, 7.0, 1000), hidden=hidden)
    found, _ = both(problem, differentiate)
    assert relative_error(scaled["d hidden"], 3 * found["d hidden"]) <= 1e-6


def test_no_supervised_token_is_no_loss(problem):
    _, weight, _ = problem
    hidden = torch.zeros(0, SIZE, requires_grad=True)
    loss = linear_cross_entropy(hidden, weight, torch.zeros(0, dtype=torch.long), 7.0, 1 << 20)
    loss.backward()
    assert loss.item() == 0
    assert hidden.grad.shape == (0, SIZE)


def test_the_loss_is_there_without_gradients_too(problem):
    with torch.no_grad():
        loss = linear_cross_entropy(*problem, 7.0, 1000)
    torch.testing.assert_close(loss, plain(*problem, 7.0))
    assert not loss.requires_grad


@pytest.mark.parametrize(("block_bytes", "expected"), [(4 * VOCABULARY * 64, 64), (1 << 20, 128)])
def test_no_tensor_is_larger_than_a_block_of_logits(block_bytes, expected, problem):
    hidden, weight, targets = problem
    with Largest() as largest:
        linear_cross_entropy(hidden.requires_grad_(), weight, targets, 7.0, block_bytes).backward()
    assert largest.nbytes == 4 * VOCABULARY * expected


def test_the_head_and_the_hidden_states_are_not_changed(problem):
    before = [part.clone() for part in problem]
    hidden = problem[0].requires_grad_()
    linear_cross_entropy(hidden, *problem[1:], 7.0, 1000).backward()
    assert all(torch.equal(*pair) for pair in zip(problem, before, strict=True))
