"""Put a fresh adapter on a base model.

PEFT does the work; this file decides what the settings mean in its terms, refuses names that match nothing, and keeps
adapters in float32 whatever the base is held in, because small updates vanish in 16 bits.
"""

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model, replace_lora_weights_loftq
from peft.optimizers import create_loraplus_optimizer
from peft.tuners.lora import LoraLayer
from peft.utils.integrations import dequantize_module_weight
from safetensors import safe_open

from alpaca_lora.config import LoraSettings
from alpaca_lora.errors import ConfigError, ModelError

_PISSA: Any = "pissa_niter_16"
_PREFIX = "base_model.model."


def attach_adapter(model: Any, settings: LoraSettings, *, base_dir: str) -> PeftModel:
    """Return the model with a new trainable adapter; its start is drawn from torch's generator.

    Args:
        model: a frozen base model.
        settings: rank, scale and start of the adapter.
        base_dir: directory of the unquantised weights, which LoftQ compares with.

    Returns:
        The model wrapped by PEFT, adapters in float32.

    Raises:
        ModelError: the model has no linear layer.
        ConfigError: a name in `target_modules` matches no linear layer.
    """
    targets = target_names(model, settings)
    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,  # type: ignore[arg-type]  # PEFT computes with floats too
        lora_dropout=settings.dropout,
        target_modules=targets,
        use_rslora=settings.rslora,
        use_dora=settings.dora,
        init_lora_weights=_PISSA if settings.init == "pissa" else True,
        task_type="CAUSAL_LM",
        base_model_name_or_path=model.config._name_or_path,
    )
    with quiet_peft():
        adapted = get_peft_model(model, config)
    if settings.init == "loftq":
        replace_lora_weights_loftq(adapted, model_path=f"{base_dir}/model.safetensors")
        _take_out_scale(adapted, base_dir)
    for parameter in adapted.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    return adapted


@torch.no_grad()
def _take_out_scale(adapted: PeftModel, base_dir: str) -> None:
    """Divide the B matrices by the scale of their layer if PEFT left it out, as 0.21 does: LoftQ would correct twice.

    Whether it did is seen in the first layer. Delete when pyproject.toml asks for a PEFT that divides by itself.
    """
    layers = {name: module for name, module in adapted.named_modules() if isinstance(module, LoraLayer)}
    name, layer = next(iter(layers.items()))
    scaled: torch.Tensor = layer.get_delta_weight("default")  # type: ignore[attr-defined]  # of every kind of layer
    held = dequantize_module_weight(layer.get_base_layer()).to(scaled)
    error = _stored_weight(Path(base_dir), f"{name.removeprefix(_PREFIX)}.weight").to(scaled) - held
    if (error - scaled / layer.scaling["default"]).norm() < (error - scaled).norm():
        for module in layers.values():
            module.lora_B["default"].weight /= module.scaling["default"]


def _stored_weight(base_dir: Path, name: str) -> torch.Tensor:
    """Return a weight as the base's files hold it; old ones leave out the first part of its name."""
    for path in sorted(base_dir.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            for stored in file.keys():  # noqa: SIM118
                if f".{name}".endswith(f".{stored}"):
                    tensor: torch.Tensor = file.get_tensor(stored)
                    return tensor
    raise ModelError(f"{str(base_dir)!r} has no tensor {name!r}: load the base with transformers and save it again")


@contextlib.contextmanager
def quiet_peft() -> Iterator[None]:
    """Silence PEFT 0.21's use of a name that transformers 5.23 deprecates; delete when PEFT has followed."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*", category=FutureWarning)
        yield


def target_names(model: Any, settings: LoraSettings) -> list[str]:
    """Return the names of the linear layers to adapt, sorted.

    Raises:
        ModelError: the model has no linear layer.
        ConfigError: a name matches no linear layer of the model; the message lists those that exist.
    """
    head = model.get_output_embeddings()
    full = [
        f".{name}"
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and module is not head
    ]
    if not full:
        raise ModelError(
            f"this {model.config.model_type} model has no linear layer (torch.nn.Linear) but its output head, so there "
            "is nothing to adapt: give a model of another architecture, as one of the Llama family"
        )
    linear = {name.rpartition(".")[2] for name in full}
    if settings.target_modules == "all-linear":
        return sorted(linear)
    unknown = [name for name in settings.target_modules if not any(path.endswith(f".{name}") for path in full)]
    if unknown:
        raise ConfigError(
            f"config.lora.target_modules: no linear layer of this {model.config.model_type} model is called "
            f"{', '.join(map(repr, unknown))}; it has {', '.join(sorted(linear))}"
        )
    return sorted(settings.target_modules)


def loraplus_optimizer(
    model: PeftModel, kind: type[torch.optim.Optimizer], options: dict[str, Any], ratio: float
) -> Any:
    """Return an optimizer that moves the B matrices `ratio` times as fast as the A matrices (LoRA+)."""
    options = dict(options)
    return create_loraplus_optimizer(model, kind, lr=options.pop("lr"), loraplus_lr_ratio=ratio, **options)
