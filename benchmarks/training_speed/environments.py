"""One virtual environment per tool, from a requirement file that pins every package.

The tools cannot share one: each allows other versions of transformers, TRL and datasets. The files are installed
without looking at dependencies, since several tools ask for packages that only a GPU can use and that would bring
gigabytes of CUDA with them; what was left out stands at the head of each file. For a GPU, what a tool runs there comes
from a second file, with all that it asks for.
"""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
WORKSHOP = ROOT / ".bench"
REQUIREMENTS = Path(__file__).parent / "requirements"


class BuildError(RuntimeError):
    """An environment that cannot be made, with the end of what pip said."""


def python_of(tool: str) -> Path:
    """Return the interpreter of a tool; this library has its own environment already."""
    return (ROOT / ".venv" if tool == "ours" else WORKSHOP / tool) / "bin" / "python"


def build(tool: str, device: str = "cpu") -> None:
    """Make the environment of a tool, unless it stands there already with the same requirements.

    Raises:
        BuildError: pip failed.
    """
    if tool == "ours":
        return
    requirements, for_cuda = REQUIREMENTS / f"{tool}.txt", REQUIREMENTS / f"{tool}-cuda.txt"
    files = (requirements, for_cuda) if device == "cuda" else (requirements,)
    home, stamp = WORKSHOP / tool, WORKSHOP / tool / "requirements.sha256"
    wanted = digest(*files)
    if stamp.is_file() and stamp.read_text(encoding="ascii") == wanted:
        return
    print(f"building the environment of {tool}", flush=True)
    shutil.rmtree(home, ignore_errors=True)
    _run([sys.executable, "-m", "venv", str(home)])
    pip = [str(python_of(tool)), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    _run([*pip, "--no-deps", "--requirement", str(requirements)])
    if device == "cuda":
        _run([*pip, "--constraint", str(requirements), "--requirement", str(for_cuda)])
    stamp.write_text(wanted, encoding="ascii")


def digest(*paths: Path) -> str:
    """Return one hash over the contents of files, in the order given."""
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise BuildError(done.stderr.strip()[-500:])
