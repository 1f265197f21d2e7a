import dataclasses
import io
import os
from pathlib import Path

import pytest
from rich.console import Console

from alpaca_lora.config import FinetuneConfig
from alpaca_lora.errors import EncodingError
from alpaca_lora.models import load_tokenizer
from alpaca_lora.prompts import Prompter
from alpaca_lora.records import Record, save_records
from alpaca_lora.training import preparation, row_cache
from alpaca_lora.training.dataset import build_dataset, encode_split
from alpaca_lora.training.encoding import EncodedRow
from alpaca_lora.training.preparation import prepare
from alpaca_lora.training.progress import Progress
from alpaca_lora.training.row_cache import keep_newest, open_cache
from alpaca_lora.training.rows import gather_rows

RECORDS = [Record(f"Say {n}.", "", f"{n} " * (1 + n % 40), origin=f"d.json:{n}") for n in range(1, 1201)]
CONFIG = FinetuneConfig(max_length=130, overlong="truncate_output")


@pytest.fixture(scope="module")
def tokenizer(tiny_base):
    return load_tokenizer(tiny_base)


@pytest.fixture
def open_at(tokenizer, tmp_path):
    """Open the cache of this test as a run does."""

    def open_at(directory=tmp_path / "rows", **changes):
        given = {"data_sha256": "0" * 64, "prompter": Prompter(), "tokenizer": tokenizer}
        return open_cache(directory, **{**given, **changes})

    return open_at


@pytest.fixture
def encode(tokenizer):
    """Encode the records through a cache."""

    def encode(cache, config=CONFIG, records=RECORDS, **options):
        return encode_split(records, Prompter(), tokenizer, config, cache=cache, **options)

    return encode


def files(cache) -> list[Path]:
    return sorted(cache.directory.iterdir()) if cache.directory.is_dir() else []


class TestHit:
    """An unchanged run takes what the one before it made."""

    def test_rows_and_rejections_come_back_as_they_were(self, open_at, encode):
        plain, rejected = encode(None)
        for _ in range(2):
            rows, refused = encode(open_at())
            assert list(rows) == list(plain)
            assert refused == rejected
        assert any(row.cut_tokens for row in rows)
        assert len(files(open_at())) == 1

    def test_rejections_keep_place_reason_and_length(self, open_at, encode):
        config = FinetuneConfig(max_length=130)
        (_, rejected), (_, again) = (encode(open_at(), config) for _ in range(2))
        assert again == rejected
        assert again[0].origin.startswith("d.json:")
        assert again[0].reason == "longer than 130 tokens"

    def test_the_trainer_gets_the_same_rows(self, open_at, encode):
        made, taken = (build_dataset(encode(open_at())[0], packed_length=512) for _ in range(2))
        assert list(made) == list(taken)

    def test_it_is_the_file_that_is_read(self, open_at, encode):
        cache = open_at()
        planted, _ = gather_rows([EncodedRow((5, 2), (-100, 2), "d.json:1")])
        encode(cache)
        cache.write(files(cache)[0].stem, (planted, []))
        assert list(encode(open_at())[0]) == list(planted)

    def test_what_does_not_fit_is_refused_from_the_cache_too(self, open_at, encode):
        config = FinetuneConfig(max_length=130, overlong="error")
        for _ in range(2):
            with pytest.raises(EncodingError, match="records do not fit at max_length 130"):
                encode(open_at(), config)
        assert len(files(open_at())) == 1

    def test_a_hit_counts_as_use(self, open_at, encode):
        encode(open_at())
        os.utime(files(open_at())[0], (0, 0))
        encode(open_at())
        assert files(open_at())[0].stat().st_mtime > 0

    def test_few_records_are_not_kept(self, open_at, encode):
        encode(open_at(), records=RECORDS[:1000])
        assert files(open_at()) == []


