"""Export an adapter: resolve, merge, write, prove, and only then let the result appear."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from alpaca_lora import _files
from alpaca_lora.errors import ConfigError
from alpaca_lora.exports.formats import FORMATS, Format
from alpaca_lora.exports.hf import write_merged
from alpaca_lora.exports.origin import Origin, check_output, resolve
from alpaca_lora.exports.parity import REPORT, Parity, check_artifact
from alpaca_lora.exports.weights import DTYPES, WeightFiles
from alpaca_lora.prompts import Template

__all__ = ["ExportResult", "export", "merged_directory"]

Base = Literal["original", "dequantized", "auto"]


@dataclass(frozen=True)
class ExportResult:
    """A finished artefact."""

    directory: Path
    """Where it is."""

    format: str
    """Its kind."""

    dtype: str
    """Its number format."""

    parity: Parity
    """How it was compared with the adapter on its base, and what was found."""


def export(
    format: str,
    adapter_dir: str | Path,
    output_dir: str | Path,
    *,
    dtype: str | None = None,
    base_model: str | Path | None = None,
    template: str | Path | Template | None = None,
    allow_incomplete: bool = False,
    progress: Callable[[str], None] = lambda _: None,
) -> ExportResult:
    """Write an adapter in the form that another program reads, and prove that it answers there as here.

    Args:
        format: a name of `FORMATS`.
        adapter_dir: adapter directory, or run directory with a finished one.
        output_dir: a new or empty directory; it appears when the artefact has passed the parity gate.
        dtype: number format of the weights; None takes the format's usual one.
        base_model: embedded name, directory or Hub id; None takes the one that the adapter was trained on.
        template: prompt template; None takes the one that the adapter was trained with.
        allow_incomplete: take the adapter of a run that has not finished.
        progress: gets a sentence when a stage begins.

    Returns:
        The artefact and what the gate found.

    Raises:
        ConfigError: there is no such format or number format, or the output directory is in use.
        AdapterError: the adapter cannot be used; see `adapters.inspect_adapter`.
        ModelError: the base cannot be used.
        ExportError: this format cannot hold this model.
        ParityError: the artefact does not compute what the adapter on its base computes; nothing is left behind.
    """
    kind = _kind(format, dtype)
    target = check_output(output_dir)
    origin = resolve(adapter_dir, base_model=base_model, template=template, allow_incomplete=allow_incomplete)
    chosen = dtype or kind.default or stored_dtype(origin.base_dir)
    with _files.new_directory(target) as staged:
        if kind.write is None:
            progress("merging")
            write_merged(origin, staged, chosen)
        elif kind.source == "adapter":
            kind.write(origin.adapter_dir, staged, chosen)
        else:
            progress("merging")
            with merged_directory(origin, chosen, near=target) as merged:
                progress(f"writing {format}")
                kind.write(merged, staged, chosen)
        progress("comparing with the adapter on its base")
        parity = check_artifact(format, staged, origin, chosen)
        _files.write_json(staged / REPORT, parity.to_dict())
    return ExportResult(target, format, chosen, parity)


@contextlib.contextmanager
def merged_directory(origin: Origin, dtype: str, *, near: Path) -> Iterator[Path]:
    """Merge into a directory that lives as long as the `with` block, on the disk of `near`.

    Args:
        origin: adapter, base and prompt.
        dtype: number format of what shall be written from it; one that safetensors does not know is merged in f32.
        near: a path on the disk to use.
    """
    with _files.scratch_directory(near.parent) as directory:
        write_merged(origin, directory, dtype if dtype in DTYPES else "f32")
        yield directory


def stored_dtype(directory: Path) -> str:
    """Return the number format that most of a model's weights are stored in; f32 for one that is not written here."""
    counts: dict[str, int] = {}
    names = {kind: name for name, kind in DTYPES.items()}
    for shape in WeightFiles(directory).shapes.values():
        name = names.get(shape.dtype, "f32")
        counts[name] = counts.get(name, 0) + shape.numel()
    return max(counts, key=lambda name: counts[name])


def _kind(format: str, dtype: str | None) -> Format:
    if format not in FORMATS:
        raise ConfigError(f"format must be one of {', '.join(map(repr, FORMATS))}, got {format!r}")
    kind = FORMATS[format]
    if dtype is not None and dtype not in kind.dtypes:
        raise ConfigError(f"dtype must be one of {', '.join(map(repr, kind.dtypes))} for {format}, got {dtype!r}")
    return kind
