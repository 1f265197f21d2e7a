"""Where rows begin, and what is said when they do not end. The catalogue holds the common faults."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alpaca_lora.records import Limits
from alpaca_lora.records.findings import Findings
from alpaca_lora.records.parsing import _Reader, parse_json
from alpaca_lora.records.record import DEFAULT_LIMITS
from alpaca_lora.records.syntax import is_deeper

scalars = st.none() | st.booleans() | st.integers(-(10**18) + 1, 10**18 - 1) | st.floats(allow_nan=False) | st.text()
values = st.recursive(
    scalars.filter(lambda value: value not in (float("inf"), -float("inf"))),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
rows = st.lists(st.dictionaries(st.text(), values, max_size=4), min_size=1, max_size=6)


def parse(text, limits=DEFAULT_LIMITS):
    findings = Findings("d")
    return parse_json(text, findings, limits), findings


@given(rows, st.sampled_from([None, 0, 2]), st.booleans())
def test_an_array_gives_what_the_standard_parser_gives(objects, indent, ascii_only):
    parsed, findings = parse(json.dumps(objects, indent=indent, ensure_ascii=ascii_only))
    assert [row.fields for row in parsed] == objects
    assert findings.faults == []


@given(rows, st.booleans())
def test_lines_give_the_rows_of_the_array_at_their_lines(objects, ascii_only):
    text = "".join(json.dumps(fields, ensure_ascii=ascii_only) + "\n" for fields in objects)
    parsed, findings = parse(text)
    assert [(row.line, row.fields) for row in parsed] == list(enumerate(objects, start=1))
    assert findings.faults == []


@given(st.text(alphabet='[]{}",:\\ \n\r\t0a.-nultrefs\ufeff\u2028é'))
def test_no_text_is_accepted_that_the_standard_parser_refuses(text):
    parsed, findings = parse(text)
    if parsed and not findings.faults:
        try:
            document = json.loads(text)
        except json.JSONDecodeError:
            document = [json.loads(line) for line in text.split("\n") if line.strip(" \t\r")]
        assert [row.fields for row in parsed] in (document, [document])


EDITS = st.lists(st.tuples(st.integers(0, 300), st.sampled_from([*'[]{},:"\\ \n1aN\0', ""])), max_size=3)


@given(rows, st.sampled_from([None, 1]), EDITS, st.sampled_from([DEFAULT_LIMITS, Limits(60, 60, 2, 3)]))
def test_an_array_that_is_read_in_one_go_is_read_as_element_by_element(objects, indent, edits, limits):
    text = json.dumps(objects, indent=indent)
    for place, inserted in edits:
        text = text[:place] + inserted + text[place + (not inserted) :]
    quick, careful = (_Reader(text, Findings("d"), limits) for _ in range(2))
    if text.startswith("[") and quick.read_sound_array(0):
        careful.read_array(0)
        assert quick.rows == careful.rows
        assert (careful.findings.faults, careful.findings.notes) == ([], [])
    assert quick.findings.faults == []


def test_a_sound_array_is_read_in_one_go():
    reader = _Reader('[ {"a":\n 1},\n\n {"b": [2]} ]\n', Findings("d"), DEFAULT_LIMITS)
    assert reader.read_sound_array(0)
    assert [(row.line, row.fields, row.origin) for row in reader.rows] == [(1, {"a": 1}, "d:1"), (4, {"b": [2]}, "d:4")]


@given(st.lists(st.booleans(), min_size=1, max_size=12), st.booleans(), st.booleans())
def test_each_broken_row_is_found_at_its_line_and_the_others_are_read(broken, array, spread):
    parts = ['{"a": "x" 1}' if bad else '{"a":\n "]"}' if spread and array else '{"a": "]"}' for bad in broken]
    text = "[" + ",\n".join(parts) + "]" if array else "\n".join(parts)
    parsed, findings = parse(text)
    starts = [1 + sum(part.count("\n") + 1 for part in parts[:number]) for number in range(len(parts))]
    expected = [start for start, bad in zip(starts, broken, strict=True) if bad]
    assert [int(fault.split(":")[1]) for fault in findings.faults] == expected
    assert [row.line for row in parsed] == [start for start, bad in zip(starts, broken, strict=True) if not bad]


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ('{"a" 1}', ["d:1:6: not JSON: expected ':' delimiter, found '1}'; correct it here"]),
        ("{'a': 1}", ["d:1:2: not JSON: a single quote; write texts and keys in double quotes"]),
        ('{"a": None}', ["d:1:7: not JSON: expected value, found 'None}'; correct it here"]),
        (r'{"a": "\q"}', ["d:1:8: not JSON: invalid \\escape, found '\\\\q\"}'; correct it here"]),
        ('{"a": [1, ', ["d:1:11: JSON ends inside a list; complete or delete the row"]),
        ('{"a": "x\\"', ["d:1:7: JSON ends inside a string; complete or delete the row"]),
        ("instruction,output", ["d:1:1: not JSON: expected value, found 'instruction,outp'; correct it here"]),
        ('[{"a": 1},\n {"b": 2,}\n]', ["d:2:10: not JSON: a comma before the closing '}'; delete the comma"]),
        ('[\n{"a":\n "b" "c"}\n]', ["d:3:6: not JSON: expected ',' delimiter, found '\"c\"}'; correct it here"]),
        (
            '[{"a": 1} {"b": 2}]',
            [
                "d:1:11: two JSON values: the first is characters 1 to 8 of the row, the second begins here; "
                "put each on its own line, or a comma between them in an array"
            ],
        ),
        (
            '[{"a": 1},\n{"a": {"b": 1},\n{"a": 1}]',
            ["d:3:1: not JSON: expected property name enclosed in double quotes, found '{\"a\": 1}]'; correct it here"],
        ),
        (
            '{"a":\n1}\n{"a":\n2}\n',
            [
                "d:1: objects that span several lines do not make a list: "
                "write one object per line (jq -c . FILE), or put them in one array"
            ],
        ),
    ],
)
def test_a_syntax_error_is_shown_where_it_is(text, faults):
    assert parse(text)[1].faults == faults


def test_one_object_over_several_lines_is_one_row():
    parsed, _ = parse('\n{\n "a": {"b": 1}\n}\n')
    assert [(row.line, row.fields) for row in parsed] == [(2, {"a": {"b": 1}})]


def test_an_array_on_one_line_may_be_longer_than_a_row():
    text = json.dumps([{"a": "x" * 40}] * 100)
    assert len(parse(text, Limits(line_bytes=64))[0]) == 100
    assert parse(text, Limits(line_bytes=40))[1].faults[0] == (
        "d:1: row of 49 bytes; the limit is 40 (Limits.line_bytes); split or delete it"
    )


@pytest.mark.parametrize(("depth", "deeper"), [(64, False), (65, True)])
def test_brackets_count_as_nesting_only_outside_of_texts(depth, deeper):
    text = '{"a": "' + "[" * 99 + '\\"", "b": ' + "[" * (depth - 1) + "]" * (depth - 1) + "}"
    assert is_deeper(text, 64) is deeper


@pytest.mark.parametrize(("digits", "count"), [(18, 0), (19, 1)])
def test_integers_have_eighteen_digits_at_most(digits, count):
    assert len(parse(f'{{"a": -{"9" * digits}}}')[1].faults) == count
