"""JSON text to rows, strictly: JSON lines, a JSON array, or one JSON object, told apart by content and not by name.

A structural scan (strings and brackets only) finds where each row begins and ends before anything is parsed. So a
broken row does not hide the next one, nesting is measured without recursion, and every fault has its line and column.
"""

import json
import re

from alpaca_lora.records.fields import exceeds
from alpaca_lora.records.findings import Findings
from alpaca_lora.records.record import Limits, Row
from alpaca_lora.records.syntax import Refused, explain, is_deeper, strict_decoder

__all__ = ["parse_json"]

_BLANK = " \t\r\n"
_OPENING = re.compile(r"\[[ \t\r\n]*+(?P<end>\])?")
_BORDER = re.compile(r"[ \t\r\n]*+(?:,|(?P<end>\]))[ \t\r\n]*+")
"""What is before the first element of an array, and after each; its end has a name."""

_STRUCTURE = re.compile(r'"(?:[^"\\\n]++|\\.)*+"?|[\[\]{},]')
"""A string (which ends at its line at the latest, so that a lost quote does not swallow the file), or structure."""


def parse_json(text: str, findings: Findings, limits: Limits) -> list[Row]:
    """Return the rows of a JSON file; what cannot be parsed becomes a fault.

    Args:
        text: the whole file.
        findings: takes the faults and notes.
        limits: longest row, deepest nesting, longest integer.

    Returns:
        The rows that are JSON, whatever they hold.
    """
    start = len(text) - len(text.lstrip(_BLANK))
    reader = _Reader(text, findings, limits)
    if text[start : start + 1] == "[":
        if not reader.read_sound_array(start):
            reader.read_array(start)
    elif not (text[start : start + 1] == "{" and reader.read_document(start)):
        reader.read_lines()
    return reader.rows


