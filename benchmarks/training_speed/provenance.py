"""Where and with what a result was measured: no path, name or address of this machine."""

import os
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_tile", "amx_bf16")


def machine() -> dict[str, Any]:
    """Return processor, cores, memory, system and Python."""
    info = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    fields = dict(part.partition(":")[::2] for part in info.split("\n\n", 1)[0].splitlines())
    values = {name.strip(): value.strip() for name, value in fields.items()}
    flags = set(values.get("flags", "").split())
    return {
        "cpu": values.get("model name", platform.machine()),
        "cpu_family_model": f"{values.get('cpu family', '?')}/{values.get('model', '?')}",
        "flags": [flag for flag in FLAGS if flag in flags],
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **({"gpu": found} if (found := gpu()) else {}),
    }


def gpu() -> dict[str, str]:
    """Return name, memory and driver of the first GPU as nvidia-smi says; nothing where there is none."""
    asked = ("name", "memory.total", "driver_version")
    try:
        said = subprocess.run(
            ["nvidia-smi", f"--query-gpu={','.join(asked)}", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return {}
    return dict(zip(asked, said.splitlines()[0].split(", "), strict=True))


def fastest_precision() -> str:
    """Return bf16 where the processor has units for it, else fp32, as `finetune` decides."""
    return "bf16" if {"avx512_bf16", "amx_bf16"} & set(machine()["flags"]) else "fp32"


def commit() -> dict[str, Any]:
    """Return the commit of this checkout, and whether files differ from it."""

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()

    return {"commit": git("rev-parse", "HEAD"), "modified": bool(git("status", "--porcelain", "--", "alpaca_lora"))}


def driver_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a driver: where programs and caches are, and what the benchmark sets itself."""
    kept = {
        name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR", "LD_LIBRARY_PATH") if name in os.environ
    }
    return kept | dict(environment)
