"""Datasets of the Hugging Face Hub: which of its files are meant, at which commit, on this disk.

Only files are fetched, and our own reader reads them: `datasets.load_dataset("json")` turns a column of dates into
timestamps and a missing key into null.
"""

import fnmatch
import glob
import re
from collections.abc import Iterable, Sequence
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

from alpaca_lora.errors import RecordError
from alpaca_lora.records.fields import quoted
from alpaca_lora.records.findings import fault_error, first_line

__all__ = ["Download", "HubReference", "download", "parse_reference"]

_REFERENCE = re.compile(
    r"(?P<scheme>hf://datasets/)?(?P<dataset>\w[\w.-]*/\w[\w.-]*)(?:@(?P<revision>[\w.-]+))?(?:/(?P<file>.+))?"
)
_TRAIN = re.compile(r"(?:^|[/_.-])train(?![a-z])")
_OTHER_SPLIT = re.compile(r"(?:^|[/_.-])(?:test|valid|validation|val|dev|eval)(?![a-z])")
_SHARD = re.compile(r"-\d{5}-of-\d{5}(?:-[0-9a-f]+)?")
_ABOUT = ("dataset_info.json", "dataset_infos.json")


class HubReference(NamedTuple):
    """What `org/name`, `org/name@revision` or `hf://datasets/org/name@revision/file` says."""

    dataset: str
    """`org/name`."""

    revision: str | None
    """Branch, tag or commit; None is the main branch."""

    file: str | None
    """File of the repository, wildcards allowed; None takes the training split."""


class Download(NamedTuple):
    """Files of one commit."""

    files: tuple[Path, ...]
    """Where they are on this disk."""

    commit: str
    """40 hex digits."""

    notes: tuple[str, ...]
    """What was chosen, and whether the Hub was reached."""


def parse_reference(source: str) -> HubReference | None:
    """Return what a source says if it is written as a Hub dataset, else None; a file needs the `hf://` form."""
    match = _REFERENCE.fullmatch(source)
    if match is None or (match["file"] and not match["scheme"]):
        return None
    return HubReference(match["dataset"], match["revision"], match["file"])


def download(reference: HubReference, suffixes: Sequence[str]) -> Download:
    """Fetch the data files of a Hub dataset, or find them in the local cache.

    Args:
        reference: what to fetch.
        suffixes: endings of the files that can be read.

    Returns:
        The files, all of one commit.

    Raises:
        RecordError: the dataset cannot be reached and is not cached, or it is not clear which files are meant.
    """
    hub, errors = import_module("huggingface_hub"), import_module("huggingface_hub.errors")
    failures = (errors.HTTPError, errors.HFValidationError, errors.CachedRepoTreeNotFoundError, OSError)
    dataset, revision, _ = reference
    notes = []
    try:
        names = [file.rfilename for file in hub.HfApi().dataset_info(dataset, revision=revision).siblings]
    except failures as error:
        try:
            cached = hub.get_cached_repo_tree(dataset, repo_type="dataset", revision=revision)
        except failures:
            raise _unavailable(dataset, error) from error
        names = [file.path for file in cached]
        notes.append(f"{dataset}: the Hub was not reached ({first_line(error)}); the copy in the local cache was read")
    chosen = _choose(names, reference, suffixes)
    try:
        wanted = [glob.escape(name) for name in chosen]
        folder = Path(hub.snapshot_download(dataset, repo_type="dataset", revision=revision, allow_patterns=wanted))
    except failures as error:
        raise _unavailable(dataset, error) from error
    notes.append(f"{dataset}: read {quoted(chosen)} of commit {folder.name}")
    return Download(tuple(folder / name for name in chosen), folder.name, tuple(notes))


def _choose(names: Iterable[str], reference: HubReference, suffixes: Sequence[str]) -> list[str]:
    """Return the files that make one dataset: the only one, the shards of one, or what the reference names."""
    data = sorted(name for name in names if name.lower().endswith(tuple(suffixes)) and Path(name).name not in _ABOUT)
    if reference.file:
        chosen = fnmatch.filter(data, reference.file)
        whole = len(chosen) > 0
        fault = f"no data file is called {reference.file!r}"
    else:
        train = [name for name in data if _TRAIN.search(name)]
        chosen = train or [name for name in data if not _OTHER_SPLIT.search(name)]
        whole = len({_SHARD.sub("", name) for name in chosen}) == 1
        fault = "it is not clear which of its files are meant" if chosen else "it has no file of training data"
    if whole:
        return chosen
    fix = f"name one of {quoted(data)} as 'hf://datasets/{reference.dataset}/FILE'" if data else "none can be read"
    raise fault_error(f"cannot read the Hub dataset {reference.dataset}", [f"{reference.dataset}: {fault}; {fix}"])


def _unavailable(dataset: str, error: BaseException) -> RecordError:
    fix = (
        "check the spelling (there is no such path here either) and the network; run  hf auth login  for a private or "
        "gated dataset; or download a file of it and give its path"
    )
    fault = f"{dataset}: cannot be had from the Hub or its local cache ({first_line(error)}); {fix}"
    return fault_error(f"cannot read the Hub dataset {dataset}", [fault])
