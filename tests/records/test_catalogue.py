"""Every way in which a data file is known to be wrong or odd, and what the reader says to it, word for word.

The rows are numbered. 36, 37, 41, 42, 46 and 47 are no matter of one file and are tested where they belong.
"""

import gzip
import io
import json

import pyarrow
import pyarrow.parquet
import pytest

from alpaca_lora.errors import RecordError
from alpaca_lora.records import Record, read_dataset

GOOD = '{"instruction": "a", "input": "", "output": "b"}'
AB = Record("a", "", "b")
NO_INPUT = "d.jsonl: no input in 1 of 1 rows (missing or null); read as empty"
NOT_TEXT = 'd.jsonl:1: field "output" must be text (found {}); quote it, or store it as text'
OBJECT = 'write {"instruction": …, "input": …, "output": …}'


def row(**fields):
    return json.dumps({"instruction": "a", **fields})


def parquet(**columns):
    stream = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(columns), stream)
    return stream.getvalue()


REFUSED = [
    (
        "1 cut line",
        "d.jsonl",
        f'{GOOD}\n{GOOD}\n{{"instruction": "x", "input": \n{{"instruction": "x", "output": 1}}\n',
        [
            "d.jsonl:3:31: JSON ends inside an object; complete or delete the row",
            'd.jsonl:4: field "output" must be text (found number 1); quote it, or store it as text',
        ],
    ),
    (
        "1 first line cut",
        "d.jsonl",
        f'{{"instruction": "x\n{GOOD}\n',
        ["d.jsonl:1:17: JSON ends inside a string; complete or delete the row"],
    ),
    (
        "2 cut in a row",
        "d.json",
        f'[\n{GOOD},\n{GOOD},\n{{"instruction": "c", "out',
        [
            "d.json:4:26: the array is not closed: the file ends after 2 complete rows; "
            'write "]" after the last of them, which begins on line 3'
        ],
    ),
    (
        "2 cut after a row",
        "d.json",
        f"[\n{GOOD}\n",
        [
            "d.json:3:1: the array is not closed: the file ends after 1 complete row; "
            'write "]" after the last of them, which begins on line 2'
        ],
    ),
    (
        "2 cut at once",
        "d.json",
        "[",
        ["d.json:1:2: the array is not closed: the file ends after 0 complete rows; write it again"],
    ),
    (
        "3 in an object",
        "d.jsonl",
        '{"instruction": "x", "output": "y",}\n',
        ["d.jsonl:1:36: not JSON: a comma before the closing '}'; delete the comma"],
    ),
    (
        "3 in the array",
        "d.json",
        f"[{GOOD},\n]",
        ["d.json:2:1: not JSON: a comma before the closing ']'; delete it"],
    ),
    ("3 two in the array", "d.json", f"[{GOOD},,{GOOD}]", ["d.json:1:51: not JSON: two commas; delete one"]),
    (
        "4",
        "d.json",
        f"[{GOOD}]\n{GOOD}\n",
        ["d.json:2:1: mixed JSON array and JSON lines (the array ends on line 1); keep one of the two forms"],
    ),
    (
        "5",
        "d.jsonl",
        '{"a": 1}{"b": 2}\n',
        [
            "d.jsonl:1:9: two JSON values: the first is characters 1 to 8 of the row, the second begins here; "
            "put each on its own line, or a comma between them in an array"
        ],
    ),
    ("6", "d.jsonl", "", ["d.jsonl: no rows (the file is empty); write at least one record"]),
    ("7", "d.json", "[]", ["d.json: no rows (only blanks, an empty list or a header); write at least one record"]),
    (
        "8",
        "d.jsonl",
        " \n\r\n",
        ["d.jsonl: no rows (only blanks, an empty list or a header); write at least one record"],
    ),
    (
        "10 with a mark",
        "d.jsonl",
        ("\ufeff" + GOOD).encode("utf-16-le"),
        ["d.jsonl: looks like UTF-16 (BOM FF FE); only UTF-8 is read: iconv -f UTF-16 -t UTF-8 d.jsonl > utf8-d.jsonl"],
    ),
    (
        "10 without a mark",
        "d.json",
        GOOD.encode("utf-32-be"),
        [
            "d.json: looks like UTF-32BE (NUL bytes between letters); only UTF-8 is read: "
            "iconv -f UTF-32BE -t UTF-8 d.json > utf8-d.json"
        ],
    ),
    (
        "11",
        "d.jsonl",
        GOOD.encode() + b'\n{"instruction": "\xff", "output": "b"}\n{"instruction": 3, "output": "b"}\n',
        [
            "d.jsonl:2: byte 18: 0xFF is not UTF-8; save the file as UTF-8",
            'd.jsonl:3: field "instruction" must be text (found number 3); quote it, or store it as text',
        ],
    ),
    (
        "12",
        "d.jsonl",
        r'{"instruction": "a", "output": "\ud800"}',
        ['d.jsonl:1: field "output" holds U+D800, half of a character, which is not UTF-8; write all of it'],
    ),
    (
        "13 NUL",
        "d.jsonl",
        r'{"instruction": "a", "output": "\u0000"}',
        ['d.jsonl:1: field "output" holds the character U+0000, which cuts text short in tokenizers; delete it'],
    ),
    (
        "13 bare",
        "d.jsonl",
        '{"instruction": "a\t", "output": "b"}',
        ["d.jsonl:1:19: not JSON: the character '\\t' inside a text; write it as an escape, such as \\n or \\t"],
    ),
    (
        "15",
        "d.jsonl",
        f'{GOOD}\n["a"]\n"x"\n3\nnull\n',
        [
            f"d.jsonl:2: row must be an object (found list of 1); {OBJECT}",
            f"d.jsonl:3: row must be an object (found text 'x'); {OBJECT}",
            f"d.jsonl:4: row must be an object (found number 3); {OBJECT}",
            f"d.jsonl:5: row must be an object (found null); {OBJECT}",
        ],
    ),
    (
        "16",
        "d.jsonl",
        f'{GOOD}\n{{"input": "", "output": "b"}}',
        [
            "d.jsonl:2: field \"instruction\" is missing; the row has 'input', 'output'; "
            "add it, or name it in column_map (--map)"
        ],
    ),
    (
        "17",
        "d.jsonl",
        '{"Instruction": "a", "outputs": "b"}',
        [
            "d.jsonl:1: field \"instruction\" is missing; the row has 'Instruction', 'outputs'; "
            "use 'Instruction' with column_map={'instruction': 'Instruction'} (--map instruction=Instruction)",
            "d.jsonl:1: field \"output\" is missing; the row has 'Instruction', 'outputs'; "
            "use 'outputs' with column_map={'output': 'outputs'} (--map output=outputs)",
        ],
    ),
    (
        "18",
        "d.jsonl",
        f'{GOOD}\n{{"instruction": "a"}}\n{GOOD}',
        ["d.jsonl:2: field \"output\" is missing; the row has 'instruction'; add it, or name it in column_map (--map)"],
    ),
    ("19", "d.jsonl", row(output=None), ['d.jsonl:1: field "output" is null; write the text, or delete the row']),
    (
        "20",
        "d.jsonl",
        f"{GOOD}\n{row(output=' ')}",
        [
            'd.jsonl:2: field "output" is empty; write the answer, delete the row, or pass allow_empty_output=True',
        ],
    ),
    ("22 integer", "d.jsonl", row(output=42), [NOT_TEXT.format("number 42")]),
    ("22 fraction", "d.jsonl", row(output=3.5), [NOT_TEXT.format("number 3.5")]),
    ("22 truth", "d.jsonl", row(output=True), [NOT_TEXT.format("true")]),
    ("23 list", "d.jsonl", row(output=["a", "b"]), [NOT_TEXT.format("list of 2")]),
    ("23 object", "d.jsonl", row(output={"a": 1}), [NOT_TEXT.format("object with 'a'")]),
    (
        "25 NaN",
        "d.jsonl",
        row(output=float("nan")),
        ["d.jsonl:1: not JSON: NaN; write null, a number, or a text in double quotes"],
    ),
    (
        "25 infinity",
        "d.jsonl",
        row(output=-float("inf")),
        ["d.jsonl:1: not JSON: -Infinity; write null, a number, or a text in double quotes"],
    ),
    (
        "26",
        "d.jsonl",
        '{"instruction": "a", "output": "b", "instruction": "c"}',
        ["d.jsonl:1: key 'instruction' appears 2 times in one object; keep one"],
    ),
    (
        "28",
        "d.jsonl",
        row(output="é" * 2**19 + "x"),
        [
            'd.jsonl:1: field "output" is 1,048,577 bytes; the limit is 1,048,576 (Limits.field_bytes); '
            "shorten it or delete the row"
        ],
    ),
    (
        "29",
        "d.jsonl",
        f"{GOOD}\n{' ' * 20_000_000}{GOOD}",
        [
            "d.jsonl:2: row of 20,000,048 bytes; the limit is 8,388,608 (Limits.line_bytes); split or delete it",
        ],
    ),
    (
        "30 lists",
        "d.json",
        "[" * 100_000,
        ["d.json:1: nesting deeper than 64 (Limits.depth); flatten or delete the row"],
    ),
    (
        "30 objects",
        "d.jsonl",
        f"{GOOD}\n" + '{"a": ' * 100_000,
        ["d.jsonl:2: nesting deeper than 64 (Limits.depth); flatten or delete the row"],
    ),
    (
        "31",
        "d.jsonl",
        f'{{"instruction": "a", "output": "b", "id": -{"9" * 5_000}}}',
        ["d.jsonl:1: integer of 5,000 digits; the limit is 18 (Limits.integer_digits): quote it as text"],
    ),
    (
        "32",
        "d.json",
        '{"instruction": ["a", "b"], "output": ["c", "d"]}',
        [
            "d.json:1: looks column-oriented ('instruction', 'output' hold lists); "
            "give one object per row, in Python [dict(zip(data, row)) for row in zip(*data.values())]"
        ],
    ),
    (
        "33 data",
        "d.json",
        f'{{\n  "data": [{GOOD}]\n}}',
        ["d.json:1: the rows are under 'data'; give that list alone, without the object around it"],
    ),
    (
        "33 train",
        "d.json",
        f'{{"version": 1, "train": [{GOOD}]}}',
        ["d.json:1: the rows are under 'train'; give that list alone, without the object around it"],
    ),
    ("43 empty gz", "d.jsonl.gz", "", ["d.jsonl.gz: no rows (the file is empty); write at least one record"]),
    (
        "43 empty inside gz",
        "d.jsonl.gz",
        gzip.compress(b""),
        ["d.jsonl.gz: no rows (only blanks, an empty list or a header); write at least one record"],
    ),
    (
        "43 cut gz",
        "d.jsonl.gz",
        gzip.compress(GOOD.encode())[:-9],
        [
            "d.jsonl.gz: not a complete gzip file (Compressed file ended before the end-of-stream marker was "
            "reached); compress it again"
        ],
    ),
    (
        "45 numbers",
        "d.parquet",
        parquet(instruction=["a", "b"], output=[1, 2]),
        ['d.parquet:1: field "output" must be text (found number 1); quote it, or store it as text (so in all 2 rows)'],
    ),
    (
        "45 no column",
        "d.parquet",
        parquet(instruction=["a", "b"]),
        [
            "d.parquet:1: field \"output\" is missing; the row has 'instruction'; add it, or name it in column_map "
            "(--map) (so in all 2 rows)"
        ],
    ),
    (
        "45 a null",
        "d.parquet",
        parquet(instruction=["a", "b"], output=["c", None]),
        ['d.parquet:2: field "output" is null; write the text, or delete the row'],
    ),
]

