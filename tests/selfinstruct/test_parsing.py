"""What each parser takes for a task. The numbered form follows the published parser, its defects included."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alpaca_lora import Record
from alpaca_lora.selfinstruct.parsing import parse_json, parse_numbered

ONE = " Name a bird.\n4. Input:\n<noinput>\n4. Output:\nA wren.\n"
TWO = "###\n5. Instruction: Add the numbers.\n5. Input:\n2 and 3\n5. Output:\n5\n"
BIRD, SUM = Record("Name a bird.", "", "A wren."), Record("Add the numbers.", "2 and 3", "5")


def outcome(found):
    """The records, and the rules that keep the other pieces out."""
    return [piece.record or piece.rule for piece in found]


@pytest.mark.catalogue(122)
@pytest.mark.parametrize(
    ("text", "finish", "expected"),
    [
        pytest.param(ONE + TWO, "stop", [BIRD, SUM], id="two tasks"),
        pytest.param(ONE + TWO, "length", [BIRD, "cut"], id="the last one of a cut answer goes"),
        pytest.param(ONE + TWO + "###", "length", [BIRD, SUM, "cut"], id="even where the last one is empty"),
        pytest.param(ONE + "###\n" + TWO, "stop", [BIRD, "malformed"], id="an empty piece shifts the numbers"),
        pytest.param(ONE + TWO.replace("5.", "6."), "stop", [BIRD, "malformed"], id="wrong numbers"),
        pytest.param(
            ONE.replace("A wren.", "### Birds\nA wren."),
            "stop",
            [Record("Name a bird.", "", ""), "malformed"],
            id="an output that begins with a heading is lost",
        ),
        pytest.param(
            ONE.replace("A wren.", "A ### wren.") + TWO,
            "stop",
            [Record("Name a bird.", "", "A"), *["malformed"] * 2],
            id="a heading in an output ends it, and every later task is lost",
        ),
        pytest.param(" Name a bird.\n4. Output:\nA wren.\n", "stop", ["malformed"], id="no input heading"),
        pytest.param(ONE.replace("<noinput>", "<NoInput>"), "stop", [BIRD], id="no input in any case"),
        pytest.param(
            ONE.replace("<noinput>", "no input"), "stop", [Record("Name a bird.", "no input", "A wren.")], id="marker"
        ),
        pytest.param(ONE.replace("A wren.", ""), "stop", [Record("Name a bird.", "", "")], id="an empty output passes"),
        pytest.param(
            ONE.replace("4. Output", "14. Output"), "stop", [Record("Name a bird.", "<noinput>\n1", "A wren.")], id="14"
        ),
        pytest.param(ONE.replace("4. Input", "4.Input"), "stop", ["malformed"], id="no space after the number"),
        pytest.param("", "stop", ["malformed"], id="nothing"),
        pytest.param(
            " A\n5. Instruction: B\n4. Input:\nx\n4. Output:\ny",
            "stop",
            [Record("A\n5. Instruction: B", "x", "y")],
            id="a heading with another number is text",
        ),
    ],
)
def test_the_faithful_parser_reads_what_the_published_one_reads(text, finish, expected):
    assert outcome(parse_numbered(text, first=4, finish=finish)) == expected


def test_a_chat_model_may_begin_with_the_heading_itself():
    assert outcome(parse_numbered(f"4. Instruction:{ONE}", first=4, finish="stop", chat=True)) == [BIRD]
    assert outcome(parse_numbered(f"4. Instruction:{ONE}", first=4, finish="stop")) == ["malformed"]


def written(record):
    return json.dumps({"instruction": record.instruction, "input": record.input, "output": record.output})


@pytest.mark.catalogue(122)
@pytest.mark.parametrize(
    ("text", "finish", "expected"),
    [
        pytest.param(f'{{"tasks": [{written(BIRD)}, {written(SUM)}]}}', "stop", [BIRD, SUM], id="as asked"),
        pytest.param(f"[{written(BIRD)}]", "stop", [BIRD], id="row 122, list"),
        pytest.param(f"{written(BIRD)}\n{written(SUM)}", "stop", [BIRD, SUM], id="row 122, lines"),
        pytest.param(f"Sure!\n```json\n{written(BIRD)}\n```\nMore?", "stop", [BIRD], id="row 122, fence and prose"),
        pytest.param(f'{{"tasks": [{written(BIRD)}, {written(SUM)[:-9]}', "length", [BIRD, "cut"], id="row 121, cut"),
        pytest.param(
            f'{{"tasks": [{written(BIRD)}, {written(SUM)[:-9]}', "stop", [BIRD, "malformed"], id="row 122, broken"
        ),
        pytest.param('{"instruction": "Name a bird.", "input": null, "output": "A wren."}', "stop", [BIRD], id="null"),
        pytest.param('{"instruction": "Name a bird.", "output": "A wren."}', "stop", [BIRD], id="row 122, no input"),
        pytest.param(
            '{"instruction": "Add the numbers.", "input": "2 and 3", "output": 5}', "stop", [SUM], id="number"
        ),
        pytest.param('{"instruction": ["Add"], "input": "", "output": "5"}', "stop", ["malformed"], id="row 122, type"),
        pytest.param(written(Record("Name a bird.", "N/A", "A wren.")), "stop", [BIRD], id="no input, in other words"),
        pytest.param(
            written(Record("Use ### here.", "a\nb", "# c")),
            "stop",
            [Record("Use ### here.", "a\nb", "# c")],
            id="row 122, ###",
        ),
        pytest.param(
            '{"instruction": "Name\na bird.", "output": "A wren."}',
            "stop",
            [Record("Name\na bird.", "", "A wren.")],
            id="raw line end",
        ),
        pytest.param("I would rather not.", "stop", [], id="row 122, prose alone"),
        pytest.param('{"a": ' * 5000, "stop", [], id="row 122, deep"),
        pytest.param('{"a": ' * 1500 + "1" + "}" * 1500, "stop", [], id="row 122, deep and whole"),
    ],
)
def test_the_json_parser_takes_every_whole_task_and_counts_the_rest(text, finish, expected):
    assert outcome(parse_json(text, finish=finish)) == expected


@given(st.text(max_size=300), st.sampled_from(["stop", "length"]))
def test_no_text_breaks_a_parser(text, finish):
    parse_json(text, finish=finish)
    parse_numbered(text, first=4, finish=finish)


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).map(str.strip).filter(bool)


@given(st.lists(st.builds(Record, texts, st.just(""), texts), max_size=5))
def test_what_is_written_as_json_is_read_back(records):
    assert outcome(parse_json("\n".join(map(written, records)), finish="stop")) == records
