import os
import tempfile
from pathlib import Path

import pytest

from alpaca_lora.errors import RecordError
from alpaca_lora.records import load_records, read_dataset

GOOD = '{"instruction": "a", "input": "", "output": "b"}\n'


def fault(source):
    with pytest.raises(RecordError) as caught:
        read_dataset(source)
    [only] = caught.value.faults
    return only


@pytest.mark.parametrize("kind", [str, Path])
def test_a_path_is_a_text_or_a_path_object(write, kind):
    assert len(load_records(kind(write("d.jsonl", GOOD)))) == 1


def test_a_relative_path_is_found_from_here(write, monkeypatch, tmp_path):
    write("d.jsonl", GOOD)
    monkeypatch.chdir(tmp_path)
    assert read_dataset("d.jsonl").name == "d.jsonl"


def test_a_glob_reads_its_files_in_order_of_their_names(write, tmp_path):
    (tmp_path / "deep" / "er").mkdir(parents=True)
    for name in ("deep/b.jsonl", "a.jsonl", "deep/er/c.jsonl"):
        write(name, GOOD.replace('"a"', f'"{name}"'))
    write("deep/d.csv", "not read")
    loaded = read_dataset(str(tmp_path / "**" / "*.jsonl"))
    assert [record.instruction for record in loaded.records] == ["a.jsonl", "deep/b.jsonl", "deep/er/c.jsonl"]
    assert [record.origin for record in loaded.records] == ["a.jsonl:1", "deep/b.jsonl:1", "deep/er/c.jsonl:1"]
    assert loaded.notes[0].startswith(f"{tmp_path}/**/*.jsonl: read 3 files: ")


@pytest.mark.parametrize("pattern", ["*/d.jsonl", "./*/d.jsonl", "../{here}/?/*.jsonl", "{full}/[ab]/d.jsonl"])
def test_files_of_one_name_are_told_apart_by_what_the_pattern_matched(write, tmp_path, monkeypatch, pattern):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write(f"{name}/d.jsonl", GOOD)
    monkeypatch.chdir(tmp_path)
    records = load_records(pattern.format(here=tmp_path.name, full=tmp_path))
    assert [record.origin for record in records] == ["a/d.jsonl:1", "b/d.jsonl:1"]


def test_a_file_whose_name_looks_like_a_glob_is_a_file(write):
    assert len(load_records(write("d[1]*.jsonl", GOOD))) == 1


def test_the_faults_of_all_files_of_a_glob_come_together(write, tmp_path):
    for name in ("a.jsonl", "b.jsonl"):
        write(name, "[]")
    with pytest.raises(RecordError) as caught:
        read_dataset(tmp_path / "*.jsonl")
    assert [line.split(":")[0] for line in caught.value.faults] == ["a.jsonl", "b.jsonl"]


def test_an_unknown_suffix_lists_the_known_ones(faults):
    for name, suffix in (("d.txt", ".txt"), ("d", ""), ("d.parquet.gz", ".parquet.gz")):
        assert faults(name, GOOD) == [
            f"{name}: unknown suffix {suffix!r}; rename the file to one of "
            ".json, .jsonl, .csv, .parquet, .json.gz, .jsonl.gz, .csv.gz"
        ]


@pytest.mark.parametrize("name", ["gsm8k", "no/such/place/d", "~/d.jsonl", "a\0b", "x" * 5_000])
def test_a_name_of_nothing_is_an_error_without_a_network(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert ": no such file; the nearest directory that exists is " in fault(name)


def test_a_path_below_a_file_says_that_it_is_a_file(write):
    path = write("d.jsonl", GOOD)
    assert f"no such file; {str(path)!r} is a file; a source is" in fault(path / "x.jsonl")


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "d.jsonl")
    assert fault(tmp_path / "d.jsonl").startswith(f"{tmp_path / 'd.jsonl'}: is not a regular file; a source is")


def test_a_file_that_may_not_be_read_is_named():
    # pytest's own directory is closed to others, and root may read everything, so another user reads in another one.
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "d.jsonl"
        path.write_text(GOOD)
        path.chmod(0)
        Path(directory).chmod(0o755)
        user = os.geteuid()
        if user == 0:
            os.seteuid(65_534)
        try:
            message = fault(path)
        finally:
            os.seteuid(user)
    assert message == "d.jsonl: cannot be read (Permission denied); check that it exists and its permissions"
