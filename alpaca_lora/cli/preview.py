"""What a run would do, and what it would learn from, before it does."""

import sys
from collections.abc import Iterator
from pathlib import Path

from alpaca_lora._console import Console
from alpaca_lora._runs import enter_run
from alpaca_lora.cli.tokens import describe, render_colored, render_plain
from alpaca_lora.config import FinetuneConfig
from alpaca_lora.config.spelling import as_typed, dotted
from alpaca_lora.errors import ConfigError
from alpaca_lora.models import load_tokenizer, locate_base_model
from alpaca_lora.prompts import Prompter
from alpaca_lora.records import read_dataset
from alpaca_lora.reporting.wording import printable, public_name
from alpaca_lora.training import Preparation
from alpaca_lora.training.checkpoints import choose_checkpoint, list_checkpoints
from alpaca_lora.training.encoding import EncodedRow, encode_records

__all__ = ["render_plan", "show_records"]

_SHOWN_REJECTIONS = 10


def render_plan(run: Preparation, output_dir: str) -> str:
    """Return what a prepared run would do and why, as lines for a person.

    Raises:
        RunError: the directory holds another run, or not the checkpoint that was named.
    """
    state, notes = _state_of(run, Path(output_dir).expanduser().resolve())
    report, plan = run.report, run.plan
    longest = max(report.quantiles.values(), default=0)
    lines = [
        f"{public_name(run.base_model)} on {public_name(run.data.name)}: {plan.total_steps} steps, {state}",
        "",
        f"records   {report.read} read, {report.trained} to train on, {report.heldout} held out, "
        f"{len(report.rejected)} left out, {len(report.shortened)} shortened",
        f"rows      {report.rows} an epoch{' (packed)' if run.config.packing else ''} of {report.tokens} tokens, "
        f"{report.supervised_tokens} of them learned; the longest record has {longest}",
        f"device    {run.hardware.device}: {run.hardware.name}",
        "",
        *_listed("left out", [f"{row.origin}: {row.reason}" for row in report.rejected]),
        *_listed("notes on the data", run.data.notes),
        *_listed("notes", (*run.notes, *notes)),
        *_listed("decided", run.reasons, shown=len(run.reasons)),
        "settings:",
        *(f"  {name} {as_typed(value)}" for name, value in dotted(run.config.model_dump(mode="json"))),
    ]
    return printable("\n".join(lines))


def show_records(data: str, count: int, *, base_model: str, config: FinetuneConfig) -> None:
    """Show the first records of a dataset as the trainer gets them.

    Args:
        data: anything that `read_dataset` takes by name.
        count: how many.
        base_model: whose tokenizer is used.
        config: template, column map, length and what happens beyond it.

    Raises:
        ConfigError: count is below 1.
    """
    if count < 1:
        raise ConfigError(f"--records must be at least 1, got {count}")
    loaded = read_dataset(data, column_map=config.column_map or None, allow_empty_output=config.allow_empty_output)
    prompter = Prompter(config.template)
    tokenizer = load_tokenizer(locate_base_model(base_model))
    outcomes = encode_records(
        loaded.records[:count],
        prompter,
        tokenizer,
        max_length=config.max_length,
        overlong=config.overlong,
        train_on_prompt=config.train_on_prompt,
    )
    console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
    colored = console.is_terminal and console.color_system is not None and not console.no_color
    legend = "dim: masked, green: learned, every other token underlined" if colored else "⟨masked⟩ ⟦learned⟧"
    console.print(f"{legend}; template {prompter.template.name!r}, end of text {tokenizer.eos_token!r}")
    for outcome in outcomes:
        console.print(f"\n{printable(describe(outcome))}", style="bold" if colored else None)
        if isinstance(outcome, EncodedRow):
            console.print(render_colored(outcome, tokenizer) if colored else render_plain(outcome, tokenizer))
    for note in loaded.notes:
        print(f"note: {printable(note)}", file=sys.stderr)


def _state_of(run: Preparation, run_dir: Path) -> tuple[str, tuple[str, ...]]:
    """Return how far the directory has this run already, and what there is to say about it."""
    entry = enter_run(run_dir, run.contract(), resume=run.config.resume, write=False)
    if run.config.resume not in ("auto", "never"):
        choose_checkpoint(run_dir, run.config.resume)  # it is named, so nothing is moved
    if entry.complete:
        return "complete already", entry.notes
    if not entry.begun:
        return "nothing trained yet", entry.notes
    saved = [path.name for path in list_checkpoints(run_dir)]
    return f"begun already, saved: {', '.join(saved) or 'no checkpoint'}", entry.notes


def _listed(title: str, items: list[str] | tuple[str, ...], shown: int = _SHOWN_REJECTIONS) -> Iterator[str]:
    if items:
        yield f"{title}:"
        yield from (f"  {item}" for item in items[:shown])
        if len(items) > shown:
            yield f"  … and {len(items) - shown} more"
        yield ""