ACCEPTED = [
    ("8 between rows", "d.jsonl", f"\n{GOOD}\n \t\r\n\n", [AB], ["d.jsonl: skipped 3 blank lines"]),
    (
        "9",
        "d.jsonl",
        b"\xef\xbb\xbf" + GOOD.encode(),
        [AB],
        ["d.jsonl: dropped the UTF-8 byte order mark at the start"],
    ),
    (
        "13 control characters",
        "d.jsonl",
        r'{"instruction": "a", "input": "\u001b[31m", "output": "\b"}',
        [Record("a", "\x1b[31m", "\b")],
        ["1 of 1 records hold control characters, which stay as they are: d.jsonl:1"],
    ),
    (
        "14",
        "d.jsonl",
        '{"instruction": "a\\r\\nb\\rc\u2028d\u0085e", "input": "", "output": "b"}\r\n' + GOOD + "\r\n",
        [Record("a\r\nb\rc\u2028d\u0085e", "", "b"), AB],
        [],
    ),
    (
        "20 allowed",
        "d.jsonl",
        '{"instruction": "a", "input": "", "output": " "}',
        [Record("a", "", " ")],
        ["d.jsonl: empty output in 1 of 1 rows, accepted by allow_empty_output"],
    ),
    (
        "21",
        "d.jsonl",
        f"{row(output='x', input=None)}\n{row(output='x', input='')}\n{row(output='x')}",
        [Record("a", "", "x")] * 3,
        [
            "d.jsonl: no input in 2 of 3 rows (missing or null); read as empty",
            "2 of 3 records repeat an earlier one: d.jsonl:2 = d.jsonl:1, d.jsonl:3 = d.jsonl:1",
        ],
    ),
    (
        "24",
        "d.json",
        '[{"instruction": "a", "input": "", "output": "2024-01-01"},'
        ' {"instruction": "b", "input": "", "output": "2024-01-02T03:04:05Z"}]',
        [Record("a", "", "2024-01-01"), Record("b", "", "2024-01-02T03:04:05Z")],
        [],
    ),
    (
        "27",
        "d.jsonl",
        '{"tools": [], "output": "b", "chat_template_kwargs": {"chat_template": "x"}, "input": "", "instruction": "a"}',
        [AB],
        ["d.jsonl: columns that are not read: 'tools', 'chat_template_kwargs'"],
    ),
    ("28 at the limit", "d.jsonl", row(output="b" * 2**20), [Record("a", "", "b" * 2**20)], [NO_INPUT]),
    (
        "34",
        "d.jsonl",
        f"{GOOD}\n{GOOD}\n",
        [AB, AB],
        ["1 of 2 records repeat an earlier one: d.jsonl:2 = d.jsonl:1"],
    ),
    (
        "35",
        "d.jsonl",
        f"{GOOD}\n{row(input='', output='c')}\n",
        [AB, Record("a", "", "c")],
        [
            "1 of 2 records have the instruction and input of an earlier one, but another output: "
            "d.jsonl:2 and d.jsonl:1"
        ],
    ),
    (
        "38",
        "d.jsonl",
        row(input="", output="b\n### Response:\nc"),
        [Record("a", "", "b\n### Response:\nc")],
        [
            "1 of 1 records hold a marker of a prompt template, such as '### Response:', which stays text: d.jsonl:1",
        ],
    ),
    (
        "39",
        "d.jsonl",
        row(input="</s>", output="<|im_end|>"),
        [Record("a", "</s>", "<|im_end|>")],
        ["1 of 1 records hold the text of a control token, such as '</s>', which is encoded as text: d.jsonl:1"],
    ),
    (
        "40",
        "d.jsonl",
        row(input="{input} {0} {", output="{} %s %(a)s ${x} }}"),
        [Record("a", "{input} {0} {", "{} %s %(a)s ${x} }}")],
        [],
    ),
    (
        "48",
        "d.jsonl",
        json.dumps({"instruction": "שלום ‏", "input": "e\u0301 ﷽", "output": "👩‍🚀𝒳"}, ensure_ascii=False),
        [Record("שלום ‏", "e\u0301 ﷽", "👩‍🚀𝒳")],
        [],
    ),
]

