import pytest
import torch
from peft.utils import loftq_utils
from safetensors.torch import load_file
from transformers import GPT2Config, GPT2LMHeadModel

from alpaca_lora.adapters import attach_adapter, loraplus_optimizer, target_names
from alpaca_lora.config import LoraSettings, QuantizationSettings
from alpaca_lora.errors import ConfigError, ModelError
from alpaca_lora.models import load_base_model

LINEAR = ["down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"]


@pytest.fixture
def base(tiny_base):
    return load_base_model(tiny_base, precision="bf16", device="cpu")


def test_all_linear_is_every_linear_layer_but_the_head(base):
    assert target_names(base, LoraSettings()) == LINEAR


@pytest.mark.catalogue(69)
def test_a_name_that_matches_nothing_lists_what_there_is(base):
    with pytest.raises(ConfigError, match=r"called 'q_prj'; it has down_proj, gate_proj, k_proj"):
        target_names(base, LoraSettings(target_modules=("q_prj", "v_proj")))


def test_a_name_with_a_path_must_match_as_a_whole(base):
    assert target_names(base, LoraSettings(target_modules=("mlp.up_proj", "layers.0.self_attn.v_proj"))) == [
        "layers.0.self_attn.v_proj",
        "mlp.up_proj",
    ]
    with pytest.raises(ConfigError, match=r"called 'mlp\.v_proj', 'roj'; it has"):
        target_names(base, LoraSettings(target_modules=("q_proj", "mlp.v_proj", "roj")))


@pytest.mark.parametrize("targets", ["all-linear", ("c_attn",)])
def test_a_model_without_linear_layers_is_refused(targets):
    model = GPT2LMHeadModel(GPT2Config(vocab_size=64, n_positions=32, n_embd=16, n_layer=1, n_head=2))
    with pytest.raises(ModelError, match="this gpt2 model has no linear layer"):
        attach_adapter(model, LoraSettings(target_modules=targets), base_dir="")


def test_only_the_adapter_is_trainable_and_it_is_float32(base):
    model = attach_adapter(base, LoraSettings(target_modules=("q_proj", "v_proj")), base_dir="")
    trainable = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert {parameter.dtype for parameter in trainable.values()} == {torch.float32}
    assert {name.split(".")[-4] for name in trainable} == {"q_proj", "v_proj"}
    assert {parameter.dtype for parameter in base.parameters() if not parameter.requires_grad} == {torch.bfloat16}


def test_a_fresh_adapter_changes_nothing(tiny_base):
    ids = torch.arange(5, 25)[None]
    base = load_base_model(tiny_base, precision="fp32", device="cpu")
    before = base(ids).logits
    assert torch.equal(attach_adapter(base, LoraSettings(), base_dir="").eval()(ids).logits, before)


def test_the_start_follows_the_seed(tiny_base):
    def start(seed):
        torch.manual_seed(seed)
        base = load_base_model(tiny_base, precision="fp32", device="cpu")
        model = attach_adapter(base, LoraSettings(), base_dir="")
        return torch.cat([p.flatten() for p in model.parameters() if p.requires_grad])

    assert torch.equal(start(1), start(1))
    assert not torch.equal(start(1), start(2))


def test_loraplus_moves_b_faster_than_a(base):
    model = attach_adapter(base, LoraSettings(), base_dir="")
    optimizer = loraplus_optimizer(model, torch.optim.AdamW, {"lr": 1e-4}, 16.0)
    rates = {
        group["lr"]: {name for name, p in model.named_parameters() for q in group["params"] if p is q}
        for group in optimizer.param_groups
        if group["params"]
    }
    assert set(rates) == {1e-4, 16e-4}
    assert all(".lora_A." in name for name in rates[1e-4])
    assert all(".lora_B." in name for name in rates[16e-4])


@pytest.fixture
def errors_of_loftq(tiny_base):
    """The largest error of the weights with their adapter, in that of four bits alone, for each kind of layer."""
    functional = pytest.importorskip("bitsandbytes", reason="nf4 needs bitsandbytes").functional

    def errors(device, **settings):
        nf4 = QuantizationSettings(method="nf4")
        base = load_base_model(tiny_base, precision="fp32", quantization=nf4, device=device)
        model = attach_adapter(base, LoraSettings(init="loftq", **settings), base_dir=str(tiny_base))
        exact, found = load_file(tiny_base / "model.safetensors", device=device), {}
        for name, module in model.base_model.model.named_modules():
            if hasattr(module, "lora_A"):
                held = functional.dequantize_4bit(module.weight.data, module.weight.quant_state)
                error = exact[f"{name}.weight"] - held
                left = ((error - module.get_delta_weight("default")).norm() / error.norm()).item()
                kind = name.rpartition(".")[2]
                found[kind] = max(left, found.get(kind, 0.0))
        return found

    return errors


def as_on_cuda(qweight, weight, num_bits, reduced_rank):
    """What PEFT does at this place, but for its move to CUDA."""
    functional = pytest.importorskip("bitsandbytes").functional
    error = weight.float() - functional.dequantize_4bit(qweight.data, qweight.quant_state)
    parts = loftq_utils._low_rank_decomposition(error, reduced_rank)
    return parts["R"], parts["L"]


def makes_up_for_four_bits(errors):
    assert sorted(errors) == LINEAR
    assert max(errors["k_proj"], errors["v_proj"]) < 1e-3  # their 16 rows are no more than the rank
    assert max(errors.values()) < 0.7


@pytest.mark.parametrize("divides", [False, True], ids=["peft-0.21", "peft-that-divides"])
@pytest.mark.parametrize("settings", [{"alpha": 16.0}, {"alpha": 32.0}, {"alpha": 8.0, "rslora": True}], ids=str)
def test_loftq_makes_up_for_four_bits_once_whatever_the_scale(errors_of_loftq, settings, divides, monkeypatch):
    scale = settings["alpha"] / (4 if "rslora" in settings else 16)

    def start(*arguments, **options):
        down, up = as_on_cuda(*arguments, **options)
        return down, up / scale if divides else up

    monkeypatch.setattr(loftq_utils, "_loftq_init_new", start)
    makes_up_for_four_bits(errors_of_loftq("cpu", rank=16, **settings))


@pytest.mark.gpu
def test_loftq_makes_up_for_four_bits_on_cuda(errors_of_loftq):
    if not torch.cuda.is_available():
        pytest.skip("this machine has no CUDA device")
    makes_up_for_four_bits(errors_of_loftq("cuda", rank=16))
