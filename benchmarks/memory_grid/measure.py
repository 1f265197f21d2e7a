"""Measure the cells of the grid that are not stored yet, on the CPU, one at a time; none takes more than 4 GB.

Run:  python benchmarks/memory_grid/measure.py          (an hour beside other work)

Each cell is a process of its own, forked from one that has imported everything and computed nothing.
"""

import json
import multiprocessing
import sys
from typing import Any

import cell
import grid


def measured(given: tuple[str, int, int, dict[str, Any]]) -> dict[str, Any]:
    """Return what a cell shows, measured in a process of its own."""
    shape, tokens, length, settings = given
    said, told = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(
        target=lambda: told.send(cell.measure(shape, tokens, length, settings))
    )
    process.start()
    told.close()
    try:
        found = said.recv()
    except EOFError:
        sys.exit(f"{shape} {settings} does not run")
    process.join()
    return {"shape": shape, "tokens": tokens, "length": length, "settings": settings, **found}


def main() -> None:
    """Measure what is missing, and store it after each cell."""
    content = json.loads(grid.RESULTS.read_text(encoding="utf-8")) if grid.RESULTS.is_file() else {"cells": []}
    known = {json.dumps([c["shape"], c["tokens"], c["length"], c["settings"]]) for c in content["cells"]}
    cell.tokenizer()
    for given in grid.CELLS:
        if json.dumps(given) not in known:
            content = cell.stamp([*content["cells"], measured(given)])
            print(json.dumps(content["cells"][-1]), flush=True)
            grid.RESULTS.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
