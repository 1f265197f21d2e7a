"""What is each part of the fast path worth? Every lever off, one at a time, the others on.

Run:  python benchmarks/training_speed/ablation.py [--rows 64] [--rounds 3]

The variants take turns like the tools of `run.py`, whose workload, driver and gate they use; medians go into a table
in benchmarks/README.md. Levers are the switches of `config.kernels`, and two that are settings of their own.
"""

import argparse
import json
import statistics
from typing import Any

import gate
import provenance
import report
import results
import run

from alpaca_lora.config import KernelSettings


def variants() -> dict[str, dict[str, Any]]:
    """Return what each variant sets, by name."""
    switches = [name for name, field in KernelSettings.model_fields.items() if field.annotation is bool]
    on = {"compiled": True}
    off = {f"without {name}": {"kernels": on | {name: False}} for name in switches if name != "enabled"}
    return {
        "all on": {"kernels": on},
        **off,
        "without compiled": {"kernels": {"compiled": False}},
        "rows of 512 tokens": {"kernels": on, "row_tokens": 512},
        "with gradient checkpointing": {"kernels": on, "gradient_checkpointing": True},
        "no kernels at all": {"kernels": {"enabled": False}},
    }


def measure(bench: run.Bench, settings: dict[str, Any], reference: dict[str, Any]) -> dict[str, Any]:
    """Return speed, memory and faults of one variant."""
    out = bench.directory / "ablation"
    arguments = [str(bench.directory / "workload.json"), str(out), *bench.arguments, "--settings", json.dumps(settings)]
    run.call("ours", "peers/train_ours.py", arguments, out / "log")
    cell = results.read(out / "result.json") | run.examine(bench, [out])[0]
    return {
        "tokens_per_second": results.speed(cell, bench.workload["step_tokens"]),
        "peak_rss_bytes": cell["peak_rss_bytes"],
        "faults": gate.faults(cell, reference),
    }


def table(cells: dict[str, list[dict[str, Any]]]) -> str:
    """Return medians as a Markdown table, with what each variant costs against `all on`."""
    speeds = {name: statistics.median(cell["tokens_per_second"] for cell in found) for name, found in cells.items()}
    rows = ["| variant | real tokens/s | of all on | peak memory | gate |", "|---|--:|--:|--:|---|"]
    for name, found in cells.items():
        memory = statistics.median(cell["peak_rss_bytes"] for cell in found) / 2**30
        faults = sorted({fault for cell in found for fault in cell["faults"]})
        share, verdict = speeds[name] / speeds["all on"], "; ".join(faults) or "passed"
        rows.append(f"| {name} | {speeds[name]:.0f} | {share:.0%} | {memory:.2f} GiB | {verdict} |")
    return "\n".join(rows)


def main() -> None:
    """Measure, write the result file and the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--precision", choices=["bf16", "fp32"], default=provenance.fastest_precision())
    given = parser.parse_args()
    bench = run.prepare(given.rows, given.precision)
    reference = run.refer(bench)
    cells: dict[str, list[dict[str, Any]]] = {name: [] for name in variants()}
    for _ in range(given.rounds):
        for name, settings in variants().items():
            cells[name].append(measure(bench, settings, reference))
            print(f"{name}: {cells[name][-1]['tokens_per_second']:.0f} tokens/s", flush=True)
    content = run.stamp(cells) | {"workload": bench.workload, "precision": given.precision}
    intro = f"{given.rows} rows, medians of {given.rounds} rounds, {given.precision}, {content['date']}."
    report.publish_table("ablation", content, f"{intro}\n\n{table(cells)}")


if __name__ == "__main__":
    main()
