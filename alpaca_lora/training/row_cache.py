"""Encoded rows of earlier runs, so that the same records are not tokenised twice.

A file holds the rows of one split. Its name is the digest of everything that its ids follow from: the bytes of the
data, every record and its place, the tokenizer, the template, the options, and the code with its version. So a changed
byte asks for another file, and none is ever out of date. The first bytes are a digest of name and content: what is
damaged is not used.
"""

import contextlib
import hashlib
import io
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib import metadata, resources
from pathlib import Path

import pyarrow as pa
from platformdirs import user_cache_path
from transformers import PreTrainedTokenizerBase

from alpaca_lora import _files
from alpaca_lora._version import __version__
from alpaca_lora.models import prefix_ids
from alpaca_lora.prompts import Prompter
from alpaca_lora.records import Record
from alpaca_lora.training.encoding import Rejection
from alpaca_lora.training.rows import EncodedRows

_FILES = 64
_TOTAL_BYTES = 2 * 2**30
_DIGEST_BYTES = 32
_CHUNK = 1000
_SOURCES = (
    "models/tokenizer.py",
    "prompts/pattern.py",
    "prompts/prompter.py",
    "training/encoding.py",
    "training/row_cache.py",
    "training/rows.py",
)
"""Code that ids follow from; its bytes count too, since a version number is not raised with every change."""

Encoded = tuple[EncodedRows, list[Rejection]]


def default_directory() -> Path:
    """Return where encoded rows are kept: the newest 64 files, together at most 2 GiB."""
    return user_cache_path("alpaca-lora") / "rows"


@dataclass(frozen=True)
class RowCache:
    """The cache, as one run sees it."""

    directory: Path
    """Where the files are."""

    origin: str
    """Digest of what all rows of the run follow from: data, template, tokenizer and code."""

    notes: list[str] = field(default_factory=list)
    """What went wrong with the cache, which never stops a run."""

    def key(self, records: Sequence[Record], options: Sequence[int | str | bool]) -> str:
        """Return the name under which these records are kept, encoded with these options."""
        digest = hashlib.sha256(json.dumps([self.origin, *options]).encode())
        for start in range(0, len(records), _CHUNK):
            chunk = records[start : start + _CHUNK]
            parts = [part for r in chunk for part in (r.instruction, r.input, r.output, r.origin, "")]
            digest.update("\0".join(parts).encode())  # U+0000 is refused in records, so no two lists look alike
        return digest.hexdigest()

    def read(self, key: str) -> Encoded | None:
        """Return the rows kept under a key; None where there are none, or none that can be trusted."""
        path = self._path(key)
        try:
            content = path.read_bytes()
            if content[:_DIGEST_BYTES] != _seal(key, memoryview(content)[_DIGEST_BYTES:]):
                self.notes.append(f"encoded rows in {str(path)!r} were damaged; they are made again")
                return None
        except FileNotFoundError:
            return None
        except OSError as error:
            self.notes.append(f"encoded rows cannot be read from the cache ({error}); they are made again")
            return None
        with contextlib.suppress(OSError):
            os.utime(path)  # it was used, so it is not the next to go
        return _unpack(memoryview(content)[_DIGEST_BYTES:])

    def write(self, key: str, encoded: Encoded) -> None:
        """Keep rows under a key, and let the oldest go where there are too many."""
        content = _pack(*encoded)
        try:
            _files.write_bytes(self._path(key), _seal(key, content) + content)
            keep_newest(self.directory, files=_FILES, total_bytes=_TOTAL_BYTES)
        except OSError as error:
            self.notes.append(f"encoded rows cannot be kept for the next run ({error})")

    def _path(self, key: str) -> Path:
        return self.directory / f"{key}.rows"


def open_cache(
    directory: Path, *, data_sha256: str, prompter: Prompter, tokenizer: PreTrainedTokenizerBase
) -> RowCache | None:
    """Return the cache for the rows of a run.

    Args:
        directory: where it is; made when something is kept.
        data_sha256: digest of the bytes of the data.
        prompter: renders prompts.
        tokenizer: makes ids.

    Returns:
        The cache; None for a tokenizer without a Rust half, whose behaviour has no digest.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return None
    parts = [
        data_sha256,
        prompter.sha256,
        hashlib.sha256(backend.to_str().encode()).hexdigest(),
        type(tokenizer).__qualname__,
        tokenizer.eos_token_id,
        prefix_ids(tokenizer),
        [__version__, *_code(), *map(metadata.version, ("tokenizers", "transformers"))],
    ]
    return RowCache(directory, hashlib.sha256(json.dumps(parts).encode()).hexdigest())


def keep_newest(directory: Path, *, files: int, total_bytes: int) -> None:
    """Remove from a cache what was not used for longest, until it holds no more than it may.

    A file counts as used when its modification time says so. Other processes may read and remove at the same time.

    Args:
        directory: holds files only.
        files: how many may stay.
        total_bytes: how much they may take together; the newest one stays in any case.
    """
    found = []
    for path in directory.iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.append((path.stat().st_mtime_ns, path.stat().st_size, path))
    taken = 0
    for number, (_, size, path) in enumerate(sorted(found, reverse=True), start=1):
        taken += size
        if number > 1 and (number > files or taken > total_bytes):
            path.unlink(missing_ok=True)


def _code() -> Iterator[str]:
    """Yield a digest of each source; nothing where only bytecode is installed, as the version stands for that."""
    package = resources.files("alpaca_lora")
    for name in _SOURCES:
        source = package / name
        if source.is_file():
            yield hashlib.sha256(source.read_bytes()).hexdigest()


def _seal(key: str, content: bytes | memoryview) -> bytes:
    digest = hashlib.sha256(key.encode())
    digest.update(content)
    return digest.digest()


def _pack(rows: EncodedRows, rejected: Sequence[Rejection]) -> bytes:
    """Return rows and rejections as a stream of Arrow's, which is read without a copy."""
    columns = {
        "ids": pa.LargeListArray.from_arrays(pa.array(rows.starts), pa.array(rows.ids)),
        "masked": pa.array(rows.masked),
        "cut": pa.array(rows.cut),
        "origin": pa.array(rows.origins, type=pa.string()),
    }
    refused = json.dumps([[item.origin, item.reason, item.tokens] for item in rejected])
    batch = pa.record_batch(list(columns.values()), names=list(columns))
    stream = io.BytesIO()
    with pa.ipc.new_stream(stream, batch.schema.with_metadata({"rejected": refused})) as writer:
        writer.write_batch(batch.replace_schema_metadata({"rejected": refused}))
    return stream.getvalue()


def _unpack(content: memoryview) -> Encoded:
    with pa.ipc.open_stream(content) as reader:
        refused = json.loads(reader.schema.metadata[b"rejected"])
        batch = reader.read_next_batch()
    ids, masked, cut, origins = batch.columns
    flat, starts, hidden, lost = (column.to_numpy() for column in (ids.values, ids.offsets, masked, cut))
    return EncodedRows(flat, starts, hidden, lost, origins.to_pylist()), [Rejection(*item) for item in refused]
