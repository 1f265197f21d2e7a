"""S6: GGUF files whose headers lie about counts, lengths and places."""

import json
import struct
from pathlib import Path

from tests.attacks.corpus import Attack, Parts

_STRING, _ARRAY, _UINT32 = 8, 9, 4


def string(text: bytes, length: int | None = None) -> bytes:
    return struct.pack("<Q", len(text) if length is None else length) + text


def header(tensors: int = 0, keys: int = 0, version: int = 3, magic: bytes = b"GGUF") -> bytes:
    return magic + struct.pack("<IQQ", version, tensors, keys)


def pair(key: bytes, kind: int, value: bytes) -> bytes:
    return string(key) + struct.pack("<I", kind) + value


def tensor(name: bytes, shape: tuple[int, ...], kind: int = 0, offset: int = 0) -> bytes:
    return string(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)


def nested(depth: int) -> bytes:
    return pair(b"a", _ARRAY, (struct.pack("<IQ", _ARRAY, 1)) * depth + struct.pack("<IQ", _UINT32, 0))


FILES = {
    "no file at all": b"",
    "another magic": header(magic=b"GGML"),
    "a version of the future": header(version=99),
    "a cut header": header()[:10],
    "keys without end": header(keys=2**63) + pair(b"a", _UINT32, b"\1\0\0\0"),
    "tensors without end": header(tensors=2**63) + tensor(b"a", (1,)),
    "a string longer than the file": header(keys=1) + string(b"a", 2**62),
    "a value longer than the file": header(keys=1) + pair(b"a", _STRING, string(b"x", 2**40)),
    "an array longer than the file": header(keys=1) + pair(b"a", _ARRAY, struct.pack("<IQ", _UINT32, 2**60)),
    "an array of strings longer than the file": header(keys=1) + pair(b"a", _ARRAY, struct.pack("<IQ", _STRING, 2**40)),
    "an array of 49 bytes that never ends": header(keys=1) + pair(b"a", _ARRAY, struct.pack("<IQ", 10, 2**33)),
    "arrays in arrays": header(keys=1) + nested(2000),
    "a kind that does not exist": header(keys=1) + pair(b"a", 77, b"\0" * 8),
    "dimensions without end": header(tensors=1) + string(b"a") + struct.pack("<I", 2**31),
    "a product that overflows": header(tensors=1) + tensor(b"a", (2**32, 2**32, 2, 2)) + b"\0" * 64,
    "an offset behind the end": header(tensors=1) + tensor(b"a", (4,), offset=2**40) + b"\0" * 64,
    "an offset that is not aligned": header(tensors=1) + tensor(b"a", (4,), offset=3) + b"\0" * 64,
    "a number format that does not exist": header(tensors=1) + tensor(b"a", (4,), kind=1234) + b"\0" * 64,
    "a tensor twice": header(tensors=2) + tensor(b"a", (4,)) * 2 + b"\0" * 64,
    "a key twice": header(keys=2) + pair(b"a", _UINT32, b"\1\0\0\0") * 2,
    "an alignment of zero": header(keys=1) + pair(b"general.alignment", _UINT32, b"\0" * 4),
    "a name that is not text": header(tensors=1) + tensor(b"\xff\xfe", (4,)) + b"\0" * 64,
    "bytes at random": header() + bytes(range(256)) * 20,
}


def artifact(content: bytes):
    def make(directory: Path, parts: Parts) -> Path:
        target = directory / "artifact"
        target.mkdir()
        (target / "model.gguf").write_bytes(content)
        (target / "parity.json").write_text(json.dumps({"format": "gguf"}))
        return target

    return make


ATTACKS = tuple(Attack(name, "artifact", artifact(content), "GGUF|gguf") for name, content in FILES.items())
