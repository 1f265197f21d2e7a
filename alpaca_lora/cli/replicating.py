"""Replication from the command line: its flags, its plan and its last words."""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import tyro

from alpaca_lora.cli.conversation import text_flag
from alpaca_lora.config.spelling import dotted
from alpaca_lora.errors import ConfigError
from alpaca_lora.reporting.wording import duration, printable

if TYPE_CHECKING:
    from pathlib import Path

    from alpaca_lora.replication.recipe import ReplicationResult

__all__ = ["ReplicateOptions", "replicate_recipe"]

_RESUMABLE = 3


@dataclass(frozen=True, kw_only=True)
class ReplicateOptions:
    """The flags of `replicate`."""

    profile: Annotated[str | None, text_flag("NAME", "none")] = None
    """A recipe of the package: laptop, stanford-2023, alpaca-lora-2023, alpaca-qlora-24gb."""

    recipe: Annotated[str | None, text_flag("FILE", "none")] = None
    """A recipe of your own, in YAML: data, and the sections generate, curate, finetune, evaluate and export, each with
    the settings of that command, named as its flags but for thresholds, actions, method (near-duplicates), column_map
    (map) and preset (config); what is left out is not done. `profile: NAME` at its head starts from that profile."""

    output_dir: Annotated[str | None, text_flag("DIR", "runs/ and the name of the profile or recipe")] = None
    """Directory of the replication: new, empty, or that of the one to go on with."""

    dry_run: tyro.conf.FlagCreatePairsOff[bool] = False
    """Show what each stage would do, with which settings, and what differs from the original; do nothing."""

    quiet: tyro.conf.FlagCreatePairsOff[bool] = False
    """Show no progress and no summary, only the path of the report."""


def replicate_recipe(options: ReplicateOptions) -> int:
    """Carry out a recipe; return 0 when it is complete, 3 when the same command can go on.

    Raises:
        ConfigError: not one of --profile and --recipe.
    """
    from alpaca_lora.config.packaged import PROFILES

    if (options.profile is None) == (options.recipe is None):
        raise ConfigError(f"give one of --profile NAME and --recipe FILE; {PROFILES.choices()}")
    if options.profile is not None and options.profile not in PROFILES.names():
        raise ConfigError(PROFILES.unknown(options.profile))
    source, output_dir = _source(options)
    if options.dry_run:
        print("\n".join(map(printable, _render_plan(source, output_dir))))
        return 0

    from alpaca_lora.replication.recipe import replicate

    result = replicate(source, output_dir, progress=not options.quiet)
    for note in result.notes:
        print(f"note: {printable(note)}", file=sys.stderr)
    done = result.status == "completed"
    if options.quiet:
        print(result.report if done else result.output_dir)
    else:
        print("\n".join(map(printable, _render_result(result))))
    if not done:
        print(f"note: not complete ({result.status}); the same command goes on", file=sys.stderr)
    return 0 if done else _RESUMABLE


def _source(options: ReplicateOptions) -> tuple["str | Path", str]:
    """Return the recipe, a file always as a path, and where it is carried out."""
    from pathlib import Path

    if options.profile is not None:
        return options.profile, options.output_dir or f"runs/{options.profile}"
    path = Path(str(options.recipe))
    return path, options.output_dir or f"runs/{path.stem}"


def _render_plan(source: "str | Path", output_dir: str) -> Iterator[str]:
    from alpaca_lora._paths import expanded
    from alpaca_lora.replication.ahead import all_deviations, look_ahead
    from alpaca_lora.replication.reading import load_recipe
    from alpaca_lora.replication.stages import Work

    work = Work(load_recipe(source), expanded(output_dir).resolve())
    recipe = work.recipe
    outlooks = look_ahead(work)
    done = sum(outlook.finished for outlook in outlooks)
    yield f"{recipe.name}: {len(outlooks)} stages in {output_dir}, {done or 'none'} of them done"
    yield from (text for text in (recipe.description, recipe.source and f"source: {recipe.source}") if text)
    for outlook in outlooks:
        yield ""
        yield f"{outlook.directory}{' (done already)' if outlook.finished else ''}"
        yield from (f"  {line}" for text in outlook.said for line in text.splitlines())
        for name, value in dotted(outlook.settings):
            yield f"    {name} {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
    deviations = all_deviations(recipe)
    if deviations:
        yield ""
        yield f"{len(deviations)} deviations from the original:"
        yield from (f"- {text}" for text in deviations)


def _render_result(result: "ReplicationResult") -> Iterator[str]:
    spent = duration(sum(item.seconds for item in result.stages))
    yield f"{len(result.stages)} stages finished, {spent} of work ({result.status})"
    for item in result.stages:
        yield ""
        yield f"{item.directory.name} ({duration(item.seconds)})"
        width = max(map(len, item.facts))
        yield from (f"  {what:<{width}}  {value}" for what, value in item.facts.items())
    yield ""
    yield f"{len(result.deviations)} deviations from the original, which the report lists"
    if result.status == "completed":
        yield f"report    {result.report}"
        yield f"check it  alpaca-lora verify {result.output_dir}"
