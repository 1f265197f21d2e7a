"""What this machine can compute with."""

import os
import platform
import shutil
from pathlib import Path

import torch

from alpaca_lora.planning import Hardware


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
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
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


def free_memory_bytes(hardware: Hardware) -> int:
    """Return the memory of a device that nobody uses, as far as the system tells."""
    if hardware.device == "cuda":
        return int(torch.cuda.mem_get_info()[0])
    try:
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return hardware.memory_bytes
    known = {name: value for name, _, value in (line.partition(":") for line in lines)}
    return int(known["MemAvailable"].split()[0]) * 1024 if "MemAvailable" in known else hardware.memory_bytes


def _cpu_has_bf16() -> bool:
    return torch.backends.mkldnn.is_available() and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