ELSEWHERE = {36, 37, 41, 42, 46, 47}


def cases(table):
    return [pytest.param(*case[1:], id=f"row {case[0]}") for case in table]


@pytest.mark.parametrize(("name", "content", "expected"), cases(REFUSED))
def test_a_faulty_file_is_refused_with_each_fault_its_place_and_its_remedy(faults, name, content, expected):
    assert faults(name, content) == expected


@pytest.mark.parametrize(("name", "content", "expected", "notes"), cases(ACCEPTED))
def test_an_odd_file_is_read_unchanged_and_noted(read, name, content, expected, notes):
    loaded = read(name, content, allow_empty_output="empty output" in str(notes))
    assert loaded.records == tuple(expected)
    assert loaded.notes == tuple(notes)


def refusal(source):
    with pytest.raises(RecordError) as caught:
        read_dataset(source)
    return "\n".join(caught.value.faults)


@pytest.mark.catalogue(43)
def test_43_a_missing_path_names_what_exists_there(write, tmp_path):
    write("train.jsonl", GOOD)
    write(".hidden", GOOD)
    assert refusal(tmp_path / "trian.jsonl") == (
        f"{tmp_path / 'trian.jsonl'}: no such file; the nearest directory that exists is {str(tmp_path)!r}; similar "
        "names there: 'train.jsonl'; a source is a file (.json, .jsonl, .csv, .parquet, .json.gz, .jsonl.gz, .csv.gz), "
        "a glob, a Hub dataset 'org/name', or 'alpaca-mini'"
    )
    assert f"the nearest directory that exists is {str(tmp_path)!r}; it holds 'train.jsonl'; a source is" in refusal(
        tmp_path / "no" / "where" / "d.jsonl"
    )


