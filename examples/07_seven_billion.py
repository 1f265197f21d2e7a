"""Two steps of QLoRA on the shape of Llama-2-7B on any machine with 12 GB: random weights, no download.

Run:  python examples/07_seven_billion.py      (many minutes; with `smollm2-135m 64` behind it, seconds)
"""

import sys
import time

import bitsandbytes as bnb
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from alpaca_lora import load_config
from alpaca_lora.adapters import attach_adapter
from alpaca_lora.kernels import apply
from alpaca_lora.planning import config_of, memory, shape_of
from alpaca_lora.records import read_dataset
from alpaca_lora.training.recording import memory_bytes


def random_model(name: str) -> torch.nn.Module:
    """Build a model of this shape; each linear layer is in 4 bits before the next is made."""
    config = AutoConfig.for_model(**config_of(name))
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    for path, layer in list(model.named_modules()):
        if isinstance(layer, torch.nn.Linear) and path != "lm_head":
            model.set_submodule(path, bnb.nn.Linear4bit(layer.in_features, layer.out_features, False, device="meta"))
            weight = bnb.nn.Params4bit(torch.randn(layer.weight.shape) * 0.02, quant_type="nf4")
            model.get_submodule(path).weight = weight.to("cpu")
        elif hasattr(layer, "weight"):
            size = layer.weight.shape
            layer.weight = torch.nn.Parameter(torch.ones(size) if len(size) == 1 else torch.randn(size) * 0.02)
    model.model.rotary_emb = type(model.model.rotary_emb)(config)
    model.tie_weights()
    return model.requires_grad_(False)


def main(name: str = "llama-2-7b", tokens: int = 512) -> None:
    """Train twice on the first bytes of the packaged records; print losses, speed, and the peak beside the plan."""
    settings = {"max_length": tokens, "packing": False, "precision": "fp32", "gradient_checkpointing": True}
    config = load_config(None, settings | {"quantization": "nf4", "kernels.nf4_cache_gib": 0.0})
    plan = sum(item.bytes for item in memory.items_of(shape_of(name), config, device="cpu", memory_bytes=0))
    model = attach_adapter(random_model(name), config.lora, base_dir="")
    fast_path = apply(model, config.kernels, longest_record=tokens, checkpointed=True)
    text = "\n".join(f"{row.instruction}\n{row.output}" for row in read_dataset("alpaca-mini").records)
    ids = torch.tensor([list(text.encode()[:tokens])])
    optimizer = torch.optim.AdamW((p for p in model.parameters() if p.requires_grad), lr=1e-3, fused=True)
    for step in (1, 2):
        began = time.monotonic()
        loss = fast_path.loss({"input_ids": ids, "labels": ids, "real_tokens": torch.tensor([tokens])}, tokens - 1)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        print(f"step {step}: loss {loss.item():.4f}, {tokens / (time.monotonic() - began):.2f} tokens/s", flush=True)
    print(f"peak_gib: {memory_bytes() / 2**30:.2f}, planned {plan / 2**30:.2f}")


if __name__ == "__main__":
    main(*sys.argv[1:2], *map(int, sys.argv[2:3]))
