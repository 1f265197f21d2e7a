import json
from pathlib import Path

import pytest

from alpaca_lora.cli import main


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "data.jsonl"
    words = ("red", "blue", "green\x07", "x" * 300)
    rows = [{"question": f"Say word {number}.", "answer": word} for number, word in enumerate(words)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_inspect_shows_as_many_records_as_asked_for(capsys, data: Path, tiny_base: Path):
    arguments = ["--data", str(data), "--base-model", str(tiny_base), "--template", "alpaca_short", "-n", "2"]
    assert main(["inspect", *arguments]) == 0

    shown = capsys.readouterr().out
    assert shown.startswith(
        "⟨masked⟩ ⟦learned⟧; template 'alpaca_short', end of text '<|endoftext|>'\n\ndata.jsonl:1: "
    )
    assert shown.count("<|endoftext|>⟧\n") == 2
    assert "\x1b" not in shown


def test_inspect_shows_why_a_record_is_left_out_and_no_control_character(capsys, data: Path, tiny_base: Path):
    arguments = ["--data", str(data), "--base-model", str(tiny_base), "--max-length", "160", "--records", "9"]
    assert main(["inspect", *arguments, "--map", "instruction=question", "--map", "output=answer"]) == 0

    shown = capsys.readouterr()
    assert "data.jsonl:4: not trained on, longer than 160 tokens" in shown.out
    assert "⟦␇⟧" in shown.out
    assert "\x07" not in shown.out
    assert "note: 1 of 4 records hold control characters" in shown.err


def test_inspect_takes_the_settings_of_a_config(capsys, data: Path, tiny_base: Path, tmp_path: Path):
    config = tmp_path / "mine.yaml"
    config.write_text("train_on_prompt: true\ntemplate: alpaca_short\n")
    assert (
        main(["inspect", "--data", str(data), "--base-model", str(tiny_base), "--config", str(config), "-n", "1"]) == 0
    )

    assert capsys.readouterr().out.count("⟨") == 2  # the legend's, and the first token's


@pytest.mark.parametrize(
    ("arguments", "refusal"),
    [
        (["-n", "0"], "error: --records must be at least 1, got 0"),
        (["--max-length", "1"], "error: config.max_length must be an integer of at least 8, got 1"),
        (["--data", "missing.jsonl"], "missing.jsonl"),
    ],
)
def test_inspect_refuses_what_cannot_be_shown(capsys, arguments: list[str], refusal: str):
    assert main(["inspect", *arguments]) == 2
    assert refusal in capsys.readouterr().err


def test_a_dry_run_tells_the_plan_and_writes_nothing(capsys, data: Path, tiny_base: Path, tmp_path: Path):
    run = tmp_path / "run"
    arguments = ["--base-model", str(tiny_base), "--data", str(data), "--output-dir", str(run), "--max-length", "160"]
    assert main(["finetune", *arguments, "--validation-size", "1", "--epochs", "2", "--seed", "1", "--dry-run"]) == 0

    shown = capsys.readouterr().out
    assert shown.startswith(f"{tiny_base.name} on data.jsonl: ")
    assert "4 read, " in shown
    assert "1 held out, " in shown
    assert "left out:\n  data.jsonl:4: longer than 160 tokens\n" in shown
    assert "\n  epochs 2\n" in shown.replace("2.0", "2")
    assert not run.exists()


def test_a_dry_run_tells_of_a_run_that_the_directory_holds(capsys, data: Path, tiny_base: Path, tmp_path: Path):
    run = tmp_path / "run"
    arguments = ["finetune", "--base-model", str(tiny_base), "--data", str(data), "--output-dir", str(run)]
    arguments += ["--validation-size", "1", "--max-steps", "2", "--max-length", "160"]
    assert main([*arguments, "--dry-run", "--resume", "elsewhere"]) == 2
    assert "'elsewhere' is no checkpoint of" in capsys.readouterr().err
    assert main([*arguments, "--probe-size", "0", "--quiet"]) == 0
    assert main([*arguments, "--probe-size", "0", "--dry-run"]) == 0
    assert "steps, complete already\n" in capsys.readouterr().out
    assert main([*arguments, "--probe-size", "0", "--dry-run", "--resume", "never"]) == 2
    assert "holds a run already and resume is 'never'" in capsys.readouterr().err
    assert main([*arguments, "--probe-size", "3", "--dry-run"]) == 2
    assert "holds another run: config.probe_size was 0, now 3" in capsys.readouterr().err
