import pytest

from alpaca_lora.models import IGNORED
from alpaca_lora.training.encoding import EncodedRow, Rejection
from alpaca_lora.training.rows import gather_rows

PLAIN = [
    EncodedRow((5, 6, 7, 2), (IGNORED, IGNORED, 7, 2), "d.json:1"),
    EncodedRow((5, 2), (IGNORED, 2), "d.json:3", cut_tokens=9),
    EncodedRow((8, 9, 2), (IGNORED, 9, 2), "d.json:4"),
]
REJECTED = Rejection("d.json:2", "longer than 4 tokens", 5)


@pytest.fixture
def rows():
    return gather_rows([PLAIN[0], REJECTED, *PLAIN[1:]])[0]


def test_rejections_are_kept_apart():
    assert gather_rows([PLAIN[0], REJECTED])[1] == [REJECTED]


def test_each_row_comes_back_as_it_went_in(rows):
    assert list(rows) == PLAIN
    assert [rows[index] for index in (0, 1, 2, -1, -3)] == [PLAIN[index] for index in (0, 1, 2, -1, -3)]
    assert rows[1:] == PLAIN[1:]
    assert rows[::-2] == PLAIN[::-2]


def test_ids_are_numbers_of_python(rows):
    assert {type(number) for row in rows for number in (*row.input_ids, *row.labels, row.cut_tokens)} == {int}


def test_a_place_that_is_not_there_is_refused(rows):
    with pytest.raises(IndexError):
        rows[3]


def test_lengths_are_those_of_the_rows(rows):
    assert rows.lengths.tolist() == [4, 2, 3]


def test_no_row_at_all_is_a_sequence_too():
    rows, _ = gather_rows([])
    assert (len(rows), list(rows), rows.lengths.tolist(), bool(rows)) == (0, [], [], False)


def test_a_token_takes_four_bytes(rows):
    assert (rows.ids.itemsize, len(rows.ids)) == (4, 9)
