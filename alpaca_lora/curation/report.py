"""The page of a curation: what came in, what stayed, why the rest did not, and what the set is like."""

from collections.abc import Iterator, Sequence

from alpaca_lora.curation.catalog import RULES
from alpaca_lora.curation.decisions import Decision, RuleCount
from alpaca_lora.curation.settings import CurationSettings
from alpaca_lora.curation.statistics import SetStatistics
from alpaca_lora.records import LoadedRecords
from alpaca_lora.reporting.elements import bullets, escaped, pairs, render_page, section, table, tile, two_widths
from alpaca_lora.reporting.shapes import Bar, draw_bars, draw_sunburst
from alpaca_lora.reporting.wording import clipped, count, percent, public_name

__all__ = ["draw_funnel", "draw_verbs", "render_curation"]

_EXAMPLES = 3
_SHOWN_CHARACTERS = 160


def render_curation(
    loaded: LoadedRecords,
    decisions: Sequence[Decision],
    counts: Sequence[RuleCount],
    settings: CurationSettings,
    before: SetStatistics,
    after: SetStatistics,
) -> str:
    """Render the page.

    Args:
        loaded: what was read.
        decisions: one for each row.
        counts: what each rule found.
        settings: thresholds and actions.
        before: the set as it was read.
        after: the set as it stays.
    """
    name = escaped(public_name(loaded.name))
    total = len(decisions)
    funnel = two_widths(lambda width: draw_funnel(total, counts, width=width), 1040, 420)
    source = f"SHA-256 of the source <code>{loaded.sha256}</code>"
    return render_page(
        eyebrow="Curation report",
        title=f"{name}: curation report",
        heading=f"{count(after.records)} of {count(total)} records <i>of</i> {name}",
        facts=f"{count(len(counts))} rules found or verified something · {source}",
        tiles=_tiles(decisions, counts, settings),
        body="\n".join(
            (
                section("From read to kept", f'<figure class="card">{funnel}</figure>'),
                section("What each rule found", _rules(counts, settings)),
                section("What was computed", _computed(total, counts), "and where the rules abstained"),
                section("Examples", _examples(loaded, decisions), f"up to {_EXAMPLES} rows of each rule"),
                section("The set", _set(before, after)),
                section("Verbs and their nouns", _verbs(after), _verb_share(after)),
                section("Languages", _languages(after)),
                section("What the reader noticed", bullets(loaded.notes, "reasons card")),
            )
        ),
    )


def draw_funnel(total: int, counts: Sequence[RuleCount], *, width: int) -> str:
    """Draw how many rows are left after each rule that drops some."""
    bars, left = [Bar("read", total, note=count(total))], total
    for rule in (item for item in counts if item.dropped):
        left -= rule.dropped
        bars.append(Bar(rule.rule, left, rule.dropped, f"−{count(rule.dropped)}"))
    return draw_bars([*bars, Bar("kept", left, note=count(left))], title="Rows left after each rule", width=width)


def draw_verbs(statistics: SetStatistics, *, size: int) -> str:
    """Draw the most frequent verbs with their most frequent nouns; a note for a set without any."""
    drawn = draw_sunburst(statistics.verbs, title="Verbs of the instructions and their nouns", size=size)
    return drawn or draw_bars([Bar("no instruction begins with a known verb", 0)], title="No verbs", width=size)


def _tiles(decisions: Sequence[Decision], counts: Sequence[RuleCount], settings: CurationSettings) -> Iterator[str]:
    outcomes = [decision.outcome for decision in decisions]
    total, dropped, repaired = len(outcomes), outcomes.count("dropped"), outcomes.count("repaired")
    kept = [decision for decision in decisions if decision.outcome != "dropped"]
    flagged = sum(any(settings.action(finding.rule) == "flag" for finding in row.counted) for row in kept)
    computing = [item for item in counts if RULES[item.rule].computes]
    right, amiss = sum(item.verified for item in computing), sum(item.found for item in computing)
    yield tile(
        "Kept",
        count(total - dropped),
        f"{percent((total - dropped) / total)} of {count(total)} read",
        "kept + dropped = read",
    )
    yield tile("Dropped", count(dropped), f"by {count(sum(bool(item.dropped) for item in counts))} rules")
    yield tile("Repaired", count(repaired), "kept with a mended text", f"{count(flagged)} kept and flagged")
    yield tile(
        "Answers computed",
        count(right + amiss),
        f"{count(right)} right, {count(amiss)} wrong",
    )


