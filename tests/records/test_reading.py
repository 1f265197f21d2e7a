import contextlib
import gzip
import hashlib
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alpaca_lora.errors import RecordError
from alpaca_lora.records import Limits, LoadedRecords, Record, load_records, read_dataset, save_records

GOOD = '{"instruction": "a", "input": "", "output": "b"}\n'
AB = Record("a", "", "b")


def in_memory(source, **options):
    with pytest.raises(RecordError) as caught:
        read_dataset(source, **options)
    return list(caught.value.faults)


def test_a_file_gives_its_records_with_name_origin_and_hash(write):
    path = write("d.jsonl", GOOD + "\n" + GOOD.replace("a", "c"))
    loaded = read_dataset(path)
    assert loaded == LoadedRecords(
        name=str(path),
        records=(AB, Record("c", "", "b")),
        heldout=(),
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        notes=("d.jsonl: skipped 1 blank line",),
    )
    assert [record.origin for record in loaded.records] == ["d.jsonl:1", "d.jsonl:3"]
    assert load_records(path) == list(loaded.records)


def test_the_hash_of_several_files_is_that_of_their_digests(write, tmp_path):
    digests = [
        hashlib.sha256(write(name, GOOD + "\n" * n).read_bytes()).digest()
        for n, name in enumerate(["a.jsonl", "b.jsonl"])
    ]
    assert read_dataset(tmp_path / "*.jsonl").sha256 == hashlib.sha256(b"".join(digests)).hexdigest()


@pytest.mark.parametrize("name", ["d.json", "d.jsonl", "d.csv", "d.parquet"])
def test_every_format_gives_the_same_records(tmp_path, name):
    save_records([AB, Record("c", "x", "d")], tmp_path / name)
    assert load_records(tmp_path / name) == [AB, Record("c", "x", "d")]


@pytest.mark.parametrize("name", ["d.json", "d.jsonl"])
@pytest.mark.parametrize("content", [GOOD, f"[{GOOD}]"])
def test_json_is_recognised_by_its_content(read, name, content):
    assert read(name, content).records == (AB,)


@pytest.mark.parametrize(
    "source",
    [
        [{"instruction": "a", "output": "b"}],
        ({"instruction": "a", "input": None, "output": "b"},),
        iter([AB]),
        ({"instruction": letter, "output": "b"} for letter in "a"),
        {"instruction": "a", "input": "", "output": "b"},
    ],
    ids=["list", "tuple", "iterator", "generator", "mapping"],
)
def test_rows_in_memory_are_records(source):
    loaded = read_dataset(source)
    assert loaded.records == (AB,)
    assert (loaded.name, loaded.records[0].origin) == ("records in memory", "record 1")


def test_records_keep_the_columns_that_are_asked_for_and_say_nothing_of_others():
    records = [Record("a", "", "b", extra={"expected": 4, "language": "en"}), AB]
    loaded = read_dataset(records, extra_columns=["expected"])
    assert [record.extra for record in loaded.records] == [{"expected": 4}, {}]
    assert not any("not read" in note for note in loaded.notes)
    assert [record.extra for record in read_dataset(records).records] == [{}, {}]


def test_rows_in_memory_have_the_hash_of_the_file_that_they_would_be(tmp_path):
    rows = [AB, Record("é\u2028", "x", "d")]
    save_records(rows, tmp_path / "d.jsonl")
    assert read_dataset(rows).sha256 == read_dataset(tmp_path / "d.jsonl").sha256


def test_records_keep_the_origin_that_they_have(write):
    [again] = load_records(load_records(write("d.jsonl", GOOD)))
    assert again.origin == "d.jsonl:1"


def test_a_dataset_of_the_datasets_library_is_an_iterable_of_rows():
    datasets = pytest.importorskip("datasets")
    dataset = datasets.Dataset.from_dict({"question": ["a", "c"], "answer": ["b", "2024-01-01"]})
    loaded = read_dataset(dataset)
    assert loaded.records == (AB, Record("c", "", "2024-01-01"))
    assert loaded.notes[0] == "no column_map was given: read 'question' as instruction, 'answer' as output"
    assert in_memory(datasets.DatasetDict({"train": dataset})) == [
        "record 1: the rows are under 'train'; give that list alone, without the object around it"
    ]


