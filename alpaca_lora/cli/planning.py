"""The plan from the command line: a table, a bar, and what to change; or the same as JSON."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from alpaca_lora.config.spelling import as_flags
from alpaca_lora.errors import ConfigError
from alpaca_lora.planning import Estimate, plan
from alpaca_lora.planning.memory import checkpointed_layers
from alpaca_lora.reporting.wording import count, duration, printable, public_name

__all__ = ["SETTINGS", "render_estimate", "show_plan"]

SETTINGS = (
    "quantization.method",
    "quantization.double_quantization",
    "train_on_prompt",
    "max_length",
    "packing",
    "packed_length",
    "batch_size",
    "micro_batch_size",
    "gradient_checkpointing",
    "kernels.checkpointed_layers",
    "kernels.nf4_cache_gib",
    "precision",
    "optimizer",
    "lora.rank",
    "lora.alpha",
    "lora.target_modules",
    "lora.dropout",
    "epochs",
    "max_steps",
    "save_limit",
)
"""Settings of the config that a plan depends on."""

_GIB = 2**30
_BAR = 60
_LETTERS = "▓█▒░"


def show_plan(flags: Mapping[str, Any], config: Any) -> int:
    """Print the plan; return 0 when it fits, else 2.

    Args:
        flags: what tyro parsed.
        config: the settings.

    Raises:
        ConfigError, ModelError, ModelNotFoundError: as `plan`.
    """
    made = plan(
        flags["model"],
        config,
        card=flags["card"],
        memory_gb=_number("memory-gb", flags["memory_gb"]),
        records=flags["train_records"],
        teraflops=_number("teraflops", flags["teraflops"]),
    )
    print(json.dumps(made.to_json(), allow_nan=False) if flags["json"] else printable(render_estimate(made)))
    return 0 if made.fits else 2


def _number(name: str, text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError as error:
        raise ConfigError(f"--{name} must be a number, got {text!r}") from error


def render_estimate(made: Estimate) -> str:
    """Return a plan as lines for a person."""
    total, memory = made.total_bytes / _GIB, made.memory_bytes / _GIB
    verdict = "fits" if made.fits else "does not fit"
    lines = [
        f"{public_name(made.shape.name)} on {made.hardware.name}: {verdict}, {total:.2f} of {memory:.2f} GiB",
        "",
        *_table(made),
        "",
        _bar(made),
        "",
        *_facts(made),
    ]
    if not made.fits:
        lines += ["", *_change(made)]
    return "\n".join(lines)


def _table(made: Estimate) -> Iterator[str]:
    width = max(len(item.name) for item in made.items)
    for item, letter in zip(made.items, _letters(), strict=False):
        yield f"{letter} {item.name:<{width}}  {item.bytes / _GIB:7.3f} GiB  {item.basis:<8}  {item.note}"
    yield f"  {'sum':<{width}}  {made.total_bytes / _GIB:7.3f} GiB"


def _letters() -> Iterator[str]:
    while True:
        yield from _LETTERS


def _bar(made: Estimate) -> str:
    """Return the items side by side, and where the memory ends."""
    scale = _BAR / max(made.total_bytes, made.memory_bytes)
    bar, drawn, sum_bytes = "", 0, 0
    for item, letter in zip(made.items, _letters(), strict=False):
        sum_bytes += item.bytes
        bar += letter * (round(sum_bytes * scale) - drawn)
        drawn = round(sum_bytes * scale)
    end = round(made.memory_bytes * scale)
    return f"|{bar[:end]:<{end}}|{bar[end:]}"


def _facts(made: Estimate) -> Iterator[str]:
    config = made.config
    tokens = (config.micro_batch_size or 1) * int(config.packed_length or config.max_length)
    recomputed = checkpointed_layers(made.shape, config)
    yield (
        f"forward pass  {count(tokens)} tokens ({config.micro_batch_size} of {config.batch_size} rows of a step), "
        f"{recomputed} of {made.shape.layers} layers checkpointed"
    )
    yield f"run           {count(made.steps)} steps, {count(made.tokens)} tokens"
    if made.seconds is not None and made.tokens_per_second is not None:
        rate = f"{'the given' if made.given_rate else 'the data sheet’s'} {made.teraflops:g} TFLOP/s"
        yield (
            f"time          about {duration(made.seconds)}, {count(made.tokens_per_second)} tokens/s: an estimate from "
            f"half of {rate}"
        )
    else:
        yield "time          no estimate without a card or --teraflops"
    yield (
        f"disk          {made.checkpoint_bytes / _GIB:.2f} GiB a checkpoint, {config.save_limit} kept, "
        f"{(config.save_limit + 1) * made.checkpoint_bytes / _GIB:.2f} GiB while one is written"
    )
    if made.hardware.device == "cuda":
        yield f"fits          {', '.join(made.fitting_cards()) or 'none of the cards known by name'}"
        yield "not measured on a GPU: tensors are counted from the code, context and slack are assumed"


def _change(made: Estimate) -> Iterator[str]:
    if made.fix is None:
        yield "no change of these settings makes it fit: take a smaller model, a shorter max_length, or another card"
        return
    needed = f"{made.fix.total_bytes / _GIB:.2f} GiB, about {made.fix.slower:.1f} × the time"
    yield f"the cheapest change that fits: {needed}"
    yield f"  {as_flags(made.fix.changes)}"
