"""Before anything is done: what would be refused later, and what would be done."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from alpaca_lora._paths import expanded
from alpaca_lora.adapters import find_adapter, read_sidecar
from alpaca_lora.config import Settings
from alpaca_lora.curation.pipeline import read_set
from alpaca_lora.errors import AlpacaLoraError, ConfigError
from alpaca_lora.evaluation.harness import check_tasks
from alpaca_lora.evaluation.sets import load_evaluation_set
from alpaca_lora.evaluation.subjects import is_adapter, look_for
from alpaca_lora.exports import FORMATS
from alpaca_lora.models import EMBEDDED, locate_base_model
from alpaca_lora.planning import plan
from alpaca_lora.planning.shapes import is_hub_id
from alpaca_lora.prompts import Prompter
from alpaca_lora.replication.outline import Recipe
from alpaca_lora.replication.sections import (
    CurateSection,
    EvaluateSection,
    ExportSection,
    FinetuneSection,
    GenerateSection,
)
from alpaca_lora.replication.stages import STAGES, Work, generation_teachers, judge_of, other_records
from alpaca_lora.reporting.wording import count, duration, public_name
from alpaca_lora.selfinstruct import load_seeds, prepare_generation
from alpaca_lora.selfinstruct.preparation import choose_profile, list_deviations
from alpaca_lora.teachers.selection import LOCAL_MODEL

__all__ = ["Outlook", "all_deviations", "check_ahead", "look_ahead"]

_CARD = "4090"
"""The card of which the time is told: the one that most hobbyists with 24 GB have."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a stage would do."""

    stage: str
    directory: str
    finished: bool
    said: tuple[str, ...]
    """What it does, what it may cost, and what cannot be told yet, one sentence each."""

    settings: Mapping[str, Any]
    """Those that the recipe gives, or its preset."""


def check_ahead(work: Work) -> None:
    """Refuse at once what a stage would refuse only when its turn comes, perhaps after days.

    Raises:
        AlpacaLoraError: the one thing that is wrong, or a ConfigError that names all.
    """
    errors: list[AlpacaLoraError] = []
    for stage in work.recipe.stages:
        if not STAGES[stage].finished(work):
            errors += _errors_of(stage, work)
    _refuse(errors)


def look_ahead(work: Work) -> tuple[Outlook, ...]:
    """Return what each stage would do; no model is fetched or asked, and what is wrong is said, not raised."""
    return tuple(
        Outlook(
            stage,
            work.directory(stage).name,
            STAGES[stage].finished(work),
            (*_SAID[stage](work), *(f"to be mended first: {error}" for error in _errors_of(stage, work, fetch=False))),
            _set_in(getattr(work.recipe, stage)),
        )
        for stage in work.recipe.stages
    )


def all_deviations(recipe: Recipe) -> tuple[str, ...]:
    """Return what is done otherwise than in the original, with what the generator does otherwise than Stanford's.

    Raises:
        AlpacaLoraError: the seed tasks or the words that ask for tasks cannot be read.
    """
    section = recipe.generate
    if section is None:
        return recipe.deviations
    config = section.config
    seeds = load_seeds(None if config.seeds is None else Path(config.seeds))
    chat = section.teacher == "openai" and not section.completion
    model = section.model or LOCAL_MODEL
    found = list_deviations(choose_profile(config), seeds, config, model=public_name(model), chat=chat)
    return (*recipe.deviations, *(f"generate: {text}" for text in found))


def _errors_of(stage: str, work: Work, *, fetch: bool = True) -> Iterator[AlpacaLoraError]:
    """Yield what a stage would refuse; without `fetch` what may look for a model on the Hub is not asked."""
    for check in _CHECKS[stage]:
        try:
            chosen = check if fetch else _without_models(check, getattr(work.recipe, stage))
            if chosen is not None:
                chosen(work)
        except AlpacaLoraError as error:
            yield error


def _without_models(check: Callable[[Work], None], section: Any) -> Callable[[Work], None] | None:
    """Return what of a check can be made although no model may be downloaded first; None where nothing can."""
    if check is _check_other and section.against is not None and is_adapter(expanded(section.against)):
        return _check_other_adapter
    models = _MODELS[check](section) if check in _MODELS else ()
    from_hub = any(is_hub_id(name) and not expanded(name).exists() for name in models if name)
    return None if check is _check_base or from_hub else check


def _refuse(errors: Sequence[AlpacaLoraError]) -> None:
    """Raise the one error as it is, several as one ConfigError that names all."""
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise ConfigError("\n".join(map(str, errors)))


def _check_generation(work: Work) -> None:
    section = cast("GenerateSection", work.recipe.generate)
    teacher, answers, judge = generation_teachers(section)
    prepare_generation(teacher, work.directory("generate"), config=section.config, answers=answers, judge=judge)


def _check_joined(work: Work) -> None:
    if work.recipe.data:
        other_records(work)


def _check_against(work: Work) -> None:
    errors: list[AlpacaLoraError] = []
    for name in cast("CurateSection", work.recipe.curate).against:
        try:
            read_set(name, work.recipe.curate_columns)
        except AlpacaLoraError as error:
            errors.append(error)
    _refuse(errors)


def _check_template(work: Work) -> None:
    Prompter(cast("FinetuneSection", work.recipe.finetune).template)


