"""What `evaluate` does: evaluate an adapter and say what was found, check model cards, or score stored verdicts."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alpaca_lora.cli.curation import read_pairs
from alpaca_lora.cli.evaluating import EvaluateOptions, report_win_rates
from alpaca_lora.cli.generating import local_teacher
from alpaca_lora.cli.modes import refuse_idle
from alpaca_lora.config import EvaluationConfig, JudgeConfig, TeacherSettings
from alpaca_lora.errors import ConfigError
from alpaca_lora.reporting.claims import find_bare_claims
from alpaca_lora.reporting.wording import count, printable, with_interval
from alpaca_lora.teachers.selection import select_teachers

if TYPE_CHECKING:
    from alpaca_lora.evaluation.outcome import EvaluationResult
    from alpaca_lora.teachers import Teacher

__all__ = ["run_evaluation"]

_BAD_INPUT = 2
_ADAPTER, _ANNOTATIONS, _LOCAL, _OPENAI = "--adapter", "--annotations", "--judge local", "--judge openai"
_READERS = {
    **dict.fromkeys(("output_dir", "data", "map", "against", "trained_on", "against_trained_on"), (_ADAPTER,)),
    **dict.fromkeys(("base_model", "template", "tasks"), (_ADAPTER,)),
    **dict.fromkeys(("judge", "judge_model", "base_url", "api_key_env", "judging", "settings", "quiet"), (_ADAPTER,)),
    **dict.fromkeys(("variants", "by_dataset"), (_ANNOTATIONS,)),
    "json": (_ADAPTER, _ANNOTATIONS),
}
_JUDGES = {
    **dict.fromkeys(("judge_model", "judging"), (_LOCAL, _OPENAI)),
    **dict.fromkeys(("base_url", "api_key_env"), (_OPENAI,)),
}
"""Which flags mean something in which use of the command."""


def run_evaluation(options: EvaluateOptions) -> int:
    """Do what the flags ask for, and return the exit code.

    Raises:
        ConfigError: nothing was asked for, two things at once, or something that these flags do not do.
    """
    asked = [name for name in ("adapter", "annotations", "card") if getattr(options, name)]
    if len(asked) != 1:
        found = " and ".join(f"--{name}" for name in asked) or "none of them"
        raise ConfigError(f"evaluate takes one of --adapter DIR, --annotations FILE and --card FILE, got {found}")
    refuse_idle(options, _READERS, f"--{asked[0]}")
    if options.card:
        return _check_cards(options.card)
    return report_win_rates(options) if options.annotations else _evaluate_adapter(options)


def _check_cards(paths: tuple[str, ...]) -> int:
    """Print every claim of parity that says nothing of its error; return 2 if there is one."""
    found = 0
    for path in paths:
        try:
            card = Path(path).read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise ConfigError(f"{path!r} cannot be read as a model card ({error}): give a Markdown file") from error
        claims = list(find_bare_claims(card))
        if not claims:
            print(f"{path}: no claim of parity without an interval")
        for claim in claims:
            print(f"{path}:{claim.line}: claims parity without an interval: {printable(claim.sentence)}")
            found += 1
    return _BAD_INPUT if found else 0


def _evaluate_adapter(options: EvaluateOptions) -> int:
    config = EvaluationConfig(**options.settings, column_map=read_pairs("map", options.map))
    judging = JudgeConfig(**options.judging, seed=config.seed)
    judge = _judge(options, judging)

    from alpaca_lora.evaluation.recipe import evaluate

    result = evaluate(
        str(options.adapter),
        options.output_dir,
        data=options.data,
        against=options.against,
        trained_on=options.trained_on,
        against_trained_on=options.against_trained_on,
        base_model=options.base_model,
        template=options.template,
        tasks=[name for name in options.tasks.split(",") if name],
        judge=judge,
        judge_config=judging,
        config=config,
        progress=not options.quiet,
    )
    if options.json:
        print(json.dumps(result.to_json(), ensure_ascii=False, allow_nan=False))
    else:
        print(result.report if options.quiet else "\n".join(_render(result)))
    return 0


def _judge(options: EvaluateOptions, config: JudgeConfig) -> "Teacher | None":
    if options.judge not in (None, "local", "openai"):
        raise ConfigError(f"--judge must be local or openai, got {options.judge!r}")
    refuse_idle(options, _JUDGES, f"--judge {options.judge}")
    if options.judge is None:
        return None
    settings: dict[str, Any] = {"teacher": options.judge, "model": options.judge_model}
    spelled = {"teacher": "judge", "model": "judge_model"}
    judge, _, _ = select_teachers(
        TeacherSettings(**settings, base_url=options.base_url, api_key_env=options.api_key_env),
        local=local_teacher,
        spell=lambda name: f"--{spelled.get(name, name).replace('_', '-')}",
        connections=config.concurrency,
    )
    return judge


def _render(result: "EvaluationResult") -> Iterator[str]:
    """Yield the figures as lines for a terminal."""
    from alpaca_lora.evaluation.page import list_doubts, written, written_difference

    yield f"{count(result.rows)} rows, {count(len(result.dropped))} left out; 95 % intervals, seed {result.config.seed}"
    titles = [
        quantity.title if quantity.unit == "share" else f"{quantity.title}, {quantity.unit}"
        for quantity in (measure.quantity for measure in result.measures)
    ]
    width = max(map(len, titles))
    for title, measure in zip(titles, result.measures, strict=True):
        values = [f"{printable(name)} {written(measure, one.value)}" for name, one in measure.estimates.items()]
        yield f"{title:<{width}}  {', '.join(values)}"
        for item in measure.differences:
            yield f"{'':<{width}}    against {printable(item.against)}: {written_difference(measure, item)}"
    if result.win_rate:
        rate = result.win_rate
        against = f"against {printable(rate.baseline)}, judged by {printable(rate.annotator)}"
        yield f"{'Win rate':<{width}}  {with_interval(rate.win_rate, rate.interval, ' %')} {against}"
        if controlled := rate.length_controlled:
            said = with_interval(controlled.win_rate, controlled.interval, " %")
            yield f"{'  at equal lengths':<{width}}  {said}"
    yield from (f"note: {printable(doubt)}" for doubt in list_doubts(result))
    yield f"report: {result.report}"
