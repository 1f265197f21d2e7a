import pytest
import torch
from safetensors.torch import save_file

from alpaca_lora.cli import main
from alpaca_lora.cli.exporting import ExportOptions, run_export
from alpaca_lora.exports import ExportResult, Parity


def write(directory, value):
    directory.mkdir()
    save_file({"weight": torch.full((2, 2), value)}, directory / "model.safetensors", {"format": "pt"})
    (directory / "config.json").write_text("{}")
    return str(directory)


def test_a_difference_is_made_and_undone(capsys, tmp_path):
    tuned, raw = write(tmp_path / "tuned", 1.5), write(tmp_path / "raw", 1.0)
    diff, again = str(tmp_path / "diff"), str(tmp_path / "again")
    assert main(["export", "weight-diff", "--tuned", tuned, "--raw", raw, "--output-dir", diff]) == 0
    assert main(["export", "recover", "--diff", diff, "--raw", raw, "--output-dir", again]) == 0
    assert capsys.readouterr().out == f"{diff}\n{again}\n"
    assert (tmp_path / "again/model.safetensors").read_bytes() == (tmp_path / "tuned/model.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["weight-diff", "--tuned", "x"], "error: export weight-diff needs --raw DIR and --output-dir DIR"),
        (["recover", "--raw", "x", "--output-dir", "y"], "error: export recover needs --diff DIR"),
        (
            ["weight-diff", "--tuned", "x", "--raw", "y", "--output-dir", "z", "--push", "a/b", "--dtype", "f16"],
            "error: --dtype, --push is for export hf or export gguf or export ollama or export meta or export adapter",
        ),
        (
            ["recover", "--diff", "x", "--raw", "y", "--output-dir", "z", "--base", "original"],
            "error: --base is for export hf or export gguf or export ollama or export meta, and does nothing here",
        ),
        (["hf", "--adapter", "x", "--output-dir", "y", "--diff", "z"], "error: --diff is for export recover, and"),
        (["hf", "--adapter", "x", "--output-dir", "y", "--llama-cpp", "z"], "error: --llama-cpp is for export gguf or"),
        (["adapter", "--adapter", "x", "--output-dir", "y", "--base", "original"], "error: --base is for export hf or"),
        (["hf"], "error: export hf needs --adapter DIR and --output-dir DIR"),
        (["onnx", "--adapter", "x", "--output-dir", "y"], "error: format must be one of 'hf', 'adapter', 'meta'"),
        (["hf", "--adapter", "x", "--output-dir", "y"], "error: no adapter at 'x'"),
        (["hf", "--adapter", "x", "--output-dir", "y", "--dtype", "q8_0"], "error: dtype must be one of 'f32'"),
    ],
)
def test_bad_input_is_told(capsys, monkeypatch, tmp_path, arguments, said):
    monkeypatch.chdir(tmp_path)
    assert main(["export", *arguments]) == 2
    assert capsys.readouterr().err.startswith(said)


PARITY = Parity(
    format="hf",
    dtype="bf16",
    computed_in="f32",
    merged_into="original",
    prompts=8,
    positions=131,
    max_logit_delta=0.25,
    mean_kl=0.001,
    max_kl=0.01,
    agreement=0.975,
    tensors=272,
)


def test_a_result_is_told_in_figures_and_what_went_otherwise_in_notes(capsys, monkeypatch, tmp_path):
    kl = {"original": 0.002, "dequantized": 0.03}
    result = ExportResult(tmp_path, "hf", "bf16", PARITY, kl, "why it is in another format")
    monkeypatch.setattr("alpaca_lora.exports.export", lambda *_, **__: result)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    options = ExportOptions(format="hf", adapter="a", output_dir=str(tmp_path), push="not a repository")
    assert run_export(options) == 0
    shown = capsys.readouterr()
    assert shown.out.splitlines() == [
        "base original: KL 0.002 nats per token from the model as it was trained, taken",
        "base dequantized: KL 0.03 nats per token from the model as it was trained",
        "parity: 97.5% of 131 greedy tokens, largest logit difference 0.25, KL 0.001; 272 weights compared (bf16)",
        str(tmp_path),
    ]
    why, failed = shown.err.splitlines()
    assert why == "note: why it is in another format"
    assert failed.startswith(f"note: {str(tmp_path)!r} is complete, but was not pushed to 'not a repository'")


def test_an_artefact_without_a_prompt_is_said_to_have_none(tiny_base, train, tmp_path, capsys):
    (tmp_path / "parity.json").write_text('{"format": "meta"}')
    assert main(["check-template", "--adapter", str(train(tiny_base)), "--artifacts", f"{tmp_path}/"]) == 0
    assert f"{tmp_path}/: nothing in it holds a prompt\n" in capsys.readouterr().out