def test_43_a_directory_names_its_data_files(write, tmp_path):
    assert refusal(tmp_path) == f"{tmp_path}: is a directory; name a file; no data file lies in it"
    write("b.csv", "")
    write("a.json", "")
    write("c.txt", "")
    assert refusal(tmp_path) == f"{tmp_path}: is a directory; name one of its files ('a.json', 'b.csv') or a glob"


@pytest.mark.catalogue(44)
def test_44_a_glob_that_matches_nothing_names_what_is_there(write, tmp_path):
    write("a.json", GOOD)
    assert refusal(tmp_path / "*.jsonl") == (
        f"{tmp_path / '*.jsonl'}: the pattern matches no file; the nearest directory that exists is {str(tmp_path)!r}; "
        "similar names there: 'a.json'"
    )


@pytest.mark.catalogue(45)
def test_45_a_corrupt_footer_is_named(faults):
    content = parquet(instruction=["a"], output=["b"])
    [fault] = faults("d.parquet", content[:-9] + b"\0" * 9)
    assert fault.startswith("d.parquet: not a readable Parquet file (")
    assert fault.endswith("); write or download it again")


def test_every_row_of_the_catalogue_is_here():
    table = {int(case[0].split()[0]) for case in REFUSED + ACCEPTED}
    assert table | {43, 44, 45} == set(range(1, 49)) - ELSEWHERE
