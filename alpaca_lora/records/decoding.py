"""Bytes of a file to text: decompression, encoding, byte order mark. UTF-8 is the only encoding accepted."""

import codecs
import gzip
import io
import json
import zlib

from alpaca_lora.records.findings import Findings
from alpaca_lora.records.record import Limits

__all__ = ["decode", "unpack"]

_LARGEST_RATIO = 100
"""Text of records is packed to a tenth or a thirtieth; gzip can do a thousandth, of zeros."""

_FREE_BYTES = 2**26
"""What any file may unpack to."""


def unpack(data: bytes, findings: Findings, limits: Limits) -> bytes:
    """Return the content of a gzip file; an unreadable or oversized one is a fault and counts as empty."""
    if not data:
        return data
    most = min(limits.unpacked_bytes, max(_FREE_BYTES, _LARGEST_RATIO * len(data)))
    try:
        content = gzip.GzipFile(fileobj=io.BytesIO(data)).read(most + 1)
    except (EOFError, OSError, zlib.error) as error:
        findings.fault(0, f"not a complete gzip file ({error}); compress it again")
        return b""
    if len(content) > limits.unpacked_bytes:
        findings.fault(0, f"unpacks to more than {limits.unpacked_bytes:,} bytes (Limits.unpacked_bytes); split it")
        return b""
    if len(content) > most:
        fix = "unpack it yourself if you trust it"
        findings.fault(0, f"unpacks to more than {_LARGEST_RATIO} times its size, as no records do; {fix}")
        return b""
    return content


def decode(data: bytes, findings: Findings) -> str:
    """Return the text of a file; what is not UTF-8 is a fault with line and byte.

    The rest of a file with such bytes is still returned, so that its other faults are found too.
    """
    encoding = json.detect_encoding(data)
    if encoding.startswith(("utf-16", "utf-32")):
        findings.fault(0, _wrong_encoding(data, encoding, findings.name or ""))
        return ""
    if data.startswith(codecs.BOM_UTF8):
        data = data[len(codecs.BOM_UTF8) :]
        findings.note("dropped the UTF-8 byte order mark at the start")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        for number, line in enumerate(data.split(b"\n"), start=1):
            _check_line(line, number, findings)
        return data.decode("utf-8", errors="replace")


def _check_line(line: bytes, number: int, findings: Findings) -> None:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError as error:
        byte = line[error.start]
        findings.fault(number, f"byte {error.start + 1}: 0x{byte:02X} is not UTF-8; save the file as UTF-8")


def _wrong_encoding(data: bytes, encoding: str, name: str) -> str:
    marks = {
        codecs.BOM_UTF32_LE: "FF FE 00 00",
        codecs.BOM_UTF32_BE: "00 00 FE FF",
        codecs.BOM_UTF16_LE: "FF FE",
        codecs.BOM_UTF16_BE: "FE FF",
    }
    seen = next((f"BOM {text}" for mark, text in marks.items() if data.startswith(mark)), "NUL bytes between letters")
    source = encoding.upper().replace("-LE", "LE").replace("-BE", "BE")
    return f"looks like {source} ({seen}); only UTF-8 is read: iconv -f {source} -t UTF-8 {name} > utf8-{name}"
