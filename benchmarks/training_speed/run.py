"""How fast does each tool fine-tune the same model on the same tokens? The command behind `make bench`.

Run:  python benchmarks/training_speed/run.py [--rows 256] [--rounds 3] [--only unsloth,ours] [--mode tuned] [--resume]
      python benchmarks/training_speed/run.py --device cuda [--quantization nf4]       (a 7B shape in 24 GiB of a GPU)

Every cell is a process of its own in the environment of its tool. The tools take turns within a round, so that
whatever else the machine does falls on all of them. The result file is written after each cell; with `--resume` the
cells that the newest file of this workload holds, measured with the same code and packages, are not run again.
"""

import argparse
import datetime
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import environments
import gate
import provenance
import report
import results

HERE = Path(__file__).parent
RESULTS = HERE / "results"
MODES = {
    "ours": ("defaults", "tuned", "lean"),
    "unsloth": ("defaults", "tuned"),
    "trl": ("defaults", "tuned"),
    "llamafactory": ("defaults", "tuned"),
    "litgpt": ("defaults", "tuned"),
    "axolotl": ("defaults", "tuned"),
}
ON_CUDA = {"ours": ("defaults",), "unsloth": ("defaults",), "trl": ("defaults", "tuned")}
ENVIRONMENT = {
    "AXOLOTL_DO_NOT_TRACK": "1",
    "CUDA_VISIBLE_DEVICES": "",
    "DO_NOT_TRACK": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": str(len(os.sched_getaffinity(0))),
    "TOKENIZERS_PARALLELISM": "false",
}
LONGEST_SECONDS = 3600
FULL_ROWS = 256
CARD_GIB = 24.0
"""Of the card that this library is for; larger ones are measured as if they had no more."""


@dataclass(frozen=True)
class Bench:
    """What all cells of a run share."""

    directory: Path
    base: Path
    workload: dict[str, Any]
    precision: str
    quantization: str = "none"
    device: str = "cpu"
    memory_gib: float | None = None

    @property
    def weights(self) -> str:
        """Return how the base's weights are held, in a word."""
        return self.precision if self.quantization == "none" else self.quantization

    @property
    def model(self) -> list[str]:
        """Return the arguments that say which base model, and in which precision."""
        return ["--base", str(self.base), "--precision", self.precision, "--quantization", self.quantization]

    @property
    def arguments(self) -> list[str]:
        """Return what every training is given."""
        return [*self.model, "--device", self.device, "--init", str(self.directory / "init")]

    @property
    def limits(self) -> list[str]:
        """Return what a tool is given besides: what it may take of the device."""
        return [] if self.memory_gib is None else ["--memory-gib", str(self.memory_gib)]


class DriverError(RuntimeError):
    """A process that failed, with the last thing that it said."""


def call(tool: str, script: str, arguments: list[str], log: Path) -> str:
    """Run a script in the environment of a tool and return what it printed.

    Raises:
        DriverError: it failed, or took longer than an hour.
    """
    command = [str(environments.python_of(tool)), str(HERE / script), *arguments]
    environment = provenance.driver_environment(ENVIRONMENT)
    log.parent.mkdir(parents=True, exist_ok=True)
    try:
        with log.open("w", encoding="utf-8") as stream:
            done = subprocess.run(
                command,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=stream,
                text=True,
                cwd=environments.ROOT,
                timeout=LONGEST_SECONDS,
            )
    except subprocess.TimeoutExpired as error:
        raise DriverError(f"not done after {LONGEST_SECONDS} seconds") from error
    if done.returncode:
        raise DriverError(_last_words(log) or f"exit status {done.returncode}")
    return done.stdout


def _last_words(log: Path) -> str:
    lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return anonymous(lines[-1])[:300] if lines else ""


def anonymous(text: str) -> str:
    """Return a message without the paths of this machine."""
    for path, name in ((str(environments.ROOT), "."), (str(Path.home()), "~")):
        text = text.replace(path, name)
    return text