def _rules(counts: Sequence[RuleCount], settings: CurationSettings) -> str:
    rows = [
        (
            item.rule,
            f"The record {RULES[item.rule].about}." + _above(item.rule, settings),
            *(count(number) if number else "–" for number in (item.found, item.dropped, item.repaired, item.flagged)),
        )
        for item in counts
        if item.found
    ]
    head = ("Rule", "What is wrong", "Found", "Dropped", "Repaired", "Flagged")
    note = '<p class="note">A row counts as dropped at the first rule that drops it.</p>'
    return table(head, rows, numbers=4, shown=len(rows)) + note if rows else ""


def _above(rule: str, settings: CurationSettings) -> str:
    threshold = settings.threshold(rule)
    return "" if threshold is None else f" Counts above {threshold:g}."


def _computed(total: int, counts: Sequence[RuleCount]) -> str:
    rows = [
        (item.rule, *map(count, (item.verified, item.found, total - item.verified - item.found)))
        for item in counts
        if RULES[item.rule].computes
    ]
    return table(("Rule", "Right", "Wrong", "Abstained"), rows, numbers=3, shown=len(rows)) if rows else ""


def _examples(loaded: LoadedRecords, decisions: Sequence[Decision]) -> str:
    shown: dict[str, list[tuple[str, str, str, str]]] = {name: [] for name in RULES}
    for record, decision in zip(loaded.records, decisions, strict=True):
        for finding in decision.counted:
            if len(shown[finding.rule]) < _EXAMPLES:
                said = finding.detail + (f" ({finding.score:.2f})" if RULES[finding.rule].threshold else "")
                task = clipped(record.instruction, _SHOWN_CHARACTERS)
                shown[finding.rule].append((record.origin, finding.rule, clipped(said, _SHOWN_CHARACTERS), task))
    rows = [row for group in shown.values() for row in group]
    return table(("Row", "Rule", "Found", "Instruction"), rows, numbers=0, shown=len(rows), codes=2) if rows else ""


def _set(before: SetStatistics, after: SetStatistics) -> str:
    facts = {
        "records": (before.records, after.records),
        "with an input": (before.with_input, after.with_input),
        "exact duplicates": (before.exact_duplicates, after.exact_duplicates),
        "repeated tasks": (before.repeated_tasks, after.repeated_tasks),
    }
    rows = [(name, *map(count, values)) for name, values in facts.items()]
    lengths = [
        (field, *(count(n) for n in (item.count, item.mean, item.low, item.median, item.high, item.longest)))
        for field, item in after.lengths.items()
    ]
    head = ("Words of", "Records", "Mean", "5 % under", "Median", "5 % over", "Longest")
    return table(("Of the set", "Read", "Kept"), rows, numbers=2, shown=len(rows)) + (
        table(head, lengths, numbers=6, shown=len(lengths)) if lengths else ""
    )


def _verbs(after: SetStatistics) -> str:
    drawn = draw_verbs(after, size=640) if after.verbs else ""
    return f'<figure class="card"><div class="sunburst">{drawn}</div></figure>' if drawn else ""


def _verb_share(after: SetStatistics) -> str:
    share = percent(after.with_verb / after.records) if after.records else "–"
    return f"{share} of the kept instructions begin with a known English verb; the 20 most frequent ones, 4 nouns each"


def _languages(after: SetStatistics) -> str:
    note = '<p class="note">A guess from scripts and common words; "not told" is short text, code or names.</p>'
    return pairs({name: count(number) for name, number in after.languages.items()}) + note if after.languages else ""
