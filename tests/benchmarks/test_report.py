from xml.etree import ElementTree

import pytest


def line(tool, mode, speed, **changes):
    return {
        "tool": tool,
        "mode": mode,
        "tokens_per_second": speed,
        "slowest": speed - 1,
        "fastest": speed + 1,
        "peak_bytes": 2**31,
        "first_step_seconds": 9.4,
        "heldout_loss": 1.6,
        "faults": [],
    } | changes


def test_lines_stand_by_mode_the_fastest_first(part):
    lines = [line("ours", "tuned", 9.0), line("trl", "defaults", 2.0), line("ours", "defaults", 8.0)]
    assert [(found["tool"], found["mode"]) for found in part("report").ordered(lines)] == [
        ("ours", "defaults"),
        ("trl", "defaults"),
        ("ours", "tuned"),
    ]


def test_a_tool_is_compared_with_ours_in_the_same_mode(part):
    lines = [line("ours", "defaults", 800.0), line("ours", "tuned", 1000.0), line("unsloth", "defaults", 200.0)]
    assert part("report").ratio(lines[2], lines) == 4.0


def test_a_failed_gate_shows_no_speed(part):
    failed = {key: value for key, value in line("trl", "tuned", 5.0).items() if not key.endswith("_second")}
    row = part("report").table([failed | {"faults": ["step-1 loss"]}]).splitlines()[-1]
    assert row == "| TRL | tuned | gate failed |  |  | 2.00 GiB | 9 s | 1.6000 | step-1 loss |"


def test_a_tool_that_does_not_run_shows_its_error(part):
    row = part("report").table([{"tool": "axolotl", "mode": "tuned", "error": "a | b"}]).splitlines()[-1]
    assert row == "| Axolotl | tuned | does not run | | | | | | a \\| b |"


def test_the_share_of_the_matrix_rate_is_shown(part):
    row = part("report").table([line("ours", "tuned", 8.0, matrix_share=0.456)]).splitlines()[-1]
    assert row == "| alpaca-lora | tuned | **8** (7 – 9) | 1.00 | 46% | 2.00 GiB | 9 s | 1.6000 | passed |"


@pytest.mark.parametrize(
    ("content", "name"),
    [
        ({}, "training_speed_bf16"),
        ({"precision": "fp32"}, "training_speed_fp32"),
        ({"precision": "bf16", "weights": "bf16", "device": "cuda"}, "training_speed_cuda_bf16"),
        ({"precision": "bf16", "weights": "nf4", "device": "cuda"}, "training_speed_cuda_nf4"),
    ],
)
def test_every_result_has_a_place_in_the_readme(part, content, name):
    report = part("report")
    assert report.name_of(content) == name
    assert f"<!-- {name}:begin -->" in report.README.read_text(encoding="utf-8")


def test_only_what_stands_between_the_markers_is_replaced(part):
    assert part("report").between("a <b> old <e> c", "<b>", "<e>", "new") == "a <b>\nnew\n<e> c"


def test_a_text_without_markers_is_refused(part):
    with pytest.raises(ValueError, match="lacks <b> or <e>"):
        part("report").between("a <b> old", "<b>", "<e>", "new")


def test_the_chart_has_a_bar_for_each_speed(part):
    chart = part("report").chart([line("ours", "defaults", 8.0), {"tool": "trl", "mode": "defaults", "error": "no"}])
    assert len(ElementTree.fromstring(chart).findall("{http://www.w3.org/2000/svg}rect")) == 2
