import gzip

import pytest

from alpaca_lora.records import Limits, Record

GOOD = '{"instruction": "é", "input": "", "output": "b"}\n'


@pytest.mark.parametrize("name", ["d.jsonl.gz", "d.json.gz", "D.JSONL.GZ"])
def test_a_gzip_file_is_read(read, name):
    assert read(name, gzip.compress(GOOD.encode())).records == (Record("é", "", "b"),)


def test_a_gzip_file_that_unpacks_to_too_much_is_refused(faults):
    content = gzip.compress(GOOD.encode() * 1_000)
    assert faults("d.jsonl.gz", content, limits=Limits(unpacked_bytes=1_000)) == [
        "d.jsonl.gz: unpacks to more than 1,000 bytes (Limits.unpacked_bytes); split it"
    ]


def test_what_is_no_gzip_file_is_refused(faults):
    assert faults("d.csv.gz", "instruction,output\n") == [
        "d.csv.gz: not a complete gzip file (Not a gzipped file (b'in')); compress it again"
    ]


@pytest.mark.parametrize(
    ("encoding", "mark"),
    [("utf-16-le", "FF FE"), ("utf-16-be", "FE FF"), ("utf-32-le", "FF FE 00 00"), ("utf-32-be", "00 00 FE FF")],
)
@pytest.mark.parametrize("name", ["d.jsonl", "d.csv"])
def test_another_encoding_is_recognised_by_its_mark(faults, name, encoding, mark):
    [fault] = faults(name, ("\ufeff" + GOOD).encode(encoding))
    assert fault.startswith(f"{name}: looks like {encoding[:6].upper()} (BOM {mark}); only UTF-8 is read: iconv -f")


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
def test_another_encoding_is_recognised_without_a_mark(faults, encoding):
    [fault] = faults("d.jsonl", GOOD.encode(encoding))
    assert f"iconv -f {encoding.upper().replace('-LE', 'LE').replace('-BE', 'BE')} -t UTF-8 d.jsonl" in fault


def test_every_line_that_is_not_utf8_is_named(faults):
    assert faults("d.csv", b"instruction,output\n\xe9,b\na,b\nab,\xc3\x28\n") == [
        "d.csv:2: byte 1: 0xE9 is not UTF-8; save the file as UTF-8",
        "d.csv:4: byte 4: 0xC3 is not UTF-8; save the file as UTF-8",
    ]


def test_a_gzip_bomb_is_refused_long_before_it_is_unpacked(faults):
    content = gzip.compress(bytes(70 * 2**20))
    assert faults("d.jsonl.gz", content) == [
        "d.jsonl.gz: unpacks to more than 100 times its size, as no records do; unpack it yourself if you trust it"
    ]
