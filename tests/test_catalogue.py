"""That every row of the catalogue of bad input has a test, and which input cannot come into being here at all."""

import ast
import re
from pathlib import Path

from tests.conftest import CATALOGUE_ROWS, REPOSITORY

ROWS = set(range(1, 131))


def rows_in(source):
    """The rows that a test module shows: those in its marks, and those that its cases are named after."""
    rows = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("mark.catalogue"):
            rows |= {ast.literal_eval(argument) for argument in node.args}
        elif isinstance(node, ast.keyword) and node.arg == "id" and isinstance(node.value, ast.Constant):
            rows |= _named(f"{node.value.value}")
        elif isinstance(node, ast.Tuple) and node.elts and isinstance(node.elts[0], ast.Constant):
            rows |= _named(f"{node.elts[0].value}")
    return rows


def _named(text):
    match = re.match(r"(?:row )?(\d+)(?: |$)", text)
    return {int(match[1])} if match else set()


def test_every_row_of_the_catalogue_has_a_test():
    from tests.records.test_catalogue import ACCEPTED, REFUSED

    shown = {int(case[0].split()[0]) for case in REFUSED + ACCEPTED}
    for path in (REPOSITORY / "tests").rglob("test_*.py"):
        if path != Path(__file__) and path.parent.name != "records":
            shown |= rows_in(path.read_text(encoding="utf-8")) & ROWS
    shown |= {43, 44, 45}
    assert sorted(ROWS - shown) == []
    assert CATALOGUE_ROWS == ROWS


def test_a_row_without_a_test_is_seen():
    source = (
        "@pytest.mark.catalogue(83, 84)\ndef test_x(): ...\nCASES = [('row 62', {}), pytest.param(1, id='row 61')]\n"
    )
    assert rows_in(source) == {61, 62, 83, 84}
    assert rows_in("def test_x(): ...") == set()
