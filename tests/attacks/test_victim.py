"""The watch over the attacks sees what it is there to see: each kind of harm, planted."""

import pytest

from tests.attacks.victim import HOME_FILES, KEYS, MARKER, spellings

pytestmark = pytest.mark.slow

PLANTED = {
    "an unpickled function": (r"import pickle; pickle.loads(b'cos\ngetcwd\n(tR.')", "code: unpickles os.getcwd"),
    "a module of the attacker's": ("import sys; sys.path.insert(0, HOSTILE); import evil", "code: runs"),
    "code of the attacker's": (f"compile('1 # {MARKER}', 'x', 'exec')", "code: compiles"),
    "a shell": ("import os; os.system('true')", "code: os.system"),
    "a program": ("import subprocess; subprocess.run(['true'])", "code: subprocess.Popen"),
    "a file beside the run": ("open(HOSTILE + '/new', 'w').close()", "write: opens"),
    "a file of the attacker's that is changed": ("import os; os.remove(HOSTILE + '/evil.py')", "write: os.remove"),
    "a change that no event tells": (
        "import ctypes; ctypes.CDLL(None).unlink((HOSTILE + '/evil.py').encode())",
        "write: changed",
    ),
    "a connection": ("import socket; socket.socket().connect(('192.0.2.1', 9))", "network: socket.connect"),
    "a name that is looked up": (
        "import socket; socket.getaddrinfo('evil.example', 80)",
        "network: socket.getaddrinfo",
    ),
    "a secret at home": (f"import os; open(os.path.expanduser('~/{min(HOME_FILES)}')).read()", "read: "),
    "memory": ("x = bytearray(600 * 10**6)", "limit: "),
    "memory that is touched": (
        "x = [bytes(10**6) + b'x' for _ in range(450)]; y = [bytes(10**6) + b'x' for _ in range(200)]",
        "limit: ",
    ),
    "a traceback": ("1 / 0", "traceback: "),
    "an escape of the terminal": ("print('\\x1b[2J')", "terminal: "),
    "a child that does it": (
        "import subprocess, sys; subprocess.run([sys.executable, '-P', '-c', 'import os; os.system(\"true\")'])",
        "code: os.system",
    ),
    "a clean process of a gate that does it": (
        "import os, sys; from alpaca_lora.adapters.clean_process import subprocess; run = subprocess.run; "
        "run([sys.executable, '-P', '-c', 'import os; os.system(\"true\")'], env=os.environ)",
        "code: os.system",
    ),
}


@pytest.fixture
def hostile(tmp_path):
    (tmp_path / "evil.py").write_text("x = 1\n")
    return tmp_path


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_harm_is_seen(name, victim, hostile):
    code, kind = PLANTED[name]
    outcome = victim.run([], hostile=hostile, code=code.replace("HOSTILE", repr(str(hostile))))
    assert any(hit.startswith(kind) for hit in outcome.hits), outcome


@pytest.mark.parametrize("form", range(9))
def test_a_planted_leak_is_seen_in_each_spelling(form, victim, hostile):
    text = list(spellings(KEYS["OPENAI_API_KEY"]))[form]
    code = f"import os; os.makedirs('OUT'); open('OUT/x', 'wb').write(b'<' + {text!r} + b'>')"
    assert "key: OPENAI_API_KEY in x" in victim.run([], hostile=hostile, code=code).hits


def test_a_loop_without_end_is_ended(victim, hostile):
    code = "import resource; resource.setrlimit(resource.RLIMIT_CPU, (1, 2))\nwhile True: pass"
    assert any(hit.startswith("limit: killed") for hit in victim.run([], hostile=hostile, code=code).hits)


def test_a_harmless_command_has_no_hits(victim, hostile):
    outcome = victim.run(["doctor"], hostile=hostile)
    assert (outcome.code, outcome.hits) == (0, [])
