"""The header of a GGUF file, walked through before the gguf package reads it.

That package (0.19.0) believes what a header says: 49 bytes with a count of 2**33 keep it busy for ever and take all
memory. Here every count and length is held against the bytes that are left. Delete this when the package does so.
"""

import struct
from pathlib import Path
from typing import BinaryIO

from alpaca_lora.errors import ExportError

__all__ = ["check_gguf"]

_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_MOST_ENTRIES = 65_536
_MOST_DIMENSIONS = 4
_LONGEST_NAME = 65_536
_LONGEST_TEXT = 2**20
_MOST_TEXTS = 2**21
_STRING, _ARRAY = 8, 9
_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
"""Bytes of a value, by the number of its kind."""

_MOST_TYPES = 64
"""More number formats of tensors than GGML has."""


def check_gguf(path: Path) -> None:
    """Refuse a GGUF file whose header cannot be true.

    Args:
        path: the file; its tensors are not read.

    Raises:
        ExportError: a count, a length or a place in it does not fit the file.
    """
    try:
        with path.open("rb") as stream:
            _Walk(stream, path.stat().st_size).walk()
    except (ValueError, OSError) as error:
        raise ExportError(f"{str(path)!r} is no GGUF file that can be read ({error}): export it again") from error


class _Walk:
    def __init__(self, stream: BinaryIO, size: int) -> None:
        self._stream, self._size = stream, size

    def walk(self) -> None:
        if self._take(4) != _MAGIC:
            raise ValueError("it does not begin with GGUF")
        if (version := self._number("I")) not in _VERSIONS:
            raise ValueError(f"version {version} is not one of {', '.join(map(str, _VERSIONS))}")
        tensors, keys = self._count(_MOST_ENTRIES, least=24), self._count(_MOST_ENTRIES, least=13)
        names = [self._pair() for _ in range(keys)]
        _refuse_twice(names, "key")
        found = [self._tensor() for _ in range(tensors)]
        _refuse_twice([name for name, _ in found], "tensor")
        if wrong := next((name for name, end in found if end > self._left()), None):
            raise ValueError(f"tensor {wrong!r} lies outside of the file")

    def _pair(self) -> str:
        name = self._text(_LONGEST_NAME)
        kind = self._number("I")
        if kind == _STRING:
            self._text(_LONGEST_TEXT)
        elif kind == _ARRAY:
            self._array()
        elif name == "general.alignment" and kind == 4:
            if (alignment := self._number("I")) not in (8, 16, 32, 64, 128, 256):
                raise ValueError(f"general.alignment is {alignment}")
        else:
            self._skip(self._size_of(kind))
        return name

    def _array(self) -> None:
        kind = self._number("I")
        if kind == _STRING:
            for _ in range(self._count(_MOST_TEXTS, least=8)):
                self._text(_LONGEST_TEXT)
        else:  # arrays of arrays are read by nobody, and are refused as a kind without a size
            size = self._size_of(kind)
            self._skip(size * self._count(self._size, least=size))

    def _tensor(self) -> tuple[str, int]:
        """Return the name of a tensor, and the least number of bytes that its place asks for."""
        name = self._text(_LONGEST_NAME)
        dimensions = self._number("I")
        if dimensions > _MOST_DIMENSIONS:
            raise ValueError(f"tensor {name!r} has {dimensions} dimensions")
        elements = 1
        for _ in range(dimensions):
            elements *= self._number("Q")
        kind, offset = self._number("I"), self._number("Q")
        if kind >= _MOST_TYPES:
            raise ValueError(f"tensor {name!r} has the number format {kind}, which does not exist")
        if offset % 8:
            raise ValueError(f"tensor {name!r} begins at {offset}, which is not aligned")
        return name, offset + elements // 8  # no format has less than a bit for each element

    def _text(self, longest: int) -> str:
        length = self._count(longest, least=1)
        try:
            return self._take(length).decode("utf-8")
        except UnicodeDecodeError as error:
            raise ValueError("a text in it is not UTF-8") from error

    def _count(self, most: int, *, least: int) -> int:
        """Return a count of things that take at least so many bytes each."""
        count = self._number("Q")
        if count > most or count * least > self._left():
            raise ValueError(f"it says that {count} things follow, where {self._left()} bytes are left")
        return count

    def _size_of(self, kind: int) -> int:
        if kind not in _SIZES:
            raise ValueError(f"a value in it is of kind {kind}, which does not exist")
        return _SIZES[kind]

    def _number(self, form: str) -> int:
        form = f"<{form}"
        number: int = struct.unpack(form, self._take(struct.calcsize(form)))[0]
        return number

    def _skip(self, count: int) -> None:
        if count > self._left():
            raise ValueError("it ends inside its header")
        self._stream.seek(count, 1)

    def _take(self, count: int) -> bytes:
        content = self._stream.read(count)
        if len(content) < count:
            raise ValueError("it ends inside its header")
        return content

    def _left(self) -> int:
        return self._size - self._stream.tell()


def _refuse_twice(names: list[str], what: str) -> None:
    if len(set(names)) < len(names):
        raise ValueError(f"a {what} stands in it twice")
