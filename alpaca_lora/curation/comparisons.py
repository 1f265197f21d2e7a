"""Records that are like each other, and records that are like what a model will be evaluated on.

Every pair above the floor of its rule is measured, whether the earlier record is kept or not, so that any threshold
from the floor on can be tried later without measuring again.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from alpaca_lora._optional import require
from alpaca_lora.curation.catalog import CONFLICT, CONTAMINATION, EXACT, NEAR, RULES
from alpaca_lora.curation.characters import trimmed
from alpaca_lora.curation.likeness import Contents, InputIndex
from alpaca_lora.curation.measured import Finding
from alpaca_lora.curation.settings import Compare, Method
from alpaca_lora.records import Record
from alpaca_lora.selfinstruct.novelty import Match, NoveltyIndex, compared_text, words
from alpaca_lora.selfinstruct.tokens import folded, tokens

__all__ = ["compare_with_held_out", "compare_within", "score_leaks"]

_MOST_PAIRS = 50
"""Earlier records that one record is compared with in the ledger: so many of the first, one of which mostly stays, and
of the most similar ones. It bounds a set of one task."""

_GRAM_WORDS = 8
_FEWEST_GRAMS = 6
_SHINGLE_CHARACTERS = 5
_PERMUTATIONS = 128

Found = dict[int, list[Finding]]
"""Findings by the position of the record."""


def compare_within(
    records: Sequence[Record], compare: Compare, method: Method, tick: Callable[[int], None] = lambda done: None
) -> Found:
    """Compare each record with all earlier ones.

    Args:
        records: after repairs.
        compare: what is compared. Of two tasks, by the words of any script, it is the inputs alone too where both have
            one, and the lower score counts; instructions are compared as Stanford did, by rouge_score's words.
        method: `exact` is ROUGE-L of every pair; `minhash` estimates the Jaccard similarity of the characters' 5-grams,
            and misses some pairs near the floor.
        tick: called after each record with the number of records done.

    Returns:
        Exact duplicates with the first of their kind; conflicting answers with up to 50 earlier records, and near
        duplicates with the first 50 and the 50 most similar ones. The first two are about the text itself, so that case
        and indentation can be what a task is about.

    Raises:
        MissingDependencyError: `minhash` without datasketch.
    """
    found: Found = defaultdict(list)
    first: dict[tuple[str, ...], int] = {}
    tasks: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    nearly_same = _near_matcher(compare, method, float(RULES[NEAR].floor or 0))
    indexed: list[int] = []
    for place, record in enumerate(records):
        task, output = (trimmed(record.instruction), trimmed(record.input)), trimmed(record.output)
        earlier = first.setdefault((*task, output), place)
        if earlier != place:
            found[place].append(Finding(EXACT, f"the same as {records[earlier].origin}", other=earlier))
        else:
            for other in tasks[task][:_MOST_PAIRS]:
                if folded(output) != folded(records[other].output):
                    found[place].append(Finding(CONFLICT, f"the task of {records[other].origin}", other=other))
            tasks[task].append(place)
            alike = nearly_same(record)
            most = sorted(alike, key=lambda match: -match.score)[:_MOST_PAIRS]
            for match in sorted({*alike[:_MOST_PAIRS], *most}):
                other = indexed[match.number]
                found[place].append(Finding(NEAR, f"like {records[other].origin}", match.score, other))
            indexed.append(place)
        tick(place + 1)
    return found


def _near_matcher(compare: Compare, method: Method, floor: float) -> Callable[[Record], list[Match]]:
    """Return what makes a record known, and says which of those before it nearly the same is asked in."""
    by_task = compare == "task"
    split = tokens if by_task else words
    similar = _minhash_matcher(floor) if method == "minhash" else _rouge_matcher(floor, split)
    inputs, known = InputIndex(floor=floor), list[Contents]()

    def nearly_same(record: Record) -> list[Match]:
        alike = similar(compared_text(record, with_input=by_task))
        if not by_task:
            return alike
        own = Contents.of(record)
        alike = [m for m in inputs.lower(record.input, alike) if not own.ask_otherwise(known[m.number])]
        inputs.add(record.input)
        known.append(own)
        return alike

    return nearly_same


def _rouge_matcher(floor: float, split: Callable[[str], list[str]]) -> Callable[[str], list[Match]]:
    index = NoveltyIndex(threshold=floor, split=split)

    def matches(text: str) -> list[Match]:
        found = index.matches(text)
        index.add(text)
        return found

    return matches


def _minhash_matcher(floor: float) -> Callable[[str], list[Match]]:
    datasketch = require("datasketch", extra="curate")
    index = datasketch.MinHashLSH(threshold=floor, num_perm=_PERMUTATIONS)
    sketches: list[object] = []

    def matches(text: str) -> list[Match]:
        plain = folded(text)
        shingles = {plain[n : n + _SHINGLE_CHARACTERS] for n in range(max(1, len(plain) - _SHINGLE_CHARACTERS + 1))}
        sketch = datasketch.MinHash(num_perm=_PERMUTATIONS)
        sketch.update_batch([shingle.encode() for shingle in sorted(shingles)])
        found = [Match(number, float(sketch.jaccard(sketches[number]))) for number in sorted(index.query(sketch))]
        index.insert(len(sketches), sketch)
        sketches.append(sketch)
        return [match for match in found if match.score > floor]

    return matches


def compare_with_held_out(records: Sequence[Record], held_out: Mapping[str, Iterable[Record]]) -> Found:
    """Compare each record with those that a model will be evaluated on.

    Two measures, of which the higher counts: ROUGE-L of instruction with input, or of the inputs where both have one
    and that is lower, so that a general instruction alone is no leak; and how many of the held-out task's runs of eight
    words stand anywhere in the record, output included.

    Args:
        records: after repairs.
        held_out: records by the name of their set.

    Returns:
        The most similar held-out record of each record that has one above the floor.
    """
    tasks = [(name, record) for name, group in held_out.items() for record in group]
    places = [record.origin if name in record.origin else f"{name}, {record.origin}" for name, record in tasks]
    found: Found = defaultdict(list)
    for place, scores in enumerate(score_leaks(records, [record for _, record in tasks])):
        if scores:
            number = max(scores, key=lambda n: (scores[n], -n))
            found[place].append(Finding(CONTAMINATION, f"like {places[number]}", scores[number]))
    return found


def score_leaks(records: Iterable[Record], held_out: Sequence[Record]) -> Iterator[dict[int, float]]:
    """Yield for each record how much it is like which held-out ones, above the floor, as `compare_with_held_out` does.

    Args:
        records: what is trained on.
        held_out: what is evaluated on; they are numbered by place.
    """
    texts = [compared_text(record, with_input=True) for record in held_out]
    floor = float(RULES[CONTAMINATION].floor or 0)
    index = NoveltyIndex(texts, threshold=floor, split=tokens)
    inputs = InputIndex((record.input for record in held_out), floor=floor)
    holders, sizes = _index_grams(texts)
    for record in records:
        scores = dict(inputs.lower(record.input, index.matches(compared_text(record, with_input=True))))
        shared = Counter(
            n
            for gram in _grams("\n".join((record.instruction, record.input, record.output)))
            for n in holders.get(gram, ())
        )
        for number, count in shared.items():
            if count / sizes[number] > max(floor, scores.get(number, 0)):
                scores[number] = count / sizes[number]
        yield scores


def _grams(text: str) -> set[tuple[str, ...]]:
    found = [token for token in tokens(text) if token[0].isalnum()]  # what is copied gets and loses Markdown's signs
    return {tuple(found[n : n + _GRAM_WORDS]) for n in range(len(found) - _GRAM_WORDS + 1)}


def _index_grams(texts: Sequence[str]) -> tuple[dict[tuple[str, ...], list[int]], list[int]]:
    """Return which texts hold a run of words, and how many runs each text has; short texts are left out."""
    holders: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)
    sizes = []
    for number, text in enumerate(texts):
        grams = _grams(text)
        sizes.append(len(grams))
        for gram in grams if len(grams) >= _FEWEST_GRAMS else ():
            holders[gram].append(number)
    return dict(holders), sizes
