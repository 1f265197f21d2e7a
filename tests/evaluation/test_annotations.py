import json

import pytest

from alpaca_lora.errors import RecordError
from alpaca_lora.evaluation import load_annotations, load_model_outputs, save_annotations, save_model_outputs

ROW = {
    "instruction": "Name a river.",
    "output_1": "The Nile.",
    "generator_1": "old",
    "dataset": "ours",
    "output_2": "The Congo {0} % is one.",
    "generator_2": "new",
    "annotator": "judge",
    "preference": 2,
    "price_per_example": 0.01,
    "raw_completion": {"text": "m", "logprobs": [None, -0.5]},
}


@pytest.fixture
def write(tmp_path):
    """Write rows as an annotations.json, one per line from the second on."""

    def write(*rows):
        path = tmp_path / "annotations.json"
        path.write_text("[\n" + ",\n".join(map(json.dumps, rows)) + "\n]", encoding="utf-8")
        return path

    return write


def test_a_verdict_is_read_with_what_else_is_in_its_row(write):
    (item,) = load_annotations(write(ROW))
    assert (item.generator_1, item.generator_2, item.annotator, item.dataset) == ("old", "new", "judge", "ours")
    assert (item.preference, item.share, item.is_switched_outputs) == (2, 1.0, None)
    assert item.extra == {name: ROW[name] for name in ("price_per_example", "raw_completion")}


@pytest.mark.parametrize(("preference", "share"), [(1, 0), (1.25, 0.25), (1.5, 0.5), (0, 0.5), (2.0, 1), (None, None)])
def test_a_preference_is_a_share_of_the_model(write, preference, share):
    (item,) = load_annotations(write(ROW | {"preference": preference}))
    assert item.share == share


def test_a_file_that_is_read_and_written_again_says_the_same(write, tmp_path):
    rows = [ROW, ROW | {"preference": None, "is_switched_outputs": False}, ROW | {"annotator": None, "index": 3}]
    items = load_annotations(write(*rows))
    save_annotations(items, tmp_path / "again.json")
    assert json.loads((tmp_path / "again.json").read_text(encoding="utf-8")) == rows
    assert load_annotations(tmp_path / "again.json") == items


def test_answers_are_read_and_written_again(tmp_path):
    rows = [{"instruction": "a", "output": "", "generator": "m", "dataset": "d", "datasplit": "eval"}]
    (tmp_path / "outputs.jsonl").write_text(json.dumps(rows[0]), encoding="utf-8")
    items = load_model_outputs(tmp_path / "outputs.jsonl")
    assert (items[0].output, items[0].extra) == ("", {"datasplit": "eval"})
    save_model_outputs(items, tmp_path / "outputs.json")
    assert json.loads((tmp_path / "outputs.json").read_text(encoding="utf-8")) == rows


def test_every_fault_is_named_with_its_line(write):
    rows = [
        ROW | {"preference": 3},
        ROW,
        ROW | {"preference": "m"},
        ROW | {"preference": True, "output_1": None},
        {"instruction": "a", "preference": 1},
        ROW | {"is_switched_outputs": "yes"},
        ROW | {"annotator": 7},
        "text",
    ]
    with pytest.raises(RecordError) as caught:
        load_annotations(write(*rows))
    allowed = "must be from 1 (the baseline won) to 2 (the model won), 1.5 or 0 for a draw, or null for no verdict"
    assert list(caught.value.faults) == [
        f'annotations.json:2: field "preference" {allowed} (found number 3)',
        f"annotations.json:4: field \"preference\" {allowed} (found text 'm')",
        'annotations.json:5: field "output_1" is null; write the text, or delete the row',
        f'annotations.json:5: field "preference" {allowed} (found true)',
        "annotations.json:6: has no 'output_1', 'generator_1', 'output_2', 'generator_2'; "
        "the row has 'instruction', 'preference'",
        "annotations.json:7: field \"is_switched_outputs\" must be true or false (found text 'yes')",
        'annotations.json:8: field "annotator" must be text (found number 7); quote it, or store it as text',
        "annotations.json:9: must be an object (found text 'text')",
    ]


@pytest.mark.parametrize("text", ["", "[]", "[{]", '{"instruction": "a", "preference": NaN}'])
def test_what_is_no_list_of_rows_is_refused(tmp_path, text):
    (tmp_path / "annotations.json").write_text(text, encoding="utf-8")
    with pytest.raises(RecordError, match=r"cannot read .*annotations.json: "):
        load_annotations(tmp_path / "annotations.json")


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(RecordError, match="no such file"):
        load_annotations(tmp_path / "nowhere.json")
