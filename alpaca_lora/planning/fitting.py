"""Find the settings that make a run fit: those that were left open, or the cheapest change of those that were given.

What a change costs is time: computing layers again is counted in products, small forward passes and unpacking 4-bit
weights are rough factors. Nothing here changes the batch of an optimizer step, so nothing changes what is learned but
4-bit weights and an 8-bit optimizer.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from alpaca_lora.config import FinetuneConfig
from alpaca_lora.planning.activations import runs_on_kernels
from alpaca_lora.planning.decisions import Decisions, Hardware
from alpaca_lora.planning.memory import checkpointed_layers, items_of
from alpaca_lora.planning.shapes import ModelShape

__all__ = ["Fix", "cheapest_fix", "settle_memory", "slowness"]

_SPARE = 0.9
"""Share of the memory that decided settings may fill; given ones may fill all of it."""

_MOST_TOKENS = 8192
"""Of a forward pass: more are hardly faster."""

_STARTING_TOKENS = 512
"""Tokens whose time a forward pass costs beside its products: host and memory wait for each other."""

_UNPACKING = 1.1
_ROWS = ("packing", "packed_length", "batch_size", "micro_batch_size")


@dataclass(frozen=True, slots=True)
class Fix:
    """Settings that fit where others did not."""

    changes: Mapping[str, Any]
    """What to set, by dotted name."""

    config: FinetuneConfig
    total_bytes: int
    slower: float
    """How many times the time of the settings that do not fit, roughly."""


def slowness(shape: ModelShape, config: FinetuneConfig) -> float:
    """Return the time of a token in products of all weights, roughly; only ratios mean anything."""
    tokens = (config.micro_batch_size or 1) * int(config.packed_length or config.max_length)
    products = 2 + checkpointed_layers(shape, config) / shape.layers  # forward, input's gradient, forward again
    unpacking = _UNPACKING if config.quantization.method == "nf4" else 1.0
    return products * unpacking * (1 + _STARTING_TOKENS / tokens)


def settle_memory(
    asked: FinetuneConfig, decided: Decisions, shape: ModelShape, hardware: Hardware, room_bytes: int | None = None
) -> Decisions:
    """Choose micro-batch and checkpointed layers for a model's shape, where they were left open.

    Args:
        asked: the settings as given.
        decided: the same without gaps.
        shape: the model.
        hardware: the device that trains.
        room_bytes: memory that is free; None takes that of the device.

    Returns:
        The fastest choice that leaves a tenth of the memory free; the leanest where nothing does.
    """
    memory = int((room_bytes or hardware.memory_bytes) * _SPARE)
    free_batch, free_layers = asked.micro_batch_size is None, _layers_are_open(asked)
    if hardware.device == "mps" or not (free_batch or free_layers):
        return decided
    config = decided.config
    batches = _micro_batches(config, hardware) if free_batch else [config.micro_batch_size or 1]
    found = _fastest(
        (
            candidate
            for micro in batches
            for candidate in _recomputed(
                _with(config, {"micro_batch_size": micro}), shape, memory, hardware, free_layers
            )
        ),
        shape,
    )
    if found is None:
        lean = _with(config, {"gradient_checkpointing": True} if free_layers else {})
        found = _with(lean, {"micro_batch_size": batches[0]})
    if found == config:
        return decided
    layers, needed = checkpointed_layers(shape, found), total_of(shape, found, hardware)
    kept = [reason for reason in decided.reasons if not reason.startswith(_replaced(free_batch, free_layers))]
    tokens = (found.micro_batch_size or 1) * int(found.packed_length or found.max_length)
    why = f"about {needed / 2**30:.1f} of {hardware.memory_bytes / 2**30:.1f} GiB by the plan"
    if free_batch:
        kept.append(f"micro_batch_size {found.micro_batch_size}: {tokens} tokens in a forward pass, {why}")
    if free_layers:
        kept.append(f"gradient_checkpointing of {layers} of {shape.layers} layers: {why}")
    return Decisions(found, tuple(kept))


def cheapest_fix(
    shape: ModelShape, config: FinetuneConfig, hardware: Hardware, memory_bytes: int, record_tokens: int | None = None
) -> Fix | None:
    """Return the change of settings that costs least time and fits; None where no change does.

    Args:
        shape: the model.
        config: settings without gaps that do not fit.
        hardware: the device that trains.
        memory_bytes: what there is.
        record_tokens: length of the records; None takes max_length.
    """
    bases = [config]
    if config.quantization.method == "none" and config.lora.init != "pissa":
        bases.append(_with(config, {"quantization.method": "nf4"}))
    if config.optimizer == "adamw" and hardware.device == "cuda":
        bases += [_with(base, {"optimizer": "adamw_8bit"}) for base in tuple(bases)]
    found = None
    for base in bases:  # in this order: what is learned changes least in the first
        found = _fastest(
            (
                candidate
                for shorter in _shorter_rows(base)
                for micro in _divisors(shorter)
                for candidate in _recomputed(
                    _with(shorter, {"micro_batch_size": micro}), shape, memory_bytes, hardware, True, record_tokens
                )
            ),
            shape,
        )
        if found is not None:
            break
    if found is None:
        return None
    ratio = slowness(shape, found) / slowness(shape, config)
    return Fix(_changes(config, found), found, total_of(shape, found, hardware, record_tokens), ratio)


def total_of(shape: ModelShape, config: FinetuneConfig, hardware: Hardware, record_tokens: int | None = None) -> int:
    """Return the bytes that a run takes."""
    items = items_of(
        shape, config, device=hardware.device, memory_bytes=hardware.memory_bytes, record_tokens=record_tokens
    )
    return sum(item.bytes for item in items)


def _recomputed(
    config: FinetuneConfig,
    shape: ModelShape,
    memory_bytes: int,
    hardware: Hardware,
    free: bool,
    record_tokens: int | None = None,
) -> Iterator[FinetuneConfig]:
    """Yield the config with the fewest checkpointed layers that fit, if any do."""

    def fits(candidate: FinetuneConfig) -> bool:
        return total_of(shape, candidate, hardware, record_tokens) <= memory_bytes

    if not free:
        yield from (candidate for candidate in [config] if fits(candidate))
        return
    choices = [_with(config, {"gradient_checkpointing": False, "kernels.checkpointed_layers": None})]
    on = _with(config, {"gradient_checkpointing": True})
    if runs_on_kernels(shape, config):
        choices += [_with(on, {"kernels.checkpointed_layers": layers}) for layers in _steps(shape.layers)]
    choices.append(_with(on, {"kernels.checkpointed_layers": None}))
    yield from _first(choices, fits)


def _steps(layers: int) -> Iterator[int]:
    """Yield an eighth of the layers, two eighths, and so on: finer steps change little."""
    yield from (max(1, layers * eighth // 8) for eighth in range(1, 8))


def _first(choices: list[FinetuneConfig], fits: Callable[[FinetuneConfig], bool]) -> Iterator[FinetuneConfig]:
    for choice in choices:
        if fits(choice):
            yield choice
            return


def _fastest(candidates: Iterator[FinetuneConfig], shape: ModelShape) -> FinetuneConfig | None:
    return min(candidates, key=lambda config: slowness(shape, config), default=None)


def _micro_batches(config: FinetuneConfig, hardware: Hardware) -> list[int]:
    """Return the parts that a batch may be taken in: on a CPU no larger ones than were decided, for its cache."""
    length = int(config.packed_length or config.max_length)
    most = max(1, _MOST_TOKENS // length) if hardware.device == "cuda" else config.micro_batch_size or 1
    batch = config.batch_size or 1
    return [part for part in range(1, min(most, batch) + 1) if batch % part == 0]


def _divisors(config: FinetuneConfig) -> list[int]:
    batch = config.batch_size or 1
    return [part for part in range(1, (config.micro_batch_size or 1) + 1) if batch % part == 0]


def _shorter_rows(config: FinetuneConfig) -> list[FinetuneConfig]:
    """Return the config, and one with rows of a record's length where a forward pass is one packed row already."""
    if config.packed_length is None or config.packed_length <= config.max_length or (config.micro_batch_size or 1) > 1:
        return [config]
    times = config.packed_length // config.max_length
    shorter = {"packed_length": config.max_length, "batch_size": (config.batch_size or 1) * times}
    return [config, _with(config, shorter)]


