"""A directory for Ollama: the model as GGUF, and a Modelfile with the prompt and the stops of training."""

import re
import shlex
from pathlib import Path
from typing import Any

from alpaca_lora import _files
from alpaca_lora.exports.contract import read_contract
from alpaca_lora.exports.gguf import write_gguf
from alpaca_lora.exports.gguf_reading import find_gguf, gguf_surfaces, load_gguf_tokenizer
from alpaca_lora.exports.modelfile import read_modelfile, stated_template, write_modelfile
from alpaca_lora.exports.surfaces import Surface
from alpaca_lora.models import encode_prompt, load_tokenizer
from alpaca_lora.prompts.dialects import render_ollama
from alpaca_lora.records import Record

__all__ = ["create_command", "ollama_surfaces", "write_ollama"]

_MODELFILE = "Modelfile"


def write_ollama(source: Path, directory: Path, dtype: str, **options: Any) -> None:
    """Fill a directory with a GGUF file and a Modelfile.

    Ollama has one field for what the user says, so the template is that of records without an input.

    Args:
        source: a merged model.
        directory: an empty directory.
        dtype: see `write_gguf`.
        **options: `llama_cpp` and `written` of `write_gguf`.

    Raises:
        ModelError, ExportError: see `write_gguf`; or a template that a Modelfile cannot hold.
    """
    contract, tokenizer = read_contract(source), load_tokenizer(source)
    write_gguf(source, directory, dtype, **options)
    text = write_modelfile(
        find_gguf(directory).name,
        contract.prompter,
        eos_token=str(tokenizer.eos_token),
        stops=[str(tokenizer.convert_ids_to_tokens(token)) for token in contract.stop_ids],
    )
    _files.write_text(directory / _MODELFILE, text)


def create_command(directory: Path) -> str:
    """Return the line that makes Ollama take the model, under a name that Ollama allows."""
    name = re.sub(r"[^a-z0-9._-]+", "-", directory.name.lower()).strip("-._") or "alpaca"
    return f"ollama create {name} -f {shlex.quote(str(directory / _MODELFILE))}"


def ollama_surfaces(directory: Path) -> list[Surface]:
    """Return the template in the Modelfile, and what the GGUF file offers."""
    text = (directory / _MODELFILE).read_bytes().decode("utf-8")
    template = dict(read_modelfile(text)).get("template", "")
    tokenizer = load_gguf_tokenizer(directory)

    def ids(record: Record) -> list[int]:
        prompt = render_ollama(template.partition("{{ .Response }}")[0], Prompt=record.instruction)
        return encode_prompt(tokenizer, prompt)

    own = Surface("Modelfile TEMPLATE", stated_template(text), ids, takes_input=False)
    return [own, *gguf_surfaces(directory)]
