"""The strongest check of a run: train it once more and compare the bytes."""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alpaca_lora import _files, _runs
from alpaca_lora._sessions import sessions_of
from alpaca_lora._version import __version__
from alpaca_lora.adapters import Sidecar, read_sidecar
from alpaca_lora.adapters.sidecar import WEIGHTS
from alpaca_lora.config import config_from_dict
from alpaca_lora.errors import AlpacaLoraError, ConfigError, DiskFullError, MissingDependencyError, RunError
from alpaca_lora.models import detect_hardware
from alpaca_lora.prompts import available_templates
from alpaca_lora.replication.findings import Sheet, Unchecked, differing, read_object
from alpaca_lora.replication.generation_check import made_elsewhere
from alpaca_lora.replication.run_check import find_base, find_data
from alpaca_lora.training import finetune

__all__ = ["BAND", "train_again"]

BAND = 0.05
"""How far a loss may be off, in nats per token, where other versions or other hardware computed it."""


def train_again(directory: Path, sheet: Sheet, data: Path | None = None) -> None:
    """Train a run again from its contract, in a directory beside it that is removed afterwards, and compare.

    Args:
        directory: of the run.
        sheet: takes what is found.
        data: where the data is now; None where the run's own name for it is all that is known.
    """
    if sheet.failed:
        sheet.skip(("determinism",), "something else has to be mended first")
    else:
        sheet.check("determinism", lambda: _train_and_compare(directory, sheet, data))


def _train_and_compare(directory: Path, sheet: Sheet, data: Path | None) -> str:
    run = read_object(directory / _runs.CONTRACT)
    stored = read_sidecar(directory / "adapter")
    if stored is None:
        raise Unchecked("the run has no adapter of ours")
    base_dir = find_base(stored.base_model, run["base_fingerprint"])
    name = find_data(run, data)
    parent = directory.parent if os.access(directory.parent, os.W_OK) else Path(tempfile.gettempdir())
    with _files.scratch_directory(parent) as scratch:
        sheet.display.stage(f"training {run['total_steps']} steps again")
        config = {**run["config"], "resume": "never", "report_to": []}
        if config["template"] not in available_templates():  # a file, which may be gone: the adapter has its text
            config["template"] = str(scratch / f"{Path(config['template']).stem}.json")
            _files.write_json(Path(config["template"]), stored.template)
        try:
            settings = config_from_dict(config)
        except ConfigError as error:
            said = f"{_runs.CONTRACT} has settings that {__version__} does not take ({error}): copy the run again"
            raise made_elsewhere(run, RunError(said)) from error
        try:
            finetune(base_dir, name, scratch / "run", config=settings, progress=False)
        except ConfigError as error:
            raise Unchecked(f"this machine cannot train it: {error}") from error
        except (DiskFullError, MissingDependencyError):
            raise
        except AlpacaLoraError as error:
            raise RunError(f"{_runs.CONTRACT} does not train any more: {error}") from error
        return _compare(directory, scratch / "run", run, stored)


def _compare(directory: Path, again: Path, run: Mapping[str, Any], stored: Sidecar) -> str:
    here = read_object(again / _runs.CONTRACT)
    names = ("rows_sha256", "total_steps", "base_fingerprint", "template")
    if difference := differing({name: here[name] for name in names}, {name: run[name] for name in names}):
        raise Unchecked(f"data, base and settings give other rows here: {difference}")
    apart = (differing(sessions_of(here)[0], session) for session in sessions_of(run))
    elsewhere = "; ".join(filter(None, apart))
    same = _files.sha256_of(again / "adapter" / WEIGHTS) == _files.sha256_of(directory / "adapter" / WEIGHTS)
    if same:
        other = f", although made with {elsewhere}" if elsewhere else ""
        return f"trained again, {run['total_steps']} steps: adapter/{WEIGHTS} is the same, byte for byte{other}"
    if not elsewhere and detect_hardware().device == "cpu":
        raise RunError(
            f"adapter/{WEIGHTS} is not what the contract gives with the same versions on the same device: "
            f"{_first_difference(directory, again)}"
        )
    return _compare_losses(again, stored, elsewhere or "a GPU, which need not add up in the same order twice")


def _compare_losses(again: Path, stored: Sidecar, why: str) -> str:
    found = read_sidecar(again / "adapter")
    pairs = list(zip(found.losses if found else (), stored.losses, strict=True))
    held = [float(one.trained["heldout_loss_after"] or 0) for one in (found, stored) if one]
    pairs.append((held[0], held[1]))
    furthest = max(abs(first - second) for first, second in pairs)
    if furthest > BAND:
        raise RunError(
            f"adapter/{WEIGHTS}: trained again its losses are off by {furthest:.3g} nats per token, more than {BAND:g} "
            f"({why})"
        )
    return f"trained again, losses within {furthest:.2g} nats per token ({BAND:g} allowed); bytes differ: {why}"


def _first_difference(directory: Path, again: Path) -> str:
    """Say at which logged step two runs part."""
    before, after = (
        {line["step"]: line for line in _runs.read_metrics(place) if "tokens" in line} for place in (directory, again)
    )
    for step in sorted(before.keys() & after.keys()):
        for name in ("learning_rate", "loss", "tokens"):
            if before[step].get(name) != after[step].get(name):
                hint = "; was the run made longer?" if name == "learning_rate" else ""
                values = f"{before[step].get(name)} and now {after[step].get(name)}"
                return f"{_runs.METRICS} parts at step {step}, {name} {values}{hint}"
    return "every logged loss is the same, so the file was changed afterwards"
