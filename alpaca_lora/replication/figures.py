"""What each finished stage gave, read from the files that it left, so that a later session can tell it too."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alpaca_lora.evaluation.measures import Measure
from alpaca_lora.evaluation.page import written, written_difference
from alpaca_lora.replication.stages import STAGES, Work
from alpaca_lora.reporting.wording import change, count, duration, loss_value, percent, with_interval
from alpaca_lora.training.results import read_summary

__all__ = ["SESSIONS", "StageFigures", "read_figures"]

SESSIONS = "sessions.jsonl"
"""How long each stage worked in each session that was not killed."""

Facts = dict[str, str]


@dataclass(frozen=True, slots=True)
class StageFigures:
    """What a stage gave."""

    stage: str
    directory: Path

    headline: tuple[str, str]
    """Its most telling number, and what that is of."""

    facts: Mapping[str, str]
    """Its numbers as a person reads them, by what they are of."""

    document: Mapping[str, Any]
    """What the stage itself wrote about it, as JSON values; of exports the parity by directory."""

    links: Mapping[str, Path]
    """What to look at, by what it is; the stage's own page first, where it has one."""

    seconds: float
    """How long it worked, over all sessions that were not killed."""


def read_figures(work: Work) -> Iterator[StageFigures]:
    """Yield the figures of each stage that is finished."""
    seconds = _seconds(work.root / SESSIONS)
    for stage in work.recipe.stages:
        if STAGES[stage].finished(work):
            directory = work.directory(stage)
            document, headline, facts, links = _READERS[stage](directory, work)
            there = {title: directory / name for title, name in links.items() if (directory / name).exists()}
            yield StageFigures(stage, directory, headline, facts, document, there, seconds.get(stage, 0.0))


_Read = tuple[dict[str, Any], tuple[str, str], Facts, dict[str, str]]


def _generation(directory: Path, work: Work) -> _Read:
    found = _json(directory / "summary.json")
    settled, kept = found["settled"], found["kept"]
    paid = f"${float(settled['usd']):,.2f}" if found["priced"] else "not known, as no price was given"
    each = f", ${float(found['usd_per_row']):.4f} a record" if found["priced"] and float(settled["usd"]) else ""
    facts = {
        "records kept": f"{count(kept)} of {count(found['pieces'])} pieces in {count(found['requests'])} answers",
        "written by": ", ".join(found["models"].values()),
        "tokens": count(settled["tokens"]),
        "cost": paid + each,
    }
    if work.recipe.data:
        with (directory / "joined.jsonl").open(encoding="utf-8") as stream:
            facts["with the other records"] = count(sum(1 for _ in stream))
    links = {"the records": "records.jsonl", "why each piece is in or out": "decisions.jsonl"}
    return found, (count(kept), "records generated"), facts, links


def _curation(directory: Path, work: Work) -> _Read:
    found = _json(directory / "curation.json")
    dropping = {item["rule"]: count(item["dropped"]) for item in found["rules"] if item["dropped"]}
    facts = {
        "records kept": f"{count(found['kept'])} of {count(found['read'])} ({percent(found['kept'] / found['read'])})",
        "repaired": count(found["repaired"]),
        **{f"dropped: {rule}": number for rule, number in dropping.items()},
    }
    return found, (count(found["kept"]), "records after curation"), facts, {"report": "report.html"}


def _training(directory: Path, work: Work) -> _Read:
    found = _json(directory / "COMPLETE")
    before, after = found["heldout_loss_before"], found["heldout_loss_after"]
    ratio = read_summary(directory).heldout_change
    facts = {
        "rows": f"{count(found['data']['trained_rows'])} trained on, {count(found['data']['heldout_rows'])} held out",
        "steps": f"{count(found['steps'])} in {duration(found['seconds'])}",
        "loss of the held-out rows": f"{loss_value(before)} → {loss_value(after)} ({change(ratio)})",
        "answers that end by themselves": f"{percent(found['stop_rate_before'])} → {percent(found['stop_rate_after'])}",
    }
    headline = (f"{loss_value(before)} → {loss_value(after)}", "loss of the rows held out in training")
    return found, headline, facts, {"report": "report.html", "model card": "README.md", "adapter": "adapter"}


def _evaluation(directory: Path, work: Work) -> _Read:
    found = _json(directory / "results.json")
    facts = {"rows": f"{count(found['set']['rows'])}, none of them trained on"}
    headline = (count(found["set"]["rows"]), "rows evaluated on")
    for measure in map(Measure.from_json, found["measures"]):
        values = {name: written(measure, one.value) for name, one in reversed([*measure.estimates.items()])}
        differences = [written_difference(measure, item) for item in measure.differences[:1]]
        if len(values) == 2:
            said = " → ".join(values.values())
        else:
            said = ", ".join(f"{name} {value}" for name, value in values.items())
            pairs = zip(measure.differences, differences, strict=False)
            differences = [f"{item.model} against {item.against} {text}" for item, text in pairs]
        facts[measure.quantity.title] = "; ".join((said, *differences))
        if measure.quantity.key == "loss" and differences:
            headline = (said, f"loss on {count(measure.rows)} rows, {differences[0]}")
    if judged := found["judge"]:
        rate = judged["win_rate"]
        facts["win rate"] = with_interval(rate["win_rate"], rate["interval"], " %")
    return found, headline, facts, {"report": "report.html", "results": "results.json", "answers": "outputs"}


def _exports(directory: Path, work: Work) -> _Read:
    found = {place.name: _json(place / "parity.json") for place in work.exports}
    facts = {
        name: f"{percent(parity['agreement'])} of {count(parity['positions'])} greedy tokens agree, largest logit "
        f"difference {parity['max_logit_delta']:.3g}, KL {parity['mean_kl']:.3g}"
        for name, parity in found.items()
    }
    headline = (count(len(found)), "exports, compared with the adapter on its base")
    return found, headline, facts, {f"{name}: parity": f"{name}/parity.json" for name in found}


_READERS: dict[str, Callable[[Path, Work], _Read]] = {
    "generate": _generation,
    "curate": _curation,
    "finetune": _training,
    "evaluate": _evaluation,
    "export": _exports,
}


def _json(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document


def _seconds(path: Path) -> dict[str, float]:
    sums: dict[str, float] = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        session = json.loads(line)
        sums[session["stage"]] = sums.get(session["stage"], 0.0) + session["seconds"]
    return sums
