"""Load a frozen base model in an explicit precision, quantised or not."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import transformers
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, PreTrainedModel

from alpaca_lora._exhaustion import is_out_of_memory
from alpaca_lora._optional import require
from alpaca_lora.config import QuantizationSettings
from alpaca_lora.errors import ModelError
from alpaca_lora.models.hardware import detect_hardware
from alpaca_lora.planning import Precision

DTYPES: dict[str, torch.dtype] = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}

_FAULTS = (
    ArithmeticError,
    ImportError,
    KeyError,
    OSError,
    RuntimeError,
    SafetensorError,
    StrictDataclassError,
    TypeError,
    ValueError,
)
"""What damaged files, or files of another kind, make transformers raise."""


def load_base_model(
    directory: Path,
    *,
    precision: Precision,
    quantization: QuantizationSettings | None = None,
    device: str | None = None,
) -> PreTrainedModel:
    """Load a causal language model with all its parameters frozen.

    `prepare_model_for_kbit_training` is not used: its fp32 embeddings and norms cost memory and gain nothing here.

    Args:
        directory: what `locate_base_model` returned.
        precision: number format of everything that is not quantised, and of the computation.
        quantization: how linear layers are held; None means as they are.
        device: `cpu`, `cuda`, `cuda:1` …; None takes the current CUDA device, else Apple's, else the processor.

    Returns:
        The model in evaluation mode.

    Raises:
        ModelError: the files cannot be loaded as a causal language model.
        MissingDependencyError: nf4 without bitsandbytes.
    """
    nf4 = _nf4(quantization, precision) if quantization is not None and quantization.method == "nf4" else None
    try:
        with quiet():
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                directory,
                dtype=DTYPES[precision],
                quantization_config=nf4,
                device_map={"": device or default_device()},
                attn_implementation="sdpa",
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                output_loading_info=True,
            )
    except _FAULTS as error:
        if is_out_of_memory(error):
            raise
        raise ModelError(f"{str(directory)!r} cannot be loaded as a causal language model: {error}") from error
    model: PreTrainedModel = loaded[0]
    _refuse_missing(directory, sorted(loaded[1]["missing_keys"]))
    if nf4 is not None:
        _keep_gradients(model)
        _let_go_of_files(model)
    model.requires_grad_(False)
    model.eval()
    return model


def _refuse_missing(directory: Path, names: list[str]) -> None:
    """Refuse weights that are not in the files: transformers would make them up at random."""
    if names:
        raise ModelError(
            f"{str(directory)!r} lacks {len(names)} of the model's weights, {names[0]!r} first: download it again, or "
            "name a causal language model"
        )


def _nf4(quantization: QuantizationSettings, precision: Precision) -> BitsAndBytesConfig:
    require("bitsandbytes", extra="quant")
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=quantization.double_quantization,
        bnb_4bit_compute_dtype=DTYPES[precision],
    )


def default_device() -> str:
    """Return the device that a model goes to when none is named."""
    if torch.cuda.is_available():
        return f"cuda:{torch.cuda.current_device()}"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _keep_gradients(model: PreTrainedModel) -> None:
    """Stop bitsandbytes from repacking weights on the CPU.

    The first evaluation would repack each `Linear4bit` for a kernel that has no backward pass, and training after it
    would get no gradient, silently (bitsandbytes 0.50.2, nn/modules.py). Delete when its repacked path is
    differentiable.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False  # type: ignore[assignment]


def _let_go_of_files(model: PreTrainedModel) -> None:
    """Copy what was not quantised out of the mapped files, which otherwise stay resident as a whole: 13 GB for a 7B."""
    for parameter in model.parameters():
        if getattr(parameter, "quant_state", None) is None:
            parameter.data = parameter.data.clone()


def best_precision() -> Precision:
    """Return the number format that this machine computes in fastest, when none is asked for."""
    return detect_hardware().precisions[0]


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence transformers' bars and reports while a model loads, and put back what was there."""
    level, bars = transformers.logging.get_verbosity(), transformers.logging.is_progress_bar_enabled()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers.logging.set_verbosity(level)
        if bars:
            transformers.logging.enable_progress_bar()
