"""Look at an adapter's files before any of it touches a model.

PEFT warns about missing and unknown tensors and goes on, so that a broken adapter answers like the base or like half of
itself. Here each kind of damage is an error of its own, found from the files and the base's `config.json` alone: the
expected names and shapes come from a model without memory (torch's meta device).
"""

from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from safetensors import SafetensorError, safe_open
from transformers import AutoConfig, AutoModelForCausalLM

from alpaca_lora._files import sha256_of
from alpaca_lora.adapters.attach import quiet_peft
from alpaca_lora.adapters.peft_config import read_config
from alpaca_lora.adapters.saving import CONFIG
from alpaca_lora.adapters.sidecar import FILE_NAME, WEIGHTS, read_sidecar
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
from alpaca_lora.models import check_header, fingerprint

LEGACY_WEIGHTS = "adapter_model.bin"


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
        AdapterError: files missing or damaged, be it by a bit.
    """
    config = read_config(directory)
    shapes = read_shapes(directory)
    if not shapes:
        raise EmptyAdapterError(
            f"{str(directory / WEIGHTS)!r} holds no tensor, so the adapter does nothing: take it from an earlier "
            "checkpoint or train again"
        )
    expected = {
        name: tuple(tensor.shape)
        for name, tensor in get_peft_model_state_dict(build_skeleton(config, base_dir)).items()
    }
    _compare_keys(shapes, expected, base_dir)
    tensors = read_tensors(directory)
    bad = [name for name, tensor in tensors.items() if not torch.isfinite(tensor).all()]
    if bad:
        raise NonFiniteAdapterError(
            f"{len(bad)} tensors hold NaN or infinity, first {bad[0]!r}: train again from before"
        )
    zero = [name for name, tensor in tensors.items() if ".lora_B." in name and not tensor.any()]
    if zero:
        raise UntrainedAdapterError(
            f"{len(zero)} of {sum('.lora_B.' in name for name in tensors)} lora_B are all zero, first {zero[0]!r}: "
            "these modules were never trained and still answer like the base"
        )
    _compare_sidecar(directory, base_dir)
    return config


def _compare_sidecar(directory: Path, base_dir: Path) -> None:
    """Refuse another base than the sidecar names, and weights that changed after it was written."""
    sidecar = read_sidecar(directory)
    if sidecar and sidecar.base_fingerprint != (found := fingerprint(base_dir)):
        raise WrongBaseError(
            f"the adapter was trained on {sidecar.base_model!r} (fingerprint {sidecar.base_fingerprint[:12]}), but "
            f"{str(base_dir)!r} holds other weights ({found[:12]}): load it on the base that it was trained on"
        )
    if sidecar and sidecar.weights_sha256 not in ("", sha256_of(directory / WEIGHTS)):
        raise AdapterError(
            f"{str(directory / WEIGHTS)!r} has changed since it was written (its sha256 is not that in {FILE_NAME}): "
            "copy the adapter again"
        )


def read_shapes(directory: Path) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the tensors in an adapter directory, from the header alone.

    Raises:
        AdapterError: the file is missing or damaged, or what is there is a pickle.
    """
    path = directory / WEIGHTS
    if not path.is_file():
        pickled = directory / LEGACY_WEIGHTS
        if pickled.exists():
            raise AdapterError(
                f"{str(pickled)!r} is a pickle, which can run code when it is opened; to make {WEIGHTS} of it, which "
                f"reads tensors and nothing else, run  alpaca-lora export adapter --adapter {directory} "
                "--base-model BASE --template alpaca --output-dir NEW"
            )
        raise AdapterError(f"{str(path)!r} is missing: copy the whole adapter directory")
    try:
        return check_header(path)
    except (ValueError, OSError) as error:
        raise AdapterError(f"{str(path)!r} is damaged or incomplete ({error}): copy it again") from error


def read_tensors(directory: Path) -> dict[str, torch.Tensor]:
    """Return the tensors of an adapter directory as they are stored.

    Raises:
        AdapterError: the file is missing or damaged.
    """
    read_shapes(directory)
    path = directory / WEIGHTS
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


def _compare_keys(shapes: dict[str, tuple[int, ...]], expected: dict[str, tuple[int, ...]], base_dir: Path) -> None:
    unknown = sorted(shapes.keys() - expected.keys())
    if unknown:
        raise UnknownKeysError(
            f"{len(unknown)} of {len(shapes)} tensors fit no module of {str(base_dir)!r}, first {unknown[0]!r}; "
            f"expected names like {min(expected)!r}"
        )
    missing = sorted(expected.keys() - shapes.keys())
    if missing:
        raise MissingKeysError(
            f"{len(missing)} of {len(expected)} tensors are missing, first {missing[0]!r}: the file is not "
            f"complete, or of a smaller model than {str(base_dir)!r}"
        )
    misfits = [name for name in shapes if shapes[name] != expected[name]]
    if misfits:
        name = misfits[0]
        raise UnknownKeysError(
            f"{len(misfits)} tensors have another shape than the base needs, first {name!r}: "
            f"{shapes[name]} instead of {expected[name]}; it was trained on another model"
        )
