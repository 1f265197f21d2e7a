import unicodedata
from dataclasses import replace

import pytest

from alpaca_lora.reporting.summary import RunSummary
from alpaca_lora.reporting.terminal import render_summary


def test_a_run_in_a_few_lines(summary: RunSummary) -> None:
    assert (
        render_summary(summary, width=80)
        == """\
smollm2-135m on alpaca-mini: completed after 240 steps in 6 min 53 s

held-out loss  2.000 → 1.500 (−25.0 %), perplexity 7.39 → 4.48
stop rate      6 % → 94 % of 16 answers end by themselves
rows           380 trained, 40 held out, 3 dropped

a held-out record:
  Name two primary colours.
before (cut off):
  Name two primary colours. Name two
after:
  Red and yellow.

report         runs/alpaca-mini/report.html
try it         alpaca-lora chat --adapter runs/alpaca-mini/adapter"""
    )


def test_a_run_below_the_working_directory_is_named_from_there(summary: RunSummary, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = render_summary(replace(summary, output_dir=str(tmp_path / "runs/mine")), width=80)
    assert text.endswith(
        "report         runs/mine/report.html\ntry it         alpaca-lora chat --adapter runs/mine/adapter"
    )


def test_no_text_can_send_a_control_character(summary: RunSummary, nasty: str, written_by) -> None:
    text = render_summary(written_by(summary, nasty), width=80)
    assert not [c for c in text if unicodedata.category(c) in {"Cc", "Cs"} and c != "\n"]


@pytest.mark.parametrize("width", [40, 60, 100])
def test_answers_are_wrapped_at_the_width(summary: RunSummary, width: int) -> None:
    sample = replace(summary.samples[0], after="one two three four five " * 20)
    lines = render_summary(replace(summary, samples=(sample,)), width=width).split("\n")
    answer = [line for line in lines if line.startswith(("  one", "  … ("))]
    assert answer
    assert max(map(len, answer)) <= width


def test_a_long_answer_is_cut_with_a_count(summary: RunSummary) -> None:
    sample = replace(summary.samples[0], after="\n".join(map(str, range(30))))
    assert "  9\n  … (20 more lines)\n" in render_summary(replace(summary, samples=(sample,)), width=80)


def test_nothing_held_out_leaves_only_what_is_known(without_heldout: RunSummary) -> None:
    text = render_summary(without_heldout, width=80)
    assert "loss  " not in text
    assert "\n! No rows were held out" in text


def test_a_run_that_did_not_end_offers_no_chat(summary: RunSummary) -> None:
    text = render_summary(replace(summary, status="stopped", steps=10), width=80)
    assert text.startswith("smollm2-135m on alpaca-mini: stopped after 10 steps")
    assert "alpaca-lora chat" not in text


def test_a_directory_with_a_space_is_quoted_in_the_command(summary: RunSummary) -> None:
    text = render_summary(replace(summary, output_dir="my runs"), width=80)
    assert text.endswith("alpaca-lora chat --adapter 'my runs/adapter'")
