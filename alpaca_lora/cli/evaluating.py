"""Evaluation from the command line: of an adapter, or win rates from stored verdicts, as a table or as JSON."""

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import tyro

from alpaca_lora.cli.conversation import text_flag
from alpaca_lora.cli.generating import setting_flags
from alpaca_lora.config import EvaluationConfig, JudgeConfig
from alpaca_lora.errors import ConfigError
from alpaca_lora.reporting.wording import count, printable, with_interval

if TYPE_CHECKING:
    from alpaca_lora.evaluation import Annotation, PositionBias, WinRate

__all__ = ["EvaluateOptions", "report_win_rates"]

_HEAD = ("model", "baseline", "n", "won", "drawn", "lost", "win rate, %", "length-controlled, %")
_NUMBERS = 2
"""The first column of numbers; those are set to the right."""


_JUDGING: Any = setting_flags(JudgeConfig, omit=("seed",))
_SETTINGS: Any = setting_flags(EvaluationConfig, omit=("column_map",))


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions:
    """The flags of `evaluate`: of an adapter, or of stored verdicts (--annotations)."""

    adapter: Annotated[str | None, text_flag("DIR", "none")] = None
    """Adapter directory, or run directory with one; it is compared with its base."""

    output_dir: Annotated[str, tyro.conf.arg(metavar="DIR")] = "runs/evaluation"
    """Directory of the evaluation: new, empty, or that of the evaluation to go on with."""

    data: Annotated[str, tyro.conf.arg(metavar="FILE|HUB_ID")] = "alpaca-mini"
    """Evaluation set; of alpaca-mini it is the packaged held-out set. Rows of the training data are left out."""

    against: Annotated[str | None, text_flag("DIR|MODEL|FILE", "none")] = None
    """A third model: another adapter or run, a base model, or answers in AlpacaEval's format; the judge compares with
    it instead of the base."""

    trained_on: Annotated[str | None, text_flag("FILE|HUB_ID", "what the adapter's run names")] = None
    """The training data, where the run does not tell; `unknown` goes on with a report that says so."""

    against_trained_on: Annotated[str | None, text_flag("FILE|HUB_ID", "what the run of --against names")] = None
    """The training data of an adapter in --against; `unknown` keeps the rows that it was trained on, with a report that
    says so."""

    map: Annotated[
        tyro.conf.UseAppendAction[tuple[str, ...]],
        tyro.conf.arg(metavar="FIELD=COLUMN", help_behavior_hint="(repeatable)"),
    ] = ()
    """Column of --data that holds instruction, input or output, as --map instruction=question --map output=answer."""

    base_model: Annotated[str | None, text_flag("NAME|DIR|HUB_ID", "the one that the adapter was trained on")] = None
    """The base model; an adapter of another tool needs it by name."""

    template: Annotated[str | None, text_flag("NAME|FILE", "the one that the adapter was trained with")] = None
    """Prompt template; an adapter of another tool needs it by name."""

    tasks: Annotated[str, tyro.conf.arg(metavar="NAME,NAME", help_behavior_hint="(default: none)")] = ""
    """Tasks of lm-evaluation-harness, separated by commas, or YAML files of your own. Needs  pip install
    'alpaca-lora[eval]'."""

    judge: Annotated[str | None, tyro.conf.arg(metavar="local|openai", help_behavior_hint="(default: none)")] = None
    """Who says which answer is better: openai is any OpenAI-compatible endpoint, local a model of this machine."""

    judge_model: Annotated[str | None, text_flag("NAME", "smollm2-135m for local; openai needs one")] = None
    """The judge's model."""

    base_url: Annotated[str | None, text_flag("URL", "https://api.openai.com/v1")] = None
    """The judge's endpoint, up to and with /v1."""

    api_key_env: Annotated[str, tyro.conf.arg(metavar="NAME")] = "OPENAI_API_KEY"
    """Environment variable that holds the judge's key."""

    judging: tyro.conf.OmitArgPrefixes[_JUDGING]
    """How much the judge may cost, and how fast it is asked."""

    settings: tyro.conf.OmitArgPrefixes[_SETTINGS]
    """What decides the numbers."""

    card: Annotated[tuple[str, ...], tyro.conf.arg(metavar="FILE ...", help_behavior_hint="(default: none)")] = ()
    """Model cards to check instead: a claim of parity without an interval is a fault, and the exit code is 2."""

    annotations: Annotated[
        tuple[str, ...], tyro.conf.arg(metavar="FILE ...", help_behavior_hint="(default: none)")
    ] = ()
    """Score these verdicts instead, in AlpacaEval's format, annotations.json: a JSON array or JSON lines."""

    variants: Annotated[tuple[str, ...], tyro.conf.arg(metavar="FILE ...", help_behavior_hint="(default: none)")] = ()
    """Verdicts on a concise and a verbose variant of the baseline against itself, which tell length from quality."""

    by_dataset: Annotated[bool, tyro.conf.FlagCreatePairsOff, tyro.conf.arg(help_behavior_hint="")] = False
    """Score each part of the evaluation set too."""

    json: Annotated[bool, tyro.conf.FlagCreatePairsOff, tyro.conf.arg(help_behavior_hint="")] = False
    """Print every figure unrounded: results.json, or for stored verdicts one JSON object per model and line."""

    quiet: Annotated[bool, tyro.conf.FlagCreatePairsOff, tyro.conf.arg(help_behavior_hint="")] = False
    """Show no progress and no summary, only the path of the report."""


