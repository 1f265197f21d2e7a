"""Does the plan say what training takes? The cells of the grid, and the plan of this code against what was measured.

Run:  python benchmarks/memory_grid/grid.py          (a second; `measure.py` takes an hour)
"""

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from alpaca_lora.config import FinetuneConfig, load_config
from alpaca_lora.planning.memory import items_of
from alpaca_lora.planning.shapes import shape_of

HERE = Path(__file__).parent
RESULTS = HERE / "results.json"
GIB = 2**30
SHARE, FURTHEST, LEAST = 0.9, 0.1, -0.05
"""This share of the cells must be within FURTHEST of what was measured, and no plan may be under by more than 5 %."""

NF4, LEAN = {"quantization.method": "nf4"}, {"quantization.method": "nf4", "kernels.nf4_cache_gib": 0.0}
BF16, CHECKPOINTED = {"precision": "bf16"}, {"gradient_checkpointing": True}
SMALL, MIDDLE, QWEN, LARGE = "smollm2-135m", "smollm2-360m", "qwen2.5-0.5b", "tinyllama-1.1b"


def rank(number: int) -> dict[str, Any]:
    """Return the settings of an adapter of this rank."""
    return {"lora.rank": number, "lora.alpha": float(2 * number)}


CELLS: list[tuple[str, int, int, dict[str, Any]]] = [
    (SMALL, 512, 512, rank(8)),
    (SMALL, 1024, 256, rank(8)),
    (SMALL, 1024, 512, CHECKPOINTED | rank(8)),
    (SMALL, 128, 128, BF16 | rank(8)),
    (SMALL, 1024, 512, LEAN | rank(8)),
    (SMALL, 1024, 512, NF4 | rank(16)),
    (MIDDLE, 512, 256, rank(8)),
    (QWEN, 512, 256, rank(8)),
    (LARGE, 256, 256, LEAN | rank(8)),
    (SMALL, 256, 256, CHECKPOINTED | rank(8)),
    (SMALL, 256, 128, LEAN | rank(16)),
    (SMALL, 256, 256, rank(64)),
    (SMALL, 256, 256, LEAN | CHECKPOINTED | rank(16)),
    (SMALL, 512, 256, CHECKPOINTED | rank(8) | {"kernels.checkpointed_layers": 15}),
    (SMALL, 256, 256, rank(64) | {"batch_size": 2}),
    (SMALL, 256, 256, rank(8) | {"lora.dropout": 0.05, "lora.target_modules": ["q_proj", "v_proj"]}),
    (SMALL, 512, 512, CHECKPOINTED | rank(32)),
    (SMALL, 256, 256, rank(8) | {"kernels.enabled": False}),
    (MIDDLE, 256, 256, CHECKPOINTED | rank(16)),
    (SMALL, 512, 128, rank(16)),
    (SMALL, 384, 384, rank(8)),
    (SMALL, 512, 256, LEAN | CHECKPOINTED | rank(8)),
    (MIDDLE, 256, 256, LEAN | rank(64)),
    (QWEN, 256, 256, CHECKPOINTED | rank(16)),
    (SMALL, 256, 256, NF4 | rank(8)),
]


def planned(cell: Mapping[str, Any]) -> tuple[int, int]:
    """Return what the plan says of a cell: the bytes of tensors, and those beyond the process without a model."""
    config = config_of_cell(cell["tokens"], cell["length"], cell["settings"])
    items = items_of(
        shape_of(cell["shape"]), config, device="cpu", memory_bytes=cell["memory_bytes"], record_tokens=cell["length"]
    )
    tensors = sum(item.bytes for item in items if item.basis == "counted")
    return tensors, sum(item.bytes for item in items if item.name != "process")


def config_of_cell(tokens: int, length: int, settings: Mapping[str, Any]) -> Any:
    """Return the settings of a cell as a config."""
    usual = FinetuneConfig(
        max_length=length,
        packing=True,
        packed_length=tokens,
        batch_size=1,
        micro_batch_size=1,
        learning_rate=3e-4,
        precision="fp32",
        gradient_checkpointing=False,
    )
    return load_config(usual, settings)


def compared(cells: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield each cell with the plan and its error."""
    for cell in cells:
        tensors, total = planned(cell)
        yield cell | {
            "planned_bytes": total,
            "error": total / cell["peak_bytes"] - 1,
            "tensor_error": tensors / cell["tensor_bytes"] - 1,
        }


def faults(rows: list[dict[str, Any]]) -> list[str]:
    """Return what the plan of this code promises and does not keep."""
    far = [row for row in rows if abs(row["error"]) > FURTHEST]
    under = [row for row in rows if row["error"] < LEAST]
    said = [f"{row['shape']} {row['settings']}: planned {row['error']:+.1%}" for row in under]
    if len(far) > (1 - SHARE) * len(rows):
        said.append(f"{len(far)} of {len(rows)} cells are more than {FURTHEST:.0%} off")
    return said


def table(rows: list[dict[str, Any]]) -> str:
    """Return the cells as a Markdown table."""
    lines = [
        "| shape | tokens | records of | settings | measured | planned | error | tensors alone |",
        "|---|--:|--:|---|--:|--:|--:|--:|",
    ]
    for row in rows:
        settings = ", ".join(f"{name} {value}" for name, value in row["settings"].items() if name != "lora.alpha")
        gib = [f"{row[name] / GIB:.2f} GiB" for name in ("peak_bytes", "planned_bytes")]
        lines.append(
            f"| {row['shape']} | {row['tokens']:,} | {row['length']:,} | {settings} | {gib[0]} | {gib[1]} "
            f"| {row['error']:+.1%} | {row['tensor_error']:+.1%} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Compare the stored cells; exit with 1 if a promise is not kept."""
    rows = list(compared(json.loads(RESULTS.read_text(encoding="utf-8"))["cells"]))
    print(table(rows))
    if said := faults(rows):
        sys.exit("\n".join(said))


if __name__ == "__main__":
    main()
