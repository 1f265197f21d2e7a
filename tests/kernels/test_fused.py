import pytest
import torch
from torch.nn import functional
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

from alpaca_lora.config import KernelSettings
from alpaca_lora.kernels.decoder import Decoder
from alpaca_lora.kernels.fused import add_rms_norm, rope, swiglu
from alpaca_lora.kernels.shared_prefix import unshared
from alpaca_lora.models import detect_hardware

needs_compiler = pytest.mark.skipif(not detect_hardware().compiler, reason="there is no C++ compiler")
DTYPES = pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 1e-2)], ids=["fp32", "bf16"]
)
COUNT = 37


@pytest.fixture
def check(differentiate, relative_error):
    """Compare a compiled kernel with plain torch in float32: `check(kernel, plain, dtype, tolerance, x=...)`."""

    def run(kernel, plain, dtype, tolerance, **inputs):
        torch.manual_seed(0)
        inputs = {name: torch.randn(shape).to(dtype) for name, shape in inputs.items()}
        exact = differentiate(plain, **{name: value.float() for name, value in inputs.items()})
        found = differentiate(kernel, **inputs)
        assert {value.dtype for value in found.values()} == {dtype}
        assert relative_error(found, exact) <= tolerance

    return run


@needs_compiler
@DTYPES
def test_the_sum_and_its_norm_agree_with_torch(dtype, tolerance, check):
    weight = torch.linspace(0.5, 1.5, 48).to(dtype)

    def plain(hidden, delta):
        total = hidden + delta
        return total, functional.rms_norm(total, (48,), weight.to(total), 1e-5)

    check(lambda h, d: add_rms_norm(h, d, weight, 1e-5), plain, dtype, tolerance, h=(COUNT, 48), d=(COUNT, 48))


@needs_compiler
@DTYPES
def test_rotary_positions_agree_with_transformers(dtype, tolerance, check):
    angle = (torch.arange(COUNT)[:, None] * 10.0 ** -torch.linspace(0, 4, 4)).repeat(1, 2)
    cos, sin = angle.cos().to(dtype), angle.sin().to(dtype)
    plain = lambda x: apply_rotary_pos_emb(x, x, cos.to(x), sin.to(x))[0]  # noqa: E731
    check(lambda x: rope(x, cos, sin), plain, dtype, tolerance, x=(COUNT, 6, 8))


@needs_compiler
@DTYPES
def test_swiglu_agrees_with_torch(dtype, tolerance, check):
    check(swiglu, lambda g, u: functional.silu(g) * u, dtype, tolerance, g=(COUNT, 40), u=(COUNT, 40))


@pytest.mark.slow
@needs_compiler
@pytest.mark.parametrize("layers", [0, 2], ids=["kept", "computed again"])
@pytest.mark.parametrize("lengths", [(9, 5, 12), (3, 1, 30)], ids=str)
def test_a_decoder_with_them_agrees_with_transformers(lengths, layers, make_model, make_batch, learn, relative_error):
    model, batch = make_model("qwen2", lora={"lora_dropout": 0.2}), make_batch([lengths])
    ids, positions = batch["input_ids"][0], batch["position_ids"][0]
    bounds = [sum(lengths[:index]) for index in range(len(lengths) + 1)]
    module = model.get_base_model().get_decoder()
    weighting = torch.linspace(-1, 1, 32)
    torch.manual_seed(4)
    states = module(input_ids=ids[None], position_ids=positions[None], use_cache=False).last_hidden_state[0]
    expected = learn(model, (states * weighting).sum())
    torch.manual_seed(4)
    found = Decoder(module, KernelSettings(), layers, compiled=True).hidden_states(
        module.embed_tokens(ids), positions, unshared(bounds)
    )
    assert relative_error(found, states) <= 1e-5
    assert relative_error(learn(model, (found * weighting).sum()), expected) <= 1e-5
