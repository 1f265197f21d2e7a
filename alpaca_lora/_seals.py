"""The seal of a finished directory: the SHA-256 of every file in it, so that a changed byte is noticed later.

It is written last, in the format of coreutils: `sha256sum --check SHA256SUMS` reads it too. Its last line, a comment
there, is the digest of the lines above, so that damage to the seal is told from damage to a file. A seal is no
signature: whoever may write the files may seal them anew.
"""

import hashlib
import os
import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from alpaca_lora import _files
from alpaca_lora.errors import RunError

__all__ = ["SEAL", "break_seal", "list_files", "read_seal", "seal", "seal_faults"]

SEAL = "SHA256SUMS"

_LINE = re.compile(r"([0-9a-f]{64})  (.+)")
_LAST = "# SHA-256 of the lines above: "
_DELETABLE = re.compile(r"(checkpoint-[0-9]+)/")
"""What a person may delete as a whole to save room."""


def seal(directory: Path) -> None:
    """Write down the digest of every file in a directory but for hidden ones; call it when all of them are there.

    Raises:
        RunError: a name has a line end in it, which the format has no room for.
    """
    names = [name for name, kind in _walk(directory) if kind == "file" and name != SEAL]
    if broken := [name for name in names if "\n" in name]:
        raise RunError(
            f"{str(directory)!r} cannot be sealed: the name of the file {broken[0]!r} has a line end in it; rename the "
            "file and give the same command again"
        )
    lines = "".join(f"{_files.sha256_of(directory / name)}  {name}\n" for name in names)
    text = f"{lines}{_LAST}{_digest(lines)}\n"
    _files.write_bytes(directory / SEAL, text.encode("utf-8", "surrogateescape"))  # a name may be no UTF-8


def break_seal(directory: Path) -> None:
    """Remove the seal of a directory that is about to be written to."""
    (directory / SEAL).unlink(missing_ok=True)


def list_files(directory: Path) -> list[str]:
    """Return the names of all files in a directory, sorted, but for hidden ones.

    Raises:
        RunError: there is a link or something else that is no file; what a link leads to is not looked at.
    """
    names = []
    for name, kind in _walk(directory):
        if kind != "file":
            raise RunError(f"{name} is a {kind}: put a copy of the file in its place, or remove it")
        names.append(name)
    return names


def read_seal(directory: Path) -> dict[str, str]:
    """Return the digests that a seal holds, by name.

    Raises:
        RunError: the seal itself was changed.
    """
    lines = (directory / SEAL).read_bytes().decode("utf-8", "surrogateescape").split("\n")
    found = [_LINE.fullmatch(line) for line in lines[:-2]]
    above = "".join(f"{line}\n" for line in lines[:-2])
    if lines[-2:] != [f"{_LAST}{_digest(above)}", ""] or not all(found):
        raise RunError(f"{SEAL} is not as it was written, so it vouches for nothing: copy the directory again")
    return {match[2]: match[1] for match in found if match}


def seal_faults(
    directory: Path, sealed: dict[str, str], tick: Callable[[int, int], None] = lambda done, total: None
) -> Iterator[str]:
    """Yield what is not as it was sealed, the name of the file first.

    Args:
        directory: whose files are hashed.
        sealed: digests by name.
        tick: told how many files of how many are hashed.
    """
    there = [name for name in list_files(directory) if name != SEAL]
    for name in sorted(sealed.keys() - set(there)):
        whole = _DELETABLE.match(name)
        if whole is None or (directory / whole[1]).exists():
            yield f"{name} is missing"
    for done, name in enumerate(there, start=1):
        if name not in sealed:
            yield f"{name} was added"
        elif _files.sha256_of(directory / name) != sealed[name]:
            yield f"{name} has changed since it was written"
        tick(done, len(there))


def _walk(directory: Path) -> Iterator[tuple[str, str]]:
    """Yield name and kind of everything that is no plain directory, in the order of the names."""
    found = []
    for place, directories, files in os.walk(directory):
        directories[:] = [name for name in directories if not name.startswith(".")]
        for name in [*files, *(name for name in directories if os.path.islink(os.path.join(place, name)))]:
            if not name.startswith("."):
                path = Path(place, name)
                found.append((path.relative_to(directory).as_posix(), _kind(path)))
    yield from sorted(found)


def _kind(path: Path) -> str:
    mode = path.lstat().st_mode
    return "link" if stat.S_ISLNK(mode) else "file" if stat.S_ISREG(mode) else "device, pipe or socket"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
