"""The only module of this package that writes files.

A reader of any path written here sees the old content or the new, never half of it: content goes to a hidden sibling,
is flushed to the disk, and is renamed over the target; then the directory entry is flushed too. Directories are built
the same way, so `checkpoint-8/` exists only when everything in it does.
"""

import contextlib
import fcntl
import hashlib
import itertools
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from alpaca_lora.errors import RunError

_STAGING_PREFIX = ".staging-"
_RETIRED_PREFIX = ".retired-"
_STAGED = re.compile(re.escape(_STAGING_PREFIX) + "[0-9a-f]{16}")


def write_bytes(path: Path, content: bytes, *, private: bool = False) -> None:
    """Replace the file at `path` by `content`, atomically and durably; a private one is for its owner's eyes alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = _unused_name(path.parent)
    try:
        with open(staged, "xb", opener=lambda name, flags: os.open(name, flags, 0o600 if private else 0o666)) as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        staged.replace(path)
    except BaseException:
        staged.unlink(missing_ok=True)
        raise
    _sync_directory(path.parent)


def write_text(path: Path, content: str, *, private: bool = False) -> None:
    """Replace the file at `path` by `content` in UTF-8, line ends as given."""
    write_bytes(path, content.encode("utf-8"), private=private)


def write_json(path: Path, value: Any, *, private: bool = False) -> None:
    """Replace the file at `path` by `value` as strict JSON (no NaN), indented, keys in the order given."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_bytes(path, text.encode("utf-8", "backslashreplace"), private=private)  # a name of a file may be no UTF-8


