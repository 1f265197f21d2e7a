"""What this machine can compute with."""

import contextlib
import os
import platform
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import torch

from alpaca_lora.planning import Hardware

_GROUPS, _OWN_GROUPS = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def detect_hardware() -> Hardware:
    """Return the device that training would use: the current CUDA device, else Apple's, else the processor."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(torch.cuda.current_device())
        return Hardware(
            device="cuda",
            name=properties.name,
            memory_bytes=properties.total_memory,
            bf16=properties.major >= 8,
            fp16=True,
            cores=cores,
        )
    memory = main_memory_bytes()
    if torch.backends.mps.is_available():
        return Hardware(device="mps", name="Apple GPU", memory_bytes=memory, bf16=True, fp16=True, cores=cores)
    return Hardware(
        device="cpu",
        name=_processor(),
        memory_bytes=memory,
        bf16=_cpu_has_bf16(),
        fp16=False,
        cores=cores,
        compiler=any(map(shutil.which, ("g++", "clang++"))),
    )


def kept_random_state(device: torch.device, *, enabled: bool = True) -> contextlib.AbstractContextManager[None]:
    """Put back the random numbers of the processor and of one device at the end of a `with` block.

    Left to itself torch takes every card that it sees, which warns, and costs a context on each.
    """
    kept = torch.random.fork_rng([device] if device.type == "cuda" else [], enabled=enabled)
    return cast("contextlib.AbstractContextManager[None]", kept)


def seed_random_state(device: torch.device, seed: int) -> None:
    """Let the processor and one device draw from a seed; torch.manual_seed would have every card do it."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)
    elif device.type == "mps":
        torch.mps.manual_seed(seed)


def main_memory_bytes() -> int:
    """Return the memory of this machine, or of the container that this process is in."""
    return min([os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), *(limit for limit, _ in _limits())])


def free_memory_bytes(hardware: Hardware) -> int:
    """Return the memory of a device that nobody uses, as far as the system tells."""
    if hardware.device == "cuda":
        return int(torch.cuda.mem_get_info()[0])
    free = [hardware.memory_bytes, *(limit - used for limit, used in _limits())]
    with contextlib.suppress(OSError, KeyError):
        known = dict(line.split(":") for line in Path("/proc/meminfo").read_text(encoding="utf-8").splitlines())
        free.append(int(known["MemAvailable"].split()[0]) * 1024)
    return min(free)


def _limits() -> Iterator[tuple[int, int]]:
    """Yield limit and use of each control group that bounds this process's memory, as a container's does, in bytes.

    Files in the page cache count as free, since the system lets go of them first.
    """
    try:
        lines = _OWN_GROUPS.read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for _, controllers, path in (line.split(":", 2) for line in lines):
        root, limit, use, cached = _GROUPS, "memory.max", "memory.current", "inactive_file"
        if controllers:  # version 1, which has a tree for each resource
            root, limit, use = _GROUPS / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes"
            cached = "total_inactive_file"
        if controllers and "memory" not in controllers.split(","):
            continue
        group = root / path.lstrip("/")
        for place in (group, *group.parents)[: len(group.relative_to(root).parts) + 1]:
            with contextlib.suppress(OSError, KeyError, ValueError):  # no such place in here, or no limit: "max"
                held = dict(line.split() for line in (place / "memory.stat").read_text(encoding="ascii").splitlines())
                bound, used = (int((place / name).read_text(encoding="ascii")) for name in (limit, use))
                yield bound, used - int(held[cached])


def _cpu_has_bf16() -> bool:
    return torch.backends.mkldnn.is_available() and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
