"""Python code in a process that has nothing of this one: the only proof that files hold all that they need."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable

from alpaca_lora._exhaustion import says_out_of_memory
from alpaca_lora.errors import AlpacaLoraError, MissingDependencyError

__all__ = ["run_in_clean_process"]

_MISSING = f"{MissingDependencyError.__module__}.{MissingDependencyError.__name__}: "
_KILLED = f"it was ended by signal {signal.SIGKILL:d}, mostly for lack of memory"
_FREE = "free some and try again"


def run_in_clean_process(code: str, *arguments: str, failed: Callable[[str], AlpacaLoraError]) -> str:
    """Run code with the packages of this process, without network, and return what it printed.

    Args:
        code: what to run.
        arguments: what it finds in `sys.argv[1:]`.
        failed: makes the error from the last line that the process said.

    Raises:
        AlpacaLoraError: the process failed.
        MissingDependencyError: this machine lacks a package, which says nothing of the files.
        MemoryError: nor does it when there was no memory for them; said in the words of `failed`.
    """
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-P", "-c", code, *arguments]
    result = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)  # noqa: S603
    if result.returncode != 0:
        lines = result.stderr.strip().splitlines() or [f"it ended with {result.returncode} and no message"]
        if lines[-1].startswith(_MISSING):
            raise MissingDependencyError(lines[-1].removeprefix(_MISSING))
        if result.returncode == -signal.SIGKILL:
            raise MemoryError(f"{failed(_KILLED)}: {_FREE}")
        if says_out_of_memory(lines[-1]):
            raise MemoryError(f"{failed(lines[-1])}: {_FREE}")
        raise failed(lines[-1])
    return result.stdout
