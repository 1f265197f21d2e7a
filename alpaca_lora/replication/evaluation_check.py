"""Whether the figures of an evaluation follow from the stored answers and verdicts."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from alpaca_lora._runs import CONTRACT, JOURNAL
from alpaca_lora.config import EvaluationConfig, JudgeConfig
from alpaca_lora.errors import AlpacaLoraError, RunError
from alpaca_lora.evaluation import (
    Annotation,
    JudgeResult,
    ModelOutput,
    judge_outputs,
    load_annotations,
    load_model_outputs,
)
from alpaca_lora.evaluation.answering import Answered
from alpaca_lora.evaluation.harness import measure_tasks
from alpaca_lora.evaluation.judge import SUMMARY
from alpaca_lora.evaluation.measures import measure_models
from alpaca_lora.evaluation.rows import ROWS, load_rows, outputs_of
from alpaca_lora.evaluation.sets import Task
from alpaca_lora.replication.findings import Sheet, Unchecked, alike, differing, read_object
from alpaca_lora.replication.generation_check import made_elsewhere, restage
from alpaca_lora.teachers import StoredTeacher

__all__ = ["check_evaluation", "check_judging"]

RESULTS = "results.json"
_ANNOTATIONS = "annotations.json"
_OF_THE_SESSION = ("usd", "notes")
_CHECKS = ("answers", "figures")

_Rows = tuple[list[Task], dict[str, Answered]]


def check_evaluation(directory: Path, sheet: Sheet, scratch: Path) -> None:
    """Compute every figure again from what is stored.

    Args:
        directory: of the evaluation.
        sheet: takes what is found.
        scratch: an empty directory.
    """
    results = sheet.read("contract", lambda: _read_results(directory), _describe)
    if results is None:
        sheet.skip((*_CHECKS, "judge"), f"{RESULTS} cannot be read")
        return
    rows = sheet.read("answers", lambda: _read_rows(directory, results), lambda rows: _compare_answers(directory, rows))
    if rows is None:
        sheet.skip(("figures",), "the stored answers cannot be used")
    else:
        sheet.check("figures", lambda: _compute_again(directory, results, rows))
    if results["judge"] is not None:
        check_judging(directory / "judge", sheet, scratch, results["judge"])


def _read_results(directory: Path) -> dict[str, Any]:
    results, contract = read_object(directory / RESULTS), read_object(directory / CONTRACT)
    found = {"models": {str(model["name"]): model for model in results["models"]}, "config": results["config"]}
    found |= {"rows": results["set"]["rows"], "set_sha256": results["set"]["sha256"]}
    trained = results["trained_on"]
    found |= {"trained_on_sha256": trained and trained["sha256"]}
    if difference := differing(found, {name: contract[name] for name in found}):
        raise RunError(f"{RESULTS} does not agree with {CONTRACT}: {difference}; evaluate into a new directory")
    return results


def _describe(results: Mapping[str, Any]) -> str:
    names = ", ".join(str(model["name"]) for model in results["models"])
    return f"{names} on {results['set']['rows']} rows of {results['set']['name']}"


def _read_rows(directory: Path, results: Mapping[str, Any]) -> _Rows:
    if not (directory / ROWS).is_file():
        raise Unchecked(f"there is no {ROWS}: evaluated by an earlier version")
    tasks, answered = load_rows(directory / ROWS)
    if len(tasks) != results["set"]["rows"] or list(answered) != [model["name"] for model in results["models"]]:
        raise RunError(f"{ROWS} does not hold the rows and models of {RESULTS}: evaluate into a new directory")
    return tasks, answered


def _compare_answers(directory: Path, rows: _Rows) -> str:
    """Compare the rows with the journal, written batch by batch, and with the answers in AlpacaEval's format."""
    tasks, answered = rows
    said = _by_model(directory, list(answered))
    for name, own in answered.items():
        journal = said[name]
        losses = [[loss.nll, loss.tokens, loss.greedy] for loss in own.losses if loss is not None]
        answers = Counter(zip(own.texts, own.stopped, strict=True))
        stored = all(stopped is None for stopped in own.stopped)
        if not stored and (losses != journal["loss"] or answers != Counter(journal["answers"])):
            raise RunError(f"{ROWS} is not what {JOURNAL} has of {name}: evaluate into a new directory")
    outputs = {
        item.generator: path
        for path in sorted((directory / "outputs").glob("*.json"))
        for item in load_model_outputs(path)[:1]
    }
    for name in answered:
        if name not in outputs or load_model_outputs(outputs[name]) != outputs_of(tasks, name, answered[name]):
            raise RunError(f"outputs/ has not the answers of {name} that {ROWS} has: evaluate into a new directory")
    return f"{len(tasks)} answers of each of {len(answered)} models are those of the journal"


