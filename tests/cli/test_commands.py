import json
from pathlib import Path

import pytest

from alpaca_lora.cli import main


@pytest.mark.slow
def test_finetune_and_chat_work_as_a_script_calls_them(
    run_python, tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    words = ("red", "green", "blue", "white", "black", "brown")
    rows = [{"instruction": f"Say {word}.", "output": word} for word in words]
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def call(*arguments: str, **options):
        return run_python("-m", "alpaca_lora", *arguments, cwd=tmp_path, **options)

    command = [
        *("finetune", "--base-model", str(tiny_base), "--data", "data.jsonl", "--output-dir", "run"),
        *("--max-length", "160", "--validation-size", "2", "--probe-size", "0", "--max-steps"),
    ]
    first = call(*command, "2", "--quiet")
    assert (first.returncode, first.stdout) == (0, f"{tmp_path / 'run' / 'adapter'}\n"), first.stderr

    monkeypatch.chdir(tmp_path)
    assert main([*command, "2"]) == 0
    shown = capsys.readouterr()
    assert "completed after 2 steps" in shown.out
    assert "warning:" not in first.stderr + shown.err
    assert main([*command, "2", "--seed", "7"]) == 2
    assert "holds another run: config.seed was 42, now 7" in capsys.readouterr().err

    assert main([*command, "3"]) == 0
    told = capsys.readouterr().err
    assert told.count("note: the run is made longer: config.max_steps was 2, now 3") == 1
    assert told.count("made longer") == 1
    assert told.count("warning: the run has 3 optimizer steps, and fewer than 30 rarely change a model") == 1

    answer = call("chat", "--adapter", "run", "--prompt", "Say red.", "--max-new-tokens", "4")
    assert answer.returncode == 0, answer.stderr
    assert answer.stderr == "note: cut off after 4 tokens; --max-new-tokens allows more\n"

    chat = call("chat", "--adapter", "run", "--max-new-tokens", "4", input="Say red.\n/quit\n")
    assert chat.returncode == 0, chat.stderr
    assert chat.stdout.splitlines()[0] == "template 'alpaca'; /help lists the commands, /quit leaves"
    assert "Traceback" not in chat.stderr
