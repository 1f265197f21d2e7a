"""A datasheet for a curated set: every number computed, every judgement left to a person and marked as missing."""

from collections.abc import Sequence
from importlib.resources import files
from string import Template

from alpaca_lora._version import __version__
from alpaca_lora.curation.decisions import RuleCount
from alpaca_lora.curation.statistics import SetStatistics
from alpaca_lora.records import LoadedRecords
from alpaca_lora.reporting.wording import count, percent, public_name

__all__ = ["render_datasheet"]


def render_datasheet(loaded: LoadedRecords, statistics: SetStatistics, counts: Sequence[RuleCount]) -> str:
    """Render the datasheet in Markdown.

    Args:
        loaded: what was read.
        statistics: of the records that stay.
        counts: what each rule found and did.
    """
    total = statistics.records
    name = public_name(loaded.name).replace("`", "'")
    personal = next((item.flagged for item in counts if item.rule == "personal_data"), 0)
    template = (files("alpaca_lora.curation") / "datasheet.md").read_text(encoding="utf-8")
    return Template(template).substitute(
        name=name,
        source=name,
        sha256=loaded.sha256,
        version=__version__,
        read=count(len(loaded.records)),
        records=count(total),
        with_input=count(statistics.with_input),
        with_input_share=percent(statistics.with_input / total if total else None),
        exact_duplicates=count(statistics.exact_duplicates),
        repeated_tasks=count(statistics.repeated_tasks),
        languages=", ".join(f"{language} {count(n)}" for language, n in statistics.languages.items()) or "none",
        with_verb=count(statistics.with_verb),
        with_verb_share=percent(statistics.with_verb / total if total else None),
        lengths="\n".join(
            f"| {field} | {n.count:,} | {n.mean:g} | {n.low:,} | {n.median:,} | {n.high:,} | {n.longest:,} |"
            for field, n in statistics.lengths.items()
        ),
        verbs="\n".join(
            f"- {verb}: {', '.join(f'{noun} ({count(n)})' for noun, n in nouns.items())}"
            for verb, nouns in statistics.verbs.items()
        ),
        personal=f"{count(personal)} of the records hold what looks like it" if personal else "none was found",
        rules="\n".join(
            f"| `{item.rule}` | {item.found} | {item.dropped} | {item.repaired} | {item.flagged} | {item.verified} |"
            for item in counts
        ),
    )
