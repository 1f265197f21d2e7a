"""The kinds of artefact. A format says how it is written, how it is opened again, and where it keeps its prompt."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from alpaca_lora.exports import adapter, gguf, gguf_adapter, gguf_reading, hf, llama_cpp, meta, ollama
from alpaca_lora.exports.surfaces import Surface, hf_surfaces

__all__ = ["FORMATS", "Format"]


@dataclass(frozen=True, kw_only=True)
class Format:
    """A kind of artefact."""

    dtypes: tuple[str, ...]
    """Number formats that it can be written in."""

    default: str | None
    """The number format to take when none is named; None keeps the base model's."""

    load: Callable[[Path, torch.dtype, Path], Any]
    """Opens an artefact as a causal language model on the CPU, its weights named as transformers names them.

    It gets the artefact's directory, the format to compute in and the base model's directory, in a clean process.
    """

    surfaces: Callable[[Path], list[Surface]]
    """Lists the places of an artefact from which a program takes the prompt."""

    write: Callable[..., None] | None = None
    """Fills an empty directory: `write(source, directory, dtype)`; None where the merged directory is the artefact."""

    by_llama_cpp: tuple[str, ...] = ()
    """More number formats, for which `write` needs llama.cpp. It then takes as `llama_cpp` where that is, and as
    `written` what to call with how many weights are written and how many there are."""

    next_step: Callable[[Path], str] | None = None
    """Returns the command that brings an artefact to its program."""

    source: Literal["merged", "adapter"] = "merged"
    """What it is written from: a merged model as `hf` writes it, or an adapter directory; then `write` also takes the
    base model's, as `base_dir`."""


_SAFETENSORS = ("f32", "f16", "bf16")

FORMATS: dict[str, Format] = {
    "hf": Format(dtypes=_SAFETENSORS, default=None, load=hf.load_hf, surfaces=hf_surfaces),
    "adapter": Format(
        dtypes=("f32",),
        default="f32",
        load=adapter.load_exported_adapter,
        surfaces=adapter.adapter_surfaces,
        write=adapter.write_adapter,
        source="adapter",
    ),
    "meta": Format(
        dtypes=_SAFETENSORS, default=None, load=meta.load_meta, surfaces=meta.meta_surfaces, write=meta.write_meta
    ),
    "gguf": Format(
        dtypes=tuple(gguf.FILE_TYPES),
        by_llama_cpp=llama_cpp.QUANTISED,
        default="f16",
        load=gguf_reading.load_gguf,
        surfaces=gguf_reading.gguf_surfaces,
        write=gguf.write_gguf,
    ),
    "gguf-adapter": Format(
        dtypes=("f32",),
        default="f32",
        load=gguf_adapter.load_gguf_adapter,
        surfaces=lambda _: [],
        write=gguf_adapter.write_gguf_adapter,
        source="adapter",
    ),
    "ollama": Format(
        dtypes=tuple(gguf.FILE_TYPES),
        by_llama_cpp=llama_cpp.QUANTISED,
        default="f16",
        load=gguf_reading.load_gguf,
        surfaces=ollama.ollama_surfaces,
        write=ollama.write_ollama,
        next_step=ollama.create_command,
    ),
}
