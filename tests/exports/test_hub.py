"""A Hub that runs here: enough of its interface for a repository to be made and files to be committed."""

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


class FakeHub(BaseHTTPRequestHandler):
    """Answers as the Hub does; `files` holds what was committed, `status` what it answers to every request if set."""

    files: dict = {}
    status: int | None = None
    authorizations: set = set()

    def do_GET(self):
        self.answer({"id": "me/model", "sha": "0" * 40, "siblings": []})

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        type(self).authorizations.add(self.headers.get("Authorization"))
        if self.path.endswith("/repos/create"):
            self.answer({"url": f"http://{self.headers['Host']}/me/model", "name": "me/model", "id": "0"})
        elif "/preupload/" in self.path:
            asked = json.loads(body)["files"]
            modes = [{"path": item["path"], "uploadMode": "regular", "shouldIgnore": False} for item in asked]
            self.answer({"files": modes})
        else:
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    type(self).files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            self.answer(
                {
                    "success": True,
                    "commitUrl": f"http://{self.headers['Host']}/me/model/commit/{'1' * 40}",
                    "commitOid": "1" * 40,
                }
            )

    def answer(self, document):
        self.send_response(self.status or 200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(document).encode())

    def log_message(self, *_):
        """Keep quiet."""


@pytest.fixture
def hub():
    """The class of the running Hub, and its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), FakeHub)
    FakeHub.files, FakeHub.status, FakeHub.authorizations = {}, None, set()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield FakeHub, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


PUSH = """
import sys
from pathlib import Path
from alpaca_lora.errors import ExportError
from alpaca_lora.exports.hub import push
try:
    print(push(Path(sys.argv[1]), "me/model"))
except ExportError as error:
    print("refused:", error)
"""


@pytest.fixture
def push_in_new_process(run_python, tmp_path, monkeypatch):
    """What a push prints; the address of the Hub is read when huggingface_hub is imported."""
    directory = tmp_path / "artifact"
    directory.mkdir()
    (directory / "config.json").write_text('{"é": 1}', encoding="utf-8")

    def push(address, token="hf_secret"):
        for name, value in {"HF_ENDPOINT": address, "HF_TOKEN": token, "HF_HUB_OFFLINE": "0"}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
        done = run_python("-c", PUSH, directory)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return push


def test_what_is_pushed_arrives(hub, push_in_new_process):
    fake, address = hub
    assert push_in_new_process(address) == f"{address}/me/model/commit/{'1' * 40}\n"
    assert fake.files == {"config.json": '{"é": 1}'.encode()}
    assert fake.authorizations == {"Bearer hf_secret"}


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_refused_push_says_what_stays_and_what_to_do(hub, push_in_new_process, tmp_path, status):
    fake, address = hub
    fake.status = status
    said = push_in_new_process(address)
    assert said.startswith("refused: ")
    assert "is complete, but was not pushed to 'me/model'" in said
    assert f"run  hf upload me/model {tmp_path / 'artifact'}" in said
    assert "hf_secret" not in said
    assert fake.files == {}


def test_no_hub_at_all_is_no_disaster(push_in_new_process):
    assert "is complete, but was not pushed" in push_in_new_process("http://127.0.0.1:9")
