"""The stages: each is one verb of this library in a directory of its own, with the output of the one before it.

A stage is resumed by its verb and finished when its own last file, the seal, is there; nothing here remembers anything.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, cast

from alpaca_lora import _files, _runs
from alpaca_lora._seals import SEAL, break_seal, seal
from alpaca_lora.curation import curate
from alpaca_lora.errors import RunError
from alpaca_lora.evaluation.recipe import evaluate
from alpaca_lora.exports import export
from alpaca_lora.models import LocalTeacher
from alpaca_lora.records import Record, load_records, read_dataset, save_records
from alpaca_lora.replication.outline import Recipe
from alpaca_lora.replication.sections import CurateSection, EvaluateSection, FinetuneSection, GenerateSection
from alpaca_lora.selfinstruct import generate_instructions
from alpaca_lora.teachers import Teacher
from alpaca_lora.teachers.selection import select_teachers
from alpaca_lora.training import finetune
from alpaca_lora.training.progress import Progress

__all__ = ["JOINED", "STAGES", "Stage", "Work", "generation_teachers", "judge_of", "other_records", "read_stored"]

JOINED = "joined.jsonl"
"""The generated records, and after them those of `data`; in the directory of `generate`, if there are both."""

_RECORDS, _CURATED, _ADAPTER, _PARITY = "records.jsonl", "curated.jsonl", "adapter", "parity.json"


@dataclass(frozen=True)
class Work:
    """A recipe, and the directory that it is carried out in."""

    recipe: Recipe
    root: Path
    progress: bool = False

    def directory(self, stage: str) -> Path:
        """Return the directory of a stage; its number is always the same, whatever is left out."""
        return self.root / f"{list(STAGES).index(stage) + 1}-{stage}"

    @property
    def collected(self) -> str | Path:
        """Return the records before any curation."""
        if self.recipe.generate is None:
            return str(self.recipe.data)
        return self.directory("generate") / (JOINED if self.recipe.data else _RECORDS)

    @property
    def training_data(self) -> str | Path:
        """Return the records that are trained on and held out from."""
        return self.directory("curate") / _CURATED if self.recipe.curate else self.collected

    @property
    def evaluation_data(self) -> str | Path:
        """Return the set to evaluate on; of the training data the verb itself takes what was held out."""
        named = self.recipe.evaluate and self.recipe.evaluate.data
        return named or self.training_data

    @property
    def exports(self) -> dict[Path, Any]:
        """Return the settings of each export by its directory."""
        return {self.directory("export") / section.folder: section for section in self.recipe.export}


class Stage(NamedTuple):
    """How a stage is done."""

    finished: Callable[[Work], bool]
    run: Callable[[Work], str]
    """Does what is left of it and returns `completed`, or what keeps it from that."""


def _generated(work: Work) -> bool:
    directory = work.directory("generate")
    done = read_stored(directory / "summary.json").get("status") == "completed" and (directory / SEAL).exists()
    return done and (not work.recipe.data or (directory / JOINED).exists())


def _generate(work: Work) -> str:
    section, directory = cast("GenerateSection", work.recipe.generate), work.directory("generate")
    teacher, answers, judge = generation_teachers(section)
    config = section.config
    result = generate_instructions(
        teacher, directory, config=config, answers=answers, judge=judge, progress=work.progress
    )
    if result.status == "completed" and work.recipe.data:
        others = other_records(work)
        break_seal(directory)
        save_records([*load_records(result.records), *others], directory / JOINED)
        seal(directory)
    return result.status


def other_records(work: Work) -> Sequence[Record]:
    """Return the records of `data`, which come after the generated ones.

    Raises:
        RecordError: they cannot be read.
    """
    reader = work.recipe.curate
    columns = reader.column_map if reader else {}
    return read_dataset(str(work.recipe.data), column_map=columns or None, allow_empty_output=True).records


def _curated(work: Work) -> bool:
    return (work.directory("curate") / "curation.json").exists()


def _curate(work: Work) -> str:
    section = cast("CurateSection", work.recipe.curate)
    named = work.recipe.evaluate.data if work.recipe.evaluate else None
    shown = ""

    def tell(stage: str, done: int, total: int) -> None:
        nonlocal shown
        if stage != shown:
            display.stage(stage)
            shown = stage
        display.advance(done, total)

    with Progress(enabled=work.progress) as display:
        curate(
            work.collected,
            work.directory("curate"),
            against=tuple(dict.fromkeys((*section.against, *([named] if named else [])))),
            settings=section.config,
            column_map=work.recipe.curate_columns or None,
            on_progress=tell,
        )
    return "completed"


def _finetuned(work: Work) -> bool:
    return all((work.directory("finetune") / name).exists() for name in (_runs.COMPLETE, SEAL))


def _finetune(work: Work) -> str:
    section = cast("FinetuneSection", work.recipe.finetune)
    result = finetune(
        section.base_model,
        work.training_data,
        work.directory("finetune"),
        config=section.config,
        progress=work.progress,
    )
    return result.status


def _evaluated(work: Work) -> bool:
    directory = work.directory("evaluate")
    found = read_stored(directory / "results.json")
    asked = work.recipe.evaluate is not None and work.recipe.evaluate.judge is not None
    return bool(found) and (directory / SEAL).exists() and (found.get("judge") is not None or not asked)


def _evaluate(work: Work) -> str:
    section = cast("EvaluateSection", work.recipe.evaluate)
    config = section.config
    if section.data is None:  # what the run held out has the columns of what it trained on
        columns = cast("FinetuneSection", work.recipe.finetune).column_map
        config = config.model_copy(update={"column_map": columns})
    evaluate(
        work.directory("finetune"),
        work.directory("evaluate"),
        data=work.evaluation_data,
        against=section.against,
        trained_on=work.training_data,  # the run names where it was, and the directory may have moved
        tasks=section.tasks,
        judge=judge_of(section),
        judge_config=section.judge_config if section.judge else None,
        config=config,
        progress=work.progress,
    )
    return "completed"


def _exported(work: Work) -> bool:
    return all((directory / _PARITY).exists() for directory in work.exports)


def _export(work: Work) -> str:
    adapter = work.directory("finetune") / _ADAPTER
    with Progress(enabled=work.progress) as display:
        if work.directory("export").is_dir():
            _files.sweep_staging(work.directory("export"))
        for directory, section in work.exports.items():
            if not (directory / _PARITY).exists():
                display.stage(f"making {directory.name}")
                settings = section.model_dump(exclude={"format"})
                export(section.format, adapter, directory, progress=display.stage, **settings)
    return "completed"


STAGES = {
    "generate": Stage(_generated, _generate),
    "curate": Stage(_curated, _curate),
    "finetune": Stage(_finetuned, _finetune),
    "evaluate": Stage(_evaluated, _evaluate),
    "export": Stage(_exported, _export),
}
"""In the order in which they run."""


def generation_teachers(section: GenerateSection) -> tuple[Teacher, Teacher | None, Teacher | None]:
    """Return who writes, answers and judges the tasks.

    Raises:
        AlpacaLoraError: one of them cannot be asked, as without its key.
    """
    return select_teachers(
        section, local=LocalTeacher, spell=lambda name: f"generate.{name}", connections=section.concurrency
    )


def judge_of(section: EvaluateSection) -> Teacher | None:
    """Return who judges the answers of the models; None if nobody is to.

    Raises:
        AlpacaLoraError: the judge cannot be asked, as without a key.
    """
    if section.judge is None:
        return None
    names = {"teacher": "judge", "model": "judge_model"}
    judge, _, _ = select_teachers(
        section.teacher,
        local=LocalTeacher,
        spell=lambda name: f"evaluate.{names.get(name, name)}",
        connections=section.concurrency,
    )
    return judge


def read_stored(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file; empty where there is none.

    Raises:
        RunError: it is damaged.
    """
    if not path.exists():
        return {}
    try:
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise RunError(f"{str(path)!r} is damaged ({error}): delete it, and the stage finishes anew") from error
    return document
