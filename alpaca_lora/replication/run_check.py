"""Whether a run of finetune ended as it says, and its adapter is the trained one and still computes the same."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alpaca_lora._runs import COMPLETE, CONTRACT, LIBRARY, METRICS, STATUS, last_step, read_metrics
from alpaca_lora._sessions import sessions_of
from alpaca_lora._version import __version__
from alpaca_lora.adapters import Sidecar, check_adapter, read_sidecar
from alpaca_lora.adapters.sidecar import FILE_NAME
from alpaca_lora.errors import MissingDependencyError, ModelError, ModelNotFoundError, RecordError, RunError
from alpaca_lora.models import check_documents, fingerprint, locate_base_model
from alpaca_lora.records import read_dataset
from alpaca_lora.replication.findings import Sheet, Unchecked, differing, read_object
from alpaca_lora.reporting.card import render_card
from alpaca_lora.reporting.page import render_report
from alpaca_lora.reporting.summary import RunSummary
from alpaca_lora.reporting.wording import public_name
from alpaca_lora.training.checkpoints import fault_of, list_checkpoints
from alpaca_lora.training.results import read_summary

__all__ = ["check_adapter_directory", "check_run", "find_base", "find_data"]

PACKAGED = "alpaca-mini"

_CHECKS = ("end", "metrics", "report", "checkpoints", "sidecar", "data", "adapter")


def check_run(directory: Path, sheet: Sheet, data: Path | None = None) -> None:
    """Check what can be told of a run without training it again.

    Args:
        directory: of the run.
        sheet: takes what is found.
        data: where the data is now; None where the run's own name for it is all that is known.
    """
    run = sheet.read("contract", lambda: _read_contract(directory), _describe)
    if run is None:
        sheet.skip(_CHECKS, f"{CONTRACT} cannot be read")
        return
    summary = sheet.read(
        "end", lambda: _read_end(directory, run), lambda end: f"all {end.steps:,} steps were done, {COMPLETE} is there"
    )
    if summary is None:
        sheet.skip(("metrics", "report"), "the run has not ended")
    else:
        sheet.check("metrics", lambda: _check_metrics(directory, summary))
        sheet.check("report", lambda: _draw_again(directory, run, summary))
    sheet.check("checkpoints", lambda: _check_checkpoints(directory, run))
    sheet.check("sidecar", lambda: _compare_sidecar(directory / "adapter", run, summary))
    sheet.check("data", lambda: _compare_data(run, data))
    if sheet.failed:
        sheet.skip(("adapter",), "something else has to be mended first")
    else:
        check_adapter_directory(directory / "adapter", sheet)


def check_adapter_directory(directory: Path, sheet: Sheet) -> None:
    """Put an adapter through its health gate once more."""
    sheet.check("adapter", lambda: _check_adapter(directory))


def _read_contract(directory: Path) -> dict[str, Any]:
    run = read_object(directory / CONTRACT)
    for name, kind in (("config", dict), ("data", dict), ("template", dict), ("environment", dict), ("run_id", str)):
        if not isinstance(run.get(name), kind):
            raise RunError(f"{CONTRACT} has no {name}: copy the run again from where it was trained")
    return run


def _describe(run: Mapping[str, Any]) -> str:
    version = run["environment"].get(LIBRARY, "an earlier version")
    base_model, data = public_name(str(run["base_model"])), public_name(str(run["data"]["name"]))
    return f"{base_model} on {data}, {run['total_steps']:,} steps, by alpaca-lora {version}"


def _read_end(directory: Path, run: Mapping[str, Any]) -> RunSummary:
    said = read_object(directory / STATUS)
    if not (directory / COMPLETE).is_file() or said != {"status": "completed", "reason": ""}:
        raise RunError(
            f"{COMPLETE if said.get('status') == 'completed' else STATUS}: the run is not complete "
            f"({said.get('status')}): finish it with the command that started it"
        )
    read_object(directory / COMPLETE)
    summary = read_summary(directory)
    wanted = {"status": "completed", "steps": run["total_steps"], "total_steps": run["total_steps"]}
    wanted |= {"base_model": run["base_model"], "data": run["data"], "template": run["template"]["name"]}
    found = {name: getattr(summary, name) for name in wanted}
    found["data"] = {"name": summary.data.name, "sha256": summary.data.sha256}
    if difference := differing(found, wanted):
        raise RunError(f"{COMPLETE} does not agree with {CONTRACT}: {difference}; copy the run again")
    return summary


def _check_metrics(directory: Path, summary: RunSummary) -> str:
    lines = read_metrics(directory)
    steps = [line["step"] for line in lines if "tokens" in line]
    text = (directory / METRICS).read_bytes()
    last = last_step(lines)
    if text.count(b"\n") != len(lines) or steps != sorted(set(steps)) or not steps:
        raise RunError(f"{METRICS} has lines that are damaged, twice there or missing: copy the run again")
    found = {"steps": steps[-1], "tokens_trained": last["tokens"], "seconds": last["seconds"]}
    if difference := differing(found, {name: getattr(summary, name) for name in found}):
        raise RunError(f"{METRICS} does not agree with {COMPLETE}: {difference}; copy the run again")
    return f"{len(steps):,} logged steps up to step {steps[-1]:,}"


def _draw_again(directory: Path, run: Mapping[str, Any], summary: RunSummary) -> str:
    """Compare the report and the model card with what the stored numbers give."""
    if others := [str(made.get(LIBRARY)) for made in sessions_of(run) if made.get(LIBRARY) != __version__]:
        raise Unchecked(f"drawn by alpaca-lora {others[-1]}, and this is {__version__}")
    picture = "loss.png" if (directory / "loss.png").is_file() else None
    pages = {
        "report.html": render_report(summary, read_metrics(directory)),
        "README.md": render_card(summary, picture=picture),
    }
    for name, page in pages.items():
        if (directory / name).read_bytes() != page.encode("utf-8"):
            raise RunError(f"{name} is not what {COMPLETE} and {METRICS} give: copy the run again")
    return f"{' and '.join(pages)} are what {COMPLETE} and {METRICS} give, byte for byte"


def _check_checkpoints(directory: Path, run: Mapping[str, Any]) -> str:
    checkpoints = list_checkpoints(directory)
    for path in reversed(checkpoints):
        if fault := fault_of(path, run["run_id"]):
            raise RunError(f"{path.name}: {fault}: delete this checkpoint, or copy it again")
    if not checkpoints:
        raise Unchecked("none is left")
    return f"{', '.join(path.name for path in reversed(checkpoints))} agree with their manifests"


def _compare_sidecar(directory: Path, run: Mapping[str, Any], summary: RunSummary | None) -> str:
    sidecar = _read_sidecar(directory)
    found = {
        "base_model": sidecar.base_model,
        "base_fingerprint": sidecar.base_fingerprint,
        "data_sha256": sidecar.data_sha256,
        "template_sha256": sidecar.template_sha256,
        "template": sidecar.prompt_template().sha256,
        "quantization": sidecar.quantization,
        "precision": sidecar.precision,
        "max_length": sidecar.max_length,
    }
    wanted = {name: run.get(name, run["config"].get(name)) for name in found}
    wanted |= {"data_sha256": run["data"]["sha256"]}
    wanted |= dict.fromkeys(("template_sha256", "template"), run["template"]["sha256"])
    if summary is not None:
        names = ("steps", "heldout_loss_before", "heldout_loss_after")
        found |= {name: sidecar.trained.get(name) for name in names}
        wanted |= {name: getattr(summary, name) for name in names}
    if difference := differing(found, wanted):
        raise RunError(
            f"adapter/{FILE_NAME} does not agree with {CONTRACT}: {difference}; copy the run again from where it "
            "was trained"
        )
    return "base model, template, data and losses are those of the run"


def _read_sidecar(directory: Path) -> Sidecar:
    check_documents(directory)
    sidecar = read_sidecar(directory)
    if sidecar is None:
        raise RunError(f"{directory.name}/{FILE_NAME} is missing: copy the adapter again from where it was trained")
    return sidecar


def _compare_data(run: Mapping[str, Any], data: Path | None) -> str:
    return f"{public_name(find_data(run, data))} is what was trained on, SHA-256 {run['data']['sha256'][:12]}…"


def find_data(run: Mapping[str, Any], data: Path | None) -> str:
    """Return the name under which the data of a run can be read on this machine.

    Raises:
        Unchecked: it is not here, or has changed.
    """
    name, sha256 = str(data or run["data"]["name"]), run["data"]["sha256"]
    if name != PACKAGED and not Path(name).is_file():
        raise Unchecked(f"{name!r} is no file of this machine")
    try:
        found = read_dataset(name, allow_empty_output=True, column_map=run["config"].get("column_map") or None).sha256
    except RecordError as error:
        raise Unchecked(f"{name!r} cannot be read any more ({error})") from error
    if found != sha256:
        raise Unchecked(f"{name!r} has changed since, its SHA-256 is {found[:12]}… and was {sha256[:12]}…")
    return name


def find_base(name: str, expected: str) -> Path:
    """Return the directory of a base model that is on this machine.

    Raises:
        Unchecked: it is not here, or other weights are.
    """
    try:
        base_dir = locate_base_model(name, offline=True)
        found = fingerprint(base_dir)
    except (MissingDependencyError, ModelError, ModelNotFoundError) as error:
        raise Unchecked(f"the base model is not on this machine ({error})") from error
    if found != expected:
        raise Unchecked(f"{name!r} holds other weights than those of then ({found[:12]}…, not {expected[:12]}…)")
    return base_dir


def _check_adapter(directory: Path) -> str:
    sidecar = _read_sidecar(directory)
    base_dir = find_base(sidecar.base_model, sidecar.base_fingerprint)
    losses = check_adapter(directory, base_dir)
    drift = max(abs(found - stored) for found, stored in zip(losses, sidecar.losses, strict=True))
    return (
        f"passes its health gate on its base, in a clean process; {len(losses)} probe losses as in training, within "
        f"{drift:.1g} nats per token"
    )
