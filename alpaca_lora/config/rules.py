"""What a range cannot say about settings: which names and values are refused, and which do not work together."""

import json
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from alpaca_lora.config.faults import Fault, shown
from alpaca_lora.config.names import owner_of

if TYPE_CHECKING:
    from alpaca_lora.config import FinetuneConfig

_MAX_SCALE = 64
_RECORD_FIELDS = ("instruction", "input", "output")
_EMBEDDINGS = {"lm_head", "embed_tokens", "embed_in", "embed_out", "embeddings", "word_embeddings", "wte", "wpe"}


def as_tuple(value: Any) -> Any:
    """Return a list as a tuple, as YAML and JSON have no tuples; anything else as it is."""
    return tuple(value) if isinstance(value, list) else value


def as_method(value: Any) -> Any:
    """Return the name of a quantization method as the section that holds it; anything else as it is."""
    return {"method": value} if isinstance(value, str) else value


def module_names(value: Any) -> Any:
    """Refuse target modules that are not plain names, or that an adapter must not touch.

    A pattern would be matched against every module of the model, and one of 24 characters can hang it for hours.
    """
    if value == "all-linear":
        return value
    if not isinstance(value, list | tuple) or not value:
        raise ValueError(
            f"must be 'all-linear' or a list of names such as [q_proj, v_proj], got {shown(value, with_kind=True)}"
        )
    faults = [f"{shown(name, with_kind=False)} {fault}" for name in value if (fault := _module_fault(name))]
    if len(set(map(repr, value))) < len(value):
        faults.append("one name is listed twice")
    if faults:
        raise ValueError(f"cannot be {shown(list(value), with_kind=False)}: {'; '.join(faults)}")
    return tuple(value)


def held_out(value: float | None) -> float | None:
    """Refuse a number of held-out records that is neither a count nor a share."""
    if value is not None and (value < 0 or (value >= 1 and value != int(value))):
        raise ValueError(f"must be a count from 1 up, a share below 1, or 0, got {value!r}")
    return value


def record_fields(columns: dict[str, str]) -> dict[str, str]:
    """Refuse a column map with keys that are no fields of a record."""
    unknown = [field for field in columns if field not in _RECORD_FIELDS]
    if unknown:
        example = '{"instruction": "question"}'
        raise ValueError(
            f"has the fields {', '.join(_RECORD_FIELDS)} as keys, got {unknown[0]!r}; write it as {example}"
        )
    return columns


def free_options(options: dict[str, Any]) -> dict[str, Any]:
    """Refuse options of the trainer that another setting decides, and values that run.json cannot hold."""
    try:
        json.dumps(options, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"must hold JSON values, got {shown(options, with_kind=False)} ({error})") from error
    owned = [f"{option!r} (use {owner})" for option in options if (owner := owner_of(option))]
    if owned:
        raise ValueError(f"must not hold {', '.join(owned)}")
    return options


def disagreements(config: "FinetuneConfig") -> Iterator[Fault]:
    """Yield one fault for every group of settings that do not work together."""
    yield from _adapter_disagreements(config)
    yield from _schedule_disagreements(config)
    yield from _packing_disagreements(config)
    if config.gradient_checkpointing is False and config.kernels.checkpointed_layers:
        yield _fault(
            f"config.kernels.checkpointed_layers {config.kernels.checkpointed_layers} computes layers again, and "
            "config.gradient_checkpointing is off; leave one of them out",
            "kernels.checkpointed_layers",
            "gradient_checkpointing",
        )
    if config.early_stopping_patience is not None and not config.keep_best:
        yield _fault(
            "config.early_stopping_patience stops after the best step and would ship the last; set keep_best",
            "early_stopping_patience",
            "keep_best",
        )
    if config.keep_best and config.validation_size == 0:
        yield _fault(
            "config.keep_best compares steps on held-out records, and config.validation_size is 0; hold some out",
            "keep_best",
            "validation_size",
        )


def _adapter_disagreements(config: "FinetuneConfig") -> Iterator[Fault]:
    lora, method = config.lora, config.quantization.method
    if lora.alpha > _MAX_SCALE * lora.rank:
        yield _fault(
            f"config.lora.alpha {lora.alpha:g} with config.lora.rank {lora.rank} scales the update by "
            f"{lora.alpha / lora.rank:g}; the most is {_MAX_SCALE}, usual is 1 or 2",
            "lora.alpha",
            "lora.rank",
        )
    if lora.init == "loftq" and method != "nf4":
        yield _fault(
            "config.lora.init 'loftq' makes up for the error of 4-bit weights; set config.quantization to 'nf4'",
            "lora.init",
            "quantization.method",
        )
    if lora.init == "pissa" and method == "nf4":
        yield _fault(
            "config.lora.init 'pissa' decomposes base weights that nf4 has rounded; use 'loftq', or no nf4",
            "lora.init",
            "quantization.method",
        )


def _schedule_disagreements(config: "FinetuneConfig") -> Iterator[Fault]:
    batch, micro = config.batch_size, config.micro_batch_size
    if batch is not None and micro is not None and batch % micro:
        below = batch - batch % micro
        choices = f"{below} or {below + micro}" if below else f"{micro}"
        yield _fault(
            f"config.batch_size {batch} is no multiple of config.micro_batch_size {micro}; a batch of {choices} is",
            "batch_size",
            "micro_batch_size",
        )
    evaluated, saved = config.eval_steps, config.save_steps
    if config.keep_best and evaluated is not None and saved is not None and evaluated != saved:
        yield _fault(
            f"config.keep_best ships an evaluated step, so each must be saved: config.eval_steps {evaluated} "
            f"and config.save_steps {saved} must be equal",
            "eval_steps",
            "save_steps",
            "keep_best",
        )
    warmup, most = config.warmup_steps, config.max_steps
    if warmup is not None and most is not None and warmup >= most:
        yield _fault(
            f"config.warmup_steps {warmup} leaves none of config.max_steps {most} at the full learning rate; "
            "warm up for fewer",
            "warmup_steps",
            "max_steps",
        )


def _packing_disagreements(config: "FinetuneConfig") -> Iterator[Fault]:
    length = config.packed_length
    if length is not None and length < config.max_length:
        yield _fault(
            f"config.packed_length {length} is less than config.max_length {config.max_length}, and a record is never "
            "divided; raise the one or lower the other",
            "packed_length",
            "max_length",
        )
    if length is not None and config.packing is False:
        yield _fault(
            "config.packed_length is the length of packed rows, and config.packing is off; leave one of them out",
            "packed_length",
            "packing",
        )
    for name in ("packing", "packed_length"):
        if config.group_by_length and getattr(config, name):
            yield _fault(
                f"config.group_by_length is for rows of one record each, and config.{name} fills rows with several; "
                "leave one of them out",
                "group_by_length",
                name,
            )


def _module_fault(name: Any) -> str | None:
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_.]+", name):
        return "is no plain name (letters, digits, '_' and '.'; patterns are not read)"
    last = name.rpartition(".")[2].lower()
    if last in _EMBEDDINGS:
        return "maps the vocabulary, often as one matrix with its twin, which a merge would change too"
    if "norm" in last or re.fullmatch(r"ln_?\w+", last):
        return "is a norm, which has no matrix to adapt"
    return None


def _fault(text: str, *names: str) -> Fault:
    return Fault(tuple(tuple(name.split(".")) for name in names), text)