def append_line(stream: IO[str], value: Any) -> None:
    """Append one JSON document and a line end to an open stream, and flush it."""
    stream.write(json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n")
    stream.flush()


def append_durably(stream: IO[str], lines: str) -> None:
    """Append whole lines to an open stream, all or none of them, and wait until they are on the disk.

    Raises:
        OSError: they could not be written; the file ends where it ended before.
    """
    descriptor, data = stream.fileno(), lines.encode("utf-8")
    before = os.fstat(descriptor).st_size
    try:
        while data:
            data = data[os.write(descriptor, data) :]
        os.fsync(descriptor)
    except OSError:
        os.ftruncate(descriptor, before)
        raise


def reserve_space(path: Path, size_bytes: int) -> None:
    """Make a file that really takes up this much of the disk, so that deleting it makes room when the disk is full."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _refuse_link(path)
    with open(path, "wb", opener=_not_through_a_link) as stream:
        fill = getattr(os, "posix_fallocate", lambda _, start, size: stream.write(bytes(size)))  # macOS has none
        try:
            fill(stream.fileno(), 0, size_bytes)
        except OSError:
            path.unlink()
            raise


def set_aside(path: Path, reason: str) -> Path:
    """Move a file or directory into `quarantine/` beside it, where the reason is written down; nothing is deleted.

    Returns:
        Where it is now.
    """
    shelf = path.parent / "quarantine"
    shelf.mkdir(exist_ok=True)
    names = (path.name if number == 1 else f"{path.name}-{number}" for number in itertools.count(1))
    target = next(shelf / name for name in names if not (shelf / name).exists())
    path.rename(target)
    _sync_directory(path.parent)
    write_text(shelf / f"{target.name}.txt", f"{reason}\n")
    return target


def remove_directory(path: Path) -> None:
    """Delete a directory so that no reader meets it half deleted: it is hidden first."""
    hidden = path.with_name(f"{_STAGING_PREFIX}{path.name}")
    shutil.rmtree(hidden, ignore_errors=True)
    path.rename(hidden)
    shutil.rmtree(hidden)


def open_journal(path: Path) -> IO[str]:
    """Open a JSON-lines file for appending, after cutting off a last line that a crash left without its end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = path.read_bytes() if path.exists() else b""
    if content and not content.endswith(b"\n"):
        write_bytes(path, content[: content.rfind(b"\n") + 1])
    _refuse_link(path)
    return open(path, "a", encoding="utf-8", newline="\n", opener=_not_through_a_link)


@contextlib.contextmanager
def new_directory(path: Path, *, replace: bool = True) -> Iterator[Path]:
    """Build a directory that appears at `path` complete or not at all.

    An existing directory at `path` is replaced at the end by two renames; a crash between them leaves it under a hidden
    name until `put_back` or `sweep_staging` is called. A link at `path` stays; what it leads to is made or replaced.

    Args:
        path: where the directory shall be.
        replace: take the place of what is there; else whoever builds the same directory first wins.

    Yields:
        The staging directory to write into.
    """
    path = path.resolve() if path.is_symlink() else path
    with _staging_directory(path.parent) as staged:
        yield staged
        for item in sorted(staged.rglob("*")):
            _sync(item)
        _sync_directory(staged)
        if replace:
            _swap(staged, path)
        else:
            _yield_to_the_first(staged, path)
    _sync_directory(path.parent)


@contextlib.contextmanager
def scratch_directory(parent: Path) -> Iterator[Path]:
    """Lend an empty directory below `parent` for the time of a `with` block."""
    with _staging_directory(parent, mode=0o700) as staged:
        yield staged


@contextlib.contextmanager
def _staging_directory(parent: Path, mode: int = 0o777) -> Iterator[Path]:
    """Lend a hidden directory that is locked, so that nobody sweeps it, and remove what is left of it."""
    parent.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as held:
        while True:
            staged = _unused_name(parent)
            staged.mkdir(mode)
            with contextlib.suppress(OSError):  # of a file system that locks no directory
                held.enter_context(_locked(staged))
            if staged.exists():  # else it was swept before it was locked
                break
        try:
            yield staged
        finally:
            shutil.rmtree(staged, ignore_errors=True)


def _swap(staged: Path, path: Path) -> None:
    """Put `staged` at `path`; what was there waits under a hidden name until the new one is in place."""
    retired = path.with_name(f"{_RETIRED_PREFIX}{path.name}")
    if path.exists():
        shutil.rmtree(retired, ignore_errors=True)
        path.replace(retired)
    try:
        staged.replace(path)
    except BaseException:
        put_back(path)
        raise
    shutil.rmtree(retired, ignore_errors=True)


def _yield_to_the_first(staged: Path, path: Path) -> None:
    """Put `staged` at `path`, unless another process has put the same there."""
    try:
        staged.rename(path)
    except OSError:
        if not path.is_dir():
            raise


def put_back(path: Path) -> None:
    """Restore the directory that a killed writer was replacing; nothing beside it is touched, so no lock is needed."""
    retired = path.with_name(f"{_RETIRED_PREFIX}{path.name}")
    if retired.is_dir() and not retired.is_symlink() and not path.exists():
        retired.replace(path)


def sweep_staging(directory: Path) -> None:
    """Remove what interrupted writers left in `directory`, and put back what they were replacing.

    Call it only while holding the directory's lock. A directory that somebody is filling without it stays, as that of
    an export into a run.
    """
    for retired in directory.glob(f"{_RETIRED_PREFIX}*"):
        put_back(directory / retired.name.removeprefix(_RETIRED_PREFIX))
        shutil.rmtree(retired, ignore_errors=True)
    for item in directory.glob(f"{_STAGING_PREFIX}*"):
        try:
            with _locked(item, fcntl.LOCK_NB):
                shutil.rmtree(item, ignore_errors=True)
        except BlockingIOError:
            continue
        except NotADirectoryError:
            item.unlink(missing_ok=True)
        except OSError:  # a file system that locks no directory
            shutil.rmtree(item, ignore_errors=True)


def sweep_abandoned(directory: Path) -> None:
    """Remove the staging directories whose writers are surely gone, where others may be at work."""
    for item in directory.glob(f"{_STAGING_PREFIX}*"):
        if _STAGED.fullmatch(item.name):
            with contextlib.suppress(OSError), _locked(item, fcntl.LOCK_NB):
                shutil.rmtree(item, ignore_errors=True)


@contextlib.contextmanager
def lock(directory: Path) -> Iterator[None]:
    """Hold the only writer's right to `directory`; the system gives it back even when the process is killed.

    Raises:
        RunError: another process holds it.
    """
    directory.mkdir(parents=True, exist_ok=True)
    _refuse_link(directory / ".lock")
    with open(directory / ".lock", "a", opener=_not_through_a_link) as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RunError(f"{str(directory)!r} is in use by another process; wait for it or choose another") from error
        yield


@contextlib.contextmanager
def _locked(directory: Path, flags: int = 0) -> Iterator[None]:
    """Hold the lock of a directory itself, which is not that of the right to write into it."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | flags)
        yield
    finally:
        os.close(descriptor)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file as 64 hex digits, reading it in pieces."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _refuse_link(path: Path) -> None:
    """Refuse a link in the place of a file that is written to: a run may come from somebody else."""
    if path.is_symlink():
        raise RunError(f"{str(path)!r} is a link to another place, which is not written to: remove it")


def _not_through_a_link(path: str, flags: int) -> int:
    """Open a file, and no link that has come into its place meanwhile."""
    return os.open(path, flags | os.O_NOFOLLOW, 0o666)


def _sync(path: Path) -> None:
    if path.is_dir():
        _sync_directory(path)
    elif path.is_file():
        with path.open("rb") as stream:
            os.fsync(stream.fileno())


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _unused_name(directory: Path) -> Path:
    return directory / f"{_STAGING_PREFIX}{secrets.token_hex(8)}"
