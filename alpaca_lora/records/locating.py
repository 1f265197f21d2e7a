"""From the name of a source to its files: the packaged dataset, a path, a glob, or a Hub dataset."""

import difflib
import glob
import os
import re
from importlib.resources import files
from importlib.resources.abc import Traversable
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

from alpaca_lora.errors import RecordError
from alpaca_lora.records.fields import quoted
from alpaca_lora.records.findings import fault_error
from alpaca_lora.records.hub import HubReference, download, parse_reference

__all__ = ["SUFFIXES", "Located", "folder_of", "locate"]

SUFFIXES = (".json", ".jsonl", ".csv", ".parquet", ".json.gz", ".jsonl.gz", ".csv.gz")
"""Endings of the files that can be read."""

_PACKAGED = "alpaca-mini"
_WILDCARDS = re.compile(r"[*?\[]")


class Located(NamedTuple):
    """The files of a source."""

    name: str
    """The source as it was given; a Hub dataset with its commit."""

    files: tuple[Traversable, ...]
    """In reading order, at least one."""

    heldout: tuple[Traversable, ...] = ()
    """Files of records that are set aside; only the packaged dataset has one."""

    notes: tuple[str, ...] = ()
    """How the files were found, where that was not plain."""

    folder: Path | None = None
    """Of a glob, the directory in front of its first wildcard; files are named from there, as names may come twice."""

    def name_of(self, file: Traversable) -> str:
        """Return what a file is called in faults and origins: its name, or its path below the folder."""
        return file.name if self.folder is None else Path(str(file)).relative_to(self.folder).as_posix()


def locate(source: str | os.PathLike[str]) -> Located:
    """Find the files of a source.

    Args:
        source: `alpaca-mini`, a file, a glob, `org/name`, `org/name@revision`, or `hf://datasets/org/name/file`.

    Returns:
        The files, which exist.

    Raises:
        RecordError: there is nothing there, or a directory.
    """
    name = os.fspath(source)
    if name == _PACKAGED:
        folder = files("alpaca_lora.records")
        return Located(name, (folder / "alpaca_mini.jsonl",), (folder / "alpaca_mini_heldout.jsonl",))
    if os.path.isfile(name):
        return Located(name, (Path(name),))
    if os.path.isdir(name):
        raise _is_directory(name)
    if isinstance(source, str) and (reference := _hub_reference(name)):
        fetched = download(reference, SUFFIXES)
        return Located(f"{reference.dataset}@{fetched.commit}", fetched.files, notes=fetched.notes)
    if _WILDCARDS.search(name):
        return _expand(name)
    raise _is_missing(name)


def folder_of(pattern: str) -> Path | None:
    """Return the directory in front of the first wildcard of a glob; None for anything else.

    >>> folder_of("data/*/train.jsonl").as_posix()
    'data'
    """
    parts = Path(pattern).parts
    literal = list(takewhile(lambda part: not _WILDCARDS.search(part), parts))
    return None if len(literal) == len(parts) else Path(*literal)


def _hub_reference(name: str) -> HubReference | None:
    """Return the Hub dataset that a name means, unless it looks more like a path that has gone."""
    reference = parse_reference(name)
    looks_local = name.lower().endswith(SUFFIXES) or os.path.exists(os.path.dirname(name))
    return reference if name.startswith("hf://") or not looks_local else None


def _expand(pattern: str) -> Located:
    found = sorted(path for path in glob.glob(pattern, recursive=True) if os.path.isfile(path))
    if not found:
        fault = f"{pattern}: the pattern matches no file; {_surroundings(pattern)}"
        raise fault_error(f"cannot read {pattern}", [fault])
    notes = (f"{pattern}: read {len(found)} files: {quoted(found)}",)
    return Located(pattern, tuple(map(Path, found)), notes=notes, folder=folder_of(pattern))


def _is_directory(name: str) -> RecordError:
    data = sorted(item for item in os.listdir(name) if item.lower().endswith(SUFFIXES))
    fix = f"name one of its files ({quoted(data)}) or a glob" if data else "name a file; no data file lies in it"
    return fault_error(f"cannot read {name}", [f"{name}: is a directory; {fix}"])


def _is_missing(name: str) -> RecordError:
    allowed = f"a source is a file ({', '.join(SUFFIXES)}), a glob, a Hub dataset 'org/name', or {_PACKAGED!r}"
    what = "is not a regular file" if os.path.exists(name) else f"no such file; {_surroundings(name)}"
    return fault_error(f"cannot read {name}", [f"{name}: {what}; {allowed}"])


def _surroundings(name: str) -> str:
    """Say which part of a path exists, and what in there is called like the next part."""
    parent = Path(name).absolute()
    wanted = parent.name
    while not os.path.exists(parent) and parent != parent.parent:
        wanted, parent = parent.name, parent.parent
    if not parent.is_dir():
        return f"{str(parent)!r} is a file"
    names = sorted(item for item in os.listdir(parent) if item[0] != ".") if os.access(parent, os.R_OK) else []
    near = difflib.get_close_matches(wanted, names, n=5, cutoff=0.5)
    seen = f"similar names there: {quoted(near)}" if near else f"it holds {quoted(names) or 'nothing'}"
    return f"the nearest directory that exists is {str(parent)!r}; {seen}"