class _Scored(NamedTuple):
    file: str
    dataset: str | None
    rate: "WinRate"


def report_win_rates(options: EvaluateOptions) -> int:
    """Score every model of every file and print what was found; return 0.

    Raises:
        RecordError: files that are no verdicts.
        ConfigError: nothing can be scored: no verdict has a preference, or the variants are of another baseline.
    """
    refused: list[str] = []
    scored = list(_score(options, refused))
    if not scored:
        raise ConfigError("\n".join(refused))
    for text in refused:
        print(f"note: {printable(text)}", file=sys.stderr)
    if options.json:
        for item in scored:
            print(json.dumps({"file": item.file, "dataset": item.dataset} | item.rate.to_json(), allow_nan=False))
    else:
        print("\n".join(_render(scored)))
    return 0


def _score(options: EvaluateOptions, refused: list[str]) -> Iterator[_Scored]:
    """Yield every rate there is, and note of which files and datasets there is none, with the reason."""
    from alpaca_lora.evaluation import load_annotations, measure_win_rate

    variants = [item for path in options.variants for item in load_annotations(path)]

    def score(path: str, dataset: str | None, rows: "Sequence[Annotation]") -> list[_Scored]:
        try:
            return [_Scored(path, dataset, measure_win_rate(rows, variants=variants))]
        except ConfigError as error:
            refused.append(f"{path}: {f'{dataset}: ' if dataset else ''}{error}")
            return []

    for path in options.annotations:
        models: dict[tuple[str, str, str], list[Annotation]] = {}
        for item in load_annotations(path):
            models.setdefault((item.generator_2, item.generator_1, item.annotator), []).append(item)
        for rows in models.values():
            whole = score(path, None, rows)
            yield from whole
            for name in dict.fromkeys(item.dataset for item in rows) if whole and options.by_dataset else ():
                yield from score(path, name, [item for item in rows if item.dataset == name])


def _render(scored: Sequence[_Scored]) -> Iterator[str]:
    from alpaca_lora.evaluation.statistics import describe_resolution

    table = [_HEAD, *(_cells(item) for item in scored)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for cells in table:
        padded = (
            f"{cell:>{width}}" if place >= _NUMBERS else f"{cell:<{width}}"
            for place, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        yield "  ".join(padded).rstrip()
    whole = [item.rate for item in scored if item.dataset is None]
    yield ""
    yield f"judged by   {printable(', '.join(dict.fromkeys(rate.annotator or 'an unnamed judge' for rate in whole)))}"
    yield "intervals   95 %: score intervals for win rates; clustered by instruction for length-controlled ones"
    yield f"resolution  {describe_resolution(min(rate.n_total for rate in whole))}"
    for rate in whole:
        yield from (f"note: {printable(rate.model)}: {said}" for said in _notes(rate))


def _cells(item: _Scored) -> tuple[str, ...]:
    rate, controlled = item.rate, item.rate.length_controlled
    name = rate.model if item.dataset is None else f"  {item.dataset or 'no dataset'}"
    return (
        printable(name),
        printable(rate.baseline),
        *(count(number) for number in (rate.n_total, rate.n_wins, rate.n_draws, rate.n_wins_base)),
        with_interval(rate.win_rate, rate.interval),
        with_interval(controlled.win_rate, controlled.interval) if controlled else "–",
    )


def _notes(rate: "WinRate") -> Iterator[str]:
    from alpaca_lora.evaluation.judge import ENOUGH
    from alpaca_lora.evaluation.winrate import UNCONTROLLED

    judged = rate.n_total / (rate.n_total + rate.n_missing)
    if judged < ENOUGH:
        missing = f"{count(rate.n_missing)} comparisons, {1 - judged:.0%},"
        yield f"{missing} have no preference; judge them again before you report a rate"
    if rate.length_controlled is None:
        yield f"{UNCONTROLLED}; give --variants"
    if rate.position_bias:
        yield _position(rate.position_bias)


def _position(bias: "PositionBias") -> str:
    shown = f"the answer shown first gets {100 * bias.shown_first:.1f} % (p = {bias.p_value:.2g})"
    corrected = with_interval(bias.corrected, bias.interval, scale=100)
    agreed = f"{bias.consistent:.0%} of {count(bias.pairs)} pairs have one winner in both orders"
    return f"{shown}; {agreed}; win rate without the order {corrected}"
