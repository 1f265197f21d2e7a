"""Look at every place of finished artefacts from which a program takes the prompt; see `surfaces`."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from alpaca_lora._paths import expanded
from alpaca_lora.adapters import find_adapter, prompter_of, read_sidecar
from alpaca_lora.errors import AlpacaLoraError, ExportError
from alpaca_lora.exports.formats import FORMATS
from alpaca_lora.exports.parity import REPORT
from alpaca_lora.exports.surfaces import Surface, compare_surface
from alpaca_lora.models import check_documents, load_tokenizer

__all__ = ["SurfaceFinding", "check_templates"]


@dataclass(frozen=True, slots=True)
class SurfaceFinding:
    """What was found at one place."""

    directory: Path
    """The adapter or artefact."""

    surface: str
    """The place in it."""

    fault: str | None
    """What is wrong; None where every probe record gives the token ids of training."""


def check_templates(adapter_dir: str | Path, artifacts: Sequence[str | Path] = ()) -> Iterator[SurfaceFinding]:
    """Compare the prompts of an adapter and of what was exported from it with those of its training, as token ids.

    Args:
        adapter_dir: adapter directory with a sidecar, or run directory with one.
        artifacts: directories made by `export`.

    Yields:
        A finding for each place.

    Raises:
        AdapterError: the adapter cannot be used.
        ConfigError: the adapter has no sidecar, so that its prompt is not known.
        ExportError: an artefact is not one of ours, or is damaged.
        ModelError: a file in it would do harm, see `models.check_documents`.
    """
    directory = find_adapter(adapter_dir)
    prompter = prompter_of(directory, read_sidecar(directory), None)
    tokenizer = load_tokenizer(directory)
    for place, name in [(directory, "adapter"), *((expanded(item), None) for item in artifacts)]:
        for surface in _surfaces(name or _format_of(place), place):
            yield SurfaceFinding(place, surface.name, compare_surface(surface, prompter, tokenizer))


def _surfaces(name: str, directory: Path) -> list[Surface]:
    check_documents(directory)
    try:
        return FORMATS[name].surfaces(directory)
    except (AlpacaLoraError, MemoryError):
        raise
    except Exception as error:  # each library has its own for a damaged file
        raise ExportError(
            f"{str(directory)!r} cannot be read as {name} ({type(error).__name__}: {error}): export it again"
        ) from error


def _format_of(directory: Path) -> str:
    try:
        name = str(json.loads((directory / REPORT).read_text(encoding="utf-8"))["format"])
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise ExportError(f"{str(directory)!r} was not made by alpaca-lora export: {REPORT} cannot be read") from error
    if name not in FORMATS:
        raise ExportError(f"{str(directory / REPORT)!r} names the format {name!r}, which this version does not know")
    return name
