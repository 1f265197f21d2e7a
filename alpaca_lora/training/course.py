"""Training from the first step or a checkpoint to the last one, with less memory if it must be."""

import gc
import json
from collections.abc import Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from alpaca_lora import _files, _runs
from alpaca_lora._exhaustion import is_out_of_memory, require_space
from alpaca_lora.config import FinetuneConfig
from alpaca_lora.training import ranks
from alpaca_lora.training.checkpoints import STATE, Choice, choose_checkpoint, list_checkpoints, newest_of
from alpaca_lora.training.guards import Interruption
from alpaca_lora.training.preflight import is_due, rehearse
from alpaca_lora.training.preparation import Preparation
from alpaca_lora.training.progress import Progress
from alpaca_lora.training.recording import Recorder
from alpaca_lora.training.trainer import AlpacaTrainer

_SAVE_EXTRA = 1
"""Checkpoints beyond the limit that are there for a moment: the one being written, before the oldest goes."""


@dataclass(frozen=True)
class Course:
    """What training did."""

    steps: int
    """Optimizer steps done."""

    kernels: tuple[str, ...]
    """One sentence for each thing that ran, or could not run, on the fast path."""

    notes: tuple[str, ...] = ()
    """What went otherwise than planned, one sentence each."""


def train(
    model: Any,
    run: Preparation,
    run_dir: Path,
    loss_before: float | None,
    checkpoint: Path | None,
    display: Progress,
    interruption: Interruption,
) -> Course:
    """Train to the last step, or to the step at which a signal came.

    Where a step needs more memory than there is, training goes on from the newest checkpoint that it wrote and that
    verifies, else from where it began, with half the sequences in a forward pass and twice as many passes to a step:
    every step still takes the same rows.

    Args:
        model: the base with its adapter, which is trained in place.
        run: what was prepared.
        run_dir: the run's directory.
        loss_before: held-out loss of the base; None without held-out rows.
        checkpoint: where to go on from; None starts afresh.
        display: shows how far it is.
        interruption: brings the signal.
    """
    start = {name: p.detach().to("cpu", copy=True) for name, p in model.named_parameters() if p.requires_grad}
    began, written = checkpoint, set[Path]()
    notes: list[str] = []
    config = run.config
    while True:
        try:
            steps, kernels = _attempt(
                model, run, config, run_dir, loss_before, checkpoint, display, interruption, written
            )
            return Course(steps, kernels, tuple(notes))
        except (RuntimeError, MemoryError) as error:
            smaller = _with_less_memory(config) if is_out_of_memory(error) else None
            if smaller is None or ranks.size() > 1:  # the others wait for this process within the step
                raise
        free_memory()
        _put_back(model, start)
        choice = _where_to_go_on(run_dir, written, began)
        checkpoint = choice.checkpoint
        said = (
            f"out of memory with micro_batch_size {config.micro_batch_size}: went on from "
            f"{checkpoint.name if checkpoint else 'the start'} with {smaller.micro_batch_size}, "
            f"batch_size {config.batch_size} as before"
        )
        notes += (*choice.skipped, said)
        display.note(*choice.skipped, said)
        config = smaller


def _where_to_go_on(run_dir: Path, written: Set[Path], began: Path | None) -> Choice:
    """Choose among the checkpoints that training wrote, or where it began.

    Raises:
        RunError: none of them verifies, and where it began is damaged by now.
    """
    choice = newest_of([path for path in list_checkpoints(run_dir) if path in written], _runs.run_id_of(run_dir))
    if choice.checkpoint or began is None:
        return choice
    return Choice(choose_checkpoint(run_dir, str(began)).checkpoint, choice.skipped)


def _with_less_memory(config: FinetuneConfig) -> FinetuneConfig | None:
    """Return the settings with a forward pass of at most half the sequences; None where it has one."""
    batch, micro = config.batch_size or 1, config.micro_batch_size or 1
    parts = [part for part in range(1, micro // 2 + 1) if batch % part == 0]
    return config.model_copy(update={"micro_batch_size": parts[-1]}) if parts else None


@torch.no_grad()
def _put_back(model: Any, start: Mapping[str, torch.Tensor]) -> None:
    for name, parameter in model.named_parameters():
        if name in start:
            parameter.copy_(start[name])
            parameter.grad = None


def _attempt(
    model: Any,
    run: Preparation,
    config: FinetuneConfig,
    run_dir: Path,
    loss_before: float | None,
    checkpoint: Path | None,
    display: Progress,
    interruption: Interruption,
    written: set[Path],
) -> tuple[int, tuple[str, ...]]:
    last = _rewind_metrics(run_dir, checkpoint)
    with _files.open_journal(run_dir / _runs.METRICS) as stream:
        if checkpoint is None and loss_before is not None:
            _files.append_line(stream, {"step": 0, "heldout_loss": loss_before})
        recorder = Recorder(
            stream,
            display,
            eval_steps=run.plan.eval_steps,
            tokens=last.get("tokens", 0),
            seconds=last.get("seconds", 0.0),
        )
        trainer = AlpacaTrainer(
            model,
            run.tokenizer,
            run.rows,
            run.heldout,
            config=config,
            plan=run.plan,
            run_dir=run_dir,
            run_id=ranks.from_leader(lambda: _runs.run_id_of(run_dir)),
            origins=run.origins,
            callbacks=[interruption, recorder],
        )
        recorder.tokens = trainer.real_tokens
        try:
            _require_space(run_dir, trainer)
            with interruption.armed():
                if is_due(run):
                    rehearse(trainer)
                trainer.run(checkpoint)
        finally:
            written.update(trainer.written)
            _take_off(trainer)
        if config.keep_best and interruption.received is None:
            if ranks.rank() == 0:
                trainer.load_best()
            ranks.take_from_leader(parameter for parameter in model.parameters() if parameter.requires_grad)
    display.finish()
    return int(trainer.state.global_step), trainer.fast_path.sentences


def _rewind_metrics(run_dir: Path, checkpoint: Path | None) -> Mapping[str, Any]:
    step = json.loads((checkpoint / STATE).read_text(encoding="utf-8"))["global_step"] if checkpoint else -1
    return _runs.rewind_metrics(run_dir, step)


def _require_space(run_dir: Path, trainer: AlpacaTrainer) -> None:
    missing = max(0, trainer.settings.save_limit + _SAVE_EXTRA - len(list_checkpoints(run_dir)))
    require_space(run_dir, trainer.checkpoint_bytes * missing)


def _take_off(trainer: AlpacaTrainer) -> None:
    """Take from the model what an attempt put on it; an error in training leaves NEFTune's noise there."""
    trainer.fast_path.undo()
    if noise := getattr(trainer, "neftune_hook_handle", None):
        noise.remove()


def free_memory() -> None:
    """Give back what nothing refers to any more."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
