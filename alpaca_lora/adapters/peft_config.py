"""PEFT's `adapter_config.json`, read as what a stranger wrote.

Names in it are regular expressions to PEFT, numbers decide how much memory is taken, and some entries import modules,
copy layers or compute a start that the weights replace anyway. What decides what an adapter computes must be plain;
what is known to do something else is refused; what this version of PEFT does not know is said.
"""

import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from peft import LoraConfig

from alpaca_lora.adapters.saving import CONFIG
from alpaca_lora.errors import AdapterError

logger = logging.getLogger(__name__)

_MODULE_NAME = re.compile(r"[A-Za-z0-9_.]{1,200}")
_START = re.compile(r"gaussian|olora|pissa|pissa_niter_\d{1,2}|eva|orthogonal|lora_ga")
_LOST_STARTS = ("corda", "loftq")
"""Starts that change the base, by covariances that no file has or by quantising it, and are not done again here."""

_RUNS_CODE = ("auto_mapping", "megatron_config", "parent_library")
_OTHER_FUNCTION = ("arrow_config", "layer_replication", "monteclora_config", "use_bdlora")
"""What makes of an adapter something else than updates of the base's own modules."""

_OF_THE_START = ("corda_config", "eva_config", "loftq_config", "lora_ga_config")
"""Settings of a start that was computed before the training; not needed any more, and able to name files."""

_MOST_NAMES = 2000
_MOST_TOKENS = 65_536
_LARGEST_RANK = 2048
_LARGEST_BYTES = 2**22


def read_config(directory: Path) -> LoraConfig:
    """Read and check `adapter_config.json`.

    Raises:
        AdapterError: no LoRA adapter of plain modules; all faults at once.
    """
    path = directory / CONFIG
    if not path.is_file():
        hint = (
            "; adapter_model.bin of 2023 must be converted first" if (directory / "adapter_model.bin").exists() else ""
        )
        raise AdapterError(f"{str(directory)!r} is no adapter directory: {CONFIG} is missing{hint}")
    try:
        if path.stat().st_size > _LARGEST_BYTES:
            raise ValueError(f"it has more than {_LARGEST_BYTES} bytes")
        document = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise AdapterError(f"{str(path)!r} is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise AdapterError(f"{str(path)!r}: must hold an object, found {type(document).__name__}")
    if faults := [*_faults(document), *_pattern_faults(document)]:
        raise AdapterError(f"{str(path)!r}: {'; '.join(faults)}")
    known = LoraConfig.__dataclass_fields__.keys() - {"base_model_name_or_path", *_OF_THE_START}
    unknown = [key[:40] for key, value in document.items() if value and key not in known | {*_OF_THE_START, *_ABOUT}]
    if unknown:
        logger.warning("%s: PEFT here does not know %s; a newer one may compute something else", path, unknown[:20])
    try:
        return LoraConfig(**{key: value for key, value in document.items() if key in known})
    except (TypeError, ValueError) as error:
        raise AdapterError(f"{str(path)!r} is no LoRA configuration: {error}") from error


_ABOUT = ("base_model_name_or_path", "peft_version")


def _faults(document: dict[str, Any]) -> Iterator[str]:
    if document.get("peft_type") != "LORA":
        yield f"peft_type must be 'LORA', found {_short(document.get('peft_type'))}"
    rank = document.get("r")
    if not _is_rank(rank):
        yield f"r must be an integer from 1 to {_LARGEST_RANK}, found {_short(rank)}"
    if not _is_scale(alpha := document.get("lora_alpha")):
        yield f"lora_alpha must be above 0 and below 100000, found {_short(alpha)}"
    dropout = document.get("lora_dropout", 0.0)
    if type(dropout) not in (int, float) or not 0 <= dropout <= 1:
        yield f"lora_dropout must be from 0 to 1, found {_short(dropout)}"
    start = document.get("init_lora_weights", True)
    if start in _LOST_STARTS:
        yield (
            f"init_lora_weights {start!r} changed the weights of the base before the training, which is not done again "
            "here: save the base as it was trained on, name that as the base model, and set init_lora_weights to true"
        )
    elif not isinstance(start, bool) and not (isinstance(start, str) and _START.fullmatch(start)):
        yield f"init_lora_weights must be true, false or the name of a start, found {_short(start)}"
    tokens = document.get("trainable_token_indices")
    if isinstance(tokens, list | dict) and len(tokens) > _MOST_TOKENS:
        yield f"trainable_token_indices has {len(tokens)} entries, at most {_MOST_TOKENS} are read"
    yield from (f"{key} names code to run, which is refused" for key in _RUNS_CODE if document.get(key))
    for key in _OTHER_FUNCTION:
        if document.get(key):
            yield f"{key} makes of it something else than low-rank updates of plain modules, which is not read here"


def _pattern_faults(document: dict[str, Any]) -> Iterator[str]:
    """Refuse what PEFT would take for a regular expression, which can be made to match for ever."""
    for key in ("target_modules", "exclude_modules", "modules_to_save", "layers_pattern", "target_parameters"):
        names = document.get(key)
        if key == "layers_pattern" and isinstance(names, str):
            names = [names]
        if names is None and key != "target_modules":
            continue
        if not _are_names(names):
            yield f"{key} must be a list of at most {_MOST_NAMES} plain module names, found {_short(names)}"
    for key, is_sound in (("rank_pattern", _is_rank), ("alpha_pattern", _is_scale)):
        pattern = document.get(key, {})
        if not isinstance(pattern, dict) or not _are_names([*pattern]) or not all(map(is_sound, pattern.values())):
            yield f"{key} must be an object of numbers by plain module names, found {_short(pattern)}"


def _are_names(names: object) -> bool:
    return (
        isinstance(names, list)
        and len(names) <= _MOST_NAMES
        and all(isinstance(name, str) and _MODULE_NAME.fullmatch(name) for name in names)
    )


def _is_rank(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= _LARGEST_RANK


def _is_scale(value: object) -> bool:
    return type(value) in (int, float) and 0 < value < 1e5  # type: ignore[operator]


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:79]}…"
