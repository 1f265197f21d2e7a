"""Put a saved adapter on its base model, or refuse."""

from pathlib import Path
from typing import Any

from peft import PeftModel

from alpaca_lora.adapters.attach import quiet_peft
from alpaca_lora.adapters.inspection import inspect_adapter
from alpaca_lora.adapters.saving import WEIGHTS
from alpaca_lora.adapters.sidecar import read_sidecar
from alpaca_lora.errors import AdapterError
from alpaca_lora.models import locate_base_model


def locate_base_of(directory: Path, base_model: str | None) -> Path:
    """Return the directory of the base model that an adapter goes on.

    Args:
        directory: adapter directory.
        base_model: what the user named; None takes the name in the sidecar. The name in PEFT's own file is not
            followed, since whoever wrote the file would decide what is downloaded.

    Raises:
        AdapterError: there is no directory, or no sidecar and no name.
    """
    if not directory.is_dir():
        raise AdapterError(f"no adapter at {str(directory)!r}: give the directory that holds {WEIGHTS}")
    sidecar = read_sidecar(directory)
    if base_model is None and sidecar is None:
        raise AdapterError(
            f"{str(directory)!r} was not made by alpaca-lora, so its base is not known: name the base model yourself"
        )
    return locate_base_model(base_model or sidecar.base_model)  # type: ignore[union-attr]


def load_adapter(model: Any, directory: Path, base_dir: Path) -> PeftModel:
    """Return base and adapter together, for answering.

    Args:
        model: the base, loaded from `base_dir`.
        directory: adapter directory.
        base_dir: directory of the base model.

    Raises:
        AdapterError: one of its kinds, see `inspect_adapter`.
    """
    config = inspect_adapter(directory, base_dir)
    config.inference_mode = True
    with quiet_peft():
        return PeftModel.from_pretrained(model, str(directory), config=config, local_files_only=True).eval()
