"""A recipe as it was read, and what its stages lack from each other."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from alpaca_lora.config import EvaluationConfig, JudgeConfig
from alpaca_lora.config.faults import Place
from alpaca_lora.replication.sections import (
    SECTIONS,
    CurateSection,
    EvaluateSection,
    ExportSection,
    FinetuneSection,
    GenerateSection,
)

__all__ = ["Recipe", "disagreements", "each"]

_PACKAGED = "alpaca-mini"
"""The one dataset that holds out records itself, so that it may be trained on and evaluated on."""

_UNWRITTEN = {"resume", "proxy"}
"""Settings of single commands that no recipe may hold."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Every stage of a replication with its settings; one that is left out is None, or empty for exports."""

    name: str
    description: str = ""
    source: str = ""
    """Where the numbers come from."""

    deviations: tuple[str, ...] = ()
    """What is done otherwise there, one sentence each."""

    data: str | None = None
    """Records that it starts from; after those that it generates, if it does."""

    generate: GenerateSection | None = None
    curate: CurateSection | None = None
    finetune: FinetuneSection | None = None
    evaluate: EvaluateSection | None = None
    export: tuple[ExportSection, ...] = ()

    @property
    def stages(self) -> tuple[str, ...]:
        """Return the names of the stages that there are, in order."""
        return tuple(name for name in SECTIONS if getattr(self, name) not in (None, ()))

    @property
    def curate_columns(self) -> dict[str, str]:
        """Return the column map that `curate` reads with; what was generated has the usual columns."""
        return self.curate.column_map if self.curate and self.generate is None else {}

    def to_json(self) -> dict[str, Any]:
        """Return every setting, those that were left open too; it is a recipe itself."""
        return self._dumped(lambda section: set())

    def contract(self) -> dict[str, Any]:
        """Return what decides the result: settings that only say how far or how fast may change between sessions."""
        return self._dumped(lambda section: set(section.free))

    def _dumped(self, without: Callable[[Any], set[str]]) -> dict[str, Any]:
        head = {name: getattr(self, name) for name in ("name", "description", "source", "data")}
        stages: dict[str, Any] = {}
        for name in self.stages:
            given = getattr(self, name)
            parts = [item.model_dump(mode="json", exclude=without(item) | _UNWRITTEN) for item in each(given)]
            stages[name] = parts if name == "export" else parts[0]
        return {name: value for name, value in head.items() if value} | {"deviations": list(self.deviations)} | stages


def each(given: Any) -> tuple[Any, ...]:
    """Return what may be one or several as several."""
    return tuple(given) if isinstance(given, list | tuple) else () if given is None else (given,)


def disagreements(recipe: Recipe, named: Iterable[str]) -> Iterator[tuple[Place, str]]:
    """Yield each thing that stages lack from each other, with the setting that it is about.

    Args:
        recipe: the stages that could be read.
        named: everything that was written; a stage that was refused for itself counts as one that is there.
    """
    written = set(named)
    there = {name for name in SECTIONS if name in written}
    if not there:
        yield (), f"a recipe needs at least one stage; stages: {', '.join(SECTIONS)}"
    if there & {"curate", "finetune"} and not written & {"generate", "data"}:
        yield (), "there are no records to start from: add a section 'generate', or name a file or dataset with 'data'"
    if there and there <= {"generate"} and recipe.data:
        yield ("data",), "data has no use: there is neither 'curate' nor 'finetune'; leave it out"
    for name in sorted(there & {"evaluate", "export"}):
        if "finetune" not in there:
            yield (name,), f"{name!r} needs an adapter: add a section 'finetune'"
    yield from _about_columns(recipe, there)
    if recipe.evaluate:
        yield from _about_evaluation(recipe, recipe.evaluate)
    folders = [section.folder for section in recipe.export]
    for number, folder in enumerate(folders):
        if folder in folders[:number]:
            yield ("export", str(number)), f"export: {folder!r} is asked for twice; keep one"


def _about_columns(recipe: Recipe, there: set[str]) -> Iterator[tuple[Place, str]]:
    """Yield maps of columns that an earlier stage has read already."""
    if recipe.curate and recipe.curate.column_map and not recipe.data:
        yield ("curate", "column_map"), "curate.column_map is for 'data', and there is none: leave it out"
    if recipe.finetune and recipe.finetune.column_map and there & {"generate", "curate"}:
        where = "write it into 'curate'" if recipe.data and "curate" in there else "leave it out"
        yield ("finetune", "column_map"), f"finetune.column_map: an earlier stage reads the columns; {where}"


def _about_evaluation(recipe: Recipe, section: EvaluateSection) -> Iterator[tuple[Place, str]]:
    if recipe.finetune and section.data is None and recipe.finetune.validation_size == 0:
        held = "finetune.validation_size 0 holds out no records"
        yield ("evaluate",), f"evaluate.data names no set, and {held}: name one, or hold some out"
    if section.data is not None and section.data == recipe.data != _PACKAGED:
        yield ("evaluate", "data"), "evaluate.data is what is trained on: leave it out to take what is held out of it"
    if section.column_map and section.data is None:
        yield ("evaluate", "column_map"), "evaluate.column_map is for evaluate.data, and there is none: leave it out"
    elif section.column_map and recipe.curate and section.column_map != recipe.curate_columns:
        where = "rename the columns" if recipe.generate else "give curate.column_map the same, or rename the columns"
        said = f"evaluate.column_map: 'curate' reads evaluate.data too, and not by this map: {where}"
        yield ("evaluate", "column_map"), said
    judging = {*JudgeConfig.model_fields, "judge_model", "base_url", "api_key_env"} - set(EvaluationConfig.model_fields)
    for name in sorted(judging) if section.judge is None else ():
        if getattr(section, name) != type(section).model_fields[name].default:
            yield (
                ("evaluate", name),
                f"evaluate.{name} is for a judge, and none is named: name one, or leave it out",
            )
