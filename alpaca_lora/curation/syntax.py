"""Answers in a formal language, given to its parser: JSON, Python, XML."""

import ast
import json
import re
import textwrap
import warnings
from xml.parsers import expat

from alpaca_lora.curation.rule import Rule, Verdict
from alpaca_lora.records import Record

__all__ = ["SYNTAX"]

_FENCE = re.compile(r"```[ \t]*([\w+#-]*)[ \t]*\n(.*?)```", re.S)
_WANTS_JSON = re.compile(
    r"\b(?:valid |into |to |as |in |a |an |create |generate |write |the )json\b(?! (?:schema"
    r"|web token|parser))|\bjson (?:object|array|format|file|string|representation|data|document)\b",
    re.I,
)
_PYTHON = re.compile(r"\bpython\b", re.I)
_PYTHON_LINE = re.compile(
    r"^(?:def \w+\(|class \w+[(:]|import \w+|from \w+ import |print\(|for \w+ in .*:|while .*:|if .*:)"
)
_OPEN = re.compile(r"^[ \t]*(?:>>>|\.\.\.|In \[|\$ |# ?\.\.\.|%|!)|<[A-Za-z_ ]+>|\bpseudo", re.M)


def _blocks(record: Record, *names: str) -> list[str]:
    return [textwrap.dedent(text) for name, text in _FENCE.findall(record.output) if name.lower() in names]


def _json_syntax(record: Record) -> Verdict | None:
    """Parse what stands for JSON in the answer."""
    output = record.output.strip()
    texts = _blocks(record, "json")
    if not texts and _WANTS_JSON.search(record.instruction):
        texts = [block for block in _blocks(record, "") if block.lstrip()[:1] in ("{", "[")]
        if not texts and output[:1] in ("{", "[") and output[-1:] in ("}", "]"):
            texts = [output]
    for text in texts:
        try:
            json.loads(text)
        except (ValueError, RecursionError) as error:
            return Verdict(False, f"not JSON: {error}")
    return Verdict(True, "the JSON parses") if texts else None


def _python_syntax(record: Record) -> Verdict | None:
    """Parse what stands for Python in the answer; sessions, sketches and single heads of blocks are left alone."""
    texts = _blocks(record, "python", "py", "python3")
    if not texts and "```" not in record.output and _PYTHON.search(record.instruction):
        lines = record.output.strip("\n")
        texts = [lines] if _PYTHON_LINE.match(lines) and not re.search(r"^\w+ \w+ \w+ .*[.:]$", lines, re.M) else []
    texts = [text for text in texts if text.strip() and not _OPEN.search(text) and not re.fullmatch(r".+:\s*", text)]
    for text in texts:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                ast.parse(text)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            return Verdict(False, f"not Python: {error}")
    return Verdict(True, "the Python parses") if texts else None


def _xml_syntax(record: Record) -> Verdict | None:
    """Parse what stands for XML in the answer; documents with their own entities are left alone.

    Namespaces need no declaration and elements no root, unless a whole document is asked for or begun.
    """
    output = record.output.strip()
    texts = _blocks(record, "xml") or (
        [output] if re.search(r"\bxml\b", record.instruction, re.I) and output[:1] == "<" and output[-1:] == ">" else []
    )
    texts = [text.strip() for text in texts if "<!" not in text]
    whole = re.search(r"\b(?:document|file)\b", record.instruction, re.I)
    for text in texts:
        alone = whole or text.startswith("<?")
        try:
            expat.ParserCreate().Parse(text if alone else f"<all>\n{text}</all>", True)
        except expat.ExpatError as error:
            line = error.lineno - (not alone)
            return Verdict(False, f"not XML: {expat.ErrorString(error.code)}: line {line}, column {error.offset}")
    return Verdict(True, "the XML parses") if texts else None


SYNTAX = (
    Rule(
        name="json_syntax",
        severity="error",
        about="has JSON in its answer that does not parse",
        fix="Correct the JSON.",
        check=_json_syntax,
        computes=True,
        fixture=Record("Give the colours as a JSON array.", "", "['red', 'blue']"),
    ),
    Rule(
        name="python_syntax",
        severity="error",
        about="has Python in its answer that does not parse",
        fix="Correct the code; Python 2 counts as wrong.",
        check=_python_syntax,
        computes=True,
        fixture=Record("Write Python that prints hello.", "", "```python\nprint 'hello'\n```"),
    ),
    Rule(
        name="xml_syntax",
        severity="error",
        about="has XML in its answer that is not well-formed",
        fix="Correct the XML.",
        check=_xml_syntax,
        computes=True,
        fixture=Record("Write the colour red as XML.", "", "<colour>red</color>"),
    ),
)
"""Code and data that a parser can judge."""
