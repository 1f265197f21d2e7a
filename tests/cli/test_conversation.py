import dataclasses
import io
from pathlib import Path

import pytest

from alpaca_lora.cli import main
from alpaca_lora.cli.conversation import ChatOptions
from alpaca_lora.cli.web import UiOptions
from alpaca_lora.models import Decoding


def test_the_decoding_options_have_the_defaults_of_the_library():
    decoding = ChatOptions(adapter="x").decoding

    assert decoding.items() <= dataclasses.asdict(Decoding()).items()
    assert dataclasses.asdict(Decoding()).keys() - decoding.keys() == {"repetition_penalty"}


@pytest.mark.parametrize(
    ("arguments", "refusal"),
    [
        (["--prompt", "x"], "error: no adapter at 'missing': give a directory with adapter_config.json"),
        ([], "error: no adapter at 'missing': give a directory with adapter_config.json"),
        (["--input", "x"], "error: --input belongs to --prompt; in a conversation /input takes one"),
        (["--prompt", "x", "--seed", "1", "--top-k", "5"], "--top-k, --seed is for --temperature above 0, and does"),
        (["--prompt", "x", "--temperature", "99"], "error: temperature must be between 0 and 10, got 99.0"),
    ],
)
def test_chat_refuses_what_cannot_work(capsys, monkeypatch, tmp_path: Path, arguments: list[str], refusal: str):
    monkeypatch.chdir(tmp_path)

    assert main(["chat", "--adapter", "missing", *arguments]) == 2
    shown = capsys.readouterr()
    assert refusal in shown.err
    assert shown.out == ""


def test_chat_needs_an_adapter(capsys: pytest.CaptureFixture[str]):
    assert main(["chat"]) == 2
    assert "--adapter" in capsys.readouterr().err


@pytest.mark.parametrize("kind", [ChatOptions, UiOptions])
def test_the_base_is_held_as_it_is_asked_for(kind, train, tiny_base: Path):
    import torch

    adapter = str(train(tiny_base))
    bnb = pytest.importorskip("bitsandbytes", reason="nf4 needs bitsandbytes")

    def kinds(**options):
        model = kind(adapter=adapter, **options).load().model.get_base_model()
        layer = model.model.layers[0].mlp.up_proj.base_layer
        return model.model.embed_tokens.weight.dtype, isinstance(layer, bnb.nn.Linear4bit)

    assert kinds() == (torch.float32, False)
    assert kinds(precision="bf16") == (torch.bfloat16, False)
    assert kinds(quantization="nf4") == (torch.float32, True)


def test_a_precision_that_there_is_not_is_refused(capsys, train, tiny_base: Path):
    assert main(["chat", "--adapter", str(train(tiny_base)), "--prompt", "x", "--precision", "bf32"]) == 2
    assert "error: precision must be one of 'bf16', 'fp16', 'fp32', got 'bf32'" in capsys.readouterr().err


@pytest.mark.parametrize("stdin", [b"caf\xe9\n", None])
def test_a_conversation_takes_any_bytes_and_no_input_at_all(capsys, monkeypatch, tiny_base, train, stdin):
    monkeypatch.setattr("sys.stdin", stdin and io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8"))

    assert main(["chat", "--adapter", str(train(tiny_base)), "--max-new-tokens", "1"]) == 0
    shown = capsys.readouterr()
    assert ("cut off after 1 tokens" in shown.out or "(an empty answer)" in shown.out) is bool(stdin)
    assert "error" not in shown.err
