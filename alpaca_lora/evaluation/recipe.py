"""The whole of evaluation, as a story: keep training rows out, ask, measure, judge, report."""

import contextlib
import functools
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from alpaca_lora import _files, _runs
from alpaca_lora._paths import check_paths, expanded
from alpaca_lora._seals import seal
from alpaca_lora.config import EvaluationConfig, JudgeConfig
from alpaca_lora.config.spelling import as_flags
from alpaca_lora.errors import ConfigError, CoverageError
from alpaca_lora.evaluation import JudgeResult, judge_outputs
from alpaca_lora.evaluation.annotations import load_annotations, save_model_outputs
from alpaca_lora.evaluation.answering import Answered, Journal, ask, stored_answers
from alpaca_lora.evaluation.examples import compare_lengths, pick_examples
from alpaca_lora.evaluation.harness import measure_tasks, run_task, title_of
from alpaca_lora.evaluation.judge import check_judge
from alpaca_lora.evaluation.measures import measure_models
from alpaca_lora.evaluation.outcome import EvaluationResult
from alpaca_lora.evaluation.page import render_evaluation
from alpaca_lora.evaluation.preparation import Plan, prepare_evaluation
from alpaca_lora.evaluation.rows import ROWS, outputs_of, save_rows
from alpaca_lora.evaluation.subjects import StoredAnswers, Subject
from alpaca_lora.teachers import OpenAITeacher, Teacher
from alpaca_lora.training.progress import Progress

__all__ = ["evaluate"]

