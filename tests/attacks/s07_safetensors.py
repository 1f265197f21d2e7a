"""S7: safetensors files with lying headers, torn ends, names that are paths and values that are no numbers."""

import json
import struct
from pathlib import Path

from tests.attacks.corpus import Attack, Parts

_SPAN = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


def packed(header: dict | bytes, data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


FILES = {
    "no bytes": b"",
    "seven bytes": b"\0" * 7,
    "a header longer than the file": packed(b"{}", length=2**40),
    "a header of 2**63 bytes": packed(b"{}", length=2**63),
    "a header of 80 MB": packed(b'{"a":' + b"[" * 80_000_000),
    "a header of many names": packed({f"x{n}": _SPAN for n in range(200_000)}, b"\0" * 8),
    "deep brackets": packed(b"[" * 200_000),
    "no JSON": packed(b"{" * 50),
    "a list": packed(b"[]"),
    "keys twice": packed(
        b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}',
        b"\0" * 8,
    ),
    "tensors that overlap": packed({"a": _SPAN, "b": _SPAN}, b"\0" * 8),
    "a hole": packed({"a": _SPAN | {"data_offsets": [8, 16]}}, b"\0" * 16),
    "a shape that overflows": packed({"a": _SPAN | {"shape": [2**40, 2**40]}}, b"\0" * 8),
    "a shape below zero": packed({"a": _SPAN | {"shape": [-2]}}, b"\0" * 8),
    "a number format that does not exist": packed({"a": _SPAN | {"dtype": "PICKLE"}}, b"\0" * 8),
    "a name that is a path": packed({"../../x": _SPAN}, b"\0" * 8),
    "a name with an escape": packed({"\x1b[2J\x1b]0;x\x07": _SPAN}, b"\0" * 8),
    "a pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
}


def replaced(part: str, name: str, content: bytes):
    def make(directory: Path, parts: Parts) -> Path:
        target = parts.copy(part, directory)
        (target / name).write_bytes(content)
        return target

    return make


def cut(part: str, name: str, share: float):
    def make(directory: Path, parts: Parts) -> Path:
        target = parts.copy(part, directory)
        content = (target / name).read_bytes()
        (target / name).write_bytes(content[: int(len(content) * share)])
        return target

    return make


def not_finite(directory: Path, parts: Parts) -> Path:
    target = parts.copy("adapter", directory)
    path = target / "adapter_model.safetensors"
    content = bytearray(path.read_bytes())
    content[-4:] = struct.pack("<f", float("nan"))
    path.write_bytes(bytes(content))
    return target


_ADAPTER, _BASE = "adapter_model.safetensors", "model.safetensors"
_UNREAD = ("finetune --dry-run", "inspect", "generate --teacher local --model {it} --num 3 --output-dir OUT --dry-run")
"""Commands that do not load the base, but look at the headers of its weights."""

ATTACKS = (
    *(
        Attack(
            f"an adapter: {name}", "adapter", replaced("adapter", _ADAPTER, content), "safetensors|fit|tensor|recipe"
        )
        for name, content in FILES.items()
    ),
    *(
        Attack(f"a base: {name}", "base", replaced("base", _BASE, content), "safetensors|weights|model", passes=_UNREAD)
        for name, content in FILES.items()
        if "80 MB" in name or len(content) < 10**5
    ),
    *(
        Attack(f"weights: {name}", "weights", replaced("merged", _BASE, content), "safetensors|differ|tensor|diff")
        for name, content in FILES.items()
        if len(content) < 10**5
    ),
    *(
        Attack(f"an adapter that ends after {share:.0%}", "adapter", cut("adapter", _ADAPTER, share), "safetensors")
        for share in (0.02, 0.4, 0.999)
    ),
    Attack("values that are no numbers", "adapter", not_finite, "NaN"),
)
