"""Every user-facing knob of fine-tuning, with its unit, its range and its default.

This file only says what a setting may be. What `None` (decide for me) becomes is decided in `planning`, from the number
of rows and the hardware, and the decision is written down with its reason. Settings are frozen; unknown names are
refused; a refusal names every fault at once.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationError,
    model_validator,
)

from alpaca_lora.config.faults import Disagreement, Place, allowed, config_error, settings_of
from alpaca_lora.config.rules import (
    as_method,
    as_tuple,
    disagreements,
    free_options,
    held_out,
    record_fields,
)
from alpaca_lora.config.sections import KernelSettings, LoraSettings, QuantizationSettings, Settings
from alpaca_lora.config.sources import overridden, settings_from
from alpaca_lora.errors import ConfigError

__all__ = [
    "FinetuneConfig",
    "KernelSettings",
    "LoraSettings",
    "QuantizationSettings",
    "config_from_dict",
    "config_reference",
    "load_config",
]


class FinetuneConfig(Settings):
    """Everything that decides the result of a fine-tuning run, but for the base model and the data."""

    lora: LoraSettings = LoraSettings()
    quantization: Annotated[QuantizationSettings, BeforeValidator(as_method)] = QuantizationSettings()
    kernels: KernelSettings = KernelSettings()

    template: Annotated[str, Field(min_length=1)] = "alpaca"
    """Name of a built-in prompt template, or path of a JSON file."""

    column_map: Annotated[dict[str, str], AfterValidator(record_fields)] = {}
    """Which column of the data is which field, as {"instruction": "question"}; empty takes the usual names."""

    allow_empty_output: bool = False
    """Accept records without an answer, which teach the model to say nothing."""

    max_length: Annotated[int, Field(ge=8)] = 512
    """Longest row in tokens: prompt, answer and end-of-text token."""

    overlong: Literal["drop", "truncate_input", "truncate_output", "error"] = "drop"
    """What happens to records over max_length; the answer's end-of-text token is always kept."""

    train_on_prompt: bool = False
    """Learn the prompt too, as alpaca-lora of 2023 did; off, only the answer and its end are learned."""

    packing: bool | None = None
    """Put several records into one row, without letting them see each other. None: on, unless few rows are left or the
    model is of an architecture that is not known to keep them apart."""

    packed_length: Annotated[int, Field(ge=8)] | None = None
    """Longest packed row in tokens, at least max_length. None: decided from the hardware, but max_length where
    batch_size or micro_batch_size is given."""

    group_by_length: bool = False
    """Put rows of about the same length into one batch, as alpaca-lora of 2023 could; not with packing, which pads
    less."""

    validation_size: Annotated[int | float | None, AfterValidator(held_out)] = None
    """Records held out: a count from 1 up, or a share below 1; 0 holds out none. None: the data's own held-out set,
    else 5 %, at most 500."""

    epochs: Annotated[float, Field(gt=0, le=10_000)] | None = None
    """Passes over the data. None: decided from its size."""

    max_steps: Annotated[int, Field(ge=1)] | None = None
    """Stop after this many optimizer steps, whatever the epochs. None: no such limit."""

    batch_size: Annotated[int, Field(ge=1)] | None = None
    """Sequences per optimizer step; a packed row is one sequence. None: decided from the data's size."""

    micro_batch_size: Annotated[int, Field(ge=1)] | None = None
    """Sequences per forward pass and device; batch_size must be a multiple. None: decided from the hardware."""

    learning_rate: Annotated[float, Field(gt=0, le=0.01)] | None = None
    """Peak learning rate, at most 0.01 (LoRA diverges above). None: decided from the data's size."""

    loraplus_ratio: Annotated[float, Field(ge=1)] | None = None
    """Learning rate of the B matrices over that of the A matrices (LoRA+, arXiv 2402.12354; usual is 16). None: 1."""

    lr_schedule: Literal["linear", "cosine", "constant"] = "cosine"
    """Shape of the learning rate after warm-up."""

    warmup_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.03
    """Share of the steps over which the learning rate rises from 0."""

    warmup_steps: Annotated[int, Field(ge=0)] | None = None
    """Optimizer steps over which the learning rate rises from 0. None: warmup_fraction of all steps."""

    weight_decay: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Decoupled weight decay of the adapter."""

    max_grad_norm: Annotated[float, Field(gt=0)] = 1.0
    """Gradients are scaled down to this norm."""

    optimizer: Literal["adamw", "adamw_8bit", "paged_adamw_8bit"] = "adamw"
    """AdamW in 32 bits, or bitsandbytes' 8-bit variants (CUDA)."""

    neftune_alpha: Annotated[float, Field(gt=0)] | None = None
    """Noise on the embeddings while training (NEFTune, arXiv 2310.05914; 5 is usual). None: no noise."""

    precision: Literal["bf16", "fp16", "fp32"] | None = None
    """Number format of the frozen base; adapters are always trained in fp32. None: bf16 where the device can, else fp16
    on a GPU, else fp32."""

    gradient_checkpointing: bool | None = None
    """Recompute activations to save memory, for up to half as much time again. None: in as few layers as memory allows;
    where no plan can be made, on CUDA only."""

    shard_base: bool = False
    """Divide the frozen base over the processes of torchrun (FSDP2) while training: slower, with more of each card left
    for activations. Each process loads all of the base first, so one card must hold its weights. Not with nf4."""

    eval_steps: Annotated[int, Field(ge=1)] | None = None
    """Optimizer steps between evaluations of the held-out loss. None: four times a run."""

    keep_best: bool = False
    """Ship the evaluated step with the lowest held-out loss instead of the last one; each is then saved too."""

    early_stopping_patience: Annotated[int, Field(ge=1)] | None = None
    """Stop after this many evaluations without improvement; needs keep_best. None: never."""

    save_steps: Annotated[int, Field(ge=1)] | None = None
    """Optimizer steps between checkpoints. None: four times a run."""

    save_limit: Annotated[int, Field(ge=1)] = 2
    """How many checkpoints are kept, the newest first."""

    logging_steps: Annotated[int, Field(ge=1)] = 1
    """Optimizer steps between lines of metrics.jsonl."""

    probe_size: Annotated[int, Field(ge=0, le=1000)] = 16
    """Held-out records answered before and after training, for the stop rate and the report; 0 answers none."""

    probe_max_new_tokens: Annotated[int, Field(ge=1)] = 128
    """Longest answer to those records, in tokens."""

    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = 42
    """Decides the split, the order, the adapter's start and dropout. Equal seeds give equal bytes on a CPU; on a GPU,
    the same rows in the same order (not measured)."""

    resume: Annotated[str, Field(min_length=1)] = "auto"
    """`auto` goes on from the newest checkpoint that verifies, `never` demands a new directory, a path goes on from
    there."""

    report_to: Annotated[tuple[Literal["wandb", "tensorboard", "trackio"], ...], BeforeValidator(as_tuple)] = ()
    """Trackers that receive the metrics too; metrics.jsonl is always written."""

    trainer_options: Annotated[dict[str, Any], AfterValidator(free_options)] = {}
    """Further options of trl's SFTConfig; those that another setting decides are refused."""

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        faults = list(disagreements(self))
        if faults:
            raise Disagreement(faults)
        return self


