"""How to serve an adapter with other programs, in commands that can be pasted.

A server must give the model the prompt of the training, byte for byte. Both programs read it from the chat template
that is saved beside the adapter, which takes the instruction; their chat messages have no field for an input, so a
question with one is rendered here and sent as plain text.
"""

import json
import shlex
from pathlib import Path
from typing import Any

from alpaca_lora.adapters import Sidecar, find_adapter, read_sidecar
from alpaca_lora.adapters.peft_config import read_config
from alpaca_lora.errors import AdapterError, ConfigError
from alpaca_lora.models import EMBEDDED, EMBEDDED_HUB_ID
from alpaca_lora.planning.shapes import is_hub_id
from alpaca_lora.prompts import Prompter

__all__ = ["PROGRAMS", "recipe"]

PROGRAMS = ("transformers", "vllm")
_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""The values that vLLM takes for --max-lora-rank."""

_PORT = 8000
_EXAMPLE = ("Turn the sentence into a question.", "The train leaves at noon.")


def recipe(adapter_dir: str | Path, program: str) -> str:
    """Return the commands that serve an adapter, and two that ask it: in a chat message, and with an input.

    Args:
        adapter_dir: an adapter directory, or a run directory that holds a finished `adapter/`.
        program: one of `PROGRAMS`.

    Raises:
        ConfigError: there is no recipe for this program.
        AdapterError: there is no adapter, or it was not made by alpaca-lora, so its base and prompt are not known.
    """
    if program not in PROGRAMS:
        raise ConfigError(f"recipe must be {' or '.join(PROGRAMS)}, got {program!r}")
    directory = find_adapter(adapter_dir)
    sidecar = read_sidecar(directory)
    if sidecar is None:
        raise AdapterError(
            f"{str(directory)!r} was not made by alpaca-lora, so its base model and prompt are not known"
        )
    served, serve = {"transformers": _transformers, "vllm": _vllm}[program](directory, sidecar)
    chat: dict[str, Any] = {"messages": [{"role": "user", "content": "Name three primary colours."}]}
    prompt: dict[str, Any] = {"prompt": Prompter(sidecar.prompt_template()).generate_prompt(*_EXAMPLE)}
    if program == "vllm":  # transformers takes the ids that end an answer from the merged model, and refuses the field
        chat["stop_token_ids"] = prompt["stop_token_ids"] = list(sidecar.stop_ids)
    return f"""\
{serve}

# ask it, from another terminal; a message is an instruction:
{_request("chat/completions", served, chat)}

# with an input: messages have no field for it, so the whole prompt is sent
{_request("completions", served, prompt)}
"""


def _transformers(directory: Path, sidecar: Sidecar) -> tuple[str, str]:
    """`transformers serve` loads whole models only."""
    merged = f"{directory.parent if directory.name == 'adapter' else directory}-merged"
    commands = [
        _line("alpaca-lora", "merge", "--adapter", str(directory), "--output-dir", merged),
        "pip install 'transformers[serving]'",
        _line("transformers", "serve", merged, "--port", str(_PORT)),
    ]
    return merged, "\n".join(commands)


def _vllm(directory: Path, sidecar: Sidecar) -> tuple[str, str]:
    """VLLM puts the adapter on its base itself."""
    config = read_config(directory)
    rank = max([config.r, *(config.rank_pattern or {}).values()])
    limit = min((allowed for allowed in _RANKS if allowed >= rank), default=rank)
    base, name, revision = sidecar.base_model, "alpaca", ""
    note = ""
    if is_hub_id(base) and not Path(base).exists():
        base, _, revision = base.partition("@")
    if base == EMBEDDED:
        base = EMBEDDED_HUB_ID
        note = "# the embedded base is this model, dequantised from four bits: answers can differ a little\n"
    arguments = ["vllm", "serve", base, "--enable-lora", "--lora-modules", f"{name}={directory}"]
    arguments += ["--revision", revision] if revision else []
    arguments += ["--max-lora-rank", str(limit), "--generation-config", "vllm", "--port", str(_PORT)]
    if (directory / "chat_template.jinja").is_file():
        arguments += ["--chat-template", str(directory / "chat_template.jinja")]
    return name, note + _line(*arguments)


def _request(endpoint: str, model: str, content: dict[str, Any]) -> str:
    body = {"model": model, **content, "temperature": 0, "max_tokens": 256}
    url = f"http://localhost:{_PORT}/v1/{endpoint}"
    return _line("curl", url, "-H", "content-type: application/json", "-d", json.dumps(body, ensure_ascii=False))


def _line(*arguments: str) -> str:
    return shlex.join(arguments)
