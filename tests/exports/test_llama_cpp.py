"""An installed llama.cpp: found, and asked for what only it writes.

The slow tests ask llama.cpp itself, in the binary of an npm package, and compare its ids, logits and answers with ours.
They need  npm install --ignore-scripts --prefix DIR node-llama-cpp  and NODE_LLAMA_CPP_DIR=DIR.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import torch

from alpaca_lora.errors import ExportError
from alpaca_lora.exports.gguf import write_gguf
from alpaca_lora.exports.gguf_adapter import write_gguf_adapter
from alpaca_lora.exports.gguf_reading import find_gguf
from alpaca_lora.exports.hf import write_merged
from alpaca_lora.exports.llama_cpp import convert_model, find_program, find_quantiser, quantise_model
from alpaca_lora.exports.origin import resolve
from alpaca_lora.exports.surfaces import PROBE_RECORDS
from alpaca_lora.models import encode_prompt, load_base_model

NEW_TOKENS = 24


def program(path, body):
    """Write a program for the shell."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def test_a_named_directory_goes_before_the_variable_and_that_before_the_path(tmp_path, monkeypatch):
    places = [
        program(tmp_path / "named" / "build" / "bin" / "llama-quantize", ""),
        program(tmp_path / "variable" / "bin" / "llama-quantize", ""),
        program(tmp_path / "path" / "llama-quantize", ""),
    ]
    monkeypatch.setenv("LLAMA_CPP_DIR", str(tmp_path / "variable"))
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    for place in places:
        assert find_program("llama-quantize", "", tmp_path / "named") == place
        place.unlink()
    with pytest.raises(ExportError) as caught:
        find_quantiser("q4_k_m", tmp_path / "named")
    for place in places:
        assert f"\n  {place}" in str(caught.value)
    assert str(caught.value).startswith(
        "llama-quantize of llama.cpp is needed (only it writes q4_k_m) and was not found"
    )


def test_a_file_that_cannot_be_run_is_passed_over(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    program(tmp_path / "llama-quantize", "").chmod(0o644)
    with pytest.raises(ExportError, match="was not found"):
        find_program("llama-quantize", "", tmp_path)


def test_the_programs_get_what_they_need(tmp_path):
    program(tmp_path / "llama-quantize", 'cp "$1" "$2" && echo "$3" >> "$2"')
    (tmp_path / "a.gguf").write_text("a")
    quantise_model(tmp_path / "a.gguf", tmp_path / "b.gguf", "q4_k_m", root=tmp_path)
    assert (tmp_path / "b.gguf").read_text() == "aq4_k_m\n"
    (tmp_path / "convert_hf_to_gguf.py").write_text("import sys; open(sys.argv[3], 'w').write(str(sys.argv))")
    convert_model(tmp_path, tmp_path / "c.gguf", "bf16", reason="", root=tmp_path)
    assert (tmp_path / "c.gguf").read_text().endswith("'--outtype', 'bf16']")


def test_what_a_program_said_before_it_failed_is_passed_on(tmp_path):
    program(tmp_path / "llama-quantize", "echo 'no such type' >&2; exit 3")
    with pytest.raises(ExportError, match="llama-quantize failed with 3: no such type"):
        quantise_model(tmp_path / "a.gguf", tmp_path / "b.gguf", "q4_k_m", root=tmp_path)


@pytest.fixture(scope="module")
def ask(tmp_path_factory):
    """Ask llama.cpp: `ask(model, prompts, maxTokens=24, forced=[[id]], lora=path, cache="F32")`."""
    directory = os.environ.get("NODE_LLAMA_CPP_DIR", "")
    if not shutil.which("node") or not (Path(directory) / "node_modules" / "node-llama-cpp").is_dir():
        pytest.skip("NODE_LLAMA_CPP_DIR names no directory with npm's node-llama-cpp, or node is not installed")

    def run(model, prompts, **request):
        folder = tmp_path_factory.mktemp("asked")
        (folder / "request.json").write_text(json.dumps({"model": str(model), "prompts": prompts, **request}))
        script = Path(__file__).with_name("llama_cpp.mjs")
        command = ["node", script, directory, folder / "request.json", folder / "answers.json"]
        subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True, timeout=600)
        return json.loads((folder / "answers.json").read_text())

    return run


