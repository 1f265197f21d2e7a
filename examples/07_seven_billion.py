"""Two steps of QLoRA on the shape of Llama-2-7B on any machine with 12 GB: random weights, one record, no download.

Run:  python examples/07_seven_billion.py      (minutes; with `smollm2-135m` behind it, seconds)
"""

import sys
import time

import bitsandbytes as bnb
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from alpaca_lora import FinetuneConfig, KernelSettings, LoraSettings, Prompter, QuantizationSettings, load_records
from alpaca_lora.adapters import attach_adapter
from alpaca_lora.kernels import apply
from alpaca_lora.models import load_tokenizer, locate_base_model
from alpaca_lora.planning import config_of, shape_of
from alpaca_lora.planning.memory import items_of
from alpaca_lora.training.encoding import encode_records
from alpaca_lora.training.recording import memory_bytes


def random_model(name: str) -> torch.nn.Module:
    """Build a model of this shape; each linear layer is in 4 bits before the next is made."""
    config = AutoConfig.for_model(**config_of(name))
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    for path, layer in list(model.named_modules()):
        if isinstance(layer, torch.nn.Linear) and path != "lm_head":
            small = bnb.nn.Linear4bit(layer.in_features, layer.out_features, bias=False, device="meta")
            small.weight = bnb.nn.Params4bit(torch.randn(layer.weight.shape) * 0.02, quant_type="nf4").to("cpu")
            model.set_submodule(path, small)
        elif hasattr(layer, "weight"):
            size = layer.weight.shape
            layer.weight = torch.nn.Parameter(torch.ones(size) if len(size) == 1 else torch.randn(size) * 0.02)
    model.model.rotary_emb = type(model.model.rotary_emb)(config)
    model.tie_weights()
    return model.requires_grad_(False)


def planned_gib(name: str, tokens: int, kernels: KernelSettings) -> float:
    """Return what the plan says of a model of this shape and one row of tokens."""
    config = FinetuneConfig(
        max_length=tokens,
        packing=False,
        micro_batch_size=1,
        batch_size=1,
        learning_rate=1e-3,
        precision="fp32",
        gradient_checkpointing=True,
        quantization=QuantizationSettings(method="nf4"),
        kernels=kernels,
    )
    return sum(item.bytes for item in items_of(shape_of(name), config, device="cpu", memory_bytes=0)) / 2**30


def main() -> None:
    """Train twice on the first record; print losses, speed and the peak of memory."""
    name = sys.argv[1] if sys.argv[1:] else "llama-2-7b"
    kernels = KernelSettings(nf4_cache_gib=0.0)
    tokenizer = load_tokenizer(locate_base_model("smollm2-135m"))
    row = next(encode_records(load_records(*sys.argv[2:] or ["alpaca-mini"]), Prompter(), tokenizer, max_length=512))
    model = attach_adapter(random_model(name), LoraSettings(), base_dir="")
    fast_path = apply(model, kernels, longest_record=512, checkpointed=True)
    ids = torch.tensor([row.input_ids]) % model.config.vocab_size  # another model's tokenizer; nothing here makes sense
    tokens = ids.shape[1]
    optimizer = torch.optim.AdamW((p for p in model.parameters() if p.requires_grad), lr=1e-3, fused=True)
    for step in (1, 2):
        began = time.monotonic()
        loss = fast_path.loss({"input_ids": ids, "labels": ids, "real_tokens": torch.tensor([tokens])}, tokens - 1)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        print(f"step {step}: loss {loss.item():.4f}, {tokens / (time.monotonic() - began):.2f} tokens/s", flush=True)
    print(f"peak_gib: {memory_bytes() / 2**30:.2f}, planned {planned_gib(name, tokens, kernels):.2f}")


if __name__ == "__main__":
    main()