def prepare(given: argparse.Namespace) -> Bench:
    """Make the workload and the adapter that everybody starts from.

    Args:
        given: rows, shape, precision, quantization, device and memory_gib.
    """
    directory = environments.WORKSHOP / f"workload-{given.rows}-{given.shape}"
    options = [f"--{name}={getattr(given, name)}" for name in ("rows", "shape", "precision", "device")]
    said = call("ours", "workload.py", [str(directory), *options], directory / "workload.log")
    made = json.loads(said.splitlines()[-1])
    content = json.loads((directory / "workload.json").read_text(encoding="utf-8"))
    workload = {name: content[name] for name in ("base", "data", "max_length", "recipe", "start")}
    workload |= {
        "sha256": made["sha256"],
        "rows": sum(len(step) for step in content["steps"]),
        "step_tokens": [sum(len(row["input_ids"]) for row in step) for step in content["steps"]],
        "step_flops": made["step_flops"],
        "matrix_flops": made["matrix_flops"],
        "heldout_rows": len(content["heldout"]),
    }
    held = (given.precision, given.quantization, given.device, given.memory_gib)
    return Bench(directory, Path(made["base"]), workload, *held)


def refer(bench: Bench) -> dict[str, Any]:
    """Return losses of the float32 training, which is done once per workload."""
    directory = bench.directory / f"reference-{bench.quantization}"
    known = directory / "examined.json"
    code = environments.digest(HERE / "reference.py") + bench.workload["sha256"] + bench.precision
    if known.is_file() and (content := results.read(known))["code"] == code:
        return content
    print("training in float32 for reference", flush=True)
    workload = str(bench.directory / "workload.json")
    call("ours", "reference.py", [workload, str(directory), *bench.arguments], directory / "log")
    shutil.copytree(bench.directory / "init", directory / "start" / "adapter", dirs_exist_ok=True)
    shutil.copy(directory / "gradients.safetensors", directory / "start")
    seen = examine(bench, [directory, directory / "start"])
    content = {
        "code": code,
        "losses": results.read(directory / "result.json")["losses"],
        "heldout_loss": seen[0]["heldout_loss"],
        "start_loss": seen[1]["heldout_loss"],
    }
    results.write(known, content)
    return content


def examine(bench: Bench, directories: list[Path]) -> list[dict[str, Any]]:
    """Return held-out loss and gradient cosines of what trainings left behind."""
    workload, reference = bench.directory / "workload.json", bench.directory / f"reference-{bench.quantization}"
    arguments = [str(workload), str(reference), *map(str, directories), *bench.model]
    said = call("ours", "examine.py", arguments, directories[0] / "examine.log")
    return [json.loads(line) for line in said.splitlines() if line.startswith("{")]


def measure(bench: Bench, tool: str, mode: str, reference: dict[str, Any]) -> dict[str, Any]:
    """Return one cell: the driver's report, what its adapter is worth, and its faults; or why it did not run."""
    out = bench.directory / f"{tool}-{mode}"
    shutil.rmtree(out, ignore_errors=True)
    workload = str(bench.directory / "workload.json")
    try:
        environments.build(tool, bench.device)
        arguments = [workload, str(out), *bench.arguments, *bench.limits, "--mode", mode]
        call(tool, f"peers/train_{tool}.py", arguments, out / "log")
        cell = results.read(out / "result.json") | examine(bench, [out])[0]
    except (DriverError, environments.BuildError) as error:
        return {"error": str(error)}
    return cell | {"faults": gate.faults(cell, reference)}


def code_of(tool: str) -> str:
    """Return a hash of everything that decides a tool's speed but the machine."""
    files = sorted((HERE / "peers").glob("*probe.py")) + [HERE / "peers" / f"train_{tool}.py"]
    if tool == "ours":
        files += [*sorted((environments.ROOT / "alpaca_lora").rglob("*.py")), environments.ROOT / "constraints.txt"]
    else:
        files += sorted(environments.REQUIREMENTS.glob(f"{tool}*.txt"))
    return environments.digest(*files)[:16]


def turns(
    known: dict[str, tuple[str, ...]], tools: list[str], modes: list[str], rounds: int
) -> Iterator[tuple[int, str, str]]:
    """Yield (round, mode, tool) so that the tools take turns."""
    for turn in range(rounds):
        for mode in modes:
            yield from ((turn, mode, tool) for tool in tools if mode in known[tool])


