"""What `None` in a config becomes, from the number of rows and the hardware, each with its reason in a sentence.

The tables are for adapters: their learning rates are those of alpaca-lora (3e-4) and QLoRA (2e-4), about ten times the
rates of full fine-tuning, and the batch shrinks with the data so that a run has enough steps to learn in. A setting
that the user gave is never changed; one that this hardware cannot serve is refused.
"""

import math
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from alpaca_lora.config import FinetuneConfig
from alpaca_lora.errors import ConfigError
from alpaca_lora.planning.isolation import keeps_records_apart, packing_fault

__all__ = ["Decisions", "Hardware", "Precision", "count_steps", "decide", "decide_intervals"]

Precision = Literal["bf16", "fp16", "fp32"]
"""Number formats of a base model, the fastest first."""

_TYPICAL_TOKENS = 200.0
_TARGET_STEPS = 150
_FEW_STEPS = 30
_FEWEST_PACKED_STEPS = 16  # of an epoch; with fewer, padding costs less than what a run cannot learn
_SMALLEST_BATCH = 4  # records per step
_SMALLEST_PACKED_BATCH = 8
_LARGEST_BATCH = 128  # records per step, as Stanford Alpaca and alpaca-lora have it
_PADDED_ON_CPU = 4
_TOKENS_WORTH_COMPILING = 50_000
_ROW_TOKENS = 2048  # ten Alpaca records, the fewest of a step, in one forward pass

_EPOCHS_BELOW_ROWS = ((50, 10.0), (200, 5.0), (40_000, 3.0), (200_000, 2.0), (math.inf, 1.0))
_LEARNING_RATE_BELOW_ROWS = ((2_000, 4e-4), (20_000, 3e-4), (math.inf, 2e-4))
_TOKENS_BELOW_GIB = ((12, 1024), (20, 2048), (40, 4096), (70, 8192), (math.inf, 16384))


@dataclass(frozen=True, slots=True)
class Hardware:
    """The device that trains, as far as a plan depends on it."""

    device: Literal["cpu", "cuda", "mps"]
    """Which backend of torch runs."""

    name: str
    """What its maker calls it."""

    memory_bytes: int
    """Memory of the device; of the machine where the device is a CPU."""

    bf16: bool
    """Whether it multiplies bfloat16 natively (a CPU does with AMX or AVX512-BF16)."""

    fp16: bool
    """Whether it multiplies float16 natively."""

    cores: int
    """Logical processors that this process may run on."""

    compiler: bool = False
    """Whether there is a C++ compiler for torch's Inductor."""

    @property
    def precisions(self) -> list[Precision]:
        """The number formats that it trains in, the fastest first; a CPU never in float16."""
        works = {"bf16": self.bf16, "fp16": self.fp16 and self.device != "cpu", "fp32": True}
        return [name for name in get_args(Precision) if works[name]]


@dataclass(frozen=True, slots=True)
class Decisions:
    """A config without the gaps that were to be decided."""

    config: FinetuneConfig
    """The settings as they will be used."""

    reasons: tuple[str, ...]
    """One sentence for every setting that was decided; those that begin with `warning:` need a look."""


@dataclass(slots=True)
class _Choices:
    """Fills the gaps of a config one by one."""

    config: FinetuneConfig
    values: dict[str, Any] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)

    def settle(self, name: str, value: Any, reason: str) -> Any:
        """Return the setting that was given, or else `value`, which is noted with its reason."""
        given = getattr(self.config, name)
        if given is not None:
            return given
        self.values[name] = value
        text = ("off", "on")[value] if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else value
        self.reasons.append(f"{name} {text}: {reason}")
        return value

    def warn(self, text: str) -> None:
        self.reasons.append(f"warning: {text}")

    def result(self) -> Decisions:
        return Decisions(FinetuneConfig(**{**dict(self.config), **self.values}), tuple(self.reasons))


