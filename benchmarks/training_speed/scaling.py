"""How does training speed grow and shrink with the size of the model and the length of the records?

Run:  python benchmarks/training_speed/scaling.py [--only 135M,7B] [--length 512]     (7B writes 13.5 GB once)

Every line is a process of its own, and in the README as soon as it is measured; what is not asked for stays as it was
measured last. Shapes other than 135M have random weights, so their losses mean nothing.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import environments
import provenance
import report
import results
import run

NF4 = {"quantization": "nf4"}
UNCACHED = {"kernels": {"nf4_cache_gib": 0.0}}
CHECKPOINTED = {"gradient_checkpointing": True}
CASES: list[dict[str, Any]] = [
    *[{"shape": "135M", "length": length, "row_tokens": 4096} for length in (256, 512, 1024, 2048, 4096)],
    *[{"shape": "1.1B", "length": length, "row_tokens": 2048} for length in (256, 512, 1024, 2048)],
    NF4 | {"shape": "1.1B", "length": 512, "row_tokens": 2048},
    NF4 | {"shape": "1.1B", "length": 512, "row_tokens": 2048, "settings": UNCACHED},
    NF4 | {"shape": "7B", "length": 512, "row_tokens": 1024, "settings": CHECKPOINTED, "steps": 2},
]

OPTIONAL = ("quantization", "settings", "steps")
RESULTS = Path(__file__).parent / "results" / "scaling"


def measure(case: dict[str, Any], precision: str) -> dict[str, Any]:
    """Return what a case shows, or why it does not run."""
    options = {name.replace("_", "-"): value for name, value in case.items() if name != "shape"}
    arguments = [case["shape"], "--precision", precision]
    for name, value in options.items():
        arguments += [f"--{name}", json.dumps(value) if isinstance(value, dict) else str(value)]
    try:
        said = run.call("ours", "shape_cell.py", arguments, environments.WORKSHOP / "scaling.log")
    except run.DriverError as error:
        return case | {"error": str(error)}
    return case | json.loads(said.splitlines()[-1])


def table(cells: list[dict[str, Any]], precision: str) -> str:
    """Return the cells as a Markdown table."""
    rows = [
        "| shape | weights | tokens per record | tokens per row | tokens/s | of the matrix rate | weights take "
        "| peak memory |",
        "|---|---|--:|--:|--:|--:|--:|--:|",
    ]
    for cell in cells:
        weights = "NF4" if "quantization" in cell else precision
        settings = cell.get("settings")
        weights += ", no cache" if settings == UNCACHED else ", layers checkpointed" if settings == CHECKPOINTED else ""
        head = f"| {cell['shape']} | {weights} | {cell['length']} | {cell['row_tokens']} |"
        if "error" in cell:
            rows.append(f"{head} does not run: {cell['error']} | | | |")
        else:
            rows.append(
                f"{head} {cell['tokens_per_second']:.3g} | {cell['matrix_share']:.0%} of "
                f"{cell['matrix_flops'] / 1e12:.2f} TFLOP/s | {cell['weight_bytes'] / 2**30:.2f} GiB "
                f"| {cell['peak_rss_bytes'] / 2**30:.2f} GiB |"
            )
    return "\n".join(rows)


def main() -> None:
    """Measure, write the result file and the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", type=lambda text: text.split(","), default=["135M", "1.1B", "7B"])
    parser.add_argument("--length", type=int, help="tokens per record (default: all)")
    parser.add_argument("--precision", choices=["bf16", "fp32"], default=provenance.fastest_precision())
    given = parser.parse_args()
    cells = earlier_cells(given.precision)
    content = run.stamp([]) | {"precision": given.precision}  # once, since what is published changes the tree
    for place, case in enumerate(CASES):
        if case["shape"] in given.only and given.length in (None, case["length"]):
            cell = measure(case, given.precision) | {"date": content["date"], "commit": content["commit"]}
            print(json.dumps(cell), flush=True)
            cells[place] = cell
            content["cells"] = [cells[number] for number in sorted(cells)]
            intro = f"{content['date']}, {given.precision}; date and commit of each line are in the result file."
            report.publish_table("scaling", content, f"{intro}\n\n{table(content['cells'], given.precision)}")


def earlier_cells(precision: str) -> dict[int, dict[str, Any]]:
    """Return what was measured last of the cases, by place."""
    found = {}
    for path in sorted(RESULTS.glob("*.json")):
        content = results.read(path)
        for cell in content["cells"] if content["precision"] == precision else ():
            own = {name: value for name, value in cell.items() if name in ("shape", "length", "row_tokens", *OPTIONAL)}
            if "commit" in cell and own in CASES:
                found[CASES.index(own)] = cell
    return found


if __name__ == "__main__":
    main()
