"""Blind comparison from the command line: seal it, let a person vote on a page or here, and say what came out."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from alpaca_lora.cli.conversation import read_line, text_flag
from alpaca_lora.cli.failures import Terminated, until_interrupted
from alpaca_lora.cli.modes import refuse_idle
from alpaca_lora.errors import AlpacaLoraError, ConfigError
from alpaca_lora.reporting.wording import count, printable, with_interval

if TYPE_CHECKING:
    from alpaca_lora.evaluation import BlindComparison, BlindResult

__all__ = ["CompareOptions", "compare_blindly"]

_RESUMABLE = 3
_ANSWERS = {"l": "left", "1": "left", "t": "tie", "0": "tie", "r": "right", "2": "right"}
_NEW = "--outputs with --baseline"
_READERS = {"num": (_NEW,), "seed": (_NEW,)}
_ASK = "l left is better · t neither is · r right is better · q stop for now: "


@dataclass(frozen=True, kw_only=True)
class CompareOptions:
    """The flags of `compare`."""

    outputs: Annotated[str | None, text_flag("FILE", "go on with the comparison in DIR")] = None
    """Answers of a model in AlpacaEval's format, model_outputs.json; begins a comparison, with --baseline."""

    baseline: Annotated[str | None, text_flag("FILE", "none")] = None
    """Answers of what it is compared with, to the same instructions."""

    output_dir: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("runs/blind")
    """The comparison's directory: new, empty, or that of the one to go on with."""

    num: Annotated[int | None, text_flag("INT", "100, or all rows that differ if they are fewer")] = None
    """Comparisons to make, fixed when they begin; 783 tell 55 % from 50 %, 194 tell 60 %."""

    seed: int = 42
    """Decides which rows are compared; the sides are drawn anew and nobody can repeat them."""

    annotations: Annotated[str | None, text_flag("FILE", "none")] = None
    """Verdicts of a judge on the same two files, to put beside the rater's at the end."""

    key: Annotated[Path | None, text_flag("FILE", "key.json in DIR")] = None
    """Where the key is, if somebody else kept it; it is opened after the last comparison."""

    terminal: tyro.conf.FlagCreatePairsOff[bool] = False
    """Vote here instead of on a web page."""

    port: int = 7861
    """Port of 127.0.0.1 that the page is at; 0 takes a free one."""

    prepare: tyro.conf.FlagCreatePairsOff[bool] = False
    """Only seal the comparison, and say what its key is bound to."""


def compare_blindly(options: CompareOptions) -> int:
    """Begin a comparison or go on with one, and return 0 when it is complete, 3 when the same command can go on."""
    from alpaca_lora.evaluation import BlindComparison, load_model_outputs, seal_comparison

    if (options.outputs is None) != (options.baseline is None):
        raise ConfigError("a comparison needs two files of answers: give --outputs and --baseline, or neither to go on")
    refuse_idle(options, _READERS, "going on" if options.outputs is None else _NEW)
    if options.outputs is not None and options.baseline is not None:
        sides = load_model_outputs(options.outputs), load_model_outputs(options.baseline)
        seal_comparison(*sides, options.output_dir, num=options.num, seed=options.seed)
    with BlindComparison.open(options.output_dir) as comparison:
        if options.prepare:
            print(f"{count(len(comparison.pairs))} comparisons are sealed; SHA-256 of the key {comparison.commitment}")
            return 0
        try:
            if not comparison.complete:
                (_vote_here if options.terminal else _vote_on_a_page)(comparison, options)
        except Terminated:
            _tell(comparison, options)
            raise
        return _tell(comparison, options)


def _tell(comparison: "BlindComparison", options: CompareOptions) -> int:
    """Say how far a comparison is, or what came out, and return the exit code."""
    if comparison.complete:
        print(_finish(comparison, options))
        return 0
    done = f"{count(len(comparison.votes))} of {count(len(comparison.pairs))} comparisons are done"
    print(f"{done}; the key stays sealed, and the same command goes on", file=sys.stderr)
    return _RESUMABLE


def _finish(comparison: "BlindComparison", options: CompareOptions) -> str:
    """Open the key, write what came out beside it, and return it in words; or whose turn it is now, without a key."""
    from alpaca_lora.evaluation import load_annotations, score_votes
    from alpaca_lora.evaluation.blind import KEY

    if options.key is None and not (comparison.directory / KEY).exists():
        return (
            f"all {count(len(comparison.pairs))} comparisons are done, and {KEY} is not here: give the directory back "
            "to whoever sealed it, who learns the result with  alpaca-lora compare --output-dir DIR --key FILE"
        )
    annotations = load_annotations(options.annotations) if options.annotations else []
    result = score_votes(comparison, comparison.unseal(options.key), annotations)
    comparison.save(result.to_json())
    return "\n".join(printable(line) for line in _render(result))


def _vote_on_a_page(comparison: "BlindComparison", options: CompareOptions) -> None:
    from alpaca_lora._optional import require
    from alpaca_lora.serving.rating import RatingPage
    from alpaca_lora.serving.website import Website, listen

    def finish() -> str:
        try:
            return _finish(comparison, options)
        except AlpacaLoraError as error:
            return f"Every comparison is done. {error}"

    require("gradio", extra="ui")
    with listen(options.port) as listening, until_interrupted():
        website = Website(RatingPage(comparison, finish), listening)
        said = f"open {website.url} in a browser; Ctrl-C ends it, and the same command goes on"
        print(said, file=sys.stderr, flush=True)
        website.serve()


def _vote_here(comparison: "BlindComparison", options: CompareOptions) -> None:
    while not comparison.complete:
        number = len(comparison.votes)
        pair = comparison.pairs[number]
        print(f"\n=== {number + 1} of {len(comparison.pairs)}: instruction\n{printable(pair.instruction)}")
        print(f"\n--- left\n{printable(pair.left)}\n\n--- right\n{printable(pair.right)}\n")
        said = ""
        while said not in {*_ANSWERS, "q"}:
            try:
                said = read_line(_ASK).strip().lower()
            except EOFError:
                said = "q"
        if said == "q":
            return
        comparison.vote(number, _ANSWERS[said])


def _render(result: "BlindResult") -> Iterator[str]:
    from alpaca_lora.evaluation.statistics import describe_resolution

    decided = result.wins + result.losses
    yield f"{result.model} against {result.baseline}, {count(result.comparisons)} comparisons without names"
    yield f"votes       {result.wins} won, {result.ties} drawn, {result.losses} lost"
    yield f"share       {with_interval(result.share, result.share_interval, ' %', 100)}, a draw counting half"
    if result.decided is not None:
        share = with_interval(result.wins / decided, result.decided, " %", 100)
        yield f"decided     {share} of the {decided} that are no draw, exact; sign test p = {result.p_value:.2g}"
        yield f"resolution  {describe_resolution(decided, 'decided comparisons')}"
    yield f"sides       {result.left} left, {result.right} right; sign test p = {result.sides_p_value:.2g}"
    if result.judge is not None:
        rate = result.judge.win_rate
        said = with_interval(rate.win_rate, rate.interval, " %")
        yield f"judge       {rate.annotator or 'an unnamed judge'}: {said} on {rate.n_total} of the same rows"
        alike = with_interval(result.judge.agreed / result.judge.compared, result.judge.agreement, " %", 100)
        yield f"agreement   {alike} of {result.judge.compared}, exact"