class TestMiss:
    """A changed byte of anything that ids follow from asks for another file."""

    OPTIONS = (512, "drop", False)

    @pytest.fixture
    def key(self, open_at):
        return open_at().key(RECORDS, self.OPTIONS)

    def test_nothing_changed_is_the_same_key(self, open_at, key):
        assert open_at().key(RECORDS, self.OPTIONS) == key

    @pytest.mark.parametrize("name", ["instruction", "input", "output", "origin"])
    def test_a_byte_of_a_record(self, open_at, key, name):
        changed = dataclasses.replace(RECORDS[-1], **{name: getattr(RECORDS[-1], name) + "!"})
        assert open_at().key([*RECORDS[:-1], changed], self.OPTIONS) != key

    def test_text_that_moves_from_one_field_to_the_next(self, open_at):
        keys = {open_at().key([Record(*texts)], self.OPTIONS) for texts in (("ab", "", "c"), ("a", "b", "c"))}
        assert len(keys) == 2

    def test_the_order_and_the_number_of_records(self, open_at, key):
        assert len({open_at().key(r, self.OPTIONS) for r in (RECORDS[::-1], RECORDS[1:], RECORDS)} | {key}) == 3

    def test_a_byte_of_the_data_outside_of_its_records(self, open_at, key):
        assert open_at(data_sha256="1" * 64).key(RECORDS, self.OPTIONS) != key

    def test_the_template(self, open_at, key):
        assert open_at(prompter=Prompter("alpaca_short")).key(RECORDS, self.OPTIONS) != key

    @pytest.mark.parametrize("options", [(511, "drop", False), (512, "truncate_input", False), (512, "drop", True)])
    def test_an_option(self, open_at, key, options):
        assert open_at().key(RECORDS, options) != key

    def test_the_tokenizer(self, open_at, key, tiny_base):
        other = load_tokenizer(tiny_base)
        other.add_tokens(["robot"])
        assert open_at(tokenizer=other).key(RECORDS, self.OPTIONS) != key

    def test_the_token_that_ends_a_text(self, open_at, key, tiny_base):
        other = load_tokenizer(tiny_base)
        other.eos_token = "<|pad|>"
        assert open_at(tokenizer=other).key(RECORDS, self.OPTIONS) != key

    def test_the_version(self, open_at, key, monkeypatch):
        monkeypatch.setattr(row_cache, "__version__", "99.0")
        assert open_at().key(RECORDS, self.OPTIONS) != key

    def test_the_code(self, open_at, key, monkeypatch):
        monkeypatch.setattr(row_cache, "_SOURCES", row_cache._SOURCES[1:])
        assert open_at().key(RECORDS, self.OPTIONS) != key

    def test_what_the_loss_counts(self, open_at, encode):
        config = FinetuneConfig(max_length=130, overlong="truncate_output", train_on_prompt=True)
        trained, scored = encode(open_at(), config)[0], encode(open_at(), config, scored=True)[0]
        assert trained[0].labels != scored[0].labels
        assert len(files(open_at())) == 2


def test_every_source_that_counts_is_there():
    assert len(list(row_cache._code())) == len(row_cache._SOURCES)


def test_a_tokenizer_without_a_digest_has_no_cache(open_at):
    class Plain:
        pass

    assert open_at(tokenizer=Plain()) is None


