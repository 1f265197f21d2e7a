"""A trained adapter of the tiny base model, made the way `finetune` makes one, and copies of it to damage."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def trained(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Write an adapter with non-zero updates and a true sidecar: `trained(rank=4, rslora=True, ...)`."""
    import torch

    from alpaca_lora.adapters import Sidecar, adapter_tensors, attach_adapter, probe_losses, save_adapter
    from alpaca_lora.config import LoraSettings
    from alpaca_lora.models import fingerprint, load_base_model, load_tokenizer, stop_ids
    from alpaca_lora.prompts import Prompter

    def make(**settings: Any) -> Path:
        tokenizer, prompter = load_tokenizer(tiny_base), Prompter()
        base = load_base_model(tiny_base, precision="fp32", device="cpu")
        before = probe_losses(base, tokenizer, prompter)
        lora = LoraSettings(**{"rank": 4, "alpha": 8.0, **settings})
        with torch.random.fork_rng():
            torch.manual_seed(7)
            model = attach_adapter(base, lora, base_dir=str(tiny_base))
            initial = adapter_tensors(model) if lora.init == "pissa" else None
            for name, parameter in model.named_parameters():
                if parameter.requires_grad and ".lora_" in name:
                    parameter.data += 0.05 * torch.randn_like(parameter)
        sidecar = Sidecar(
            base_model=str(tiny_base),
            base_fingerprint=fingerprint(tiny_base),
            template=prompter.template.to_dict(),
            template_sha256=prompter.sha256,
            data_sha256="0" * 64,
            precision="fp32",
            quantization={"method": "none", "double_quantization": True},
            max_length=128,
            stop_ids=stop_ids(tokenizer, base),
            base_losses=before,
            losses=probe_losses(model, tokenizer, prompter),
        )
        directory = tmp_path_factory.mktemp("trained") / "adapter"
        save_adapter(model, tokenizer, directory, sidecar=sidecar, initial=initial)
        return directory

    return make


@pytest.fixture(scope="session")
def healthy(trained: Callable[..., Path]) -> Path:
    """An adapter that passes every check; copy it before you damage it."""
    return trained()


@pytest.fixture
def adapter(healthy: Path, tmp_path: Path) -> Path:
    """A copy of the healthy adapter."""
    return Path(shutil.copytree(healthy, tmp_path / "adapter"))
