TOKENS = [1000, 600]


def content(*cells):
    return {"workload": {"step_tokens": TOKENS, "sha256": "f00"}, "cells": list(cells)}


def test_speed_leaves_the_first_step_out(part, cell):
    results = part("results")
    assert (results.speed(cell(), TOKENS), results.total_speed(cell(), TOKENS)) == (300.0, 400.0)


def test_a_line_is_the_median_of_its_rounds(part, cell):
    cells = [cell(round=turn, step_ends_seconds=[2.0, 2.0 + seconds]) for turn, seconds in enumerate((1.0, 2.0, 6.0))]
    (line,) = part("results").summarise(content(*cells))
    assert (line["slowest"], line["tokens_per_second"], line["fastest"]) == (100.0, 300.0, 600.0)


def test_the_share_of_the_matrix_rate_counts_the_timed_steps(part, cell):
    measured = content(cell())
    measured["workload"] |= {"step_flops": [9e9, 6e9], "matrix_flops": 6e9}
    (line,) = part("results").summarise(measured)
    assert line["matrix_share"] == 0.5  # 300 tokens/s of 10 MFLOP each


def test_on_a_gpu_the_memory_is_that_of_the_device(part, cell):
    (line,) = part("results").summarise(content(cell(peak_cuda_bytes=5, peak_rss_bytes=7)))
    assert line["peak_bytes"] == 5


def test_one_failed_gate_takes_the_speed_away(part, cell):
    (line,) = part("results").summarise(content(cell(), cell(round=1, faults=["step-1 loss"])))
    assert "tokens_per_second" not in line
    assert line["faults"] == ["step-1 loss"]


def test_an_error_is_kept_as_the_line(part):
    failed = {"tool": "axolotl", "mode": "defaults", "round": 0, "code": "x", "error": "no CUDA"}
    assert part("results").summarise(content(failed)) == [
        {"tool": "axolotl", "mode": "defaults", "rounds": 1, "error": "no CUDA"}
    ]


def test_a_cell_counts_as_measured_with_the_same_code_only(part, cell):
    has_cell = part("results").has_cell
    assert has_cell(content(cell()), "ours", "defaults", 0, "abc")
    assert not has_cell(content(cell()), "ours", "defaults", 0, "other")
    assert not has_cell(content(cell(error="killed")), "ours", "defaults", 0, "abc")


def test_the_newest_file_of_a_workload_in_one_place_is_found(part, cell, tmp_path):
    results = part("results")
    on_cuda = {"precision": "bf16", "weights": "nf4", "device": "cuda"}
    days = {"2026-11-24": {}, "2026-11-25": {}, "2026-11-26": {"precision": "fp32"}, "2026-11-27": on_cuda}
    for name, place in days.items():
        results.write(tmp_path / f"{name}.json", content(cell()) | place)

    def newest(sha256, weights, device="cpu"):
        return results.newest(tmp_path, sha256, {"weights": weights, "device": device})

    assert newest("f00", "bf16") == tmp_path / "2026-11-25.json"
    assert newest("f00", "fp32") == tmp_path / "2026-11-26.json"
    assert newest("f00", "nf4", "cuda") == tmp_path / "2026-11-27.json"
    assert newest("f00", "nf4") is newest("other", "bf16") is None


def test_a_file_of_the_same_day_is_not_written_over(part, tmp_path):
    results = part("results")
    first = results.unused(tmp_path / "2026-11-25.json")
    first.touch()
    assert [first.name, results.unused(first).name] == ["2026-11-25.json", "2026-11-25-2.json"]
