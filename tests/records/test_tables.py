import csv
import io

import pyarrow
import pyarrow.parquet
import pytest

from alpaca_lora.errors import RecordError
from alpaca_lora.records import Record, read_dataset
from alpaca_lora.records.record import Limits

HEADER = "instruction,input,output\n"


def parquet(**columns):
    stream = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(columns), stream)
    return stream.getvalue()


def test_a_csv_file_is_read_with_its_line_numbers(read):
    loaded = read("d.csv", f'{HEADER}"a\nb",,c\n\nd,"e ""f"", g",h\n')
    assert loaded.records == (Record("a\nb", "", "c"), Record("d", 'e "f", g', "h"))
    assert [record.origin for record in loaded.records] == ["d.csv:2", "d.csv:5"]
    assert loaded.notes == ("d.csv: skipped 1 blank line",)


def test_line_ends_inside_a_csv_text_stay_what_they_are(read):
    assert read("d.csv", f'{HEADER}"a\r\nb\rc\u2028d",,"e\r"\r\n'.replace("t\n", "t\r\n")).records == (
        Record("a\r\nb\rc\u2028d", "", "e\r"),
    )


def test_cells_that_look_like_something_else_stay_text(read):
    assert read("d.csv", f"{HEADER}2024-01-01,007,=1+1\n").records == (Record("2024-01-01", "007", "=1+1"),)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (
            f"{HEADER}a,b\na,,b\nc,d,e,f\n",
            [
                "d.csv:2: 2 instead of 3 cells; quote texts that hold commas, or fill the row up",
                "d.csv:4: 4 instead of 3 cells; quote texts that hold commas, or fill the row up",
            ],
        ),
        (
            f'{HEADER}a,,"b\nc,,d\n',
            ["d.csv:2: not CSV: a quote is never closed; quote the text and double the quotes inside it"],
        ),
        (
            f'{HEADER}a,,"b" c\n',
            ["d.csv:2: not CSV: ',' expected after '\"'; quote the text and double the quotes inside it"],
        ),
        (
            "instruction,output\ra,b\r",
            ["d.csv:1: not CSV: a carriage return outside quotes; quote the text and double the quotes inside it"],
        ),
        ("instruction;output\na;b\n", ["d.csv:1: columns are separated by ';'; save the file with commas"]),
        (
            "instruction,output,output\na,b,c\n",
            ["d.csv:1: column names that appear twice: 'output'; rename or delete one"],
        ),
        (HEADER, ["d.csv: no rows (only blanks, an empty list or a header); write at least one record"]),
        (
            f"{HEADER}a,,\n",
            ['d.csv:2: field "output" is empty; write the answer, delete the row, or pass allow_empty_output=True'],
        ),
    ],
)
def test_a_faulty_csv_file_is_refused(faults, content, expected):
    assert faults("d.csv", content) == expected


def test_a_cell_beyond_the_limit_is_told_as_such(tmp_path):
    path = tmp_path / "d.csv"
    path.write_text(f"{HEADER}a,,{'b' * 99}\n", encoding="utf-8")
    with pytest.raises(RecordError, match=r"d\.csv:2: a cell has more than 50 characters; close its quote, or shorten"):
        read_dataset(path, limits=Limits(line_bytes=50))


def test_a_csv_text_may_be_longer_than_the_csv_module_allows_and_its_limit_is_put_back(read):
    limit = csv.field_size_limit()
    assert read("d.csv", f"{HEADER}a,,{'b' * (limit + 1)}\n").records[0].output == "b" * (limit + 1)
    assert csv.field_size_limit() == limit


def test_parquet_columns_of_text_are_read_whatever_else_the_file_holds(read):
    content = parquet(
        instruction=pyarrow.array(["a", "b"], pyarrow.large_string()),
        output=pyarrow.array(["c", "2024-01-01"]).dictionary_encode(),
        input=[None, "x"],
        scores=[[1], [2, 3]],
    )
    loaded = read("d.parquet", content)
    assert loaded.records == (Record("a", "", "c"), Record("b", "x", "2024-01-01"))
    assert [record.origin for record in loaded.records] == ["d.parquet:1", "d.parquet:2"]
    assert loaded.notes[0] == "d.parquet: columns that are not read: 'scores'"


def test_parquet_dates_are_not_taken_for_text(faults):
    day = pyarrow.array([19_723], pyarrow.date32())
    assert faults("d.parquet", parquet(instruction=["a"], output=day)) == [
        'd.parquet:1: field "output" must be text (found date datetime.date(2024, 1, 1)); quote it, or store it as text'
    ]


def test_a_parquet_text_that_is_not_utf8_names_its_column(faults):
    broken = pyarrow.array([b"a", b"\xff"]).view(pyarrow.string())
    [fault] = faults("d.parquet", parquet(instruction=["a", "b"], output=broken))
    assert fault.startswith("d.parquet: column 'output' of type string cannot be read ('utf-8' codec can't decode")
    assert fault.endswith("); store it as UTF-8 text, or leave it out")


def test_parquet_names_that_appear_twice_are_refused(faults):
    table = pyarrow.table([["a"], ["b"], ["c"]], names=["instruction", "output", "output"])
    stream = io.BytesIO()
    pyarrow.parquet.write_table(table, stream)
    assert faults("d.parquet", stream.getvalue()) == [
        "d.parquet: column names that appear twice: 'output'; rename or delete one"
    ]


def bomb(rows, text):
    return pyarrow.DictionaryArray.from_arrays(pyarrow.array([0] * rows, pyarrow.int32()), pyarrow.array([text]))


def test_a_parquet_file_of_more_rows_than_bytes_is_refused(faults):
    content = parquet(instruction=bomb(300_000, "a"), output=bomb(300_000, "b"))
    assert faults("d.parquet", content) == [
        f"d.parquet: says that it holds 300,000 values in {len(content):,} bytes; write it again"
    ]


@pytest.mark.parametrize(
    "wrap", [lambda column: column, lambda column: pyarrow.ListArray.from_arrays([0, 200], column)]
)
def test_a_parquet_file_whose_texts_are_one_large_text_is_refused(faults, wrap):
    content = parquet(instruction=wrap(bomb(200, "x" * 900_000)))
    assert len(content) < 100_000
    assert faults("d.parquet", content) == [
        "d.parquet: unpacks to more than 100 times its size, as no records do; split it"
    ]


def test_texts_that_repeat_are_read_as_they_are(read):
    loaded = read("d.parquet", parquet(instruction=bomb(3, "a"), output=["b", "b", "c"]))
    assert loaded.records == (Record("a", "", "b"), Record("a", "", "b"), Record("a", "", "c"))