def _check_base(work: Work) -> None:
    locate_base_model(cast("FinetuneSection", work.recipe.finetune).base_model, unquantised=True)


def _check_set(work: Work) -> None:
    section = cast("EvaluateSection", work.recipe.evaluate)
    if section.data is not None:
        load_evaluation_set(section.data, section.column_map)


def _check_tasks(work: Work) -> None:
    section = cast("EvaluateSection", work.recipe.evaluate)
    if section.tasks:
        check_tasks(section.tasks)


def _check_judge(work: Work) -> None:
    judge_of(cast("EvaluateSection", work.recipe.evaluate))


def _check_other(work: Work) -> None:
    section = cast("EvaluateSection", work.recipe.evaluate)
    if section.against is not None:
        look_for(section.against)


def _check_other_adapter(work: Work) -> None:
    """Check of `_check_other` what needs no base model, which may have to be downloaded."""
    section = cast("EvaluateSection", work.recipe.evaluate)
    read_sidecar(find_adapter(str(section.against)))


def _check_tools(work: Work) -> None:
    for section in work.recipe.export:
        FORMATS[section.format].check_tools(section.dtype, section.llama_cpp)


_MODELS: dict[Callable[[Work], None], Callable[[Any], Sequence[str | None]]] = {
    _check_generation: lambda section: (
        (section.model, section.answers, section.judge) if section.teacher == "local" else ()
    ),
    _check_judge: lambda section: (section.judge_model,) if section.judge == "local" else (),
    _check_other: lambda section: (section.against,),
}
"""Which models of this machine a check looks at."""

_CHECKS: dict[str, Sequence[Callable[[Work], None]]] = {
    "generate": (_check_generation, _check_joined),
    "curate": (_check_against,),
    "finetune": (_check_template, _check_base),
    "evaluate": (_check_set, _check_tasks, _check_judge, _check_other),
    "export": (_check_tools,),
}


def _say_generation(work: Work) -> Iterator[str]:
    section = cast("GenerateSection", work.recipe.generate)
    asked = {"tasks": section.model or LOCAL_MODEL, "answers": section.answers, "judge": section.judge}
    roles = ", ".join(f"{role} by {public_name(model)}" for role, model in asked.items() if model)
    yield f"{count(section.num)} records, {roles}, profile {section.profile}"
    if section.teacher == "local":
        yield "costs nothing: a model of this machine"
    elif section.budget_usd is not None:
        yield f"costs at most {section.budget_usd:,.2f} US dollars"
    elif section.budget_tokens is not None:
        yield f"uses at most {count(section.budget_tokens)} tokens"
    if work.recipe.data:
        yield f"then the records of {public_name(work.recipe.data)} are put after them"


def _say_curation(work: Work) -> Iterator[str]:
    section = cast("CurateSection", work.recipe.curate)
    sets = list(section.against)
    if work.recipe.evaluate and work.recipe.evaluate.data:
        sets.append(work.recipe.evaluate.data)
    yield f"cleans {_shown(work, work.collected)}"
    yield f"drops what is like {', '.join(map(public_name, dict.fromkeys(sets)))}" if sets else "compares with no set"


def _say_finetuning(work: Work) -> Iterator[str]:
    section = cast("FinetuneSection", work.recipe.finetune)
    yield f"{public_name(section.base_model)} on {_shown(work, work.training_data)}"
    if section.base_model == EMBEDDED:
        yield "minutes on a CPU"
        return
    records: dict[str, Any] = (
        {"records": work.recipe.generate.num} if work.recipe.generate and not work.recipe.data else {}
    )
    try:
        made = plan(section.base_model, section.config, card=_CARD, **records)
    except AlpacaLoraError as error:
        yield f"memory and time are not told: {error}"
        return
    needed, whole = made.total_bytes / 2**30, made.memory_bytes / 2**30
    about = "" if made.seconds is None else f", about {duration(made.seconds)} by its data sheet"
    fits = "fits" if made.fits else "does not fit"
    yield f"{fits} a {_CARD}: {needed:.1f} of {whole:.1f} GiB{about}"


def _say_evaluation(work: Work) -> Iterator[str]:
    section = cast("EvaluateSection", work.recipe.evaluate)
    held = "what the run holds out of " if section.data is None else ""
    rows = f"at most {count(section.rows)} rows of " if section.rows else ""
    yield f"adapter and base on {rows}{held}{_shown(work, work.evaluation_data)}; rows trained on are left out"
    if section.judge is not None:
        yield f"judged by {section.judge_model or LOCAL_MODEL}"


def _say_exports(work: Work) -> Iterator[str]:
    for section in work.recipe.export:
        yield f"{section.format} in {section.dtype or 'its usual number format'}, compared with the adapter on its base"


_SAID = {
    "generate": _say_generation,
    "curate": _say_curation,
    "finetune": _say_finetuning,
    "evaluate": _say_evaluation,
    "export": _say_exports,
}


def _shown(work: Work, source: str | Path) -> str:
    """Return a source as a person calls it: within the directory by its path there."""
    path = Path(source)
    return path.relative_to(work.root).as_posix() if path.is_relative_to(work.root) else public_name(str(source))


def _set_in(given: Settings | tuple[ExportSection, ...]) -> dict[str, Any]:
    if isinstance(given, tuple):
        return {item.folder: item.model_dump(mode="json", exclude_unset=True) for item in given}
    return given.model_dump(mode="json", exclude_unset=True)
