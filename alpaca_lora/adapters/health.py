"""The health gate: a saved adapter must work for somebody who has nothing but its files.

A new process opens base and adapter from disk and repeats the probe losses of training. Nothing of the training
process can help it, so an empty file, a lost key or a wrong dtype shows here, minutes after training and not weeks
later.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

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
    command = [sys.executable, "-P", "-c", _CHILD, str(directory), str(base_dir)]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    result = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)  # noqa: S603
    if result.returncode != 0:
        last = (result.stderr.strip().splitlines() or ["no message"])[-1]
        raise AdapterError(f"the adapter in {str(directory)!r} does not open in a clean process: {last}")
    return tuple(json.loads(result.stdout.strip().splitlines()[-1]))


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
