"""Curation from the command line: the flags of `curate`, its progress and its last words."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import tyro

from alpaca_lora.curation import RULES, CurationResult, CurationSettings, curate
from alpaca_lora.errors import ConfigError
from alpaca_lora.reporting.wording import count, percent, printable

__all__ = ["CurateOptions", "curate_file", "read_pairs", "read_settings"]


@dataclass(frozen=True, kw_only=True)
class CurateOptions:
    """The flags of `curate`."""

    file: Annotated[
        tyro.conf.Positional[str | None], tyro.conf.arg(metavar="FILE|NAME|HUB_ID", help_behavior_hint="")
    ] = None
    """Records: a JSON, JSONL, CSV or Parquet file, the packaged ones, or a Hub dataset; empty outputs are read too."""

    output_dir: Annotated[str, tyro.conf.arg(metavar="DIR")] = "runs/curated"
    """Directory to write: new, empty, or that of an earlier curation, which is replaced."""

    against: Annotated[tuple[str, ...], tyro.conf.arg(metavar="FILE ...", help_behavior_hint="(default: none)")] = ()
    """Sets that a model will be evaluated on; records that are like theirs are dropped."""

    threshold: Annotated[
        tyro.conf.UseAppendAction[tuple[str, ...]],
        tyro.conf.arg(metavar="RULE=NUMBER", help_behavior_hint="(repeatable)"),
    ] = ()
    """Score above which a rule's findings count."""

    action: Annotated[
        tyro.conf.UseAppendAction[tuple[str, ...]],
        tyro.conf.arg(metavar="RULE=drop|fix|flag|off", help_behavior_hint="(repeatable)"),
    ] = ()
    """What is done about a rule's findings."""

    compare: Literal["task", "instruction"] = "task"
    """What makes records alike: instruction and input, or the instruction alone, as Stanford did."""

    near_duplicates: Literal["exact", "minhash"] = "exact"
    """How they are found: every pair by ROUGE-L, or for millions of records by MinHash, an estimate."""

    map: Annotated[
        tyro.conf.UseAppendAction[tuple[str, ...]],
        tyro.conf.arg(metavar="FIELD=COLUMN", help_behavior_hint="(repeatable)"),
    ] = ()
    """Column that holds instruction, input or output, as --map instruction=question --map output=answer;
    also in sets of --against that lack the usual columns."""

    replay: Annotated[str | None, tyro.conf.arg(metavar="DIR", help_behavior_hint="(default: none)")] = None
    """Directory of an earlier curation of the same data: decide on its findings anew, without measuring again."""

    rules: Annotated[bool, tyro.conf.FlagCreatePairsOff, tyro.conf.arg(help_behavior_hint="")] = False
    """List the rules with what each one does by default, and curate nothing."""

    quiet: Annotated[bool, tyro.conf.FlagCreatePairsOff, tyro.conf.arg(help_behavior_hint="")] = False
    """Show no progress and no summary, only the file of curated records when it is done."""


def curate_file(options: CurateOptions) -> int:
    """Curate a file and say what came of it.

    Returns:
        The exit code.

    Raises:
        ConfigError: flags that cannot be, or no file.
    """
    if options.rules:
        print("\n".join(_list_rules()))
        return 0
    if options.file is None:
        raise ConfigError("there is no FILE to curate; name one, or list the rules with --rules")
    settings = read_settings(options)
    with _progress(shown=not options.quiet) as on_progress:
        result = curate(
            options.file,
            options.output_dir,
            against=options.against,
            settings=settings,
            column_map=read_pairs("map", options.map) or None,
            replay=options.replay,
            on_progress=on_progress,
        )
    print(result.data if options.quiet else "\n".join(_summary(result)))
    return 0


def read_settings(options: CurateOptions) -> CurationSettings:
    """Return the settings that flags describe.

    Raises:
        ConfigError: a rule, a number or an action that does not exist.
    """
    thresholds: dict[str, Any] = {}
    for name, text in read_pairs("threshold", options.threshold).items():
        try:
            thresholds[name] = float(text)
        except ValueError:
            thresholds[name] = text  # for the settings to refuse, with everything else
    actions: dict[str, Any] = read_pairs("action", options.action)
    return CurationSettings(
        thresholds=thresholds, actions=actions, compare=options.compare, method=options.near_duplicates
    )


def read_pairs(flag: str, given: Sequence[str]) -> dict[str, str]:
    """Return what a flag that is repeated as NAME=VALUE was given.

    Raises:
        ConfigError: one is no such pair.
    """
    split = [text.partition("=") for text in given]
    if odd := [text for text, (name, equals, _) in zip(given, split, strict=True) if not (name and equals)]:
        raise ConfigError(f"--{flag} must be NAME=VALUE, got {', '.join(map(repr, odd))}")
    return {name: value for name, _, value in split}


@contextmanager
def _progress(*, shown: bool) -> Iterator[Callable[[str, int, int], None]]:
    """Show one bar for each stage, on standard error."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    from alpaca_lora._console import Console

    tasks: dict[str, TaskID] = {}
    columns = (TextColumn("{task.description:<10}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(file=sys.stderr), disable=not shown, transient=True) as bars:

        def on_progress(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total)
            bars.update(tasks[stage], completed=done)

        yield on_progress


def _list_rules() -> Iterator[str]:
    width = max(map(len, RULES))
    for rule in RULES.values():
        threshold = f" Threshold {rule.threshold:g}, from {rule.floor:g} on." if rule.threshold is not None else ""
        yield f"{rule.name:<{width}}  {rule.severity:<7}  {rule.action:<4}  The record {rule.about}.{threshold}"
        yield f"{'':<{width}}  {'':<7}  {'':<4}  {rule.fix}"


def _summary(result: CurationResult) -> Iterator[str]:
    yield from (printable(f"note: {note}") for note in result.notes)
    share = percent(result.kept / result.read)
    kept = f"{count(result.kept)} kept ({share}, {count(result.repaired)} repaired)"
    yield f"{count(result.read)} read = {kept} + {count(result.dropped)} dropped"
    width = max((len(item.rule) for item in result.rules), default=0)
    for item in result.rules:
        parts = {
            "dropped": item.dropped,
            "repaired": item.repaired,
            "flagged": item.flagged,
            "right": item.verified,
        }
        said = ", ".join(f"{count(number)} {what}" for what, number in parts.items() if number)
        yield f"  {item.rule:<{width}}  {said or 'found in dropped rows only'}"
    yield ""
    yield f"curated   {result.data}"
    yield f"report    {result.output_dir / 'report.html'}"
    yield f"train     alpaca-lora finetune --data {result.data}"
