"""The measurements of a run as JSON: which are there, and what they say together.

A file holds one workload. A cell is one process: a tool in a mode, in one round.
"""

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Cell = Mapping[str, Any]


def read(path: Path) -> dict[str, Any]:
    """Return the content of a result file."""
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def write(path: Path, content: Mapping[str, Any]) -> None:
    """Write a result file whole: a run that is cut off leaves the cells that it had."""
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.with_suffix(".tmp")
    staged.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    staged.replace(path)


def newest(directory: Path, sha256: str, place: Mapping[str, str]) -> Path | None:
    """Return the latest result file of a workload whose weights were held in this way on this device."""
    for path in sorted(directory.glob("*.json"), reverse=True):
        content = read(path)
        if content["workload"]["sha256"] == sha256 and place_of(content) == place:
            return path
    return None


def place_of(content: Mapping[str, Any]) -> dict[str, str]:
    """Return how weights were held, and on which device; the oldest files say neither, and are in bf16 on a CPU."""
    weights = content.get("weights", content.get("precision", "bf16"))
    return {"weights": weights, "device": content.get("device", "cpu")}


def unused(path: Path) -> Path:
    """Return the path, or with a number behind its name when there is such a file already."""
    paths = (path, *(path.with_stem(f"{path.stem}-{number}") for number in range(2, 1000)))
    return next(candidate for candidate in paths if not candidate.exists())


def has_cell(content: Mapping[str, Any], tool: str, mode: str, turn: int, code: str) -> bool:
    """Tell whether a cell is there already, measured with the same code and packages."""
    wanted = (tool, mode, turn, code)
    return any((c["tool"], c["mode"], c["round"], c["code"]) == wanted and "error" not in c for c in content["cells"])


def speed(cell: Cell, tokens: Sequence[int]) -> float:
    """Return real tokens per second, from the end of the first step to the end of the last.

    Args:
        cell: `step_ends_seconds` counts.
        tokens: tokens of each step without padding.
    """
    ends = cell["step_ends_seconds"]
    return float(sum(tokens[1:]) / (ends[-1] - ends[0]))


def total_speed(cell: Cell, tokens: Sequence[int]) -> float:
    """Return real tokens per second of all steps, the first and its warm-up included."""
    return float(sum(tokens) / cell["step_ends_seconds"][-1])


def summarise(content: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a line per tool and mode: medians over the rounds, spread, errors and the gate.

    A line whose gate failed once has no speed.
    """
    workload = content["workload"]
    groups: dict[tuple[str, str], list[Cell]] = {}
    for cell in content["cells"]:
        groups.setdefault((cell["tool"], cell["mode"]), []).append(cell)
    return [_line(tool, mode, cells, workload) for (tool, mode), cells in groups.items()]


def _line(tool: str, mode: str, cells: Sequence[Cell], workload: Mapping[str, Any]) -> dict[str, Any]:
    line: dict[str, Any] = {"tool": tool, "mode": mode, "rounds": len(cells)}
    tokens = workload["step_tokens"]
    errors = [cell["error"] for cell in cells if "error" in cell]
    if errors:
        return line | {"error": errors[-1]}
    speeds = [speed(cell, tokens) for cell in cells]
    faults = [fault for cell in cells for fault in cell["faults"]]
    line |= {
        "peak_bytes": statistics.median(cell.get("peak_cuda_bytes") or cell["peak_rss_bytes"] for cell in cells),
        "first_step_seconds": statistics.median(cell["first_step_seconds"] for cell in cells),
        "heldout_loss": statistics.median(cell["heldout_loss"] for cell in cells),
        "faults": faults,
    }
    if not faults:
        line |= {
            "tokens_per_second": statistics.median(speeds),
            "slowest": min(speeds),
            "fastest": max(speeds),
            "total_tokens_per_second": statistics.median(total_speed(cell, tokens) for cell in cells),
        }
        if "step_flops" in workload:
            flops_per_token = sum(workload["step_flops"][1:]) / sum(tokens[1:])
            line["matrix_share"] = line["tokens_per_second"] * flops_per_token / workload["matrix_flops"]
    return line
