"""No row that a model was trained on is reported on: which rows those are, and from what they are known."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alpaca_lora._runs import CONTRACT
from alpaca_lora.adapters import read_sidecar
from alpaca_lora.config import FinetuneConfig, config_from_dict
from alpaca_lora.curation.catalog import CONTAMINATION, RULES
from alpaca_lora.curation.comparisons import score_leaks
from alpaca_lora.errors import AlpacaLoraError, ConfigError, RecordError, RunError
from alpaca_lora.records import LoadedRecords, Record, read_dataset
from alpaca_lora.selfinstruct.tokens import folded
from alpaca_lora.training.preparation import split_loaded

__all__ = ["UNKNOWN", "Leak", "TrainingData", "find_leaks", "find_training_data"]

UNKNOWN = "unknown"
"""What a user writes to go on although nobody knows the training data."""

_STEP = 100


@dataclass(frozen=True, slots=True)
class TrainingData:
    """What an adapter was trained on."""

    name: str
    sha256: str
    records: tuple[Record, ...]
    """Without those that its run held out, where the run is known."""

    heldout: tuple[Record, ...] | None = None
    """What its run held out of them; None where the run is not known, or the data has a held-out part of its own."""


@dataclass(frozen=True, slots=True)
class Leak:
    """A row of an evaluation set that is in the training data."""

    origin: str
    """The training record that it is most like."""

    score: float
    """How much, from 0 to 1."""


def find_training_data(
    adapter_dir: Path, trained_on: str | Path | None = None, *, flag: str = "--trained-on"
) -> TrainingData | None:
    """Return what an adapter was trained on.

    Args:
        adapter_dir: the adapter's directory; the run around it names data, settings and seed, and so what it held out.
        trained_on: the data, for an adapter without its run, or where the data has moved; `unknown` for None.
        flag: how it is named on the command line.

    Returns:
        The records; None if nobody knows.

    Raises:
        ConfigError: nothing names the data.
        RecordError: the data cannot be read any more, or has changed since.
        RunError: run.json is damaged.
    """
    if trained_on == UNKNOWN:
        return None
    run, sidecar = _read_run(adapter_dir.resolve().parent / CONTRACT), read_sidecar(adapter_dir)
    if run is None and trained_on is None:
        raise ConfigError(
            f"{str(adapter_dir)!r} is without its run, so nobody knows what it was trained on: name the data "
            f"({flag} FILE), or {UNKNOWN!r} to go on with a report that says so"
        )
    config = config_from_dict(run["config"]) if run else FinetuneConfig(allow_empty_output=True)
    named = str(trained_on or (run or {})["data"]["name"])
    loaded = _read_data(named, config, flag)
    told = run["data"]["sha256"] if run else sidecar.data_sha256 if sidecar else ""
    known = told or loaded.sha256  # that of a converted adapter of 2023 is empty
    if loaded.sha256 != known:
        raise RecordError(
            f"{named} is not what the adapter was trained on: its SHA-256 is {loaded.sha256[:12]}…, not {known[:12]}…; "
            f"name the data of then ({flag} FILE)"
        )
    if not run:
        return TrainingData(loaded.name, loaded.sha256, (*loaded.records, *loaded.heldout))
    split = split_loaded(loaded, config)
    heldout = None if loaded.heldout else tuple(split.heldout)
    return TrainingData(loaded.name, loaded.sha256, tuple(split.train), heldout)


def find_leaks(
    records: Sequence[Record], trained: Sequence[Record], tick: Callable[[int, int], None] = lambda done, total: None
) -> dict[int, Leak]:
    """Return which records are in the training data, or nearly.

    Two measures as in `curate --against`, of which the higher counts: ROUGE-L of instruction with input, and how many
    of the record's runs of eight words stand anywhere in the training record. Above 0.7 it is a leak.

    Args:
        records: the evaluation set.
        trained: the training data.
        tick: told how many training records of how many are compared.

    Returns:
        By place in `records`.
    """
    threshold = float(RULES[CONTAMINATION].threshold or 0)
    places: dict[tuple[str, str], list[int]] = {}
    for place, record in enumerate(records):
        places.setdefault(_task(record), []).append(place)
    leaks: dict[int, Leak] = {}
    for done, (record, scores) in enumerate(zip(trained, score_leaks(trained, records), strict=True), start=1):
        scores |= dict.fromkeys(places.get(_task(record), ()), 1.0)
        for place, score in scores.items():
            if score > threshold and (place not in leaks or score > leaks[place].score):
                leaks[place] = Leak(record.origin, score)
        if done % _STEP == 0:
            tick(done, len(trained))
    return dict(sorted(leaks.items()))


def _task(record: Record) -> tuple[str, str]:
    return folded(record.instruction), folded(record.input)


def _read_run(path: Path) -> Mapping[str, Any] | None:
    """Return the contract of a run; None where there is none."""
    if not path.is_file():
        return None
    try:
        run = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(run["config"], Mapping):
            raise TypeError("config is no object")
        return {"data": {name: str(run["data"][name]) for name in ("name", "sha256")}, "config": run["config"]}
    except (ValueError, LookupError, TypeError) as error:
        raise RunError(f"{str(path)!r} is damaged ({error}): copy the run again from where it was trained") from error


def _read_data(named: str, config: FinetuneConfig, flag: str) -> LoadedRecords:
    try:
        return read_dataset(named, column_map=config.column_map or None, allow_empty_output=config.allow_empty_output)
    except AlpacaLoraError as error:
        raise RecordError(
            f"the training data {named!r} cannot be read, so no row can be compared with it: {error}. Name the data "
            f"where it is now ({flag} FILE), or {UNKNOWN!r} to go on with a report that says so"
        ) from error
