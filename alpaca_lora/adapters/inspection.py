"""Look at an adapter's files before any of it touches a model.

PEFT warns about missing and unknown tensors and goes on, so that a broken adapter answers like the base or like half of
itself. Here each kind of damage is an error of its own, found from the files and the base's `config.json` alone: the
expected names and shapes come from a model without memory (torch's meta device).
"""

import json
import re
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from safetensors import SafetensorError, safe_open
from transformers import AutoConfig, AutoModelForCausalLM

from alpaca_lora.adapters.attach import quiet_peft
from alpaca_lora.adapters.saving import CONFIG, WEIGHTS
from alpaca_lora.adapters.sidecar import read_sidecar
from alpaca_lora.errors import (
    AdapterError,
    EmptyAdapterError,
    MissingKeysError,
    ModelError,
    NonFiniteAdapterError,
    UnknownKeysError,
    UntrainedAdapterError,
    WrongBaseError,
)
from alpaca_lora.models import fingerprint

_MODULE_NAME = re.compile(r"[A-Za-z0-9_.]{1,200}")
_RUNS_CODE = ("auto_mapping", "megatron_config", "parent_library")


def inspect_adapter(directory: Path, base_dir: Path) -> LoraConfig:
    """Check an adapter's files against the base model that it is to be put on.

    Args:
        directory: adapter directory.
        base_dir: directory of the base model.

    Returns:
        The adapter's configuration in PEFT's terms.

    Raises:
        EmptyAdapterError: no tensor in the file.
        NonFiniteAdapterError: NaN or infinity.
        UnknownKeysError: tensors that no module of the base takes, or of another shape.
        MissingKeysError: modules of the adapter without tensors.
        UntrainedAdapterError: a `lora_B` that is all zero.
        WrongBaseError: the sidecar names other weights than those of `base_dir`.
        AdapterError: files missing or damaged.
    """
    config = read_config(directory)
    tensors = read_tensors(directory)
    if not tensors:
        raise EmptyAdapterError(
            f"{str(directory / WEIGHTS)!r} holds no tensor, so the adapter does nothing: take it from an earlier "
            "checkpoint or train again"
        )
    bad = [name for name, tensor in tensors.items() if not torch.isfinite(tensor).all()]
    if bad:
        raise NonFiniteAdapterError(
            f"{len(bad)} tensors hold NaN or infinity, first {bad[0]!r}: train again from before"
        )
    expected = {
        name: tensor.shape for name, tensor in get_peft_model_state_dict(build_skeleton(config, base_dir)).items()
    }
    _compare_keys(tensors, expected, base_dir)
    zero = [name for name, tensor in tensors.items() if ".lora_B." in name and not tensor.any()]
    if zero:
        raise UntrainedAdapterError(
            f"{len(zero)} of {sum('.lora_B.' in name for name in tensors)} lora_B are all zero, first {zero[0]!r}: "
            "these modules were never trained and still answer like the base"
        )
    sidecar = read_sidecar(directory)
    if sidecar and sidecar.base_fingerprint != (found := fingerprint(base_dir)):
        raise WrongBaseError(
            f"the adapter was trained on {sidecar.base_model!r} (fingerprint {sidecar.base_fingerprint[:12]}), but "
            f"{str(base_dir)!r} holds other weights ({found[:12]}): load it on the base that it was trained on"
        )
    return config


def read_config(directory: Path) -> LoraConfig:
    """Read and check `adapter_config.json`, treating it as hostile.

    Raises:
        AdapterError: no LoRA adapter of plain modules.
    """
    path = directory / CONFIG
    if not path.is_file():
        hint = (
            "; adapter_model.bin of 2023 must be converted first" if (directory / "adapter_model.bin").exists() else ""
        )
        raise AdapterError(f"{str(directory)!r} is no adapter directory: {CONFIG} is missing{hint}")
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise AdapterError(f"{str(path)!r} is not JSON: {error}") from error
    faults = _config_faults(document)
    if faults:
        raise AdapterError(f"{str(path)!r}: {'; '.join(faults)}")
    try:
        known = LoraConfig.__dataclass_fields__.keys() - {"base_model_name_or_path"}
        return LoraConfig(**{key: value for key, value in document.items() if key in known})
    except (TypeError, ValueError) as error:
        raise AdapterError(f"{str(path)!r} is no LoRA configuration: {error}") from error