def decide(
    config: FinetuneConfig,
    *,
    rows: int,
    hardware: Hardware,
    mean_tokens: float = _TYPICAL_TOKENS,
    model_type: str | None = None,
) -> Decisions:
    """Fill in everything that training needs, but for the intervals of `decide_intervals`.

    Args:
        config: the settings as given.
        rows: records to train on, without the held-out ones.
        hardware: the device that will train.
        mean_tokens: mean length of a record in tokens, which tells how many fit into a packed row; Alpaca's have 205.
        model_type: of the base's config.json, which tells whether records may share rows; None for one where they may.

    Returns:
        The config with epochs, learning_rate, packing, packed_length (where packing is on), batch_size,
        micro_batch_size, precision and gradient_checkpointing set, and why.

    Raises:
        ConfigError: there is no row, or the device or the model lacks what a setting asks for.
    """
    if rows < 1:
        raise ConfigError("no record is left to train on; hold out fewer, or raise config.max_length")
    _check(config, hardware, model_type)
    choices = _Choices(config)
    epochs = choices.settle("epochs", _below(rows, _EPOCHS_BELOW_ROWS), f"usual for {rows} records")
    choices.settle("learning_rate", _below(rows, _LEARNING_RATE_BELOW_ROWS), f"usual for LoRA with {rows} records")
    length, sequences = _settle_packing(choices, rows, mean_tokens, hardware, model_type)
    size = _auto_batch(rows, sequences, epochs, packed=length is not None)
    _settle_batch(choices, rows, sequences, size, length, hardware)
    _settle_device(choices, hardware)
    _settle_compiled(choices, rows * min(mean_tokens, config.max_length) * epochs, hardware)
    return choices.result()


def count_steps(rows: int, config: FinetuneConfig) -> int:
    """Return the optimizer steps of a run, as the Trainer counts them: a last, smaller batch of an epoch is one too.

    Args:
        rows: of an epoch, packed ones where packing is on.
        config: the settings, batch and epochs decided.
    """
    steps = math.ceil(math.ceil(rows / (config.batch_size or 1)) * (config.epochs or 1))
    return steps if config.max_steps is None else min(steps, config.max_steps)


def decide_intervals(config: FinetuneConfig, total_steps: int) -> Decisions:
    """Fill in how often a run is evaluated and saved, once its number of steps is known.

    Args:
        config: the settings, batch and epochs decided.
        total_steps: optimizer steps of the whole run.

    Returns:
        The config with eval_steps and save_steps set, and why.
    """
    choices = _Choices(config)
    quarter = math.ceil(total_steps / 4)
    shared = config.save_steps if config.keep_best and config.save_steps else quarter
    evaluated = choices.settle(
        "eval_steps", shared, f"{math.ceil(total_steps / shared)} evaluations in {total_steps} steps"
    )
    interval = evaluated if config.keep_best else quarter
    saved = choices.settle(
        "save_steps", interval, f"{math.ceil(total_steps / interval)} checkpoints in {total_steps} steps"
    )
    if total_steps < _FEW_STEPS:
        choices.warn(
            f"the run has {total_steps} optimizer steps, and fewer than {_FEW_STEPS} rarely change a model; "
            "give more records, more epochs or a smaller batch_size"
        )
    if saved > total_steps:
        choices.warn(f"save_steps {saved} is more than the {total_steps} steps of the run; only its end is saved")
    if evaluated > total_steps:
        choices.warn(
            f"eval_steps {evaluated} is more than the {total_steps} steps of the run; only its end is evaluated"
        )
    if config.warmup_steps is not None and config.warmup_steps >= total_steps:
        choices.warn(f"warmup_steps {config.warmup_steps} of {total_steps} steps never reach the full learning rate")
    return choices.result()


def _check(config: FinetuneConfig, hardware: Hardware, model_type: str | None) -> None:
    """Refuse every setting that this device or this model cannot serve, all at once."""
    faults = [fault] if (fault := packing_fault(config, model_type)) else []
    where = f"the {hardware.device} ({hardware.name})"
    if config.precision is not None and config.precision not in hardware.precisions:
        has = ", ".join(hardware.precisions)
        faults.append(f"config.precision {config.precision!r} does not work on {where}; it has {has}")
    if hardware.device != "cuda":
        if config.optimizer != "adamw":
            faults.append(f"config.optimizer {config.optimizer!r} needs CUDA and this is {where}; use 'adamw'")
        if config.lora.init == "loftq":
            faults.append(f"config.lora.init 'loftq' needs CUDA and this is {where}; use 'default'")
    if faults:
        raise ConfigError("\n".join(faults))


def _settle_device(choices: _Choices, hardware: Hardware) -> None:
    choices.settle("precision", hardware.precisions[0], f"the fastest that {hardware.name} has")
    recompute = hardware.device == "cuda" or bool(choices.config.kernels.checkpointed_layers)
    cost = "memory limits a forward pass" if recompute else "memory is not short, and recomputing takes time"
    choices.settle("gradient_checkpointing", recompute, cost)


