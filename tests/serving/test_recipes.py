import json
import shlex
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from alpaca_lora.errors import AdapterError
from alpaca_lora.serving import Assistant
from alpaca_lora.serving.recipes import PROGRAMS, recipe


def commands(text: str) -> list[list[str]]:
    """The words of each command: a text in quotes may have several lines."""
    lexer = shlex.shlex(text, posix=True, punctuation_chars="\n")
    lexer.whitespace, lexer.whitespace_split = " \t", True
    found: list[list[str]] = [[]]
    for word in lexer:
        if word.strip("\n"):
            found[-1].append(word)
        elif found[-1]:
            found.append([])
    return [words for words in found if words]


def bodies(text: str) -> list[tuple[str, dict[str, object]]]:
    """The end of the address and the body of each request."""
    return [(words[1].rpartition("/v1/")[2], json.loads(words[-1])) for words in commands(text) if words[0] == "curl"]


def test_vllm_gets_base_adapter_rank_and_template(adapter: Path, tiny_base: Path):
    serve, *_ = commands(recipe(adapter, "vllm"))

    assert serve[:3] == ["vllm", "serve", str(tiny_base)]
    options = dict(zip(serve[4::2], serve[5::2], strict=True))
    assert options["--lora-modules"] == f"alpaca={adapter}"
    assert options["--max-lora-rank"] == "8"
    assert options["--chat-template"] == str(adapter / "chat_template.jinja")


def test_a_base_of_the_hub_is_served_at_its_revision(adapter: Path, tmp_path: Path):
    pinned = shutil.copytree(adapter, tmp_path / "pinned")
    sidecar = json.loads((pinned / "alpaca_lora.json").read_text())
    (pinned / "alpaca_lora.json").write_text(json.dumps(sidecar | {"base_model": "org/name@v1"}))
    serve, *_ = commands(recipe(pinned, "vllm"))

    assert serve[:3] == ["vllm", "serve", "org/name"]
    assert serve[serve.index("--revision") + 1] == "v1"


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_template_renders_a_message_as_the_prompt_of_the_training(
    adapter: Path, assistant: Assistant, program: str
):
    (chat, message), (text, whole) = bodies(recipe(adapter, program))

    assert (chat, text) == ("chat/completions", "completions")
    rendered = assistant.tokenizer.apply_chat_template(
        message["messages"], chat_template=(adapter / "chat_template.jinja").read_text(), tokenize=False
    )
    assert rendered == assistant.prompter.generate_prompt("Name three primary colours.")
    assert whole["prompt"] == assistant.prompter.generate_prompt(
        "Turn the sentence into a question.", "The train leaves at noon."
    )


def test_the_embedded_base_is_named_by_its_hub_id(adapter: Path, tmp_path: Path):
    copy = shutil.copytree(adapter, tmp_path / "adapter")
    sidecar = json.loads((copy / "alpaca_lora.json").read_text()) | {"base_model": "smollm2-135m"}
    (copy / "alpaca_lora.json").write_text(json.dumps(sidecar))
    text = recipe(copy, "vllm")

    assert "vllm serve HuggingFaceTB/SmolLM2-135M-Instruct " in text
    assert text.startswith("# the embedded base is this model, dequantised")


def test_an_adapter_of_another_tool_has_no_recipe(foreign_adapter: Path):
    with pytest.raises(AdapterError, match="was not made by alpaca-lora, so its base model and prompt are not known"):
        recipe(foreign_adapter, "vllm")


@pytest.mark.slow
def test_transformers_serve_answers_the_recipe_as_we_do(adapter: Path, assistant: Assistant, tmp_path: Path):
    pytest.importorskip("uvicorn", reason="transformers serve needs its extra serving")
    from alpaca_lora.serving import load

    merged = tmp_path / "merged"
    ours = load(adapter, device="cpu")
    ours.model.merge_and_unload().save_pretrained(merged)
    ours.tokenizer.save_pretrained(merged)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [Path(sys.executable).with_name("transformers"), "serve", merged, "--port", str(port), "--device", "cpu"]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        answers = [
            post(port, path, body | {"model": str(merged)}) for path, body in bodies(recipe(adapter, "transformers"))
        ]
    finally:
        server.terminate()
        server.wait(30)

    assert answers[0]["choices"][0]["message"]["content"].strip() == assistant.respond("Name three primary colours.")
    assert answers[1]["choices"][0]["text"].strip() == assistant.respond(
        "Turn the sentence into a question.", "The train leaves at noon."
    )


def post(port: int, path: str, body: dict[str, object]) -> dict[str, object]:
    """Ask a server that may still be loading."""
    headers = {"content-type": "application/json"}
    request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/{path}", json.dumps(body).encode(), headers)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for _ in range(240):
        try:
            with opener.open(request, timeout=120) as answer:
                return json.load(answer)
        except ConnectionError:
            time.sleep(0.5)
        except urllib.error.URLError as error:
            if not isinstance(error.reason, ConnectionError):
                raise
            time.sleep(0.5)
    raise TimeoutError("the server did not come up")


def test_a_damaged_configuration_is_named(adapter: Path, tmp_path: Path):
    damaged = shutil.copytree(adapter, tmp_path / "adapter")
    (damaged / "adapter_config.json").write_text("null")
    with pytest.raises(AdapterError, match=r"adapter_config\.json.*must hold an object"):
        recipe(damaged, "vllm")