def _config_faults(document: Any) -> list[str]:
    if not isinstance(document, dict):
        return [f"must hold an object, found {type(document).__name__}"]
    faults = []
    if document.get("peft_type") != "LORA":
        faults.append(f"peft_type must be 'LORA', found {document.get('peft_type')!r}")
    rank = document.get("r")
    if not isinstance(rank, int) or isinstance(rank, bool) or not 1 <= rank <= 2048:
        faults.append(f"r must be an integer from 1 to 2048, found {rank!r}")
    alpha = document.get("lora_alpha")
    if not isinstance(alpha, int | float) or isinstance(alpha, bool) or not 0 < alpha < 1e5:
        faults.append(f"lora_alpha must be above 0, found {alpha!r}")
    names = document.get("target_modules")
    if not isinstance(names, list) or not all(isinstance(name, str) and _MODULE_NAME.fullmatch(name) for name in names):
        faults.append(f"target_modules must be a list of plain module names, found {str(names)[:80]!r}")
    for key in ("rank_pattern", "alpha_pattern"):
        pattern = document.get(key, {})
        if not isinstance(pattern, dict) or not all(type(value) in (int, float) for value in pattern.values()):
            faults.append(f"{key} must be an object of numbers, found {str(pattern)[:80]!r}")
    faults += [f"{key} names code to run, which is refused" for key in _RUNS_CODE if document.get(key)]
    return faults


def read_tensors(directory: Path) -> dict[str, torch.Tensor]:
    """Return the tensors of an adapter directory as they are stored.

    Raises:
        AdapterError: the file is missing or damaged.
    """
    path = directory / WEIGHTS
    if not path.is_file():
        raise AdapterError(f"{str(path)!r} is missing: copy the whole adapter directory")
    if path.stat().st_size < 200 and path.read_bytes().startswith(b"version https://git-lfs"):
        raise AdapterError(f"{str(path)!r} is a pointer, not the file: run  git lfs pull")
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise AdapterError(f"{str(path)!r} is damaged or incomplete ({error}): copy it again") from error


def build_skeleton(config: LoraConfig, base_dir: Path) -> PeftModel:
    """Return base and adapter as a model whose tensors have shapes but no memory.

    Raises:
        ModelError: the base's `config.json` describes no model.
        UnknownKeysError: the adapter fits no module of the base.
        AdapterError: PEFT can do nothing with the adapter's configuration.
    """
    with torch.device("meta"):
        try:
            model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(base_dir, local_files_only=True))
        except Exception as error:  # whatever a library meets in a document that it did not expect
            raise ModelError(
                f"{str(base_dir / 'config.json')!r} describes no model that transformers can build "
                f"({type(error).__name__}: {str(error)[:300]}): copy the base model again"
            ) from error
        try:
            with quiet_peft():
                return get_peft_model(model, config, low_cpu_mem_usage=True)
        except ValueError as error:
            raise UnknownKeysError(f"the adapter fits no module of {str(base_dir)!r}: {error}") from error
        except Exception as error:
            raise AdapterError(
                f"PEFT cannot use this {CONFIG} ({type(error).__name__}: {error}): copy the adapter again"
            ) from error


def _compare_keys(tensors: dict[str, torch.Tensor], expected: dict[str, torch.Size], base_dir: Path) -> None:
    unknown = sorted(tensors.keys() - expected.keys())
    if unknown:
        raise UnknownKeysError(
            f"{len(unknown)} of {len(tensors)} tensors fit no module of {str(base_dir)!r}, first {unknown[0]!r}; "
            f"expected names like {min(expected)!r}"
        )
    missing = sorted(expected.keys() - tensors.keys())
    if missing:
        raise MissingKeysError(
            f"{len(missing)} of {len(expected)} tensors are missing, first {missing[0]!r}: the file is not complete"
        )
    misfits = [name for name in tensors if tensors[name].shape != expected[name]]
    if misfits:
        name = misfits[0]
        raise UnknownKeysError(
            f"{len(misfits)} tensors have another shape than the base needs, first {name!r}: "
            f"{tuple(tensors[name].shape)} instead of {tuple(expected[name])}; it was trained on another model"
        )
