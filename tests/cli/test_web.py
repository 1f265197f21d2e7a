from pathlib import Path

import pytest

from alpaca_lora.cli import main


@pytest.mark.parametrize(
    ("arguments", "refusal"),
    [
        ([], "error: no adapter at 'missing': give a directory with adapter_config.json"),
        (["--recipe", "vllm"], "error: no adapter at 'missing': give a directory with adapter_config.json"),
        (["--share"], "error: --share lets everybody who has the link reach this machine: say with --accounts who may"),
        (["--accounts", "none.txt"], "error: accounts in 'none.txt' cannot be read"),
    ],
)
def test_ui_refuses_what_cannot_work(capsys, monkeypatch, tmp_path: Path, arguments: list[str], refusal: str):
    pytest.importorskip("gradio", reason="the extra ui is not installed")
    monkeypatch.chdir(tmp_path)

    assert main(["ui", "--adapter", "missing", *arguments]) == 2
    assert refusal in capsys.readouterr().err


def test_ui_without_gradio_names_the_extra(run_python, tmp_path: Path):
    code = "import sys; sys.modules['gradio'] = None\nfrom alpaca_lora.cli import main\n"
    done = run_python("-c", code + "sys.exit(main(['ui', '--adapter', 'missing']))", cwd=tmp_path)

    assert (done.returncode, done.stderr) == (
        2,
        "error: gradio is not installed: run  pip install 'alpaca-lora[ui]'\n",
    )


def test_the_help_shows_the_recipes(capsys: pytest.CaptureFixture[str]):
    assert main(["ui", "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())

    assert "vllm serve BASE --enable-lora --lora-modules alpaca=DIR" in shown
    assert "transformers serve MERGED" in shown
