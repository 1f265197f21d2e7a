"""Ask the plan before a model is fetched: refuse what cannot fit, and choose what was left open so that it does."""

import contextlib
from pathlib import Path

from alpaca_lora.config import FinetuneConfig
from alpaca_lora.errors import ConfigError, ModelError
from alpaca_lora.models import EMBEDDED
from alpaca_lora.models.hardware import free_memory_bytes
from alpaca_lora.planning import Decisions, Estimate, Hardware, estimate, process_bytes, settle_memory, shape_of
from alpaca_lora.training import ranks

_CERTAIN = 1.1
"""How far above the memory a plan must be for a refusal: the plan's own error, where it was measured."""


def room_of(hardware: Hardware) -> int:
    """Return the bytes that a run may take on the device of every process.

    The plan counts a process from its start. By now this one has its libraries, or its context, and what they take is
    no longer free.
    """
    return ranks.least(free_memory_bytes(hardware) + process_bytes(hardware.device))


def refuse_what_cannot_fit(
    base_model: str | Path, asked: FinetuneConfig, *, rows: int, hardware: Hardware, room_bytes: int
) -> None:
    """Refuse a run that the device has no memory for; of a Hub id only config.json is fetched.

    What no plan can be made of (an architecture of another kind, the embedded model) is let through.

    Raises:
        ConfigError: it does not fit; the message has the cheapest change that does.
    """
    if base_model == EMBEDDED or asked.shard_base or hardware.device == "mps":
        return
    with contextlib.suppress(ModelError):
        made = estimate(shape_of(base_model), asked, hardware, records=rows, room_bytes=room_bytes)
        if made.total_bytes > _CERTAIN * made.memory_bytes:
            raise ConfigError(_refusal(made))


def settle_for(
    base_dir: Path, asked: FinetuneConfig, decided: Decisions, hardware: Hardware, room_bytes: int
) -> Decisions:
    """Choose micro-batch and checkpointed layers for the model in a directory, where they were left open."""
    with contextlib.suppress(ModelError):
        return settle_memory(asked, decided, shape_of(base_dir), hardware, room_bytes)
    return decided


def _refusal(made: Estimate) -> str:
    needed, free = made.total_bytes / 2**30, made.memory_bytes / 2**30
    largest = max(made.items, key=lambda item: item.bytes)
    said = (
        f"this run needs about {needed:.1f} GiB and {free:.1f} GiB are free or this process's own on "
        f"{made.hardware.name}: "
        f"{largest.bytes / 2**30:.1f} GiB are {largest.name} ({largest.note}). "
    )
    if made.fix is None:
        return f"{said}No change of settings makes it fit: take a smaller model, or config.max_length below its value"
    changes = ", ".join(f"config.{name} {value!r}" for name, value in made.fix.changes.items())
    return f"{said}What fits and costs least time, with about {made.fix.total_bytes / 2**30:.1f} GiB: {changes}"