def _settle_compiled(choices: _Choices, tokens: float, hardware: Hardware) -> None:
    kernels = choices.config.kernels
    if kernels.compiled is None and hardware.compiler and tokens >= _TOKENS_WORTH_COMPILING:
        choices.values["kernels"] = kernels.model_copy(update={"compiled": True})
        choices.reasons.append(f"kernels.compiled on: it takes seconds, and the run has about {tokens:.0f} tokens")


def _settle_packing(
    choices: _Choices, rows: int, mean_tokens: float, hardware: Hardware, model_type: str | None
) -> tuple[int | None, int]:
    """Decide whether records share rows; return the length of those (None: one record each) and how many there are.

    Who gives a batch counts in rows of max_length, so it is only without one that rows become longer.
    """
    config = choices.config
    counted = config.batch_size is not None or config.micro_batch_size is not None
    longest = _ROW_TOKENS if hardware.device != "cuda" else min(_ROW_TOKENS, _tokens_at_once(hardware))
    length = config.packed_length or max(config.max_length, 0 if counted else longest)
    packed = math.ceil(rows * min(mean_tokens, config.max_length) / length)
    steps = packed // max(config.batch_size or _smallest_batch(rows, packed, packed=True), config.micro_batch_size or 1)
    fits = config.packed_length is not None or steps >= _FEWEST_PACKED_STEPS
    filled = f"{rows} records of about {mean_tokens:.0f} tokens fill {'' if fits else 'only '}{packed} rows of {length}"
    if not keeps_records_apart(model_type):
        fits, filled = False, f"records in one row are not known to stay apart in a {model_type!r} model"
    elif config.group_by_length:
        fits, filled = False, "rows are grouped by length"
    if not choices.settle("packing", fits, filled):
        return None, rows
    reason = f"about {rows / packed:.0f} records a row"
    choices.settle(
        "packed_length", length, f"{reason}, since the batch is counted in rows of max_length" if counted else reason
    )
    return length, packed


def _settle_batch(
    choices: _Choices, rows: int, sequences: int, size: int, packed_length: int | None, hardware: Hardware
) -> None:
    """Decide the batch, `size` where nothing is given, and the parts that it is taken in."""
    given = choices.config.micro_batch_size or 1
    size = max(given, size - size % given)
    steps = f"{sequences} rows give {math.ceil(sequences / size)} steps per epoch"
    each = f" of about {rows * size / sequences:.0f} records" if packed_length else ""
    size = choices.settle("batch_size", size, steps + each)
    length = packed_length or choices.config.max_length
    room = _room(hardware, length, packed=packed_length is not None)
    part = max(part for part in range(1, min(room, size) + 1) if size % part == 0)
    choices.settle("micro_batch_size", part, f"a forward pass takes up to {room} x {length} tokens")
    if size > sequences:
        choices.warn(f"batch_size {size} is more than the {sequences} rows of an epoch; every step is a whole epoch")


def _auto_batch(rows: int, sequences: int, epochs: float, *, packed: bool) -> int:
    """Return the largest power of two that leaves enough steps, within the bounds that the table of this file sets."""
    wanted = int(sequences * epochs / _TARGET_STEPS)
    largest = _LARGEST_BATCH * sequences // rows
    size = min(max(min(wanted, largest), _smallest_batch(rows, sequences, packed=packed)), sequences)
    return 1 << (size.bit_length() - 1)


def _smallest_batch(rows: int, sequences: int, *, packed: bool) -> int:
    """Return how many sequences hold the fewest records that a step should see."""
    return math.ceil((_SMALLEST_PACKED_BATCH if packed else _SMALLEST_BATCH) * sequences / rows)


def _room(hardware: Hardware, length: int, *, packed: bool) -> int:
    """Return how many rows of full length a forward pass may have.

    On a CPU padded rows are mostly shorter than max_length, and packed ones are not.
    """
    if hardware.device != "cuda":
        return max(1, _ROW_TOKENS // length) if packed else _PADDED_ON_CPU
    return max(1, _tokens_at_once(hardware) // length)


def _tokens_at_once(hardware: Hardware) -> int:
    return int(_below(hardware.memory_bytes / 2**30, _TOKENS_BELOW_GIB))


def _below(value: float, table: tuple[tuple[float, float], ...]) -> float:
    """Return the entry of the first line whose bound is above a value."""
    return next(entry for bound, entry in table if value < bound)