def greedy(model, tokenizer, prompt, stop):
    """Our own greedy answer to one prompt, and the logits of its first token."""
    ids_BT = torch.tensor([encode_prompt(tokenizer, prompt)])
    with torch.no_grad():
        logits = model(ids_BT).logits[0, -1]
        row = model.generate(ids_BT, max_new_tokens=NEW_TOKENS, do_sample=False, pad_token_id=stop, eos_token_id=stop)
    answer = row[0, ids_BT.shape[1] :].tolist()
    return (answer[: answer.index(stop)] if stop in answer else answer), logits


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"tie_word_embeddings": True},
        {"attention_bias": True, "mlp_bias": True, "head_dim": 32},
        {"rope_parameters": {"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0}},
        {"kind": "MistralConfig", "head_dim": 24},
        {"kind": "Qwen2Config", "vocab_size": 400},
    ],
    ids=str,
)
def test_llama_cpp_computes_what_we_compute(ask, make_base, train, tmp_path, options):
    origin = resolve(train(make_base(initializer_range=0.3, **options)))
    for name in ("merged", "gguf", "adapter", "base"):
        (tmp_path / name).mkdir()
    write_merged(origin, tmp_path / "merged", "f32")
    write_gguf(tmp_path / "merged", tmp_path / "gguf", "f32")
    model, tokenizer = load_base_model(tmp_path / "merged", precision="fp32", device="cpu"), origin.tokenizer()
    prompts = [origin.prompter.prompt(record) for record in PROBE_RECORDS]
    answers = ask(find_gguf(tmp_path / "gguf"), prompts, maxTokens=NEW_TOKENS, cache="F32")
    for prompt, found in zip(prompts, answers, strict=True):
        tokens, logits = greedy(model, tokenizer, prompt, 0)
        assert found["ids"] == encode_prompt(tokenizer, prompt)
        torch.testing.assert_close(torch.tensor(found["logits"]), logits, rtol=0, atol=1e-3)
        assert found["tokens"] == tokens


@pytest.mark.slow
def test_llama_cpp_adds_an_adapter_as_peft_does(ask, base, adapter, tmp_path):
    origin = resolve(adapter)
    for name in ("merged", "gguf", "adapter"):
        (tmp_path / name).mkdir()
    write_merged(origin, tmp_path / "merged", "f32")
    model = load_base_model(tmp_path / "merged", precision="fp32", device="cpu")
    write_gguf_adapter(adapter, tmp_path / "adapter", "f32", base_dir=base)
    plain = shutil.copytree(tmp_path / "merged", tmp_path / "plain")
    shutil.copy(base / "model.safetensors", plain / "model.safetensors")
    write_gguf(plain, tmp_path / "gguf", "f32")
    prompts = [origin.prompter.prompt(record) for record in PROBE_RECORDS]
    lora = str(find_gguf(tmp_path / "adapter"))
    answers = ask(find_gguf(tmp_path / "gguf"), prompts, maxTokens=NEW_TOKENS, cache="F32", lora=lora)
    without = ask(find_gguf(tmp_path / "gguf"), prompts[:1], maxTokens=NEW_TOKENS, cache="F32")
    for prompt, found in zip(prompts, answers, strict=True):
        torch.testing.assert_close(
            torch.tensor(found["logits"]), greedy(model, origin.tokenizer(), prompt, 0)[1], rtol=0, atol=1e-3
        )
    difference = torch.tensor(without[0]["logits"]) - torch.tensor(answers[0]["logits"])
    assert difference.abs().max() > 1e-2
