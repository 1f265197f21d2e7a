"""The kinds of artefact. A format says how it is written, how it is opened again, and where it keeps its prompt."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import torch

from alpaca_lora._optional import require
from alpaca_lora.errors import ConfigError
from alpaca_lora.exports import adapter, gguf, gguf_adapter, gguf_reading, hf, llama_cpp, meta, ollama
from alpaca_lora.exports.surfaces import Surface, hf_surfaces

__all__ = ["FORMATS", "Base", "Format", "find_format"]

Base = Literal["original", "dequantized", "auto"]
"""Form of the base to merge into."""


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

    package: str | None = None
    """What `write` needs; an extra of the same name installs it."""

    next_step: Callable[[Path], str] | None = None
    """Returns the command that brings an artefact to its program."""

    source: Literal["merged", "adapter"] = "merged"
    """What it is written from: a merged model as `hf` writes it, or an adapter directory; then `write` also takes the
    base model's, as `base_dir`."""

    def check_tools(self, dtype: str | None, root: str | Path | None) -> None:
        """Look for what writing needs beside this library, before anything is merged.

        Args:
            dtype: number format that is asked for.
            root: where llama.cpp is; None looks for it.

        Raises:
            MissingDependencyError: a package is not installed.
            ExportError: llama.cpp is needed and not there.
        """
        if self.package:
            require(self.package, extra=self.package)
        if dtype in self.by_llama_cpp:
            llama_cpp.find_quantiser(dtype, Path(root) if root else None)


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
        package="gguf",
    ),
    "gguf-adapter": Format(
        dtypes=("f32",),
        default="f32",
        load=gguf_adapter.load_gguf_adapter,
        surfaces=lambda _: [],
        write=gguf_adapter.write_gguf_adapter,
        package="gguf",
        source="adapter",
    ),
    "ollama": Format(
        dtypes=tuple(gguf.FILE_TYPES),
        by_llama_cpp=llama_cpp.QUANTISED,
        default="f16",
        load=gguf_reading.load_gguf,
        surfaces=ollama.ollama_surfaces,
        write=ollama.write_ollama,
        package="gguf",
        next_step=ollama.create_command,
    ),
}


def find_format(format: str, dtype: str | None, *, base: Base = "auto", llama_cpp: str | Path | None = None) -> Format:
    """Return a kind of artefact.

    Raises:
        ConfigError: there is no such format, it cannot be written in this number format, or has no use for a setting.
    """
    if format not in FORMATS:
        raise ConfigError(f"format must be one of {', '.join(map(repr, FORMATS))}, got {format!r}")
    kind = FORMATS[format]
    known = (*kind.dtypes, *kind.by_llama_cpp)
    if dtype is not None and dtype not in known:
        raise ConfigError(f"dtype must be one of {', '.join(map(repr, known))} for {format}, got {dtype!r}")
    if base not in get_args(Base):
        raise ConfigError(f"base must be one of {', '.join(map(repr, get_args(Base)))}, got {base!r}")
    if base != "auto" and kind.source != "merged":
        raise ConfigError(f"base {base!r} is of no use to {format}, which merges nothing: leave it out")
    if llama_cpp is not None and not kind.by_llama_cpp:
        raise ConfigError(f"llama_cpp is of no use to {format}, which llama.cpp does not write: leave it out")
    return kind
