"""The items of a plan are the tensors of this code: counted here on a tiny model, in benchmarks on real shapes."""

import importlib
import json
from dataclasses import replace

import pytest

from alpaca_lora.config import FinetuneConfig, KernelSettings, LoraSettings, QuantizationSettings, load_config
from alpaca_lora.planning import shape_of
from alpaca_lora.planning.memory import adapter_parameters, checkpoint_bytes, checkpointed_layers, items_of

SHAPE = shape_of("llama-2-7b")
GIB = 2**30


def config(**changes):
    usual = {"precision": "bf16", "gradient_checkpointing": True, "batch_size": 4, "micro_batch_size": 1}
    return FinetuneConfig(**{**usual, "packing": True, "packed_length": 2048, "max_length": 512, **changes})


def items(device="cuda", memory=24 * GIB, **changes):
    found = items_of(SHAPE, config(**changes), device=device, memory_bytes=memory)
    return {item.name: item.bytes for item in found}


def test_the_adapters_are_those_that_peft_attaches(tiny_base):
    from alpaca_lora.adapters import attach_adapter
    from alpaca_lora.models import load_base_model

    settings = LoraSettings(rank=4, target_modules=("q_proj", "down_proj"))
    model = attach_adapter(load_base_model(tiny_base, precision="fp32"), settings, base_dir=str(tiny_base))
    attached = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    assert adapter_parameters(shape_of(tiny_base), FinetuneConfig(lora=settings)) == attached


