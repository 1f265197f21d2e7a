"""What is worth knowing about records that are in order: repetitions, and text that means something to a machine."""

import re
from collections.abc import Iterator, Sequence

from alpaca_lora.records.record import Record

__all__ = ["survey"]

_CONTROL = re.compile(r"[\x01-\x08\x0b\x0c\x0e-\x1f\x7f]")
_MARKER = re.compile(r"### ?(?:Instruction|Input|Response):")
_TOKEN = re.compile(r"<\|[^|<>\s]{1,64}\|>|</?s>|<(?:bos|eos|pad|unk)>|<(?:start|end)_of_turn>|\[/?INST\]")
_SHOWN = 5


def survey(records: Sequence[Record]) -> Iterator[str]:
    """Yield one note for each thing found, with its count and the first places."""
    yield from _repetitions(records)
    kinds = {
        "hold control characters, which stay as they are": _CONTROL,
        "hold a marker of a prompt template, such as '### Response:', which stays text": _MARKER,
        "hold the text of a control token, such as '</s>', which is encoded as text": _TOKEN,
    }
    found: dict[str, list[str]] = {what: [] for what in kinds}
    for record in records:
        text = "\n".join(_texts(record))  # no pattern matches across a line end
        for what, pattern in kinds.items():
            if pattern.search(text):
                found[what].append(record.origin)
    for what, places in found.items():
        if places:
            yield f"{len(places):,} of {len(records):,} records {what}: {_listed(places)}"


def _texts(record: Record) -> tuple[str, str, str]:
    return record.instruction, record.input, record.output


def _repetitions(records: Sequence[Record]) -> Iterator[str]:
    first: dict[tuple[str, str], Record] = {}
    seen: dict[tuple[str, str, str], Record] = {}
    same, different = [], []
    for record in records:
        task = (record.instruction, record.input)
        if earlier := seen.get(_texts(record)):
            same.append(f"{record.origin} = {earlier.origin}")
        elif other := first.get(task):
            different.append(f"{record.origin} and {other.origin}")
        first.setdefault(task, record)
        seen.setdefault(_texts(record), record)
    if same:
        yield f"{len(same):,} of {len(records):,} records repeat an earlier one: {_listed(same)}"
    if different:
        what = "have the instruction and input of an earlier one, but another output"
        yield f"{len(different):,} of {len(records):,} records {what}: {_listed(different)}"


def _listed(places: Sequence[str]) -> str:
    return ", ".join(places[:_SHOWN]) + (f" and {len(places) - _SHOWN:,} more" if len(places) > _SHOWN else "")
