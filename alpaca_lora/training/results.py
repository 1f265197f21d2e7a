"""A finished run as plain data: for the report, for the caller, and to be read back from COMPLETE."""

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from alpaca_lora import _files
from alpaca_lora._runs import COMPLETE, environment
from alpaca_lora.config.spelling import as_flags, dotted, given_settings
from alpaca_lora.errors import RunError
from alpaca_lora.models import EMBEDDED, EMBEDDED_HUB_ID, Response
from alpaca_lora.reporting.summary import AnswerPair, DataSummary, ListedRow, RunSummary
from alpaca_lora.training.answers import pair_answers, stop_rate
from alpaca_lora.training.encoding import Rejection
from alpaca_lora.training.preparation import Preparation


def summarise(
    run: Preparation,
    run_dir: Path,
    *,
    steps: int,
    last: Mapping[str, Any],
    parameters: int,
    losses: tuple[float | None, float | None],
    answers: tuple[Sequence[Response], Sequence[Response]],
) -> RunSummary:
    """Gather what a person asks about a run afterwards.

    Args:
        run: what was prepared.
        run_dir: the run's directory.
        steps: optimizer steps done.
        last: the last line of metrics.jsonl with tokens and seconds.
        parameters: how many the adapter has.
        losses: held-out loss before and after; None without held-out rows.
        answers: to the first held-out records, before and after.
    """
    before, after = answers
    template = run.prompter.template
    return RunSummary(
        base_model=run.base_model,
        data=_summarise_data(run),
        output_dir=str(run_dir),
        status="completed",
        steps=steps,
        total_steps=run.plan.total_steps,
        seconds=last.get("seconds", 0.0),
        tokens_trained=last.get("tokens", 0),
        adapter_parameters=parameters,
        config=dict(dotted(run.config.model_dump(mode="json"))),
        decisions=run.reasons,
        versions=environment(),
        hardware=f"{run.hardware.name}, {run.hardware.cores} cores",
        command=_command(run, run_dir),
        template=template.name,
        prompt_input=template.prompt_input,
        prompt_no_input=template.prompt_no_input,
        base_model_hub_id=_hub_id_of(run.base_model),
        heldout_loss_before=losses[0],
        heldout_loss_after=losses[1],
        heldout_tokens=sum(label >= 0 for row in run.heldout for label in row.labels),
        stop_rate_before=stop_rate(before),
        stop_rate_after=stop_rate(after),
        stop_rate_records=len(after),
        samples=pair_answers(run.heldout_records[: len(after)], before, after),
    )


def write_summary(run_dir: Path, summary: RunSummary) -> None:
    """Write COMPLETE, the file that says that the run finished and its adapter works."""
    _files.write_json(run_dir / COMPLETE, asdict(summary))


def read_summary(run_dir: Path) -> RunSummary:
    """Read COMPLETE back.

    Raises:
        RunError: the file is damaged.
    """
    path = run_dir / COMPLETE
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        data = document["data"]
        for name in ("dropped", "shortened"):
            data[name] = tuple(ListedRow(**row) for row in data[name])
        data["notes"] = tuple(data["notes"])
        data["length_quantiles"] = {float(share): tokens for share, tokens in data["length_quantiles"].items()}
        document["data"] = DataSummary(**data)
        document["samples"] = tuple(AnswerPair(**sample) for sample in document["samples"])
        document["decisions"] = tuple(document["decisions"])
        return RunSummary(**document)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise RunError(f"{str(path)!r} is damaged ({error}): delete it, and the run finishes anew") from error


def _summarise_data(run: Preparation) -> DataSummary:
    return DataSummary(
        name=run.data.name,
        sha256=run.data.sha256,
        trained_rows=run.report.trained,
        heldout_rows=run.report.heldout,
        dropped=_listed(run.report.rejected),
        shortened=_listed(run.report.shortened),
        notes=run.data.notes,
        length_quantiles=run.report.quantiles,
    )


def _hub_id_of(base_model: str) -> str | None:
    if base_model == EMBEDDED:
        return EMBEDDED_HUB_ID
    return None if Path(base_model).is_absolute() else base_model.partition("@")[0]


def _listed(rejections: Sequence[Rejection]) -> tuple[ListedRow, ...]:
    return tuple(ListedRow(row.origin, row.reason, row.tokens or None) for row in rejections)


def _command(run: Preparation, run_dir: Path) -> str:
    """Return the command line that repeats the run with the settings that were given."""
    words = ["alpaca-lora", "finetune", "--base-model", run.base_model, "--data", run.data.name]
    given = as_flags(given_settings(run.asked))
    return " ".join(filter(None, (shlex.join(words), given, shlex.join(["--output-dir", str(run_dir)]))))
