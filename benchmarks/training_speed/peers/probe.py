"""What every driver reports, measured alike whatever tool trains: times, losses, gradients, peak memory, versions.

A driver is a process of its own in the environment of its tool. It takes the same arguments as all others, trains on
the token ids that it is given, and leaves `result.json`, `gradients.safetensors` and `adapter/` in its directory.
"""

import argparse
import json
import os
import time
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

PACKAGES = (
    "accelerate",
    "alpaca-lora",
    "axolotl",
    "bitsandbytes",
    "datasets",
    "lightning",
    "liger-kernel",
    "litgpt",
    "llamafactory",
    "peft",
    "torch",
    "transformers",
    "trl",
    "unsloth",
    "unsloth_zoo",
)
TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass
class Cell:
    """One measurement: a tool in one mode on a workload."""

    workload: dict[str, Any]
    base: Path
    """Directory of the base model."""
    init: Path
    """Directory of the adapter that everybody starts from."""
    out: Path
    mode: str
    precision: str
    """`bf16` or `fp32`: what base weights and matrix products are held and computed in."""
    settings: dict[str, Any]
    """What this mode sets in the tool, as the report prints it."""
    quantization: str = "none"
    """`none`, or `nf4`: the base's linear layers in 4 bits, their scales in 8, as QLoRA has them."""
    device: str = "cpu"
    memory_gib: float | None = None
    """What a process may take of the device; None takes all."""

    @property
    def rows(self) -> list[dict[str, list[int]]]:
        """Return all training records in order."""
        return [row for step in self.workload["steps"] for row in step]

    @property
    def step_size(self) -> int:
        """Return the records of an optimizer step."""
        return len(self.workload["steps"][0])

    @property
    def dtype(self) -> torch.dtype:
        """Return the precision as torch has it."""
        return torch.bfloat16 if self.precision == "bf16" else torch.float32

    @property
    def recipe(self) -> dict[str, Any]:
        """Return rank, alpha, learning rate and the norm that gradients are clipped to."""
        return dict(self.workload["recipe"])


def read_cell(modes: dict[str, dict[str, Any]], on_cuda: dict[str, dict[str, Any]] | None = None) -> Cell:
    """Return the cell that the command line asks for.

    Args:
        modes: the settings of the tool in each of its modes; `--settings` overrides them, for a search by hand.
        on_cuda: the same on a GPU; None where they do not differ.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("workload", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--init", type=Path, required=True)
    parser.add_argument("--mode", choices=list(modes), default=next(iter(modes)))
    parser.add_argument("--precision", choices=["bf16", "fp32"], default="bf16")
    parser.add_argument("--quantization", choices=["none", "nf4"], default="none")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--memory-gib", type=float)
    parser.add_argument("--settings", type=json.loads, default={})
    given = parser.parse_args()
    if given.device == "cuda":
        modes = on_cuda or modes
        if given.memory_gib:
            whole = torch.cuda.get_device_properties(0).total_memory
            torch.cuda.set_per_process_memory_fraction(min(1.0, given.memory_gib * 2**30 / whole))
    workload = json.loads(given.workload.read_text(encoding="utf-8"))
    given.out.mkdir(parents=True, exist_ok=True)
    paths = (path.resolve() for path in (given.base, given.init, given.out))
    settings = modes[given.mode] | given.settings
    where = (given.quantization, given.device, given.memory_gib)
    return Cell(workload, *paths, given.mode, given.precision, settings, *where)


@dataclass
class Probe:
    """Collects what a driver reports."""

    cell: Cell
    began: float = 0.0
    ends: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    first_step_seconds: float = 0.0

    def begin(self) -> None:
        """Note that training begins: model, data and trainer are ready, and the first batch is asked for."""
        self.began = time.monotonic()

    def end_step(self) -> None:
        """Note that an optimizer step is done."""
        if self.cell.device == "cuda":
            torch.cuda.synchronize()
        self.ends.append(time.monotonic() - self.began)
        if len(self.ends) == 1:
            self.first_step_seconds = process_seconds()

    def keep_gradients(self, gradients: dict[str, Any]) -> None:
        """Save the gradients of the probed modules before the first update, under PEFT's names.

        Args:
            gradients: all gradients of the adapter, by a name that ends like `layers.0.self_attn.q_proj.lora_A`.
        """
        wanted = {f"{module}.{part}" for module in self.cell.workload["probes"] for part in ("lora_A", "lora_B")}
        found = {
            name: gradient.detach().float().contiguous().clone()
            for full, gradient in gradients.items()
            for name in wanted
            if full.endswith(name)
        }
        if found.keys() != wanted:
            raise KeyError(f"no gradient of {sorted(wanted - found.keys())}")
        save_file(found, self.cell.out / "gradients.safetensors")

    def finish(self) -> None:
        """Write the result; called right after the last step, before anything is saved."""
        result = {
            "mode": self.cell.mode,
            "precision": self.cell.precision,
            "settings": self.cell.settings,
            "peak_rss_bytes": peak_rss_bytes(),
            "peak_cuda_bytes": torch.cuda.max_memory_reserved() if self.cell.device == "cuda" else None,
            "first_step_seconds": round(self.first_step_seconds, 2),
            "step_ends_seconds": [round(end, 4) for end in self.ends],
            "losses": self.losses,
            "torch_threads": torch.get_num_threads(),
            "versions": versions(),
        }
        (self.cell.out / "result.json").write_text(json.dumps(result, indent=1), encoding="utf-8")


def process_seconds() -> float:
    """Return the seconds since this process was started, the start of Python included."""
    fields = Path("/proc/self/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    started = int(fields[19]) / os.sysconf("SC_CLK_TCK")  # field 22 of proc(5), counted from boot
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started


def peak_rss_bytes() -> int:
    """Return the largest resident size of this process so far."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise OSError("this kernel does not report VmHWM")


def versions() -> dict[str, str]:
    """Return the versions of the packages that matter and are installed."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
