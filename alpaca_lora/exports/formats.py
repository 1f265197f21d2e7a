"""The kinds of artefact. A format says how it is written, how it is opened again, and where it keeps its prompt."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from alpaca_lora.exports import adapter, hf, meta
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

    write: Callable[[Path, Path, str], None] | None = None
    """Fills an empty directory from a source in a number format; None where the merged directory is the artefact."""

    source: Literal["merged", "adapter"] = "merged"
    """What it is written from: a merged model as `hf` writes it, or an adapter directory."""


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
}
