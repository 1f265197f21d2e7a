"""An installed llama.cpp, for the models and the number formats that `gguf` does not write itself.

Nothing is downloaded or compiled. Two of its programs are used: `convert_hf_to_gguf.py`, which knows every architecture
of llama.cpp, and `llama-quantize`, which writes every number format from a 16-bit file. They are looked for in a
directory that the caller names (a checkout or an installation), in that of the environment variable LLAMA_CPP_DIR, and
on the PATH, in this order.
"""

import logging
import os
import subprocess
import sys
from pathlib import Path

from alpaca_lora.errors import ExportError

__all__ = ["QUANTISED", "VARIABLE", "convert_model", "find_program", "find_quantiser", "quantise_model"]

logger = logging.getLogger(__name__)

VARIABLE = "LLAMA_CPP_DIR"
"""Environment variable that names where llama.cpp is."""

QUANTISED = ("q4_0", "q4_k_s", "q4_k_m", "q5_0", "q5_k_s", "q5_k_m", "q6_k")
"""Number formats that llama-quantize writes and llama.cpp's users ask for."""

_FOLDERS = ("", "bin", "build/bin", "build/bin/Release")


def convert_model(source: Path, path: Path, dtype: str, *, reason: str, root: Path | None = None) -> None:
    """Let llama.cpp's converter write a model directory as a GGUF file.

    Args:
        source: a model directory of transformers.
        path: the file to write.
        dtype: `f32`, `f16`, `bf16` or `q8_0`.
        reason: why it is needed, for the message if it is not there.
        root: where llama.cpp is; None looks for it.

    Raises:
        ExportError: there is no converter, or it failed.
    """
    script = find_program("convert_hf_to_gguf.py", reason, root)
    _run([sys.executable, str(script), str(source), "--outfile", str(path), "--outtype", dtype])


def quantise_model(source: Path, path: Path, dtype: str, *, root: Path | None = None) -> None:
    """Let llama-quantize write a GGUF file in another number format.

    Args:
        source: a GGUF file in 16 or 32 bits.
        path: the file to write.
        dtype: one of `QUANTISED`.
        root: where llama.cpp is; None looks for it.

    Raises:
        ExportError: there is no llama-quantize, or it failed.
    """
    _run([str(find_quantiser(dtype, root)), str(source), str(path), dtype])


def find_quantiser(dtype: str, root: Path | None = None) -> Path:
    """Return the path of llama-quantize.

    Args:
        dtype: number format that it is needed for.
        root: where llama.cpp is; None looks for it.

    Raises:
        ExportError: it is not there.
    """
    return find_program("llama-quantize", f"only it writes {dtype}", root)


def find_program(name: str, reason: str, root: Path | None = None) -> Path:
    """Return the path of one of llama.cpp's programs.

    Raises:
        ExportError: it is not there; the message names every path that was tried.
    """
    roots = [root, os.environ.get(VARIABLE)]
    tried = [Path(place).expanduser() / folder / name for place in roots if place for folder in _FOLDERS]
    tried += [Path(folder) / name for folder in os.environ.get("PATH", "").split(os.pathsep) if folder]
    for path in tried:
        if path.is_file() and (path.suffix == ".py" or os.access(path, os.X_OK)):
            logger.info("using %s", path)
            return path
    listed = "".join(f"\n  {path}" for path in dict.fromkeys(tried))
    raise ExportError(
        f"{name} of llama.cpp is needed ({reason}) and was not found. Install llama.cpp and name its directory with "
        f"--llama-cpp or {VARIABLE}. Tried:{listed or ' nothing, for PATH is empty'}"
    )


def _run(command: list[str]) -> None:
    result = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)  # noqa: S603
    if result.returncode != 0:
        last = "\n".join((result.stderr.strip() or result.stdout.strip()).splitlines()[-3:])
        program = Path(command[1] if command[0] == sys.executable else command[0]).name
        raise ExportError(f"{program} failed with {result.returncode}: {last or 'no message'}")
