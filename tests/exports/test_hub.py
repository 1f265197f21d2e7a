"""A Hub that runs here: enough of its interface for a repository to be made and files to be committed."""

import base64
import json
import os
import socket
import subprocess
import sys
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


@pytest.fixture(scope="module")
def port():
    """Where the Hub is when it runs."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


@pytest.fixture
def hub(port):
    """The class of the running Hub."""
    server = ThreadingHTTPServer(("127.0.0.1", port), FakeHub)
    FakeHub.files, FakeHub.status, FakeHub.authorizations = {}, None, set()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield FakeHub
    server.shutdown()
    server.server_close()


PUSH = """
import sys
from pathlib import Path
from alpaca_lora.errors import ExportError
from alpaca_lora.exports.hub import push
for line in sys.stdin:
    try:
        print(push(Path(line.strip()), "me/model"), flush=True)
    except ExportError as error:
        print("refused:", error, flush=True)
"""


@pytest.fixture(scope="module")
def pusher(port, repository, tmp_path_factory):
    """A process that pushes each directory it is told: the Hub's address is read when huggingface_hub is imported."""
    environment = os.environ | {
        "HF_ENDPOINT": f"http://127.0.0.1:{port}",
        "HF_TOKEN": "hf_secret",
        "HF_HUB_OFFLINE": "0",
        "HF_HOME": str(tmp_path_factory.mktemp("home")),
        "PYTHONPATH": str(repository),
    }
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", PUSH], env=environment, **pipes) as process:
        yield process
        process.stdin.close()


@pytest.fixture
def pushed(pusher, tmp_path):
    """What a push prints."""
    directory = tmp_path / "artifact"
    directory.mkdir()
    (directory / "config.json").write_text('{"é": 1}', encoding="utf-8")

    def push():
        print(directory, file=pusher.stdin, flush=True)
        return pusher.stdout.readline()

    return push


def test_what_is_pushed_arrives(hub, port, pushed):
    assert pushed() == f"http://127.0.0.1:{port}/me/model/commit/{'1' * 40}\n"
    assert hub.files == {"config.json": '{"é": 1}'.encode()}
    assert hub.authorizations == {"Bearer hf_secret"}


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_refused_push_says_what_stays_and_what_to_do(hub, pushed, tmp_path, status):
    hub.status = status
    said = pushed()
    assert said.startswith("refused: ")
    assert "is complete, but was not pushed to 'me/model'" in said
    assert f"run  hf upload me/model {tmp_path / 'artifact'}" in said
    assert "hf_secret" not in said
    assert hub.files == {}


def test_no_hub_at_all_is_no_disaster(pushed):
    assert "is complete, but was not pushed" in pushed()
