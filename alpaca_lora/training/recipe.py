"""The whole of fine-tuning, as a story: prepare, look at the base, train, look again, save, prove."""

import contextlib
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from transformers import set_seed

from alpaca_lora import _files, _runs
from alpaca_lora._exhaustion import is_disk_full
from alpaca_lora._paths import check_paths, expanded
from alpaca_lora._seals import SEAL, break_seal, seal
from alpaca_lora.adapters import (
    Sidecar,
    adapter_tensors,
    attach_adapter,
    check_adapter,
    probe_losses,
    save_adapter,
    target_names,
)
from alpaca_lora.config import FinetuneConfig
from alpaca_lora.errors import DiskFullError, DivergenceError, MissingDependencyError
from alpaca_lora.models import EMBEDDED, Response, check_vocabulary, load_base_model, stop_ids
from alpaca_lora.reporting.card import render_card
from alpaca_lora.reporting.page import render_report
from alpaca_lora.reporting.picture import draw_loss
from alpaca_lora.reporting.summary import RunSummary, Status
from alpaca_lora.training import ranks
from alpaca_lora.training.answers import answer_records, heldout_loss
from alpaca_lora.training.checkpoints import choose_checkpoint
from alpaca_lora.training.course import free_memory, train
from alpaca_lora.training.guards import NAN_REPORT, Interruption
from alpaca_lora.training.preparation import Data, Preparation, prepare
from alpaca_lora.training.progress import Progress
from alpaca_lora.training.results import read_summary, summarise, write_summary


@dataclass(frozen=True)
class FinetuneResult:
    """What a fine-tuning run left behind."""

    output_dir: Path
    """The run directory: report.html, metrics.jsonl, checkpoints."""

    adapter_dir: Path
    """The adapter, ready for `load` or PEFT; it is there once the run is completed."""

    summary: RunSummary
    """Everything that the report shows."""

    resumed_from: Path | None = None
    """The checkpoint that the run went on from; None if it started afresh."""

    notes: tuple[str, ...] = ()
    """What could not be done and did not matter enough to stop, one sentence each."""

    @property
    def status(self) -> Status:
        """Return `completed`, or `preempted` after a signal whose former handler let the program go on."""
        return self.summary.status

    @property
    def metrics(self) -> dict[str, float | None]:
        """Return the run's headline numbers; losses in nats per token."""
        names = ("heldout_loss_before", "heldout_loss_after", "stop_rate_before", "stop_rate_after")
        numbers = {name: getattr(self.summary, name) for name in names}
        return {**numbers, "steps": self.summary.steps, "seconds": self.summary.seconds}


@dataclass(frozen=True)
class _Look:
    """How a model does on the held-out set and the probes."""

    loss: float | None
    answers: list[Response]
    probes: tuple[float, ...]


def finetune(
    base_model: str | Path = EMBEDDED,
    data: Data = "alpaca-mini",
    output_dir: str | Path = "runs/alpaca-mini",
    *,
    config: str | Path | FinetuneConfig | None = None,
    progress: bool = True,
) -> FinetuneResult:
    """Fine-tune a base model on instruction records with LoRA, and prove that the saved adapter works.

    The run directory is a contract: called again with the same arguments, a run that was interrupted goes on from its
    newest checkpoint that verifies, and one that is complete returns at once; with more epochs or a higher `max_steps`
    it goes on. SIGINT and SIGTERM are obeyed after a checkpoint at the next step; the second one at once.

    Args:
        base_model: `smollm2-135m`, a directory, or a Hub id (`org/name`, `org/name@revision`).
        data: `alpaca-mini`, a JSON, JSONL, CSV or Parquet file, a Hub id, records, or a `datasets.Dataset`.
        output_dir: the run directory; new, empty, or this very run's.
        config: a preset's name, a YAML file, a `FinetuneConfig`, or None for what suits data and hardware.
        progress: show a live display on stderr.

    Returns:
        Where the adapter is and how it did, before and after.

    Raises:
        ConfigError, RecordError, TemplateError, EncodingError, ModelError: bad input, before training starts.
        RunError: the directory holds another run or is in use, or the checkpoint that was named does not verify.
        NonFiniteLossError: NaN or infinity, which reached no file; nan_report.json lists the records of that step.
        DivergenceError: the loss rose far above where it began, and stayed there.
        DiskFullError: there is no room for what must be written; older checkpoints are unharmed.
        AdapterError: the saved adapter failed its health gate; there is no COMPLETE then.
    """
    check_paths(base_model=base_model, output_dir=output_dir)
    ranks.join()
    shared_dir = expanded(output_dir).resolve()
    interruption = Interruption()
    with Progress(enabled=progress and ranks.rank() == 0) as display, ranks.own_directory(shared_dir) as run_dir:
        display.stage("preparing data and base model")
        run = prepare(base_model, data, shared_dir, config, display=display)
        display.note(*run.notes)
        with _files.lock(run_dir):
            _files.sweep_staging(run_dir)
            contract = {"run_id": uuid.uuid4().hex, **run.contract()}
            entry = ranks.from_leader(lambda: _runs.enter_run(run_dir, contract, resume=run.config.resume))
            if entry.complete:
                if not (run_dir / SEAL).exists():  # a crash came between, or an earlier version made the run
                    _end(run_dir, "completed")
                return FinetuneResult(shared_dir, shared_dir / "adapter", read_summary(shared_dir), notes=run.notes)
            with _recorded(run_dir):
                choice = ranks.from_leader(lambda: choose_checkpoint(run_dir, run.config.resume))
                warnings = (reason for reason in run.reasons if reason.startswith("warning:"))
                display.note(*warnings, *entry.notes, *choice.skipped)
                run = replace(run, notes=(*run.notes, *entry.notes, *choice.skipped))
                result = _carry_out(run, run_dir, choice.checkpoint, display, interruption)
                _end(run_dir, result.status)
    interruption.deliver()
    return result