def _by_model(directory: Path, names: Sequence[str]) -> dict[str, dict[str, list[Any]]]:
    found: dict[str, dict[str, list[Any]]] = {name: {"loss": [], "answers": []} for name in names}
    for piece, value in _pieces(directory).items():
        name = max((own for own in names if piece.startswith(f"{own}/")), key=len, default=None)
        if name is None:
            raise RunError(f"{JOURNAL} has {piece!r}, a piece of no model of {RESULTS}: evaluate into a new directory")
        kind = piece.removeprefix(f"{name}/").partition("/")[0]
        if kind == "loss":
            found[name]["loss"] += value
        elif kind == "answers":
            found[name]["answers"] += [(text.strip(), stopped) for text, _, stopped in value]
    return found


def _pieces(directory: Path) -> dict[str, Any]:
    lines = (directory / JOURNAL).read_text(encoding="utf-8").split("\n")[:-1]
    return {piece["piece"]: piece["value"] for piece in map(json.loads, lines)}


def _compute_again(directory: Path, results: Mapping[str, Any], rows: _Rows) -> str:
    tasks, answered = rows
    config = EvaluationConfig(**results["config"])
    pieces = _pieces(directory)
    found: dict[str, dict[str, Any]] = {}
    for task in read_object(directory / CONTRACT)["tasks"]:
        found[task] = {name: pieces[f"{name}/task/{task}"] for name in answered if f"{name}/task/{task}" in pieces}
    measures = (*measure_models(tasks, answered, config), *measure_tasks(found, config))
    again = {measure.quantity.key: json.loads(json.dumps(measure.to_json())) for measure in measures}
    stored = {measure["key"]: measure for measure in results["measures"]}
    if names := [name for name in {**stored, **again} if not alike(stored.get(name), again.get(name))]:
        raise RunError(
            f"{RESULTS}: {', '.join(names)} is not what the answers in {ROWS} give: evaluate into a new directory"
        )
    return f"{len(again)} measures with their intervals computed again from the answers"


def check_judging(directory: Path, sheet: Sheet, scratch: Path, told: Mapping[str, Any] | None = None) -> None:
    """Read every verdict again from the judge's stored answers, and score it.

    Args:
        directory: of the run of a judge.
        sheet: takes what is found.
        scratch: an empty directory.
        told: what the evaluation around it says of the judge; None where there is none.
    """
    sheet.check("judge", lambda: _judge_again(directory, scratch / "judge", told))


def _judge_again(directory: Path, scratch: Path, told: Mapping[str, Any] | None) -> str:
    stored, contract = read_object(directory / SUMMARY), read_object(directory / CONTRACT)
    if told is not None and (difference := differing(dict(told), stored)):
        raise RunError(f"{RESULTS} does not agree with {directory.name}/{SUMMARY}: {difference}")
    annotations = load_annotations(directory / _ANNOTATIONS)
    first = [item for item in annotations if not item.is_switched_outputs]
    restage(directory, scratch, CONTRACT, JOURNAL)
    try:
        result = judge_outputs(
            [_answer(item, 2) for item in first],
            [_answer(item, 1) for item in first],
            teacher=StoredTeacher(contract["judge"]),
            directory=scratch,
            config=JudgeConfig(**contract["config"], pause_seconds=1e-6),
        )
        _compare_verdicts(directory, stored, result)
    except AlpacaLoraError as error:
        raise made_elsewhere(contract, RunError(str(error).replace(f"{scratch}/", ""))) from error
    return f"{result.comparisons:,} comparisons read again from the judge's answers give the same win rate"


def _answer(item: Annotation, side: int) -> ModelOutput:
    texts = {1: (item.output_1, item.generator_1), 2: (item.output_2, item.generator_2)}
    output, generator = texts[side]
    return ModelOutput(instruction=item.instruction, output=output, generator=generator, dataset=item.dataset)


def _compare_verdicts(directory: Path, stored: Mapping[str, Any], result: JudgeResult) -> None:
    if (directory / _ANNOTATIONS).read_bytes() != result.annotations.read_bytes():
        raise RunError(f"{_ANNOTATIONS} does not follow from the answers in {JOURNAL}: judge into a new directory")
    again = json.loads(json.dumps(replace(result, notes=()).to_json()))
    own, found = ({key: value for key, value in one.items() if key not in _OF_THE_SESSION} for one in (stored, again))
    if difference := differing(own, found):
        raise RunError(f"{SUMMARY} does not agree with {_ANNOTATIONS}: {difference}; judge into a new directory")
