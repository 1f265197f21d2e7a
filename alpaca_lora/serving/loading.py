"""Find an adapter and everything that it needs to answer.

The sidecar of an adapter knows its base model, its prompt template and how the base was held, so a directory is all
that is needed. Each can be overridden; another template only on purpose, since a model that is asked in words that it
was not trained on answers worse, and nothing says so.
"""

from pathlib import Path
from typing import Literal, get_args

from alpaca_lora._paths import check_paths
from alpaca_lora.adapters import find_trained, inspect_adapter, load_adapter
from alpaca_lora.config import QuantizationSettings
from alpaca_lora.errors import ConfigError
from alpaca_lora.models import check_vocabulary, load_base_model
from alpaca_lora.planning import Precision
from alpaca_lora.prompts import Template
from alpaca_lora.serving.assistant import Assistant

__all__ = ["load"]

Quantization = Literal["none", "nf4"]


def load(
    adapter_dir: str | Path,
    *,
    base_model: str | Path | None = None,
    template: str | Path | Template | None = None,
    force_template: bool = False,
    precision: Precision | None = None,
    quantization: Quantization | None = None,
    device: str | None = None,
) -> Assistant:
    """Load an adapter on its base model, ready to answer.

    Args:
        adapter_dir: an adapter directory, or a run directory that holds a finished `adapter/`.
        base_model: embedded name, directory or Hub id; None takes the one that the adapter was trained on.
        template: prompt template; None takes the one that the adapter was trained with.
        force_template: ask with `template` although the adapter was trained with another.
        precision: number format of the base; None takes that of the training.
        quantization: how the base's linear layers are held; None as in training.
        device: `cpu`, `cuda`, `cuda:1` …; None takes the current CUDA device, else Apple's, else the processor.

    Returns:
        The assistant.

    Raises:
        ConfigError: precision or quantization is unknown, or an adapter of another tool needs a template by name.
        AdapterError: the adapter cannot be used, or fits another base; see `adapters.inspect_adapter`.
        TemplateError: the template cannot be used, or is not the adapter's.
        ModelError: the base model cannot be found or loaded.
    """
    check_paths(adapter_dir=adapter_dir)
    _check_choices(precision=(precision, get_args(Precision)), quantization=(quantization, get_args(Quantization)))
    trained = find_trained(adapter_dir, base_model=base_model, template=template, force_template=force_template)
    inspect_adapter(trained.adapter_dir, trained.base_dir)
    tokenizer = trained.tokenizer()
    model = load_base_model(
        trained.base_dir,
        precision=precision or trained.precision,
        quantization=QuantizationSettings(method=quantization) if quantization else trained.quantization,
        device=device,
    )
    check_vocabulary(tokenizer, model)
    if trained.sidecar:
        model.generation_config.eos_token_id = list(trained.sidecar.stop_ids)
    return Assistant(load_adapter(model, trained.adapter_dir, trained.base_dir), tokenizer, trained.prompter)


def _check_choices(**choices: tuple[str | None, tuple[str, ...]]) -> None:
    faults = [
        f"{name} must be one of {', '.join(map(repr, allowed))}, got {value!r}"
        for name, (value, allowed) in choices.items()
        if value is not None and value not in allowed
    ]
    if faults:
        raise ConfigError("\n".join(faults))
