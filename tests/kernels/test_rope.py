import pytest
import torch
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

from alpaca_lora.kernels.rope import rope


def angles(positions, size, dtype=torch.float32):
    """Cosines and sines (N, d) as Llama's rotary embedding gives them."""
    frequency = 10_000.0 ** -(torch.arange(0, size, 2, dtype=torch.float64) / size)
    angle_Nd = (positions[:, None] * frequency).repeat(1, 2)
    return angle_Nd.cos().to(dtype), angle_Nd.sin().to(dtype)


def plain(cos, sin):
    """The same by transformers."""
    return lambda x: apply_rotary_pos_emb(x, x, cos, sin)[0]


@pytest.fixture
def x():
    torch.manual_seed(0)
    return torch.randn(11, 6, 8)


POSITIONS = torch.tensor([0, 1, 2, 3, 0, 1, 0, 1, 2, 3, 500])


def test_the_gradient_is_that_of_finite_differences():
    torch.manual_seed(0)
    x = torch.randn(3, 4, 6, dtype=torch.float64, requires_grad=True)
    cos, sin = angles(torch.tensor([0, 1, 7]), 6, torch.float64)
    assert torch.autograd.gradcheck(lambda x: rope(x, cos, sin), (x,))


@pytest.mark.parametrize("heads", [1, 2, 6])
def test_float32_agrees_with_transformers(heads, x, differentiate, relative_error):
    x, (cos, sin) = x[:, :heads], angles(POSITIONS, 8)
    found = differentiate(lambda x: rope(x, cos, sin), x=x)
    assert relative_error(found, differentiate(plain(cos, sin), x=x)) <= 1e-5


def test_bf16_agrees_with_float32(x, differentiate, relative_error):
    x, (cos, sin) = x.bfloat16(), angles(POSITIONS, 8)
    found = differentiate(lambda x: rope(x, cos.bfloat16(), sin.bfloat16()), x=x)
    assert relative_error(found, differentiate(plain(cos, sin), x=x.float())) <= 1e-2


def test_the_first_token_of_a_record_is_not_turned(x):
    cos, sin = angles(POSITIONS, 8)
    assert torch.equal(rope(x, cos, sin)[POSITIONS == 0], x[POSITIONS == 0])


def test_a_rotation_keeps_lengths_and_hands_its_gradient_back_turned(x):
    cos, sin = angles(POSITIONS, 8)
    leaf = x.clone().requires_grad_()
    out = rope(leaf, cos, sin)
    torch.testing.assert_close(out.norm(dim=-1), x.norm(dim=-1))
    (back,) = torch.autograd.grad(out, leaf, out.detach())
    torch.testing.assert_close(back, x)
    assert torch.equal(leaf, x)


def test_products_of_queries_and_keys_depend_on_distance_only(x):
    angle = [angles(start + torch.arange(11), 8, torch.float64) for start in (0, 300)]
    near, far = (rope(x.double(), cos, sin)[:, 0] for cos, sin in angle)
    torch.testing.assert_close(near @ near.T, far @ far.T)


def test_a_view_of_a_larger_tensor_is_taken_as_it_is(differentiate, relative_error):
    torch.manual_seed(0)
    wide, (cos, sin) = torch.randn(11, 10, 8), angles(POSITIONS, 8)
    found = differentiate(lambda wide: rope(wide[:, 2:8], cos, sin), wide=wide)
    assert relative_error(found, differentiate(lambda wide: plain(cos, sin)(wide[:, 2:8]), wide=wide)) <= 1e-5