def _layers_are_open(config: FinetuneConfig) -> bool:
    return config.gradient_checkpointing is None and config.kernels.checkpointed_layers is None


def _replaced(free_batch: bool, free_layers: bool) -> tuple[str, ...]:
    return (*["micro_batch_size "] * free_batch, *["gradient_checkpointing "] * free_layers)


def _changes(before: FinetuneConfig, after: FinetuneConfig) -> dict[str, Any]:
    """Return the settings that differ, by dotted name; rows and batch all together, since one decides another."""
    old, new = before.model_dump(mode="json"), after.model_dump(mode="json")
    changes: dict[str, Any] = {}
    if any(new[name] != old[name] for name in _ROWS):
        changes = {name: new[name] for name in _ROWS if new[name] is not None}
    if new["kernels"]["checkpointed_layers"] != old["kernels"]["checkpointed_layers"]:
        changes["gradient_checkpointing"] = new["gradient_checkpointing"]
    for name, value in new.items():
        if isinstance(value, dict):
            changes |= {f"{name}.{part}": value[part] for part in value if value[part] != old[name].get(part)}
        elif value != old[name]:
            changes[name] = value
    return changes


def _with(config: FinetuneConfig, changes: Mapping[str, Any]) -> FinetuneConfig:
    """Return a config with other values, which agree with the rest by what they are."""
    plain = {name: value for name, value in changes.items() if "." not in name}
    for name in changes.keys() - plain.keys():
        section, _, part = name.partition(".")
        plain[section] = getattr(config, section).model_copy(update={part: changes[name]})
    return config.model_copy(update=plain)