def config_from_dict(values: Mapping[str, Any]) -> FinetuneConfig:
    """Return the config that a mapping describes, as `model_dump` writes it; what it leaves out has its default.

    Args:
        values: settings by name, sections as mappings.

    Returns:
        The config.

    Raises:
        ConfigError: names are unknown, values are not allowed, or settings do not work together; all faults at once.
    """
    if not isinstance(values, Mapping):
        raise ConfigError(f"a config must be a mapping of settings, got {values!r}")
    return _validated(values)


def load_config(
    source: str | Path | FinetuneConfig | None = None, overrides: Mapping[str, Any] | None = None
) -> FinetuneConfig:
    """Return a config from a preset's name, a YAML file, or a config.

    A file holds the settings themselves, and may start from a preset with `preset: NAME`.

    Args:
        source: a preset, a file, or a config; None gives the defaults.
        overrides: settings that win over the source, by dotted name: {"lora.rank": 8}.

    Returns:
        The config.

    Raises:
        ConfigError: there is no such preset or file, or the settings cannot be used; all faults at once.
    """
    overrides = overrides or {}
    lines: dict[Place, str] = {}
    if isinstance(source, FinetuneConfig):
        if not overrides:
            return source
        values = source.model_dump(mode="json", exclude_unset=True)  # so that what was given can still be told
    elif source is None or isinstance(source, str | Path):
        values, lines = settings_from(source)
    else:
        raise ConfigError(
            f"config must be a preset's name, a YAML file or a FinetuneConfig, got {source!r}: settings go into "
            "FinetuneConfig(epochs=1, …)"
        )
    lines = {place: line for place, line in lines.items() if ".".join(place) not in overrides}
    return _validated(overridden(values, overrides), lines)


def config_reference() -> list[tuple[str, str, str, str]]:
    """Return every setting as (dotted name, allowed values, default as JSON, description), for help and docs."""
    defaults = FinetuneConfig().model_dump(mode="json")
    rows = []
    for place, info in settings_of(FinetuneConfig):
        default = defaults
        for part in place:
            default = default[part]
        values = allowed(info.annotation, tuple(info.metadata))
        rows.append((".".join(place), values, json.dumps(default), " ".join((info.description or "").split())))
    return rows


def _validated(values: Mapping[str, Any], lines: Mapping[Place, str] | None = None) -> FinetuneConfig:
    try:
        return FinetuneConfig.model_validate(dict(values))
    except ValidationError as error:
        raise config_error(FinetuneConfig, values, error, lines) from error
