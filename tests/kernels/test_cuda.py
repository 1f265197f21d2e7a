"""Each kernel on CUDA against its own result on the CPU in float32, which the other files compare with the truth."""

import copy
from itertools import accumulate

import pytest
import torch
from torch import nn

from alpaca_lora.config import KernelSettings
from alpaca_lora.kernels import apply
from alpaca_lora.kernels.attention import packed_attention
from alpaca_lora.kernels.cross_entropy import linear_cross_entropy
from alpaca_lora.kernels.lora_linear import lora_linear
from alpaca_lora.kernels.projections import DenseWeights, Projection
from alpaca_lora.kernels.rms_norm import rms_norm
from alpaca_lora.kernels.rope import rope
from alpaca_lora.kernels.swiglu import swiglu

pytestmark = pytest.mark.gpu

DTYPES = pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 1e-2)], ids=["fp32", "bf16"]
)
BOUNDS = [0, *accumulate((40, 1, 300, 27, 1100))]


@pytest.fixture(autouse=True)
def device():
    if not torch.cuda.is_available():
        pytest.skip("this machine has no CUDA device")
    torch.manual_seed(0)
    return "cuda"


@pytest.fixture
def check(differentiate, relative_error):
    """Compare a function of tensors on CUDA in a number format with the same on the CPU in float32."""

    def run(function, dtype, tolerance, **inputs):
        inputs = {name: value.to(dtype) for name, value in inputs.items()}
        exact = differentiate(function, **{name: value.float() for name, value in inputs.items()})
        found = differentiate(function, **{name: value.cuda() for name, value in inputs.items()})
        assert {value.device.type for value in found.values()} == {"cuda"}
        assert relative_error(found, exact) <= tolerance

    return run


@DTYPES
def test_swiglu_agrees(dtype, tolerance, check):
    check(swiglu, dtype, tolerance, gate=3 * torch.randn(70, 96), up=torch.randn(70, 96))


@DTYPES
def test_rms_norm_agrees(dtype, tolerance, check):
    weight = torch.randn(256).to(dtype)
    check(lambda x: rms_norm(x, weight.to(x), 1e-5), dtype, tolerance, x=torch.randn(70, 256))


@DTYPES
def test_rope_agrees(dtype, tolerance, check):
    angle = (torch.arange(70.0)[:, None] * 10.0 ** -torch.linspace(0, 4, 32)).repeat(1, 2)
    check(lambda x: rope(x, angle.cos().to(x), angle.sin().to(x)), dtype, tolerance, x=torch.randn(70, 9, 64))


@DTYPES
@pytest.mark.parametrize("size", [64, 100, 264])
def test_packed_attention_agrees(size, dtype, tolerance, check):
    q, k, v = torch.randn(BOUNDS[-1], 3, 2, size), torch.randn(BOUNDS[-1], 3, size), torch.randn(BOUNDS[-1], 3, size)
    check(lambda q, k, v: packed_attention(q, k, v, BOUNDS, 0.125), dtype, tolerance, q=q, k=k, v=v)


@DTYPES
@pytest.mark.parametrize("block_bytes", [20_000, 1 << 24])
def test_linear_cross_entropy_agrees(block_bytes, dtype, tolerance, check):
    weight, targets = torch.randn(500, 64).to(dtype), torch.randint(500, (70,))
    check(
        lambda hidden: linear_cross_entropy(hidden, weight.to(hidden), targets.to(hidden.device), 9.0, block_bytes),
        dtype, tolerance, hidden=torch.randn(70, 64),
    )  # fmt: skip


@DTYPES
def test_lora_linear_agrees(dtype, tolerance, check):
    linear = nn.Linear(64, 96).requires_grad_(False).to(dtype).float()

    def function(x, down, up):
        frozen = copy.deepcopy(linear).to(x)
        return lora_linear(x, [Projection(frozen, DenseWeights(), down.float(), up.float(), 2.0)], training=True)[0]

    check(function, dtype, tolerance, x=torch.randn(70, 64), down=torch.randn(8, 64), up=torch.randn(96, 8))


def test_dropout_keeps_the_mean():
    x, down, up = torch.ones(20_000, 16), torch.ones(1, 16), torch.ones(8, 1)
    linear = nn.Linear(16, 8, bias=False).requires_grad_(False)
    nn.init.zeros_(linear.weight)
    projection = Projection(linear.cuda(), DenseWeights(), down.cuda(), up.cuda(), 1.0, dropout=0.25)
    (out,) = lora_linear(x.cuda(), [projection], training=True)
    assert out.mean().item() == pytest.approx(16, rel=1e-2)
    assert out[:, 0].var().item() == pytest.approx(16 * 0.25 / 0.75, rel=0.05)


@DTYPES
@pytest.mark.parametrize("checkpointed", [False, True])
@pytest.mark.parametrize("architecture", ["llama", "mistral", "qwen2"])
def test_a_whole_model_agrees(
    architecture, checkpointed, dtype, tolerance, make_model, make_batch, learn, relative_error, cosine
):
    model, batch = make_model(architecture, dtype=dtype, hidden_size=64, num_attention_heads=4), make_batch()
    exact, model = copy.deepcopy(model).float(), model.cuda()
    found, truth = (
        learn(part, path.loss({name: value.to(part.device) for name, value in batch.items()}, 11.0))
        for part in (model, exact)
        for path in [apply(part, KernelSettings(), longest_record=64, checkpointed=checkpointed)]
    )
    assert relative_error(found["loss"], truth["loss"]) <= tolerance
    assert cosine({name: value.cpu() for name, value in found.items()}, truth) > 0.999


def test_nf4_agrees_with_peft(make_nf4, make_batch, learn, stock_loss, cosine):
    model = make_nf4(device="cuda")
    batch = {name: value.cuda() for name, value in make_batch().items()}
    truth = learn(model, stock_loss(model, batch, 11.0))
    path = apply(model, KernelSettings(), longest_record=64)
    found = learn(model, path.loss(batch, 11.0))
    assert not path.decoder.weights.kept
    assert found["loss"].item() == pytest.approx(truth["loss"].item(), rel=1e-2)
    assert cosine(found, truth) > 0.999
