"""The health gate: a saved adapter must work for somebody who has nothing but its files.

A new process opens base and adapter from disk and repeats the probe losses of training. Nothing of the training
process can help it, so an empty file, a lost key or a wrong dtype shows here, minutes after training and not weeks
later.
"""

import json
from pathlib import Path

from alpaca_lora.adapters.clean_process import run_in_clean_process
from alpaca_lora.adapters.inspection import inspect_adapter
from alpaca_lora.adapters.loading import load_adapter
from alpaca_lora.adapters.probes import probe_losses
from alpaca_lora.adapters.sidecar import Sidecar, read_sidecar
from alpaca_lora.config import QuantizationSettings
from alpaca_lora.errors import AdapterDriftError, AdapterError, UntrainedAdapterError
from alpaca_lora.models import load_base_model, load_tokenizer
from alpaca_lora.prompts import Prompter

TOLERANCE = 0.01
"""Largest difference of a probe loss in nats per token between training and the clean process."""

_CHILD = """
import json, pathlib, sys
from alpaca_lora.adapters.health import recompute_losses
print(json.dumps(recompute_losses(*map(pathlib.Path, sys.argv[1:]))))
"""


def check_adapter(directory: Path, base_dir: Path) -> tuple[float, ...]:
    """Open an adapter in a clean process and compare what it computes with what training recorded.

    Args:
        directory: adapter directory with a sidecar.
        base_dir: directory of the base model.

    Returns:
        The probe losses that the clean process computed.

    Raises:
        AdapterDriftError: a probe loss differs by more than 0.01 nats per token from the recorded one.
        UntrainedAdapterError: every probe loss equals the base's.
        AdapterError: another kind of damage, see `inspect_adapter`.
    """
    inspect_adapter(directory, base_dir)
    sidecar = _require_sidecar(directory)
    losses = _losses_in_clean_process(directory, base_dir)
    pairs = zip(losses, sidecar.losses, strict=True)
    if not all(abs(found - recorded) <= TOLERANCE for found, recorded in pairs):  # also where one is not a number
        raise AdapterDriftError(
            f"the adapter in {str(directory)!r} computes probe losses {_shown(losses)}, training recorded "
            f"{_shown(sidecar.losses)}: the files do not hold what was trained"
        )
    if losses == sidecar.base_losses:
        raise UntrainedAdapterError(f"the adapter in {str(directory)!r} answers exactly like its base")
    return losses


def _losses_in_clean_process(directory: Path, base_dir: Path) -> tuple[float, ...]:
    def failed(last: str) -> AdapterError:
        return AdapterError(f"the adapter in {str(directory)!r} does not open in a clean process: {last}")

    printed = run_in_clean_process(_CHILD, str(directory), str(base_dir), failed=failed)
    return tuple(json.loads(printed.strip().splitlines()[-1]))


def recompute_losses(directory: Path, base_dir: Path) -> tuple[float, ...]:
    """Load base and adapter as in training and return the probe losses.

    Raises:
        AdapterError: no sidecar, or damage of any kind.
    """
    sidecar = _require_sidecar(directory)
    base = load_base_model(
        base_dir,
        precision=sidecar.precision,  # type: ignore[arg-type]
        quantization=QuantizationSettings(**sidecar.quantization),
    )
    model = load_adapter(base, directory, base_dir)
    return probe_losses(model, load_tokenizer(directory), Prompter(sidecar.prompt_template()))


def _require_sidecar(directory: Path) -> Sidecar:
    sidecar = read_sidecar(directory)
    if sidecar is None:
        raise AdapterError(f"{str(directory)!r} has no alpaca_lora.json, so there is nothing to compare with")
    return sidecar


def _shown(losses: tuple[float, ...]) -> str:
    return "(" + ", ".join(f"{loss:.4f}" for loss in losses) + ")"
