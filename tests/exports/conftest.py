"""Trained adapters of tiny base models, of which one is tied and one is not, each with grouped-query attention."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def make_base(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Write a base model with random weights and the tiny tokenizer: `make_base(seed=1, tie_word_embeddings=True)`.

    `kind` is the name of a configuration class of transformers.
    """
    import torch
    import transformers

    def make(seed: int = 0, kind: str = "LlamaConfig", dtype: str = "float32", **options: Any) -> Path:
        config = getattr(transformers, kind)(
            **{
                "vocab_size": 384,
                "hidden_size": 64,
                "intermediate_size": 96,
                "num_hidden_layers": 2,
                "num_attention_heads": 4,
                "num_key_value_heads": 2,
                "max_position_embeddings": 1024,
                "bos_token_id": None,
                "eos_token_id": 0,
                "pad_token_id": 1,
                **options,
            }
        )
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            model = transformers.AutoModelForCausalLM.from_config(config)
            for parameter in model.parameters():
                if parameter.ndim == 1:  # norms of ones and biases of zeros would hide a fault
                    parameter.data += 0.1 * torch.randn_like(parameter)
        directory = tmp_path_factory.mktemp("base")
        model.to(getattr(torch, dtype)).save_pretrained(directory)
        for item in tiny_base.iterdir():
            if "token" in item.name:
                shutil.copy(item, directory)
        return directory

    return make


@pytest.fixture(scope="session")
def base(make_base: Callable[..., Path]) -> Path:
    """An untied Llama."""
    return make_base()


@pytest.fixture(scope="session")
def adapter(train: Callable[..., Path], base: Path) -> Path:
    """A LoRA adapter of the untied Llama, of all its linear layers; copy it before you damage it."""
    return train(base)
