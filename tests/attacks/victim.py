"""A victim for the attacks: someone with keys in the environment and files at home, who runs our commands.

What the victim runs is watched (`auditing`), limited (`server`), and everything that it leaves is searched for the
planted keys and compared with what was there before.
"""

import base64
import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

HERE = Path(__file__).parent
MARKER = "alpaca_attack_marker"
"""Stands in all hostile code, so that compiling any of it is noticed."""

KEYS = {
    "OPENAI_API_KEY": "sk-canary-4f1d8a2b9c/3e+7f6a5d=4c3b",
    "HF_TOKEN": "hf_canaryQwErTyUiOpAsDfGhJkLzXcVbNm",
    "WANDB_API_KEY": "0f1e2d3c4b5a69788796a5b4c3d2e1f0canary00",
}
HOME_FILES = {
    ".netrc": "machine huggingface.co login me password netrc-canary-8d7c6b5a",
    ".env": "SECRET=dotenv-canary-1a2b3c4d5e",
    ".ssh/id_rsa": "rsa-canary-QmFzZTY0S2V5TWF0ZXJpYWw",
}
_GROWTH = 500 * 10**6
_SHOWN_FILES = 5


@dataclass
class Outcome:
    """What came of one command."""

    command: str
    code: int
    """Exit code; minus the signal that killed it."""

    stdout: str
    stderr: str
    cpu_seconds: float
    grown_bytes: int
    hits: list[str] = field(default_factory=list)
    """What no untrusted input may bring about, one line each."""