class _Reader:
    def __init__(self, text: str, findings: Findings, limits: Limits) -> None:
        self.text, self.findings, self.limits = text, findings, limits
        self.rows: list[Row] = []
        self._decoder = strict_decoder(limits)
        self._offset, self._line, self._line_start = 0, 1, 0

    def read_lines(self) -> None:
        """Read one value per line; only a line feed ends a line."""
        blank = 0
        lines = self.text.split("\n")
        for number, line in enumerate(lines, start=1):
            if line.strip(_BLANK):
                self._read_value(line, number, column=1)
            elif number < len(lines):
                blank += 1
        if blank and self.rows:
            self.findings.note(f"skipped {blank:,} blank lines" if blank > 1 else "skipped 1 blank line")

    def read_document(self, start: int) -> bool:
        """Read one object that spans several lines; False if the file is lines after all."""
        end = self._end_of_value(start)
        if end is None or "\n" not in self.text[start:end]:
            return False
        line, column = self._locate(start)
        if self.text[end:].strip(_BLANK):
            fix = "write one object per line (jq -c . FILE), or put them in one array"
            self.findings.fault(line, f"objects that span several lines do not make a list: {fix}")
        else:
            self._read_value(self.text[start:end], line, column)
        return True

    def read_sound_array(self, start: int) -> bool:
        """Read an array in one go; False, and nothing is kept, if anything in it needs a closer look."""
        text, limits = self.text, self.limits
        rows: list[Row] = []
        line, begin, border = 1, 0, _OPENING.match(text, start)
        try:
            while border and not border["end"]:
                line += text.count("\n", begin, border.end())
                begin = border.end()
                fields, end = self._decoder.raw_decode(text, begin)
                brackets = text.count("[", begin, end) + text.count("{", begin, end)
                if brackets > limits.depth or (end - begin) * 4 > limits.line_bytes:
                    return False
                rows.append(Row(line, fields, self.findings.place(line)))
                border = _BORDER.match(text, end)
        except (ValueError, RecursionError):
            return False
        if border is None or border.end() < len(text):
            return False
        self.rows = rows
        return True

    def read_array(self, start: int) -> None:
        """Read the elements of an array one by one."""
        spans, end = self._split_array(start)
        for number, (begin, stop) in enumerate(spans, start=1):
            element = self.text[begin:stop]
            begin += len(element) - len(element.lstrip(_BLANK))
            element = element.strip(_BLANK)
            is_last = number == len(spans)
            if is_last and end is None:
                self._read_torn(element, begin)
            elif element:
                self._read_value(element, *self._locate(begin))
            elif len(spans) > 1:
                line, column = self._locate(stop)
                fault = "a comma before the closing ']'; delete it" if is_last else "two commas; delete one"
                self.findings.fault(line, f"not JSON: {fault}", column=column)
        if end is not None and self.text[end:].strip(_BLANK):
            self._refuse_mixture(end)

    def _read_torn(self, element: str, begin: int) -> None:
        """Report an array without its end, unless a syntax error inside the last element is what hid the end."""
        if element and not self._is_cut(element) and not self._read_value(element, *self._locate(begin)):
            return
        complete, fix = "0 complete rows", "write it again"
        if self.rows:
            complete = "1 complete row" if len(self.rows) == 1 else f"{len(self.rows):,} complete rows"
            fix = f'write "]" after the last of them, which begins on line {self.rows[-1].line}'
        line, column = self._locate(len(self.text))
        self.findings.fault(line, f"the array is not closed: the file ends after {complete}; {fix}", column=column)

    def _is_cut(self, element: str) -> bool:
        """Return whether an element is right as far as it goes."""
        if is_deeper(element, self.limits.depth):
            return False
        try:
            self._decoder.decode(element)
        except json.JSONDecodeError as error:
            return error.msg.startswith("Unterminated string") or not error.doc[error.pos :].strip(_BLANK)
        except Refused:
            return False
        return False

    def _refuse_mixture(self, end: int) -> None:
        line, _ = self._locate(end)
        rest = end + len(self.text[end:]) - len(self.text[end:].lstrip(_BLANK))
        line_of_rest, column = self._locate(rest)
        fault = f"mixed JSON array and JSON lines (the array ends on line {line}); keep one of the two forms"
        self.findings.fault(line_of_rest, fault, column=column)

    def _read_value(self, text: str, line: int, column: int) -> bool:
        """Add the row that a text holds; False, and a fault, where it holds none."""
        limits = self.limits
        if size := exceeds(text, limits.line_bytes):
            fault = f"row of {size:,} bytes; the limit is {limits.line_bytes:,} (Limits.line_bytes); split or delete it"
            self.findings.fault(line, fault)
        elif is_deeper(text, limits.depth):
            self.findings.fault(line, f"nesting deeper than {limits.depth} (Limits.depth); flatten or delete the row")
        else:
            try:
                self.rows.append(Row(line, self._decoder.decode(text), self.findings.place(line)))
            except json.JSONDecodeError as error:
                shift = column - 1 if error.lineno == 1 else 0
                self.findings.fault(line + error.lineno - 1, explain(error), column=shift + error.colno)
            except Refused as error:
                self.findings.fault(line, str(error))
            else:
                return True
        return False

    def _split_array(self, start: int) -> tuple[list[tuple[int, int]], int | None]:
        """Return where the elements are, and the position after the closing bracket (None: there is none)."""
        spans, depth, begin = [], 0, start + 1
        for token in _STRUCTURE.finditer(self.text, start):
            mark = token.group()
            if mark in ("[", "{"):
                depth += 1
            elif mark in ("]", "}"):
                depth -= 1
                if depth == 0:
                    spans.append((begin, token.start()))
                    return spans, token.end()
            elif mark == "," and depth == 1:
                spans.append((begin, token.start()))
                begin = token.end()
        spans.append((begin, len(self.text)))
        return spans, None

    def _end_of_value(self, start: int) -> int | None:
        depth = 0
        for token in _STRUCTURE.finditer(self.text, start):
            mark = token.group()
            depth += (mark in ("[", "{")) - (mark in ("]", "}"))
            if depth == 0:
                return token.end()
        return None

    def _locate(self, offset: int) -> tuple[int, int]:
        """Return line and column of an offset; offsets never go back, so the whole file is counted once."""
        self._line += self.text.count("\n", self._offset, offset)
        feed = self.text.rfind("\n", self._offset, offset)
        if feed >= 0:
            self._line_start = feed + 1
        self._offset = offset
        return self._line, offset - self._line_start + 1
