"""The tiny base model as it is loaded for real, and copies of its directory to damage."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def tokenizer(tiny_base: Path) -> Any:
    """The tokenizer of the tiny base; it adds no token of its own."""
    from alpaca_lora.models import load_tokenizer

    return load_tokenizer(tiny_base)


@pytest.fixture
def model(tiny_base: Path) -> Any:
    """The tiny base in float32, one of its own for each test."""
    from alpaca_lora.models import load_base_model

    return load_base_model(tiny_base, precision="fp32", device="cpu")


@pytest.fixture
def base(tiny_base: Path, tmp_path: Path) -> Path:
    """A copy of the tiny base's directory that a test may damage."""
    return shutil.copytree(tiny_base, tmp_path / "base")


@pytest.fixture
def write_tokenizer(tiny_base: Path, tmp_path: Path) -> Callable[..., Path]:
    """Write a variant of the tiny tokenizer: `write_tokenizer(adds_bos=True, eos_token=..., pad_token=...)`.

    `adds_bos` makes it put `<s>` before every text; what is not named is None.
    """
    from tokenizers import Tokenizer, processors
    from transformers import PreTrainedTokenizerFast

    def write(*, adds_bos: bool = False, **special: str) -> Path:
        fast = Tokenizer.from_file(str(tiny_base / "tokenizer.json"))
        if "bos_token" in special:
            fast.add_special_tokens([special["bos_token"]])
        if adds_bos:
            bos = special["bos_token"]
            fast.post_processor = processors.TemplateProcessing(
                single=f"{bos} $A", special_tokens=[(bos, fast.token_to_id(bos))]
            )
        PreTrainedTokenizerFast(tokenizer_object=fast, **special).save_pretrained(tmp_path / "tokenizer")
        return tmp_path / "tokenizer"

    return write
