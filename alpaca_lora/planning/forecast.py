"""Will it fit, and how long will it take: `plan`, the answer before a byte of the model is fetched."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alpaca_lora.config import FinetuneConfig, load_config
from alpaca_lora.errors import ConfigError
from alpaca_lora.planning.activations import LEARNED_SHARE
from alpaca_lora.planning.cards import CARDS, card_named, hardware_with
from alpaca_lora.planning.decisions import Hardware, count_steps, decide
from alpaca_lora.planning.fitting import Fix, cheapest_fix, settle_memory, total_of
from alpaca_lora.planning.memory import Item, adapter_parameters, checkpoint_bytes, checkpointed_layers, items_of
from alpaca_lora.planning.shapes import ModelShape, shape_of

__all__ = ["Estimate", "estimate", "flops_per_token", "plan"]

_RECORDS, _TOKENS = 51_760, 205.0
"""alpaca-cleaned: its records, and their mean length in tokens (of 999 of them)."""

_REACHED = 0.5
"""Share of the matrix rate that training is taken to reach. Not measured on a GPU."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a run would take, by its model's shape and its settings alone."""

    shape: ModelShape
    config: FinetuneConfig
    """The settings without gaps."""

    hardware: Hardware
    memory_bytes: int
    """What the device has, or has free."""

    items: tuple[Item, ...]
    """Where the memory goes."""

    steps: int
    """Optimizer steps of the run."""

    tokens: float
    """Tokens of the run, padding not counted."""

    teraflops: float | None
    """Matrix rate that the time follows from; None where none is known."""

    given_rate: bool
    """Whether that rate was given, instead of taken from a data sheet."""

    checkpoint_bytes: int
    """Of one checkpoint on disk."""

    reasons: tuple[str, ...]
    """Why open settings became what they are."""

    fix: Fix | None
    """Where it does not fit: the change that costs least time and does; None when it fits, or when none does."""

    @property
    def total_bytes(self) -> int:
        """Return the peak."""
        return sum(item.bytes for item in self.items)

    @property
    def fits(self) -> bool:
        """Tell whether the peak is within the memory."""
        return self.total_bytes <= self.memory_bytes

    @property
    def tokens_per_second(self) -> float | None:
        """Return the estimated speed; None where no matrix rate is known."""
        return (
            None if not self.teraflops else _REACHED * self.teraflops * 1e12 / flops_per_token(self.shape, self.config)
        )

    @property
    def seconds(self) -> float | None:
        """Return the estimated time of all steps, without evaluations and checkpoints."""
        return None if self.tokens_per_second is None else self.tokens / self.tokens_per_second

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON values, unrounded."""
        fix = self.fix and {
            "changes": dict(self.fix.changes),
            "total_bytes": self.fix.total_bytes,
            "slower": self.fix.slower,
        }
        return {
            "model": self.shape.name,
            "device": self.hardware.name,
            "memory_bytes": self.memory_bytes,
            "total_bytes": self.total_bytes,
            "fits": self.fits,
            "items": [
                {"name": item.name, "bytes": item.bytes, "basis": item.basis, "note": item.note} for item in self.items
            ],
            "fix": fix,
            "fits_cards": list(self.fitting_cards()),
            "steps": self.steps,
            "tokens": self.tokens,
            "flops_per_token": flops_per_token(self.shape, self.config),
            "matrix_teraflops": self.teraflops,
            "tokens_per_second_estimate": self.tokens_per_second,
            "seconds_estimate": self.seconds,
            "checkpoint_bytes": self.checkpoint_bytes,
            "checkpoints": self.config.save_limit,
            "measured_on_gpu": False,
            "config": self.config.model_dump(mode="json"),
        }

    def fitting_cards(self) -> tuple[str, ...]:
        """Return the cards that these settings fit, unchanged."""
        if self.hardware.device != "cuda":
            return ()
        return tuple(
            name
            for name, card in CARDS.items()
            if self.total_bytes <= card.memory_mib << 20 and (card.bf16 or self.config.precision != "bf16")
        )


def plan(
    model: str | Path = "llama-2-7b",
    config: str | Path | FinetuneConfig | None = None,
    *,
    card: str | int | None = None,
    memory_gb: float | None = None,
    records: int = _RECORDS,
    teraflops: float | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Estimate:
    """Tell what a fine-tuning run takes, item by item, from config.json alone: no weights, no torch.

    Args:
        model: a name of `available_shapes`, a directory with config.json, or a Hub id.
        config: a preset's name, a YAML file, a `FinetuneConfig`, or None for the defaults.
        card: a graphics card by name, as `4090`; None with no memory_gb takes one with 24 GiB.
        memory_gb: GiB of its memory, which wins over that of the card.
        records: how many are trained on, of 205 tokens each; the default is alpaca-cleaned.
        teraflops: measured rate of 16-bit matrix products; None takes the card's data sheet.
        overrides: settings that win over the config, by dotted name: {"quantization.method": "nf4"}.

    Returns:
        The estimate; `fits` says whether, `items` why, and `fix` what to change.

    Raises:
        ModelNotFoundError, ModelError: there is no such model, or none of the Llama family.
        ConfigError: settings that cannot work, or an unknown card.
    """
    if records < 1:
        raise ConfigError(f"records must be at least 1, got {records}")
    if teraflops is not None and not 0 < teraflops < 1e6:
        raise ConfigError(f"teraflops must be above 0, got {teraflops}")
    hardware = hardware_with(card, memory_gb)
    sheet = card_named(card).teraflops if card else None
    return estimate(
        shape_of(model),
        load_config(config, overrides),
        hardware,
        records=records,
        teraflops=teraflops or sheet,
        given_rate=teraflops is not None,
    )


def estimate(
    shape: ModelShape,
    asked: FinetuneConfig,
    hardware: Hardware,
    *,
    records: int = _RECORDS,
    mean_tokens: float = _TOKENS,
    room_bytes: int | None = None,
    teraflops: float | None = None,
    given_rate: bool = False,
) -> Estimate:
    """Return the plan of a run on some device.

    Args:
        shape: the model.
        asked: settings as given.
        hardware: the device.
        records: to train on.
        mean_tokens: of a record.
        room_bytes: memory that is free; None takes all that the device has.
        teraflops: matrix rate, None for no estimate of time.
        given_rate: whether that rate was given, instead of taken from a data sheet.
    """
    decided = decide(asked, rows=records, hardware=hardware, mean_tokens=mean_tokens, model_type=shape.model_type)
    memory = room_bytes or hardware.memory_bytes
    settled = settle_memory(asked, decided, shape, hardware, memory)
    config = settled.config
    tokens = records * min(mean_tokens, config.max_length)
    rows = math.ceil(tokens / config.packed_length) if config.packed_length else records
    steps = count_steps(rows, config)
    epochs = min(config.epochs or 1, steps * (config.batch_size or 1) / rows)
    needed = total_of(shape, config, hardware)
    return Estimate(
        shape=shape,
        config=config,
        hardware=hardware,
        memory_bytes=memory,
        items=items_of(shape, config, device=hardware.device, memory_bytes=hardware.memory_bytes),
        steps=steps,
        tokens=epochs * tokens,
        teraflops=teraflops,
        given_rate=given_rate,
        checkpoint_bytes=checkpoint_bytes(adapter_parameters(shape, config), config),
        reasons=settled.reasons,
        fix=None if needed <= memory else cheapest_fix(shape, config, hardware, memory),
    )


def flops_per_token(shape: ModelShape, config: FinetuneConfig) -> float:
    """Return the work of a token.

    Two for each weight in the forward pass and two for the gradient of its input; frozen weights get no gradient. A
    checkpointed layer has its forward pass twice, an adapter its own gradient too; the head works on learned tokens.
    """
    again = checkpointed_layers(shape, config) / shape.layers
    head = shape.vocabulary * shape.width * (1.0 if config.train_on_prompt else LEARNED_SHARE)
    length = min(_TOKENS, config.max_length)
    attention = 2 * shape.layers * shape.heads * shape.head_size * length  # causal: half of the pairs
    return (
        (4 + 2 * again) * shape.linear_parameters
        + 4 * head
        + (6 + 2 * again) * adapter_parameters(shape, config)
        + (3 + again) * attention
    )