class Victim:
    """Runs commands in children of a warm process; use it in a `with`.

    Args:
        place: an empty directory for everything.
    """

    def __init__(self, place: Path) -> None:
        self.place = place
        self._jobs = 0
        self.costs: list[tuple[float, int, str]] = []
        """Processor seconds, memory and name of each attack that was tried."""

        self._gradio = place / "gradio"
        hub = place / "hub"
        environment = os.environ | {"HF_HOME": str(hub), "HOME": str(place / "nobody"), "OMP_NUM_THREADS": "1"}
        environment |= {"PYTHONPATH": str(HERE.parents[1]), "TOKENIZERS_PARALLELISM": "false"}
        environment["GRADIO_TEMP_DIR"] = str(self._gradio)
        environment.pop("HF_HUB_OFFLINE", None)  # a connection shall be seen, not prevented
        self._server = subprocess.Popen(
            [sys.executable, "-W", "ignore", str(HERE / "server.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self._environment = {
            name: environment[name] for name in ("HF_HOME", "OMP_NUM_THREADS", "TOKENIZERS_PARALLELISM", "PATH")
        }
        if self._read() != "ready":
            raise RuntimeError("the warm process did not start")

    def __enter__(self) -> "Victim":
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(BrokenPipeError):
            self._server.stdin.close()
        self._server.wait(timeout=60)
        self._server.stdout.close()

    def run(
        self,
        argv: Sequence[str],
        *,
        hostile: Path,
        cwd: Path | None = None,
        writable: Sequence[Path] = (),
        code: str = "",
    ) -> Outcome:
        """Run one command, with `OUT` in it standing for a new run directory, and look at what it did.

        Args:
            argv: its arguments.
            hostile: directory with everything that the attacker made.
            cwd: where the command is started; None takes an empty directory.
            writable: where it may write besides its run directory: a run that it is told to go on with.
            code: Python that is run in the command's place, to plant a fault.
        """
        self._jobs += 1
        job = self.place / f"job-{self._jobs}"
        home, out, temporary, cache = (job / name for name in ("home", "out", "tmp", "cache"))
        for directory in (temporary, cache, job / "cwd"):
            directory.mkdir(parents=True)
        for name, content in HOME_FILES.items():
            (home / name).parent.mkdir(parents=True, exist_ok=True)
            (home / name).write_text(content)
        report, stdout, stderr = (job / name for name in ("report", "stdout", "stderr"))
        report.touch()
        rules = {
            "writable": [*map(str, (out, temporary, cache, self._gradio, stdout, stderr, report, *writable))],
            "hostile": [str(hostile), str(home)],
            "private": [str(home / name) for name in HOME_FILES],
            "marker": MARKER,
            "report": str(report),
        }
        environment = (
            self._environment | KEYS | {"HOME": str(home), "TMPDIR": str(temporary), "XDG_CACHE_HOME": str(cache)}
        )
        environment["MPLCONFIGDIR"] = str(cache)
        environment |= {"PYTHONPATH": os.pathsep.join([str(HERE / "site"), str(HERE.parents[1])])}
        before = snapshot([hostile, home], writable)
        given: dict[str, Any] = {"rules": rules, "environment": environment, "cwd": str(cwd or job / "cwd")}
        given |= {"stdout": str(stdout), "stderr": str(stderr)}
        filled = [text.replace("OUT", str(out)) for text in argv]
        done = self._ask(given | ({"code": code.replace("OUT", str(out))} if code else {"argv": filled}))
        outcome = Outcome(
            " ".join(argv) or code,
            os.waitstatus_to_exitcode(done["status"]),
            stdout.read_text(errors="replace"),
            stderr.read_text(errors="replace"),
            done["cpu_seconds"],
            done["grown_bytes"],
        )
        outcome.hits = [*_reported(report), *_changed(before, snapshot([hostile, home], writable)), *_limits(outcome)]
        outcome.hits += [
            f"key: {found}"
            for found in leaks([job / name for name in ("out", "tmp", "cache", "stdout", "stderr")] + [*writable])
        ]
        shutil.rmtree(job)
        return outcome

    def _ask(self, job: dict[str, Any]) -> dict[str, Any]:
        self._server.stdin.write(json.dumps(job) + "\n")
        self._server.stdin.flush()
        answer: dict[str, Any] = json.loads(self._read())
        return answer

    def _read(self) -> str:
        return self._server.stdout.readline().strip()


def _reported(report: Path) -> Iterator[str]:
    for line in dict.fromkeys(report.read_text().splitlines()):
        kind, what = json.loads(line)
        yield f"{kind}: {what}"


def _limits(outcome: Outcome) -> Iterator[str]:
    if outcome.code < 0:
        yield f"limit: killed by signal {-outcome.code} after {outcome.cpu_seconds} s"
    if outcome.code == 4 or "MemoryError" in outcome.stderr or outcome.grown_bytes > _GROWTH:
        yield f"limit: took {outcome.grown_bytes / 1e6:.0f} MB"
    if outcome.code not in (0, 2, 3, 4) and outcome.code >= 0:
        yield f"traceback: exit code {outcome.code}: {outcome.stderr[-300:]}"
    if "Traceback (most recent call last)" in outcome.stderr + outcome.stdout:
        yield f"traceback: {outcome.stderr[-300:]}"
    if any(sign in outcome.stdout + outcome.stderr for sign in ("\x1b", "\x9b", "\x07", "\x08", "\u202e")):
        yield "terminal: an escape of the attacker's reached the terminal"


def snapshot(roots: Sequence[Path], without: Sequence[Path] = ()) -> dict[str, tuple[int, int]]:
    """Return size and time of change of each file below some directories; a directory is only there or not."""
    found = {}
    for root in roots:
        for path in [root, *root.rglob("*")]:
            if not any(path == skipped or skipped in path.parents for skipped in without):
                status = path.lstat()
                found[str(path)] = (0, 0) if path.is_dir() else (status.st_size, status.st_mtime_ns)
    return found


def _changed(before: dict[str, Any], after: dict[str, Any]) -> Iterator[str]:
    for path in [path for path in before.keys() | after.keys() if before.get(path) != after.get(path)][:_SHOWN_FILES]:
        yield f"write: changed {path}"


def leaks(places: Sequence[Path]) -> Iterator[str]:
    """Yield where a planted key stands in a file, in any of the spellings in which keys get out."""
    spelled = {spelling: name for name, value in planted().items() for spelling in spellings(value)}
    for place in places:
        for path in [place, *place.rglob("*")] if place.exists() else []:
            if path.is_file() and not path.is_symlink():
                content = path.read_bytes()
                yield from (f"{name} in {path.name}" for spelling, name in spelled.items() if spelling in content)


def planted() -> dict[str, str]:
    """Return every secret of the victim by where it is kept."""
    return KEYS | {name: content.split()[-1].rpartition("=")[2] for name, content in HOME_FILES.items()}


def spellings(value: str) -> Iterator[bytes]:
    """Yield a key as it is, quoted, escaped, in hex, reversed, cut, and in base64 at each offset."""
    yield value.encode()
    yield quote(value, safe="").encode()
    yield json.dumps(value)[1:-1].encode()
    yield value.encode().hex().encode()
    yield value[::-1].encode()
    yield value[:12].encode()
    for offset in range(3):  # inside a longer text that was encoded, the whole groups of three bytes
        inner = value.encode()[-offset % 3 :]
        yield base64.b64encode(inner[: len(inner) // 3 * 3])
