"""The real client of the Hub against a small Hub on the loopback interface."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

import pytest
from huggingface_hub import constants

from alpaca_lora.errors import RecordError
from alpaca_lora.records import Record, read_dataset
from alpaca_lora.records.hub import HubReference, parse_reference

COMMIT = "0123456789abcdef0123456789abcdef01234567"
ROWS = b'{"instruction": "a", "input": "", "output": "2024-01-01"}\n'


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A Hub that holds the datasets put into this dictionary: name → file → bytes."""
    datasets = {}

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.do_GET()

        def do_GET(self):
            parts = unquote(urlsplit(self.path).path).strip("/").split("/")
            files = datasets.get("/".join(parts[2:4] if parts[0] == "api" else parts[1:3]))
            if files is None:
                self.answer(404, b"", {"X-Error-Code": "RepoNotFound"})
            elif parts[0] == "api" and parts[4:5] == ["tree"]:
                listed = [{"type": "file", "path": name, "size": len(files[name]), "oid": "0" * 40} for name in files]
                self.answer(200, json.dumps(listed).encode())
            elif parts[0] == "api":
                siblings = [{"rfilename": name} for name in files]
                self.answer(200, json.dumps({"id": "x", "sha": COMMIT, "siblings": siblings}).encode())
            else:
                content = files["/".join(parts[5:])]
                self.answer(200, content, {"X-Repo-Commit": COMMIT, "ETag": f'"{hash(content):x}"'})

        def answer(self, status, content, headers=()):
            self.send_response(status)
            for name, value in {"Content-Length": str(len(content)), **dict(headers)}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", endpoint + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.chdir(tmp_path)
    yield datasets
    server.shutdown()
    thread.join()
    server.server_close()


def fault(source):
    with pytest.raises(RecordError) as caught:
        read_dataset(source)
    [only] = caught.value.faults
    return only


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("org/name", HubReference("org/name", None, None)),
        ("org/name@v1.0", HubReference("org/name", "v1.0", None)),
        ("hf://datasets/org/name", HubReference("org/name", None, None)),
        ("hf://datasets/org/name@main/data/*.parquet", HubReference("org/name", "main", "data/*.parquet")),
        ("org/name/train.json", None),
        ("name", None),
        ("../name", None),
        ("/org/name", None),
        ("org/na me", None),
    ],
)
def test_a_reference_is_told_from_a_path(source, expected):
    assert parse_reference(source) == expected


def test_the_training_file_of_a_dataset_is_read_by_our_own_reader_at_its_commit(hub):
    hub["org/name"] = {"README.md": b"#", "dataset_infos.json": b"{}", "train.jsonl": ROWS, "test.jsonl": b"not read"}
    loaded = read_dataset("org/name")
    assert loaded.name == f"org/name@{COMMIT}"
    assert loaded.records == (Record("a", "", "2024-01-01"),)
    assert loaded.records[0].origin == "train.jsonl:1"
    assert loaded.notes == (f"org/name: read 'train.jsonl' of commit {COMMIT}",)


def test_a_file_without_the_word_train_is_read_if_it_is_the_only_one(hub):
    hub["org/name"] = {"alpaca_data.json": b"[%s]" % ROWS, "eval/validation.json": b"not read"}
    assert [record.origin for record in read_dataset("org/name").records] == ["alpaca_data.json:1"]


def test_the_shards_of_one_split_are_read_in_order(hub):
    hub["org/name"] = {f"data/train-0000{n}-of-00002-0a1b.jsonl": ROWS.replace(b'"a"', b'"%d"' % n) for n in (1, 0)}
    assert [record.instruction for record in read_dataset("org/name").records] == ["0", "1"]


def test_a_file_can_be_named(hub):
    hub["org/name"] = {"one.jsonl": b"not read", "sub/two.jsonl": ROWS}
    assert len(read_dataset("hf://datasets/org/name@main/sub/*.jsonl").records) == 1


@pytest.mark.parametrize(
    ("source", "files", "expected"),
    [
        (
            "org/name",
            {"a.json": b"", "b.json": b""},
            "org/name: it is not clear which of its files are meant; "
            "name one of 'a.json', 'b.json' as 'hf://datasets/org/name/FILE'",
        ),
        (
            "org/name",
            {"main/train.json": b"", "socratic/train.json": b""},
            "org/name: it is not clear which of its files are meant; "
            "name one of 'main/train.json', 'socratic/train.json' as 'hf://datasets/org/name/FILE'",
        ),
        (
            "org/name",
            {"test.json": b""},
            "org/name: it has no file of training data; name one of 'test.json' as 'hf://datasets/org/name/FILE'",
        ),
        (
            "org/name",
            {"script.py": b""},
            "org/name: it has no file of training data; none can be read",
        ),
        (
            "hf://datasets/org/name/b.json",
            {"a.json": b""},
            "org/name: no data file is called 'b.json'; name one of 'a.json' as 'hf://datasets/org/name/FILE'",
        ),
    ],
)
def test_an_unclear_choice_lists_the_files(hub, source, files, expected):
    hub["org/name"] = files
    assert fault(source) == expected


def test_a_dataset_that_was_read_once_is_read_again_without_the_hub(hub, monkeypatch):
    hub["org/name"] = {"train.jsonl": ROWS}
    online = read_dataset("org/name")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    offline = read_dataset("org/name")
    assert (offline.name, offline.records, offline.sha256) == (online.name, online.records, online.sha256)
    assert offline.notes[0].startswith("org/name: the Hub was not reached (")
    assert offline.notes[0].endswith("); the copy in the local cache was read")


def test_a_cached_dataset_that_lacks_a_file_is_not_read_in_part(hub, monkeypatch, tmp_path):
    hub["org/name"] = {f"train-0000{n}-of-00002.jsonl": ROWS for n in (0, 1)}
    read_dataset("org/name")
    [shard] = tmp_path.glob("cache/**/train-00001-of-00002.jsonl")
    shard.unlink()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert fault("org/name").startswith("org/name: cannot be had from the Hub or its local cache (")


@pytest.mark.parametrize("offline", [False, True])
def test_an_unknown_dataset_gives_one_error_with_the_remedies(hub, monkeypatch, offline):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
    message = fault("org/unknown")
    assert message.startswith("org/unknown: cannot be had from the Hub or its local cache (")
    assert message.endswith(
        "); check the spelling (there is no such path here either) and the network; run  hf auth login  for a private "
        "or gated dataset; or download a file of it and give its path"
    )


def test_a_name_below_a_directory_that_exists_is_a_path(hub, tmp_path):
    (tmp_path / "data").mkdir()
    assert fault("data/train").startswith("data/train: no such file; the nearest directory that exists is")