@pytest.mark.parametrize(
    ("source", "faults"),
    [
        ([], ["records: no rows; give at least one record"]),
        (
            42,
            [
                "records: not a source of rows (found number 42); "
                "give a path, a Hub dataset, or rows such as [{'instruction': …, 'output': …}]"
            ],
        ),
        (
            [AB, "b"],
            ['record 2: row must be an object (found text \'b\'); write {"instruction": …, "input": …, "output": …}'],
        ),
        (
            [
                {"instruction": "a", "output": float("nan")},
                Record("a", "", 3),
                {"instruction": "a", "output": 10**5_000},
            ],
            [
                'record 1: field "output" must be text (found number nan); quote it, or store it as text '
                "(so in all 3 rows)",
            ],
        ),
        (
            [{"instruction": "\ud800", "output": "b"}, AB],
            ['record 1: field "instruction" holds U+D800, half of a character, which is not UTF-8; write all of it'],
        ),
        (
            {"instruction": ["a"], "output": ["b"]},
            [
                "record 1: looks column-oriented ('instruction', 'output' hold lists); "
                "give one object per row, in Python [dict(zip(data, row)) for row in zip(*data.values())]"
            ],
        ),
    ],
    ids=["nothing", "number", "text", "numbers", "surrogate", "columns"],
)
def test_rows_in_memory_are_checked_as_those_of_files(source, faults):
    assert in_memory(source) == faults


def test_bytes_are_no_source():
    assert in_memory(b"a")[0].startswith("records: not a source of rows (found bytes b'a'); give a path")
    table = pytest.importorskip("pandas").DataFrame([{"instruction": "a", "output": "b"}])
    assert in_memory(table) == ["records: a DataFrame gives its columns; give its rows, as table.to_dict('records')"]


def test_the_error_of_a_source_can_be_caught_as_a_value_error(write):
    path = write("d.jsonl", "[]")
    with pytest.raises(ValueError, match=r"^cannot read .*d\.jsonl: 1 fault\n  d\.jsonl: no rows"):
        load_records(path)


@pytest.mark.parametrize("suffix", [".json", ".jsonl", ".csv", ".jsonl.gz"])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(start=st.integers(0, 60), damage=st.binary(max_size=6), length=st.integers(0, 6))
def test_a_damaged_file_is_read_or_refused_but_never_breaks_the_reader(tmp_path, suffix, start, damage, length):
    path = tmp_path / f"d{suffix}"
    content = b'"instruction","input","output"\na,"b",c\n' if suffix == ".csv" else f"[{GOOD}]".encode()
    whole = gzip.compress(content, mtime=0) if suffix.endswith(".gz") else content
    path.write_bytes(whole[:start] + damage + whole[start + length :])
    with contextlib.suppress(RecordError):
        assert len(read_dataset(path).records) >= 1


def test_limits_can_be_set(faults):
    limits = Limits(field_bytes=2, depth=1)
    content = GOOD.replace('"b"', '"éé"') + '{"instruction": "a", "output": {"b": 1}}\n'
    assert faults("d.jsonl", content, limits=limits) == [
        'd.jsonl:1: field "output" is 4 bytes; the limit is 2 (Limits.field_bytes); shorten it or delete the row',
        "d.jsonl:2: nesting deeper than 1 (Limits.depth); flatten or delete the row",
    ]


def test_the_packaged_dataset_is_read_with_its_heldout_records():
    loaded = read_dataset("alpaca-mini")
    assert loaded.name == "alpaca-mini"
    assert len(loaded.records) >= 200
    assert len(loaded.heldout) == 60
    assert loaded.records[0].origin == "alpaca_mini.jsonl:1"
    assert loaded.heldout[0].origin == "alpaca_mini_heldout.jsonl:1"


def test_no_heldout_record_of_the_packaged_dataset_is_learned():
    loaded = read_dataset("alpaca-mini")
    tasks = [(record.instruction, record.input) for record in loaded.records]
    assert len({*tasks, *((record.instruction, record.input) for record in loaded.heldout)}) == len(tasks) + 60


def test_reading_json_needs_nothing_but_the_standard_library(run_python, write):
    path = write("d.jsonl", GOOD)
    code = """
import json, sys
from alpaca_lora.records import load_records, save_records
save_records(load_records(sys.argv[1]), sys.argv[1])
heavy = {"datasets", "huggingface_hub", "numpy", "pandas", "pyarrow", "pydantic", "torch"}
print(json.dumps(sorted(heavy & sys.modules.keys())))
"""
    done = run_python("-c", code, path)
    assert json.loads(done.stdout) == [], done.stderr


def test_the_same_look_sees_pyarrow_once_a_parquet_file_was_written(run_python, tmp_path):
    code = """
import json, sys
from alpaca_lora.records import Record, save_records
save_records([Record("a", "", "b")], sys.argv[1])
print(json.dumps("pyarrow" in sys.modules))
"""
    done = run_python("-c", code, tmp_path / "d.parquet")
    assert json.loads(done.stdout) is True, done.stderr