def _end(run_dir: Path, status: Status) -> None:
    _runs.record_status(run_dir, status)
    if status == "completed":
        seal(run_dir)


@contextlib.contextmanager
def _recorded(run_dir: Path) -> Iterator[None]:
    """Write down how a run stands, and say of every error that means a full disk that it does."""
    _runs.record_status(run_dir, "running")
    (run_dir / NAN_REPORT).unlink(missing_ok=True)  # of an earlier attempt
    try:
        yield
    except BaseException as error:
        break_seal(run_dir)  # a signal may come when it is written already
        stopped = isinstance(error, KeyboardInterrupt | DivergenceError)
        _runs.record_status(run_dir, "stopped" if stopped else "failed", f"{type(error).__name__}: {error}")
        if is_disk_full(error) and not isinstance(error, DiskFullError):
            raise DiskFullError(
                f"the disk is full ({error}): make room where {str(run_dir)!r} is; what was saved before is unharmed"
            ) from error
        raise


def _carry_out(
    run: Preparation, run_dir: Path, checkpoint: Path | None, display: Progress, interruption: Interruption
) -> FinetuneResult:
    display.stage(f"loading {run.base_model}")
    base = load_base_model(run.base_dir, precision=run.config.precision or "fp32", quantization=run.config.quantization)
    check_vocabulary(run.tokenizer, base)
    target_names(base, run.config.lora)
    display.stage("asking the base model")
    before = _look(base, run)
    if before.loss is not None:
        display.evaluation(0, before.loss)
    set_seed(run.config.seed)
    model = attach_adapter(base, run.config.lora, base_dir=str(run.base_dir))
    initial = adapter_tensors(model) if run.config.lora.init == "pissa" else None
    course = train(model, run, run_dir, before.loss, checkpoint, display, interruption)
    parameters = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    run = replace(run, reasons=(*run.reasons, *course.kernels), notes=(*run.notes, *course.notes))
    ends = {"steps": course.steps, "parameters": parameters}
    if interruption.received is not None:
        summary = _summarise(run, run_dir, before, None, **ends)
        return FinetuneResult(run_dir, run_dir / "adapter", summary, checkpoint, run.notes)
    display.stage("asking the tuned model")
    after = _look(model, run)
    if ranks.rank() > 0:
        return ranks.received(FinetuneResult)
    display.stage("saving and checking the adapter")
    sidecar = _sidecar(run, base, before, after, course.steps)
    save_adapter(model, run.tokenizer, run_dir / "adapter", sidecar=sidecar, initial=initial)
    del base, model, initial
    free_memory()
    check_adapter(run_dir / "adapter", run.base_dir)
    summary = _summarise(run, run_dir, before, after, **ends)
    undrawn = _write_report(run_dir, summary, _runs.read_metrics(run_dir))
    display.note(*undrawn)
    write_summary(run_dir, summary)
    result = FinetuneResult(run_dir, run_dir / "adapter", summary, checkpoint, (*run.notes, *undrawn))
    return ranks.from_leader(lambda: result)


def _summarise(run: Preparation, run_dir: Path, before: _Look, after: _Look | None, **ends: int) -> RunSummary:
    """Gather what the run did; without a look at the tuned model it was interrupted."""
    summary = summarise(
        run,
        run_dir,
        last=_runs.last_step(_runs.read_metrics(run_dir)),
        losses=(before.loss, after.loss if after else None),
        answers=(before.answers, after.answers) if after else ((), ()),
        **ends,
    )
    return summary if after else replace(summary, status="preempted")


def _look(model: Any, run: Preparation) -> _Look:
    config = run.config
    records = run.heldout_records[: config.probe_size]
    answers = answer_records(model, run.tokenizer, run.prompter, records, config.probe_max_new_tokens)
    loss = heldout_loss(model, run.heldout) if run.heldout else None
    return _Look(loss, answers, probe_losses(model, run.tokenizer, run.prompter))


def _sidecar(run: Preparation, base: Any, before: _Look, after: _Look, steps: int) -> Sidecar:
    return Sidecar(
        base_model=run.base_model,
        base_fingerprint=run.base_fingerprint,
        template=run.prompter.template.to_dict(),
        template_sha256=run.prompter.sha256,
        data_sha256=run.data.sha256,
        precision=str(run.config.precision),
        quantization=run.config.quantization.model_dump(mode="json"),
        max_length=run.config.max_length,
        stop_ids=stop_ids(run.tokenizer, base),
        base_losses=before.probes,
        losses=after.probes,
        trained={"steps": steps, "heldout_loss_before": before.loss, "heldout_loss_after": after.loss}
        | _runs.environment(),
    )


def _write_report(run_dir: Path, summary: RunSummary, metrics: Sequence[Mapping[str, Any]]) -> list[str]:
    """Write what a person looks at, and return a sentence for what could not be drawn."""
    _files.write_text(run_dir / "report.html", render_report(summary, metrics))
    try:
        draw_loss(metrics, run_dir / "loss.png")
    except MissingDependencyError as error:
        _files.write_text(run_dir / "README.md", render_card(summary))
        return [f"no loss.png: {error}"]
    _files.write_text(run_dir / "README.md", render_card(summary, picture="loss.png"))
    return []
