"""The plan of this code against the memory that was measured: the evidence is stored, the plan is computed anew."""

import importlib
import json

import pytest


@pytest.fixture
def grid(repository, monkeypatch):
    monkeypatch.syspath_prepend(str(repository / "benchmarks" / "memory_grid"))
    return importlib.import_module("grid")


@pytest.fixture
def cells(grid):
    return json.loads(grid.RESULTS.read_text(encoding="utf-8"))["cells"]


def test_the_plan_is_within_a_tenth_of_nine_cells_in_ten_and_never_far_under(grid, cells):
    rows = list(grid.compared(cells))
    assert len(rows) >= 24
    assert grid.faults(rows) == []


def test_the_tensors_of_the_plan_are_those_that_were_counted(grid, cells):
    rows = list(grid.compared(cells))
    on_kernels = [row for row in rows if row["settings"].get("kernels.enabled", True)]
    assert len(on_kernels) >= 24
    assert [row for row in on_kernels if abs(row["tensor_error"]) > 0.025] == []
    assert [row for row in rows if abs(row["tensor_error"]) > 0.15] == []


def test_cells_that_took_more_than_was_planned_are_faults(grid, cells):
    grown = [cell | {"peak_bytes": cell["peak_bytes"] * 12 // 10} for cell in cells]
    said = grid.faults(list(grid.compared(grown)))
    assert any("planned -" in sentence for sentence in said)
    assert "cells are more than 10% off" in said[-1]


def test_every_cell_that_is_listed_was_measured(grid, cells):
    found = [[cell["shape"], cell["tokens"], cell["length"], cell["settings"]] for cell in cells]
    assert found == [[*given] for given in grid.CELLS]


def test_the_table_of_the_documentation_is_that_of_this_code(grid, cells, repository):
    document = (repository / "benchmarks/README.md").read_text(encoding="utf-8")
    shown = document.partition("<!-- memory_grid:begin -->")[2].partition("<!-- memory_grid:end -->")[0]
    assert shown.strip() == grid.table(list(grid.compared(cells)))