class TestDamage:
    """What is not whole is not used, and said."""

    @pytest.fixture
    def plain(self, encode):
        return list(encode(None)[0])

    @pytest.mark.parametrize(
        "damage",
        [
            lambda content: content[:100],
            lambda content: b"",
            lambda content: bytes([content[0] ^ 1]) + content[1:],
            lambda content: content[:-300] + bytes([content[-300] ^ 1]) + content[-299:],
            lambda content: content[:5000] + bytes([content[5000] ^ 1]) + content[5001:],
        ],
        ids=["torn", "empty", "first byte", "origin", "token"],
    )
    def test_a_damaged_file_is_made_again(self, open_at, encode, plain, damage):
        encode(open_at())
        (path,) = files(open_at())
        sound = path.read_bytes()
        path.write_bytes(damage(sound))
        cache = open_at()
        assert list(encode(cache)[0]) == plain
        assert cache.notes == [f"encoded rows in {str(path)!r} were damaged; they are made again"]
        assert path.read_bytes() == sound

    def test_a_sound_file_under_another_name_is_not_taken(self, open_at, encode, plain):
        encode(open_at(), FinetuneConfig(max_length=120, overlong="truncate_output"))
        (other,) = files(open_at())
        encode(open_at())
        (path,) = set(files(open_at())) - {other}
        path.write_bytes(other.read_bytes())
        cache = open_at()
        assert list(encode(cache)[0]) == plain
        assert "were damaged" in cache.notes[0]

    def test_a_cache_that_cannot_be_written_stops_nothing(self, open_at, encode, plain, tmp_path):
        (tmp_path / "file").write_text("")
        cache = open_at(tmp_path / "file" / "rows")
        assert list(encode(cache)[0]) == plain
        assert [note.partition(" (")[0] for note in cache.notes] == [
            "encoded rows cannot be read from the cache",
            "encoded rows cannot be kept for the next run",
        ]


def test_there_is_a_bound_to_what_is_kept(open_at, encode, monkeypatch):
    monkeypatch.setattr(row_cache, "_FILES", 2)
    for length in (100, 110, 120, 130):
        encode(open_at(), FinetuneConfig(max_length=length, overlong="truncate_output"))
    assert len(files(open_at())) == 2


class TestKeepNewest:
    """What stays in a cache."""

    @pytest.fixture
    def cache(self, tmp_path):
        for age, name in enumerate(("new", "used", "old")):
            (tmp_path / name).write_bytes(b"0123456789")
            os.utime(tmp_path / name, (1000 - age, 1000 - age))
        return tmp_path

    @pytest.mark.parametrize(
        ("limits", "kept"),
        [
            ({"files": 3, "total_bytes": 30}, {"new", "used", "old"}),
            ({"files": 2, "total_bytes": 30}, {"new", "used"}),
            ({"files": 3, "total_bytes": 29}, {"new", "used"}),
            ({"files": 3, "total_bytes": 19}, {"new"}),
            ({"files": 1, "total_bytes": 5}, {"new"}),
        ],
    )
    def test_the_oldest_go_first_and_the_newest_never(self, cache, limits, kept):
        keep_newest(cache, **limits)
        assert {path.name for path in cache.iterdir()} == kept


class TestRun:
    """What a run makes of it."""

    @pytest.fixture
    def run(self, tiny_base, tmp_path, monkeypatch):
        monkeypatch.setattr(preparation, "default_directory", lambda: tmp_path / "cache")
        save_records(RECORDS, tmp_path / "data.jsonl")

        def run():
            console = Console(file=io.StringIO(), width=100, force_terminal=False)
            with Progress(True, console) as display:
                prepared = prepare(
                    tiny_base, tmp_path / "data.jsonl", tmp_path / "run", FinetuneConfig(), display=display
                )
            return prepared, console.file.getvalue()

        return run

    def test_the_second_one_takes_the_rows_of_the_first(self, run):
        (first, shown), (second, shown_again) = run(), run()
        assert shown == "encoding 1,140 records …\nencoding 1,140 records … 1,000/1,140\n"
        assert shown_again == "taking 1,140 encoded records from the cache …\n"
        assert list(second.rows) == list(first.rows)
        assert list(second.heldout) == list(first.heldout)
        assert second.report == first.report
        assert second.contract() == first.contract()
        assert second.notes == ()

    def test_a_damaged_cache_is_noted(self, run, tmp_path):
        run()
        for path in (tmp_path / "cache").iterdir():
            path.write_bytes(b"torn")
        assert [note.rpartition(" were ")[2] for note in run()[0].notes] == ["damaged; they are made again"]