@pytest.fixture
def loss_of():
    """Prepare a batch of one record: `loss_of(base_dir, settings)` returns the model, and what computes its loss."""
    import torch

    from alpaca_lora.adapters import attach_adapter
    from alpaca_lora.kernels import apply
    from alpaca_lora.models import load_base_model

    def make(base_dir, settings):
        base = load_base_model(base_dir, precision=settings.precision)
        model = attach_adapter(base, settings.lora, base_dir=str(base_dir))
        checkpointed, length = bool(settings.gradient_checkpointing), settings.packed_length
        fast_path = apply(model, settings.kernels, longest_record=length, checkpointed=checkpointed)
        ids = torch.randint(0, 300, (1, length))
        batch = {"input_ids": ids, "labels": ids, "real_tokens": torch.tensor([length])}
        return model, lambda: fast_path.loss(batch, length - 1.0)

    return make


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("off", [None, "attention", "lora", "norm", "rope", "swiglu"])
def test_activations_are_what_the_kernels_save_and_what_saves_it_where_one_is_off(tiny_base, loss_of, precision, off):
    import torch

    kernels = KernelSettings(**({off: False} if off else {}))
    settings = config(precision=precision, gradient_checkpointing=False, packed_length=512, kernels=kernels)
    settings = settings.model_copy(update={"lora": LoraSettings(rank=4)})
    model, loss = loss_of(tiny_base, settings)
    owned = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    saved = {}

    def note(tensor):
        saved[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        loss()
    found = sum(tensor.untyped_storage().nbytes() for place, tensor in saved.items() if place not in owned)
    parts = {
        item.name: item.bytes
        for item in items_of(shape_of(tiny_base), settings, device="cpu", memory_bytes=GIB, record_tokens=512)
    }
    width = 2 if precision == "bf16" else 4
    head = 2 * 512 * 32 * width + 3 * 8 * 512  # last norm's input, its statistics, gradient of hidden states, indices
    assert found - head == pytest.approx(parts["activations"] + parts["adapters, rounded"], rel=0.02)


@pytest.fixture
def small_model(tmp_path):
    """Write a model with random weights: `small_model(layers=12, vocabulary=384)` returns its directory."""
    from transformers import LlamaConfig, LlamaForCausalLM

    def make(layers, vocabulary):
        heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
        sizes = {"hidden_size": 32, "intermediate_size": 64, "max_position_embeddings": 512, **heads}
        made = LlamaConfig(vocab_size=vocabulary, num_hidden_layers=layers, **sizes)
        LlamaForCausalLM(made).save_pretrained(tmp_path)
        return tmp_path

    return make


@pytest.fixture
def peak_of(repository, monkeypatch, loss_of):
    """Return what tensors take at most in a forward and backward pass, and what the plan says of it."""
    monkeypatch.syspath_prepend(str(repository / "benchmarks" / "memory_grid"))
    counter = importlib.import_module("cell").LiveTensors

    def measure(base_dir, settings):
        _, loss = loss_of(base_dir, settings)
        with counter() as live:
            loss().backward()
        length = settings.packed_length
        found = items_of(shape_of(base_dir), settings, device="cpu", memory_bytes=GIB, record_tokens=length)
        still = ("linear layers", "embeddings and norms", "adapters", "optimizer")
        return live.peak, sum(item.bytes for item in found if item.basis == "counted" and item.name not in still)

    return measure


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("kernel", [True, False])
def test_the_loss_takes_what_is_planned_with_its_kernel_and_without(small_model, peak_of, precision, kernel):
    settings = {"precision": precision, "kernels": KernelSettings(loss=kernel), "lora": LoraSettings(rank=4)}
    settings |= {"gradient_checkpointing": False, "packed_length": 256, "max_length": 256, "train_on_prompt": True}
    measured, planned = peak_of(small_model(2, 16384), config(batch_size=1, **settings))
    assert planned == pytest.approx(measured, rel=0.02)


@pytest.mark.parametrize("checkpointed", [False, True])
def test_gradients_count_where_they_outgrow_the_activations(small_model, peak_of, checkpointed):
    settings = {"precision": "fp32", "lora": LoraSettings(rank=256), "gradient_checkpointing": checkpointed}
    settings |= {"packed_length": 64, "max_length": 64, "batch_size": 1}
    measured, planned = peak_of(small_model(12, 384), config(**settings))
    assert planned == pytest.approx(measured, rel=0.05)


def test_four_bits_take_half_a_byte_and_their_scales():
    plain, small = items(), items(quantization=QuantizationSettings(method="nf4"))
    single = items(quantization=QuantizationSettings(method="nf4", double_quantization=False))
    assert plain["linear layers"] == 4 * small["linear layers"] == 2 * SHAPE.linear_parameters
    assert small["quantisation constants"] == SHAPE.linear_parameters // 64 + SHAPE.linear_parameters * 4 // 64 // 256
    assert single["quantisation constants"] == SHAPE.linear_parameters * 4 // 64
    assert "quantisation constants" not in plain


def test_a_machine_with_room_keeps_unpacked_weights_and_a_card_never_does():
    nf4 = {"quantization": QuantizationSettings(method="nf4")}
    unpacked = 2 * SHAPE.linear_parameters
    assert items("cpu", 64 * GIB, **nf4)["unpacked weights, kept"] == unpacked
    for device, memory in (("cpu", 32 * GIB), ("cuda", 80 * GIB)):
        assert "unpacked weights, kept" not in items(device, memory, **nf4)
        assert items(device, memory, **nf4)["dequantisation workspace"] == 2 * 4096 * 11008
    assert "unpacked weights, kept" not in items("cpu", 64 * GIB, **nf4, kernels=KernelSettings(enabled=False))
    given = nf4 | {"kernels": KernelSettings(nf4_cache_gib=2.0)}
    assert items("cpu", 32 * GIB, **given)["unpacked weights, kept"] == 2 * GIB


def test_each_lever_takes_what_it_should():
    base = items()
    assert items(gradient_checkpointing=False)["activations"] > 8 * base["checkpoints"]
    assert items(micro_batch_size=2)["checkpoints"] == 2 * base["checkpoints"]
    assert items(optimizer="adamw_8bit")["optimizer"] < base["optimizer"] / 3.9
    assert items(lora=LoraSettings(rank=32))["adapters"] == 2 * base["adapters"]
    assert "adapters' gradients" not in items(batch_size=1)
    assert items(batch_size=1, lora=LoraSettings(rank=256))["adapters' gradients"] > GIB
    assert items(lora=LoraSettings(dropout=0.1))["layer at work"] > base["layer at work"]


def test_fewer_checkpointed_layers_move_memory_from_inputs_to_activations():
    half = items(kernels=KernelSettings(checkpointed_layers=16))
    none, every = items(gradient_checkpointing=False), items()
    assert half["activations"] == none["activations"] // 2
    assert half["checkpoints"] == every["checkpoints"] // 2


def test_without_the_kernels_layers_are_checkpointed_all_or_none():
    partly = KernelSettings(checkpointed_layers=8)
    assert checkpointed_layers(SHAPE, config(kernels=partly)) == 8
    assert checkpointed_layers(SHAPE, config(kernels=partly, precision="fp16")) == 32
    assert checkpointed_layers(SHAPE, config(gradient_checkpointing=False)) == 0


def test_an_architecture_that_no_kernel_takes_is_planned_as_transformers_runs_it():
    other, plain = replace(SHAPE, model_type="qwen3"), config(kernels=KernelSettings(enabled=False))
    for settings in (config(), config(gradient_checkpointing=False)):
        as_planned = items_of(other, settings, device="cuda", memory_bytes=GIB)
        slow = settings.model_copy(update={"kernels": plain.kernels})
        assert as_planned == items_of(SHAPE, slow, device="cuda", memory_bytes=GIB)
        assert as_planned != items_of(SHAPE, settings, device="cuda", memory_bytes=GIB)
    assert checkpointed_layers(other, config(kernels=KernelSettings(checkpointed_layers=8))) == 32


@pytest.mark.parametrize(
    ("precision", "head_size", "flash"), [("bf16", 128, True), ("bf16", 100, False), ("fp32", 128, False)]
)
def test_attention_is_planned_on_cuda_as_it_runs_there(precision, head_size, flash):
    shape, settings = replace(SHAPE, head_size=head_size), config(precision=precision, gradient_checkpointing=False)
    here, there = (
        next(
            item.bytes
            for item in items_of(shape, settings, device=device, memory_bytes=GIB)
            if item.name == "activations"
        )
        for device in ("cpu", "cuda")
    )
    assert (there < here) is flash
    assert (there == here) is not flash


def test_what_no_gpu_has_measured_says_so():
    found = items_of(SHAPE, config(), device="cuda", memory_bytes=GIB)
    assert {item.name for item in found if item.basis == "assumed"} == {"context", "allocator slack"}
    assert all("not measured on a GPU" in item.note for item in found if item.basis == "assumed")


def test_a_checkpoint_holds_adapter_and_optimizer():
    assert checkpoint_bytes(1000, config()) == 12_000


def test_the_plan_says_what_a_7b_took_on_a_cpu(repository):
    found = json.loads((repository / "benchmarks/results/seven_billion/2026-11-28.json").read_text(encoding="utf-8"))
    settings = load_config(None, found["settings"])
    planned = sum(item.bytes for item in items_of(shape_of(found["shape"]), settings, device="cpu", memory_bytes=0))
    assert -0.05 <= planned / (found["peak_gib"] * GIB) - 1 <= 0.1


def test_only_tensors_that_are_not_mapped_leave_holes(monkeypatch):
    mapped = items("cpu")["allocator slack"]
    monkeypatch.setattr("alpaca_lora.planning.memory.WIDE", SHAPE.width + 1)
    assert items("cpu")["allocator slack"] > 2 * mapped
