"""Try 4-bit training for real, on a model that takes a moment."""

import tempfile
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from alpaca_lora.config import QuantizationSettings
from alpaca_lora.errors import AlpacaLoraError
from alpaca_lora.models import load_base_model
from alpaca_lora.models.loading import quiet

__all__ = ["nf4_fault"]


def nf4_fault() -> str | None:
    """Return what keeps a 4-bit base from being trained on this device, None if nothing does.

    A model of two thousand parameters is written, loaded as `finetune` loads it, and asked for a gradient.
    """
    config = LlamaConfig(
        vocab_size=8,
        hidden_size=64,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=1,
        num_key_value_heads=1,
    )
    try:
        with tempfile.TemporaryDirectory() as folder:
            with quiet():
                LlamaForCausalLM(config).save_pretrained(folder)
            model = load_base_model(Path(folder), precision="bf16", quantization=QuantizationSettings(method="nf4"))
        embedded_BTC = torch.ones((1, 4, 64), dtype=torch.bfloat16, device=model.device, requires_grad=True)
        model(inputs_embeds=embedded_BTC).logits.float().square().sum().backward()
    except (AlpacaLoraError, RuntimeError, NotImplementedError) as error:
        return f"{type(error).__name__}: {str(error).splitlines()[0]}"
    gradient = embedded_BTC.grad
    if gradient is None or not gradient.any() or not torch.isfinite(gradient).all():
        return "a 4-bit layer gets no gradient"
    return None
