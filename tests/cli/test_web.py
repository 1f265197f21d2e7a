import json
import signal
import socket
from pathlib import Path

import pytest

from alpaca_lora.adapters import Sidecar
from alpaca_lora.cli import main
from alpaca_lora.prompts import Prompter


@pytest.mark.parametrize(
    ("arguments", "refusal"),
    [
        ([], "error: no adapter at 'missing': give a directory with adapter_config.json"),
        (["--recipe", "vllm"], "error: no adapter at 'missing': give a directory with adapter_config.json"),
        (["--recipe", "foo"], "error: recipe must be transformers or vllm, got 'foo'\n"),
        (["--share"], "error: --share lets everybody who has the link reach this machine: say with --accounts who may"),
        (["--accounts", "none.txt"], "error: accounts in 'none.txt' cannot be read"),
    ],
)
def test_ui_refuses_what_cannot_work(capsys, monkeypatch, tmp_path: Path, arguments: list[str], refusal: str):
    pytest.importorskip("gradio", reason="the extra ui is not installed")
    monkeypatch.chdir(tmp_path)

    assert main(["ui", "--adapter", "missing", "--port", "0", *arguments]) == 2
    assert refusal in capsys.readouterr().err


def test_a_port_in_use_is_told_before_a_model_is_loaded(capsys, tmp_path: Path):
    pytest.importorskip("gradio", reason="the extra ui is not installed")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["ui", "--adapter", str(tmp_path / "missing"), "--port", str(port)]) == 2
    said = capsys.readouterr().err
    assert f"port {port} of 127.0.0.1 cannot be used" in said
    assert "loading" not in said


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


def test_a_recipe_does_nothing_to_a_terminal(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    prompter = Prompter("alpaca")
    config = {"peft_type": "LORA", "r": 8, "lora_alpha": 16, "target_modules": ["q_proj"]}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    Sidecar(
        base_model="maker/\x1b]0;owned\x07\x1b[2J\x9b31mbase\u202e",
        base_fingerprint="0" * 64,
        template=prompter.template.to_dict(),
        template_sha256=prompter.sha256,
        data_sha256="0" * 64,
        precision="fp32",
        quantization={"method": "none", "double_quantization": True},
        max_length=128,
        stop_ids=(2,),
        base_losses=(1.0,) * 4,
        losses=(1.0,) * 4,
    ).write(tmp_path)

    assert main(["ui", "--adapter", str(tmp_path), "--recipe", "vllm"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("vllm serve 'maker/base' --enable-lora")
    assert said.endswith("}'\n")
    assert not any(character in said for character in "\x1b\x07\x9b\u202e")


@pytest.mark.slow
@pytest.mark.parametrize(("sent", "code", "said"), [(signal.SIGTERM, 143, "interrupted\n"), (signal.SIGINT, 0, "")])
def test_the_page_ends_with_the_signals_code(start, opened, tiny_base, train, sent, code, said):
    pytest.importorskip("gradio", reason="the extra ui is not installed")
    child = start("ui", "--adapter", str(train(tiny_base)), "--port", "0")
    opened(child.stdout.readline())
    child.send_signal(sent)
    _, err = child.communicate(timeout=60)
    assert (child.returncode, err) == (code, f"loading …\n{said}")