_TaskRows = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""What `run_task` found, by task and model."""


def evaluate(
    adapter: str | Path,
    output_dir: str | Path,
    *,
    data: str | Path = "alpaca-mini",
    against: str | Path | None = None,
    trained_on: str | Path | None = None,
    against_trained_on: str | Path | None = None,
    base_model: str | None = None,
    template: str | None = None,
    tasks: Sequence[str] = (),
    judge: Teacher | None = None,
    judge_config: JudgeConfig | None = None,
    config: EvaluationConfig | None = None,
    progress: bool = True,
) -> EvaluationResult:
    """Compare an adapter with its base, and with another model, on rows that neither adapter was trained on.

    Args:
        adapter: adapter directory, or run directory with one.
        output_dir: new, empty, or that of this very evaluation, which goes on to the same bytes in results.json.
        data: the set, see `load_evaluation_set`; rows that are in the training data, or nearly, are left out.
        against: a third model: another adapter or run, a base model, or stored answers; the judge compares with it.
        trained_on: the training data where the adapter's run does not tell; `unknown` goes on without.
        against_trained_on: the same of an adapter in `against`; `unknown` keeps rows that it was trained on.
        base_model: name of the base; None takes that of the adapter's sidecar.
        template: prompt template; None takes that of the sidecar.
        tasks: tasks of lm-evaluation-harness, or YAML files of your own.
        judge: who compares the answers; None asks nobody.
        judge_config: budget and speed of the judge; None takes the defaults, with the seed of `config`.
        config: what decides the numbers; None takes the defaults.
        progress: show a live display on stderr.

    Raises:
        AlpacaLoraError: bad input, before anything is asked; or a directory that holds something else.
        CoverageError: the judge gave too few verdicts: the report has no win rate, and the same call goes on.
    """
    config, run_dir = _checked(config, judge, judge_config), _checked_directory(adapter, output_dir, data)
    named = {"data": data, "against": against, "trained_on": trained_on, "tasks": tasks}
    named |= {"against_trained_on": against_trained_on, "base_model": base_model, "template": template}
    with Progress(enabled=progress) as display:
        plan = prepare_evaluation(adapter, **named, config=config, display=display)  # type: ignore[arg-type]
    with _files.lock(run_dir):
        answered, found = _ask_all(plan, run_dir, progress)
        judged, missing = _compare(plan, answered, judge, run_dir / "judge", judge_config, progress)
        result = _gather(plan, run_dir, answered, found, judged)
        _write(plan, answered, result, _command(adapter, output_dir, named, config, judge, judge_config))
    if missing is not None:
        raise missing
    return result


def _checked(
    config: EvaluationConfig | None, judge: Teacher | None, judge_config: JudgeConfig | None
) -> EvaluationConfig:
    """Return the settings; refuse a judge that cannot be asked before any model has answered."""
    config = config or EvaluationConfig()
    if not isinstance(config, EvaluationConfig):
        raise ConfigError(f"config must be an EvaluationConfig, got {config!r}")
    if judge is not None:
        check_judge(judge, judge_config or JudgeConfig())
    return config


def _checked_directory(adapter: str | Path, output_dir: str | Path, data: str | Path) -> Path:
    """Return the directory of the evaluation; refuse one that holds something else."""
    check_paths(adapter=adapter, output_dir=output_dir, data=data)
    directory = expanded(output_dir).resolve()
    _runs.check_output_dir(Path(output_dir), base_dir=None, data=Path(data) if Path(data).is_file() else None)
    return directory


def _ask_all(plan: Plan, run_dir: Path, show: bool) -> tuple[dict[str, Answered], _TaskRows]:
    """Let everybody answer, as far as the journal of the directory, whose lock is held, does not know it."""
    answered: dict[str, Answered] = {}
    found: dict[str, dict[str, Any]] = {task: {} for task in plan.tasks}
    _files.sweep_staging(run_dir)
    _runs.enter_run(run_dir, plan.contract(), resume="auto")
    with Progress(enabled=show) as display, Journal.open(run_dir / _runs.JOURNAL) as journal:
        for item in plan.asked:
            answered[item.name], said = _ask_one(plan, item, journal, display)
            for task, value in said.items():
                found[task][item.name] = value
    return answered, found


def _ask_one(
    plan: Plan, item: Subject | StoredAnswers, journal: Journal, display: Progress
) -> tuple[Answered, dict[str, Any]]:
    """Let one model answer and do the tasks of the harness; it is loaded once, and only if something is left to do."""
    if isinstance(item, StoredAnswers):
        return stored_answers(item, plan.kept), {}
    with contextlib.ExitStack() as stack:
        opened = functools.cache(lambda: stack.enter_context(item.open()))
        answered = ask(item, plan.kept, journal, plan.config, display, opened)
        said = {}
        for task in plan.tasks:
            piece = f"{item.name}/task/{task}"
            if piece not in journal.pieces:
                display.stage(f"{item.name}: {task}")
                journal.add(piece, run_task(task, item, opened(), plan.config))
            said[task] = journal.pieces[piece]
        return answered, said


def _compare(
    plan: Plan,
    answered: Mapping[str, Answered],
    judge: Teacher | None,
    directory: Path,
    config: JudgeConfig | None,
    show: bool,
) -> tuple[JudgeResult | None, CoverageError | None]:
    """Let a judge compare the adapter with the last model; return the error instead where too few verdicts came."""
    if judge is None:
        return None, None
    config = config or JudgeConfig(seed=plan.config.seed)
    names = (plan.asked[place].name for place in (0, -1))
    outputs, baseline = (outputs_of(plan.kept, name, answered[name]) for name in names)
    try:
        return judge_outputs(outputs, baseline, teacher=judge, directory=directory, config=config, progress=show), None
    except CoverageError as error:
        return None, error


def _gather(
    plan: Plan, run_dir: Path, answered: Mapping[str, Answered], found: _TaskRows, judged: JudgeResult | None
) -> EvaluationResult:
    compared = compare_lengths(plan.kept, load_annotations(judged.annotations)) if judged else ()
    measures = measure_models(plan.kept, answered, plan.config)
    return EvaluationResult(
        output_dir=run_dir,
        evaluated=plan.evaluated,
        rows=len(plan.kept),
        dropped=plan.dropped,
        trained_on=plan.trained_on,
        other_trained_on=plan.other_trained_on,
        models=plan.models,
        measures=(*measures, *measure_tasks(found, plan.config)),
        tasks={
            title_of(task): {name: said["figures"] for name, said in models.items()} for task, models in found.items()
        },
        versions=plan.versions,
        judged=judged,
        compared=compared,
        examples=pick_examples(plan.kept, answered, compared),
        config=plan.config,
    )


def _write(plan: Plan, answered: Mapping[str, Answered], result: EvaluationResult, command: str) -> None:
    names = [item.name for item in plan.asked]
    for name, file in zip(names, _file_names(names), strict=True):
        save_model_outputs(outputs_of(plan.kept, name, answered[name]), result.output_dir / "outputs" / file)
    save_rows(result.output_dir / ROWS, plan.kept, answered)
    _files.write_json(result.results, result.to_json())
    _files.write_text(result.report, render_evaluation(result, command))
    seal(result.output_dir)


def _file_names(models: Sequence[str]) -> list[str]:
    """Return a file for each model; of two that would have the same, the later one is numbered."""
    files: dict[str, str] = {}
    for name in models:
        slug = "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in name).strip(".") or "model"
        file = next(
            file
            for number in itertools.count(1)
            if (file := f"{slug}{f'-{number}' * (number > 1)}.json").casefold() not in files
        )
        files[file.casefold()] = file
    return list(files.values())


def _command(
    adapter: str | Path,
    output_dir: str | Path,
    named: Mapping[str, Any],
    config: EvaluationConfig,
    judge: Teacher | None,
    judge_config: JudgeConfig | None,
) -> str:
    """Return the command line that finds the same again."""
    given = {**named, "tasks": ",".join(named["tasks"]), **config.model_dump(exclude_defaults=True)}
    if judge is not None:
        asked = judge.describe()
        local = asked.get("kind") == "local"
        given |= {
            "judge": "local" if local else "openai",
            "judge_model": judge.model,
            "base_url": asked.get("base_url"),
            "api_key_env": judge.api_key_env if isinstance(judge, OpenAITeacher) else None,
        }
        given |= judge_config.model_dump(exclude_defaults=True, exclude={"seed"}) if judge_config else {}
    settings = {name: value for name, value in given.items() if value not in (None, "")}
    return f"alpaca-lora evaluate {as_flags({'adapter': adapter, **settings, 'output_dir': output_dir})}"
