"""The whole recipe, as a story: records, curated records, an adapter, its evaluation, its exports, and a page."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alpaca_lora import _files, _runs
from alpaca_lora._console import Console
from alpaca_lora._paths import check_paths, expanded
from alpaca_lora._seals import SEAL, seal
from alpaca_lora.replication.ahead import all_deviations, check_ahead
from alpaca_lora.replication.figures import SESSIONS, StageFigures, read_figures
from alpaca_lora.replication.manifest import MANIFEST, write_manifest
from alpaca_lora.replication.origins import check_origin
from alpaca_lora.replication.outline import Recipe
from alpaca_lora.replication.page import render_card, render_replication
from alpaca_lora.replication.reading import load_recipe
from alpaca_lora.replication.stages import STAGES, Work, read_stored
from alpaca_lora.reporting.wording import public_name

__all__ = ["CARD", "RECIPE", "REPORT", "ReplicationResult", "replicate"]

RECIPE, REPORT, CARD = "recipe.json", "report.html", "README.md"


@dataclass(frozen=True)
class ReplicationResult:
    """What a replication left behind."""

    output_dir: Path
    """Holds a directory for each stage, and of the whole report.html, README.md, recipe.json and replication.json."""

    status: str
    """`completed`, or what keeps the last stage from that, as `budget`; the same call goes on then."""

    stages: tuple[StageFigures, ...]
    """What each stage gave that is finished, in order."""

    deviations: tuple[str, ...]
    """What was done otherwise than in the original, one sentence each."""

    notes: tuple[str, ...] = ()
    """What differs from earlier sessions, one sentence each."""

    @property
    def report(self) -> Path:
        """Return the page for a person; it is there once the replication is completed."""
        return self.output_dir / REPORT

    @property
    def manifest(self) -> Path:
        """Return the list of all files with their digests; it is there once the replication is completed."""
        return self.output_dir / MANIFEST


def replicate(
    recipe: str | Path | Mapping[str, Any] | Recipe, output_dir: str | Path, *, progress: bool = False
) -> ReplicationResult:
    """Run a whole recipe: generate, curate, fine-tune, evaluate, export, each stage from the output of the one before.

    The directory is a contract: called again with the same recipe, an interrupted replication goes on where it was, a
    stage by its own means, and what is finished is not done again. One that is complete returns at once.

    Args:
        recipe: a profile's name, a YAML file, a mapping, or a recipe that was read.
        output_dir: new, empty, or this very replication's.
        progress: show on stderr which stage it is, and how far.

    Returns:
        The figures of each stage, and where page and manifest are.

    Raises:
        ConfigError: the recipe cannot work, all faults at once; or something that a later stage would refuse.
        RunError: the directory holds another replication, the message says old and new; or it is in use.
        AlpacaLoraError: a stage failed, as its verb does; what was finished stays, and the same call goes on.
    """
    check_paths(output_dir=output_dir)
    work = Work(load_recipe(recipe), expanded(output_dir).resolve(), progress)
    source = Path(recipe) if isinstance(recipe, str | Path) and Path(recipe).is_file() else None
    _runs.check_output_dir(Path(output_dir), base_dir=None, data=source)
    contract = {"kind": "replication", "recipe": work.recipe.contract(), "environment": _runs.environment()}
    check_ahead(work)
    with _files.lock(work.root):
        _files.sweep_staging(work.root)
        sealed = (work.root / SEAL).exists() and all(STAGES[name].finished(work) for name in work.recipe.stages)
        entry = _runs.enter_run(work.root, contract, resume="auto", write=not sealed)
        if not sealed:
            (work.root / MANIFEST).unlink(missing_ok=True)  # of what it lists, a stage is about to be done again
            _files.write_json(work.root / RECIPE, work.recipe.to_json())
        deviations = _deviations(work)
        status = _run_stages(work)
        figures = tuple(read_figures(work))
        if status == "completed" and not sealed:
            _write(work, figures, deviations)
    return ReplicationResult(work.root, status, figures, deviations, entry.notes)


def _deviations(work: Work) -> tuple[str, ...]:
    """Return what is done otherwise; a generation that is finished has written it down, and its files may be others."""
    section = work.recipe.generate
    if section is None or not STAGES["generate"].finished(work):
        return all_deviations(work.recipe)
    said = read_stored(work.directory("generate") / "summary.json").get("deviations", ())
    model = section.model or ""
    public = (text.replace(repr(model), repr(public_name(model))) for text in said)
    return (*work.recipe.deviations, *(f"generate: {text}" for text in public))


def _run_stages(work: Work) -> str:
    console = Console(stderr=True, highlight=False, quiet=not work.progress)
    names = work.recipe.stages
    for number, name in enumerate(names, start=1):
        check_origin(work, name)
        where = f"stage {number} of {len(names)}: {name}"
        if STAGES[name].finished(work):
            console.print(f"{where} is done already", markup=False)
            continue
        console.print(f"{where}, in {work.directory(name).name}", style="bold", markup=False)
        began = time.monotonic()
        status = STAGES[name].run(work)
        with _files.open_journal(work.root / SESSIONS) as journal:
            _files.append_line(
                journal, {"stage": name, "seconds": round(time.monotonic() - began, 1), "status": status}
            )
        if status != "completed":
            return status
    return "completed"


def _write(work: Work, figures: tuple[StageFigures, ...], deviations: tuple[str, ...]) -> None:
    """Write page, card and manifest, and last the seal."""
    _files.write_text(work.root / REPORT, render_replication(work, figures, deviations))
    _files.write_text(work.root / CARD, render_card(work, figures, deviations))
    write_manifest(work)
    seal(work.root)
