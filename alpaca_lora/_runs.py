"""A run directory: what was asked for, what happened, and whether it finished.

`run.json` is a contract. A second run may enter the directory only to finish the same work, so everything that decides
the result is compared first; what merely decides how it is watched (logging, saving) may differ, and a run may be made
longer.
"""

import contextlib
import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from alpaca_lora import _files
from alpaca_lora._seals import break_seal
from alpaca_lora._sessions import RESUMED, go_on
from alpaca_lora.errors import ConfigError, RunError

CONTRACT = "run.json"
METRICS = "metrics.jsonl"
COMPLETE = "COMPLETE"
JOURNAL = "journal.jsonl"
STATUS = "status.json"
LIBRARY, DEVICE = "alpaca_lora", "device"
"""What a contract's environment has beside the packages."""

Status = Literal["running", "completed", "preempted", "stopped", "failed"]

_FREE = frozenset({"save_limit", "logging_steps", "report_to", "resume"})
_FREE_UNLESS_BEST = frozenset({"eval_steps", "save_steps"})
_EXTENDABLE = frozenset({"config.epochs", "config.max_steps", "total_steps"})
_PACKAGES = (
    "torch",
    "transformers",
    "trl",
    "peft",
    "datasets",
    "accelerate",
    "safetensors",
    "tokenizers",
    "bitsandbytes",
)


def check_output_dir(output_dir: Path, *, base_dir: Path | None, data: Path | None) -> None:
    """Refuse an output directory where a run could harm something else.

    Args:
        output_dir: where the run shall be written.
        base_dir: directory of the base model, None if it is not known yet.
        data: the data's path, None if it is no path.

    Raises:
        ConfigError: the directory is a file, a base model, an adapter, a home or root directory, or holds the data.
    """
    try:
        fault = _directory_fault(output_dir.expanduser().resolve(), base_dir, data)
    except (OSError, ValueError, RuntimeError) as error:  # too long, a NUL, links in a circle
        fault = f"it cannot be used ({getattr(error, 'strerror', None) or error})"
    if fault:
        raise ConfigError(f"output_dir {str(output_dir)!r}: {fault}; give a new or empty directory, as 'runs/my-run'")


def _directory_fault(path: Path, base_dir: Path | None, data: Path | None) -> str | None:
    fault = None
    if path.exists() and not path.is_dir():
        fault = "it is a file"
    elif any(parent.is_file() for parent in path.parents):
        fault = "a directory above it is a file"
    elif path in {Path("/"), Path.home()} or "site-packages" in path.parts:
        fault = "it holds more than runs"
    elif base_dir is not None and path == base_dir.resolve():
        fault = "it is the base model's own directory"
    elif (path / "config.json").exists() or (path / "adapter_config.json").exists():
        fault = "it holds a model or an adapter"
    elif data is not None and path == data.expanduser().resolve().parent and not (path / CONTRACT).exists():
        fault = f"it holds the data {data.name!r}"
    elif path.is_dir() and not (path / CONTRACT).exists() and _foreign(path):
        fault = f"it is not empty and no run of ours (it holds {', '.join(_foreign(path)[:3])})"
    elif not os.access(next(place for place in (path, *path.parents) if place.exists()), os.W_OK | os.X_OK):
        fault = "it cannot be written to"
    return fault


def _foreign(path: Path) -> list[str]:
    return sorted(item.name for item in path.iterdir() if not item.name.startswith("."))


@dataclass(frozen=True)
class Entry:
    """How a run found its directory."""

    complete: bool
    """Whether there is nothing left to do."""

    begun: bool = False
    """Whether the directory holds a part of this run already."""

    notes: tuple[str, ...] = ()
    """What differs from before and is allowed to, one sentence each."""


def enter_run(run_dir: Path, contract: Mapping[str, Any], *, resume: str, write: bool = True) -> Entry:
    """Write the contract of a new run, or check that this is the run that the directory holds.

    A run may be entered to make it longer: more epochs, or a higher `max_steps`. Where its data is, and what it is
    computed with, may have changed, and is written down. Call it while holding the directory's lock.

    Args:
        run_dir: the run's directory.
        contract: everything that decides the result, as JSON values.
        resume: `never` refuses a directory that holds a run.
        write: False only tells how the directory would be found.

    Raises:
        RunError: the directory holds another run; the message lists each difference, old and new.
    """
    path, old = run_dir / CONTRACT, contract_of(run_dir)
    if old is None:
        if write:
            if path.exists():
                (run_dir / JOURNAL).unlink(missing_ok=True)
            break_seal(run_dir)
            _files.write_json(path, contract)
        return Entry(complete=False)
    if resume == "never":
        raise RunError(f"{str(run_dir)!r} holds a run already and resume is 'never': give a new output_dir")
    was, now = (one.get("kind", "fine-tuning") for one in (old, contract))
    if was != now:
        raise RunError(f"{str(run_dir)!r} holds another kind of run ({was}, not {now}): give a new output_dir")
    differences = _deciding_differences(old, contract)
    complete, versions = (run_dir / COMPLETE).exists(), _other_versions(old, contract)
    if not differences:
        if write and not complete:
            break_seal(run_dir)
            if (going_on := go_on(old, contract, old)) != old:
                _files.write_json(path, going_on)
        return Entry(complete, True, () if complete else versions)
    if not _is_longer(old, contract, set(differences)):
        raise RunError(
            f"{str(run_dir)!r} holds another run: {'; '.join(differences.values())}. "
            "Give a new output_dir, or the old settings to go on"
        )
    if write:
        (run_dir / COMPLETE).unlink(missing_ok=True)  # first: a crash here leaves the old run, unfinished
        break_seal(run_dir)
        _files.write_json(path, go_on(old, contract, {**contract, "run_id": old.get("run_id")}))
    said = f"the run is made longer: {'; '.join(differences.values())}"
    if contract["config"].get("lr_schedule") != "constant":
        said += "; its learning rate follows the longer schedule from here on"
    return Entry(complete=False, begun=True, notes=(said, *versions))