def stamp(cells: Any) -> dict[str, Any]:
    """Return cells with when, where and from what code they were measured."""
    return {
        "date": datetime.date.today().isoformat(),
        "machine": provenance.machine(),
        "commit": provenance.commit(),
        "environment": ENVIRONMENT,
        "cells": cells,
    }


def open_result(bench: Bench, reference: dict[str, Any], resume: bool) -> tuple[Path, dict[str, Any]]:
    """Return the file to write and what is in it so far."""
    full = bench.workload["rows"] == FULL_ROWS
    folder = RESULTS if full else environments.WORKSHOP / "results"
    place = {"weights": bench.weights, "device": bench.device}
    earlier = results.newest(folder, bench.workload["sha256"], place) if resume else None
    content = stamp(results.read(earlier)["cells"] if earlier else [])
    return earlier or results.unused(folder / f"{content['date']}.json"), content | {
        "timed": "from the end of the first optimizer step to the end of the last; step_ends_seconds has all",
        "workload": bench.workload,
        "precision": bench.precision,
        "memory_gib": bench.memory_gib,
        **place,
        "reference": {name: reference[name] for name in ("losses", "heldout_loss", "start_loss")},
    }


def read_arguments() -> argparse.Namespace:
    """Return what the command line asks for, on a GPU with other defaults."""
    parser = argparse.ArgumentParser()
    add_device(parser)
    parser.add_argument("--rows", type=int, default=FULL_ROWS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", type=lambda text: text.split(","))
    parser.add_argument("--mode", type=lambda text: text.split(","), default=list(report.MODES))
    parser.add_argument("--resume", action="store_true")
    given = settle_device(parser.parse_args())
    given.modes = ON_CUDA if given.device == "cuda" else MODES
    given.only = given.only or list(given.modes)
    if unknown := set(given.only) - set(given.modes) | set(given.mode) - set(report.MODES):
        parser.error(
            f"unknown: {', '.join(sorted(unknown))}; tools {', '.join(given.modes)}; modes {', '.join(report.MODES)}"
        )
    return given


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add the options that say what is trained on what."""
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--shape", help="135M, or 1.1B, 7B with random weights (default: 135M, on a GPU 7B)")
    parser.add_argument("--precision", choices=["bf16", "fp32"], help="(default: the fastest that the device has)")
    parser.add_argument("--quantization", choices=["none", "nf4"], default="none")


def settle_device(given: argparse.Namespace) -> argparse.Namespace:
    """Fill in shape and precision; end where there is no such device."""
    cuda = given.device == "cuda"
    if cuda and not provenance.gpu():
        raise SystemExit("not measured: nvidia-smi finds no GPU")
    given.shape = given.shape or ("7B" if cuda else "135M")
    given.precision = given.precision or ("bf16" if cuda else provenance.fastest_precision())
    if cuda:
        ENVIRONMENT.pop("CUDA_VISIBLE_DEVICES", None)
    given.memory_gib = CARD_GIB if cuda else None
    return given


def main() -> None:
    """Measure, write the result file, and publish it if it has all the rows; fewer are for looking only."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the driver that runs is ended too
    given = read_arguments()
    bench = prepare(given)
    reference = refer(bench)
    path, content = open_result(bench, reference, given.resume)
    for turn, mode, tool in turns(given.modes, given.only, given.mode, given.rounds):
        code = code_of(tool)
        if results.has_cell(content, tool, mode, turn, code):
            continue
        cell = {"tool": tool, "mode": mode, "round": turn, "code": code} | measure(bench, tool, mode, reference)
        content["cells"] = [c for c in content["cells"] if (c["tool"], c["mode"], c["round"]) != (tool, mode, turn)]
        content["cells"].append(cell)
        results.write(path, content)
        said = cell.get("error") or "; ".join(cell["faults"])
        speed = "" if "error" in cell else f"{results.speed(cell, bench.workload['step_tokens']):.0f} tokens/s"
        print(f"round {turn + 1}: {tool} {mode}: {speed} {said}", flush=True)
    print(report.table(results.summarise(content)))
    if given.rows == FULL_ROWS:
        report.publish(content)
    print(f"written to {path.relative_to(environments.ROOT)}")


if __name__ == "__main__":
    sys.exit(main())
