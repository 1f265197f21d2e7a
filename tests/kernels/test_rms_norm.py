import pytest
import torch
from torch import nn
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from alpaca_lora.kernels.rms_norm import rms_norm


def plain(weight, epsilon):
    """The module of transformers."""
    module = LlamaRMSNorm(len(weight), eps=epsilon)
    module.weight = nn.Parameter(weight, requires_grad=False)
    return module


@pytest.fixture
def weight():
    torch.manual_seed(1)
    return 1 + 0.3 * torch.randn(24)


def rows(scale=1.0, count=17):
    torch.manual_seed(0)
    return scale * torch.randn(count, 24) + 0.5


@pytest.mark.parametrize("epsilon", [1e-6, 0.5])
def test_the_gradient_is_that_of_finite_differences(epsilon, weight):
    x = rows(count=4).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: rms_norm(x, weight.double(), epsilon), (x,))


@pytest.mark.parametrize("epsilon", [1e-6, 1e-5, 0.5])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
def test_float32_agrees_with_transformers(scale, epsilon, weight, differentiate, relative_error):
    found = differentiate(lambda x: rms_norm(x, weight, epsilon), x=rows(scale))
    assert relative_error(found, differentiate(plain(weight, epsilon), x=rows(scale))) <= 1e-5


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
def test_bf16_agrees_with_float32(scale, weight, differentiate, relative_error):
    x, narrow = rows(scale).bfloat16(), weight.bfloat16()
    found = differentiate(lambda x: rms_norm(x, narrow, 1e-5), x=x)
    assert {value.dtype for value in found.values()} == {torch.bfloat16}
    assert relative_error(found, differentiate(plain(narrow.float(), 1e-5), x=x.float())) <= 1e-2


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_size_of_a_real_model_agrees(dtype, differentiate, relative_error):
    torch.manual_seed(0)
    x, weight = torch.randn(300, 2048).to(dtype), torch.ones(2048, dtype=dtype)
    x[7] *= 300
    found = differentiate(lambda x: rms_norm(x, weight, 1e-5), x=x)
    exact = differentiate(plain(weight.float(), 1e-5), x=x.float())
    assert relative_error(found, exact) <= (1e-5 if dtype == torch.float32 else 1e-2)


def test_a_row_of_zeros_stays_zero_and_its_gradient_is_finite(weight, differentiate):
    found = differentiate(lambda x: rms_norm(x, weight, 1e-5), x=torch.zeros(2, 24))
    assert not found["out0"].any()
    assert found["d x"].isfinite().all()


def test_one_row_is_enough(weight, differentiate, relative_error):
    found = differentiate(lambda x: rms_norm(x, weight, 1e-5), x=rows(count=1))
    assert relative_error(found, differentiate(plain(weight, 1e-5), x=rows(count=1))) <= 1e-5


def test_neither_pass_changes_its_inputs(weight):
    x, before = rows().requires_grad_(), (rows(), weight.clone())
    out = rms_norm(x, weight, 1e-5)
    first = torch.autograd.grad(out, x, torch.ones_like(out), retain_graph=True)[0]
    assert torch.equal(torch.autograd.grad(out, x, torch.ones_like(out))[0], first)
    assert torch.equal(x, before[0])
    assert torch.equal(weight, before[1])