def _other_versions(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[str, ...]:
    """Return a sentence if the library or a package has another version by now, or the device is another."""
    before, after = old.get("environment"), new.get("environment")
    if not isinstance(before, Mapping) or not isinstance(after, Mapping):
        return ()
    names = [name for name in (LIBRARY, *_PACKAGES, DEVICE) if before.get(name, after.get(name)) != after.get(name)]
    made, now = (", ".join(f"{name} {has.get(name, '(none)')}" for name in names) for has in (before, after))
    return (f"the run was made with {made} and goes on with {now}, which may compute otherwise",) if names else ()


def contract_of(run_dir: Path) -> dict[str, Any] | None:
    """Return the contract of the run that a directory holds; None where it holds none, or no more than an intention.

    Raises:
        RunError: the contract is damaged.
    """
    path = run_dir / CONTRACT
    return _read_contract(path) if path.exists() and _worth_keeping(run_dir) else None


def _read_contract(path: Path) -> dict[str, Any]:
    try:
        old = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(old, dict):
            raise ValueError(f"an object is expected, found {type(old).__name__}")
    except (ValueError, RecursionError) as error:
        raise RunError(f"{str(path)!r} is damaged ({error}): give a new output_dir") from error
    return old


def _is_longer(old: Mapping[str, Any], new: Mapping[str, Any], differences: set[str]) -> bool:
    before, after = old.get("total_steps"), new.get("total_steps")
    return differences <= _EXTENDABLE and isinstance(before, int) and isinstance(after, int) and before < after


def run_id_of(run_dir: Path) -> str:
    """Return the id that a run got when it was begun; its checkpoints carry it."""
    return str(_read_contract(run_dir / CONTRACT).get("run_id", ""))


def record_status(run_dir: Path, status: Status, reason: str = "") -> None:
    """Write down how a run stands; a disk without room for it is no reason to fail once more."""
    with contextlib.suppress(OSError):
        _files.write_json(run_dir / STATUS, {"status": status, "reason": reason})


def _worth_keeping(run_dir: Path) -> bool:
    """Tell whether a run left more than its intention.

    One that failed before its first checkpoint may be done anew, and so may one whose teacher has answered nothing.
    """
    if any((run_dir / name).exists() for name in (COMPLETE, "adapter")) or any(run_dir.glob("checkpoint-*")):
        return True
    stages = run_dir.glob("[1-9]-*")  # of a replication
    if any((stage / "curation.json").exists() or _worth_keeping(stage) for stage in stages):
        return True
    return (run_dir / JOURNAL).exists() and _holds_work(run_dir / JOURNAL)


def _holds_work(journal: Path) -> bool:
    """Tell whether a journal holds more than calls that were surely not billed; an unknown line counts as more."""
    under_way = set()
    for line in journal.read_bytes().split(b"\n")[:-1]:
        try:
            event = json.loads(line)
            if event["event"] == "reserve":
                under_way.add(event["attempt"])
            elif event["event"] == "release":
                under_way.remove(event["attempt"])
            elif event["event"] not in ("start", "skip"):
                return True
        except (LookupError, TypeError, ValueError, RecursionError):
            return True
    return bool(under_way)


def _deciding_differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, str]:
    """Return a sentence for each difference that decides the result, by its dotted name."""
    found = _differences(old, new)
    if "data.sha256" not in found:
        found.pop("data.name", None)  # the same bytes, wherever they are now
    if old.get("processes") != new.get("processes"):  # they share the same batch in other parts
        found.pop("config.micro_batch_size", None)
    return found


def _differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return a sentence for each setting that differs, by its dotted name."""
    found: dict[str, str] = {}
    ignored = {"environment", "decisions", "run_id", "processes", RESUMED} if not prefix else set()
    if prefix == "config.":
        ignored = set(_FREE if new.get("keep_best") else _FREE | _FREE_UNLESS_BEST)
    for key in sorted({*old, *new} - ignored):
        before, after = old.get(key), new.get(key)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            found |= _differences(before, after, f"{prefix}{key}.")
        elif before != after:
            found[f"{prefix}{key}"] = f"{prefix}{key} was {_short(before)}, now {_short(after)}"
    return found


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def read_metrics(run_dir: Path) -> list[dict[str, Any]]:
    """Return the lines of metrics.jsonl; an absent file and lines that a crash tore count for nothing."""
    path = run_dir / METRICS
    found = []
    for line in path.read_bytes().split(b"\n")[:-1] if path.exists() else []:
        with contextlib.suppress(ValueError):
            found.append(json.loads(line))
    return found


def last_step(metrics: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return the last line of a training step; empty when there is none."""
    return next((line for line in reversed(metrics) if "tokens" in line), {})


def rewind_metrics(run_dir: Path, step: int) -> Mapping[str, Any]:
    """Drop the lines after `step`, which a resumed run will write again.

    Returns:
        The last line of a training step that is kept; empty when there is none.
    """
    kept = [line for line in read_metrics(run_dir) if line["step"] <= step]
    _files.write_text(run_dir / METRICS, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in kept))
    return last_step(kept)


def environment() -> dict[str, str]:
    """Return the versions that a run was made with."""
    versions = {"python": platform.python_version(), "platform": platform.platform(terse=True)}
    for name in _PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions
