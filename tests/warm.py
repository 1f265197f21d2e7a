"""Interpreters that begin at once: each is a fork of a process that has imported the training stack and nothing else.

Importing takes ten times as long as what most clean processes of the tests do. What runs here shares no memory with the
test; that a real interpreter comes as far is shown by the tests that start one.
"""

import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

_LOADED = ("alpaca_lora.adapters.health", "alpaca_lora.exports.measuring", "alpaca_lora.training.trainer")


def start(
    code: str, arguments: Sequence[str], *, env: Mapping[str, str], streams: Sequence[Path] = (), method="forkserver"
) -> BaseProcess:
    """Start what `python -c CODE ARGUMENTS` would; `streams` are files for its output and its errors.

    With the method `fork` it is a fork of this process, and is watched as this one is.
    """
    context: Any = multiprocessing.get_context(method)
    context.set_forkserver_preload(list(_LOADED))
    process: BaseProcess = context.Process(
        target=_become, args=(code, list(arguments), dict(env), list(map(str, streams)))
    )
    process.start()
    return process


def run(
    command: Sequence[str], *, env: Mapping[str, str], method="forkserver", **_: Any
) -> subprocess.CompletedProcess[str]:
    """Do what `subprocess.run` does for `python -P -c CODE ARGUMENTS` with captured text."""
    program, safe_path, option, code, *arguments = command
    assert (program, safe_path, option) == (sys.executable, "-P", "-c")
    with tempfile.TemporaryDirectory() as name:
        streams = [Path(name, "stdout"), Path(name, "stderr")]
        process = start(code, arguments, env=env, streams=streams, method=method)
        process.join()
        texts = [path.read_text(encoding="utf-8") for path in streams]
    return subprocess.CompletedProcess(command, process.exitcode, *texts)


def _become(code: str, arguments: list[str], environment: dict[str, str], streams: list[str]) -> None:
    for descriptor, path in enumerate(streams, start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), descriptor)
    os.environ.clear()
    os.environ.update(environment)
    tempfile.tempdir = None  # read anew from the environment
    sys.argv = ["-c", *arguments]
    exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})  # noqa: S102 - what `python -c` does
