import json

import pytest

from alpaca_lora.cli import main
from alpaca_lora.curation import RULES


@pytest.fixture
def source(tmp_path):
    rows = [
        {"instruction": "Name a river in Africa.", "input": "", "output": "The Nile."},
        {"instruction": "How many pens are in both boxes?", "input": "", "output": "17 + 26 = 44 pens"},
        {"instruction": "Describe your house.", "input": "", "output": "As an AI, I have no house."},
    ]
    path = tmp_path / "set.json"
    path.write_text(json.dumps(rows), encoding="utf-8")
    return path


def test_a_file_is_curated_and_the_counts_are_said(source, tmp_path, capsys):
    assert main(["curate", str(source), "--output-dir", str(tmp_path / "out")]) == 0
    shown = capsys.readouterr().out
    assert "3 read = 2 kept (67 %, 0 repaired) + 1 dropped\n" in shown
    assert "  arithmetic  1 dropped\n" in shown
    assert "  refusal     1 flagged\n" in shown
    assert f"alpaca-lora finetune --data {tmp_path / 'out' / 'curated.jsonl'}" in shown


def test_flags_become_settings_and_a_replay_needs_no_second_measuring(source, tmp_path, capsys):
    first, second = str(tmp_path / "first"), str(tmp_path / "second")
    assert main(["curate", str(source), "--output-dir", first, "--quiet"]) == 0
    arguments = ["--replay", first, "--action", "refusal=drop", "--action", "arithmetic=off"]
    assert main(["curate", str(source), "--output-dir", second, *arguments, "--threshold", "near_duplicate=0.9"]) == 0
    assert "3 read = 2 kept" in capsys.readouterr().out
    stored = json.loads((tmp_path / "second" / "curation.json").read_text(encoding="utf-8"))
    assert (stored["actions"]["refusal"], stored["thresholds"]["near_duplicate"]) == ("drop", 0.9)


def test_quiet_says_only_where_the_records_are(source, tmp_path, capsys):
    held_out = ["--against", str(source), str(source)]
    assert main(["curate", str(source), "--output-dir", str(tmp_path / "out"), "--quiet", *held_out]) == 0
    assert capsys.readouterr() == (f"{tmp_path / 'out' / 'curated.jsonl'}\n", "")
    assert (tmp_path / "out" / "curated.jsonl").read_bytes() == b""


def test_the_rules_are_listed(capsys):
    assert main(["curate", "--rules"]) == 0
    shown = capsys.readouterr().out
    assert all(f"{name} " in shown for name in RULES)
    assert "Threshold 0.7, from 0.5 on." in shown


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "there is no FILE to curate; name one, or list the rules with --rules"),
        (["set.json", "--action", "refusal"], "--action must be NAME=VALUE, got 'refusal'"),
        (["set.json", "--threshold", "near_duplicate=high"], "must be a number from 0.5 on, got 'high'"),
        (["nowhere.json"], "nowhere.json: no such file"),
    ],
)
def test_flags_that_cannot_be_are_refused(source, tmp_path, monkeypatch, capsys, arguments, said):
    monkeypatch.chdir(tmp_path)
    assert main(["curate", *arguments]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()
