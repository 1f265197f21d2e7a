"""Export an adapter: resolve, merge, write, prove, and only then let the result appear."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, get_args

from alpaca_lora import _files
from alpaca_lora._paths import check_paths
from alpaca_lora._seals import seal
from alpaca_lora.adapters import find_adapter, find_trained
from alpaca_lora.adapters.conversion import LEGACY_WEIGHTS, convert_legacy_adapter, read_legacy_tensors
from alpaca_lora.adapters.sidecar import WEIGHTS
from alpaca_lora.errors import ConfigError, ExportError, ParityError
from alpaca_lora.exports.formats import FORMATS, Base, Format, find_format
from alpaca_lora.exports.hf import write_merged
from alpaca_lora.exports.origin import Into, Origin, check_output, new_output, resolve
from alpaca_lora.exports.parity import REPORT, Parity, check_artifact, weigh_bases
from alpaca_lora.exports.surfaces import compare_surface
from alpaca_lora.exports.weights import DTYPES, WeightFiles
from alpaca_lora.prompts import Template

__all__ = ["ExportResult", "export", "merge_adapter", "merged_directory"]

_FINER = {"bf16": "f16", "f16": "f32"}
"""The number format that keeps more of each number."""


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

    base_kl: dict[str, float]
    """For each form of the base the KL divergence in nats per token from the model as it was trained; empty unless both
    were measured."""

    note: str = ""
    """Why it is not in the base's own number format, where none was named; else empty."""


def export(
    format: str,
    adapter_dir: str | Path,
    output_dir: str | Path,
    *,
    dtype: str | None = None,
    base: Base = "auto",
    base_model: str | Path | None = None,
    template: str | Path | Template | None = None,
    allow_incomplete: bool = False,
    llama_cpp: str | Path | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> ExportResult:
    """Write an adapter in the form that another program reads, and prove that it answers there as here.

    Args:
        format: a name of `FORMATS`.
        adapter_dir: adapter directory, or run directory with a finished one.
        output_dir: a new or empty directory; it appears when the artefact has passed the parity gate.
        dtype: number format of the weights; None takes the format's usual one: of `hf` and `meta` the base's own, or a
            finer one where that rounds too much of the adapter away.
        base: form of the base to merge into: `original`, `dequantized` (as it looked in four bits), or `auto`, which
            for an adapter trained on four bits measures both and takes the one nearer to the training.
        base_model: embedded name, directory or Hub id; None takes the one that the adapter was trained on.
        template: prompt template; None takes the one that the adapter was trained with.
        allow_incomplete: take the adapter of a run that has not finished.
        llama_cpp: directory of an installed llama.cpp; None looks in LLAMA_CPP_DIR and on the PATH.
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
    check_paths(adapter_dir=adapter_dir, output_dir=output_dir)
    kind = find_format(format, dtype, base=base, llama_cpp=llama_cpp)
    kind.check_tools(dtype, llama_cpp)
    target = check_output(output_dir)
    options = {"base_model": base_model, "template": template, "allow_incomplete": allow_incomplete}
    with open_origin(adapter_dir, near=target, **options) as origin:
        origin, base_kl = _choose_base(origin, base, progress) if kind.source == "merged" else (origin, {})
        make = partial(_make, format, origin, target, base_kl, progress, llama_cpp)
        if chosen := dtype or kind.default:
            return make(chosen)
        return _in_own_dtype(make, stored_dtype(origin.base_dir), progress)


def _make(
    format: str,
    origin: Origin,
    target: Path,
    base_kl: dict[str, float],
    progress: Callable[[str], None],
    llama_cpp: str | Path | None,
    dtype: str,
    note: str = "",
) -> ExportResult:
    with new_output(target) as staged:
        _write(FORMATS[format], origin, staged, dtype, progress, llama_cpp)
        progress("comparing with the adapter on its base")
        parity = _prove(format, staged, origin, dtype, {"base_kl": base_kl, "note": note})
    return ExportResult(target, format, dtype, parity, base_kl, note)


def _in_own_dtype(make: Callable[..., ExportResult], own: str, progress: Callable[[str], None]) -> ExportResult:
    """Write in the base's own number format, or where that rounds too much of the adapter away in a finer one."""
    try:
        return make(own)
    except ParityError as error:
        finer = _FINER.get(own)
        if not error.shortfall or finer is None:
            raise
        note = f"{own}, the base's own format, rounds this adapter away: {error.shortfall}; written in {finer}"
    progress(f"{own} rounds this adapter away: once more in {finer}")
    return make(finer, note)


def merge_adapter(
    adapter_dir: str | Path, output_dir: str | Path, *, base: Base = "auto", **options: Any
) -> ExportResult:
    """Merge an adapter into its base: the same as `export("hf", …)`.

    Args:
        adapter_dir: adapter directory, or run directory with a finished one.
        output_dir: a new or empty directory for the merged model.
        base: form of the base to merge into; see `export`.
        **options: `dtype`, `base_model`, `template`, `allow_incomplete` and `progress` of `export`.

    Returns:
        The merged model and what the parity gate found.

    Raises:
        AlpacaLoraError: see `export`.
    """
    return export("hf", adapter_dir, output_dir, base=base, **options)


def _choose_base(origin: Origin, base: Base, progress: Callable[[str], None]) -> tuple[Origin, dict[str, float]]:
    """Return the origin on the form of the base that is asked for, and the KL of each form if they were measured."""
    four_bits = origin.quantization.method == "nf4"
    if base == "dequantized" and not four_bits:
        raise ConfigError(
            "base 'dequantized' is for adapters trained on four bits, and this one was not: take 'original'"
        )
    if base != "auto" or not four_bits:
        return origin.held("dequantized" if base == "dequantized" else "original"), {}
    progress("measuring both forms of the base")
    found = weigh_bases(origin)
    return origin.held(min(get_args(Into), key=lambda into: found[into])), found


@contextlib.contextmanager
def open_origin(adapter_dir: str | Path, *, near: Path, **options: Any) -> Iterator[Origin]:
    """Resolve an adapter for the time of a `with` block; one of 2023 is converted first.

    Args:
        adapter_dir: adapter directory, or run directory with one.
        near: a path on the disk to convert on.
        **options: `base_model`, `template` and `allow_incomplete` of `resolve`.

    Raises:
        AlpacaLoraError: see `resolve` and `convert_legacy_adapter`.
    """
    directory = find_adapter(adapter_dir)
    if (directory / WEIGHTS).is_file() or not (directory / LEGACY_WEIGHTS).is_file():
        yield resolve(directory, **options)
        return
    read_legacy_tensors(directory / LEGACY_WEIGHTS)  # an empty file is named before a missing option
    found = find_trained(directory, base_model=options["base_model"], template=options["template"])
    with _files.scratch_directory(near.parent) as scratch:
        converted = scratch / "adapter"
        convert_legacy_adapter(directory, converted, found.base_dir, found.base_model, found.prompter)
        yield resolve(converted)


@contextlib.contextmanager
def merged_directory(
    origin: Origin, dtype: str, *, near: Path, written: Callable[[int, int], None] = lambda done, total: None
) -> Iterator[Path]:
    """Merge into a directory that lives as long as the `with` block, on the disk of `near`.

    Args:
        origin: adapter, base and prompt.
        dtype: number format of what shall be written from it; one that safetensors does not know is merged in f32.
        near: a path on the disk to use.
        written: see `write_shards`.
    """
    with _files.scratch_directory(near.parent) as directory:
        write_merged(origin, directory, dtype if dtype in DTYPES else "f32", written=written)
        yield directory


def _write(
    kind: Format,
    origin: Origin,
    staged: Path,
    dtype: str,
    progress: Callable[[str], None],
    llama_cpp: str | Path | None,
) -> None:
    def merged(done: int, total: int) -> None:
        progress(f"merged {done} of {total} weights")

    def written(done: int, total: int) -> None:
        progress(f"wrote {done} of {total} weights")

    if kind.source == "adapter" and kind.write:
        kind.write(origin.adapter_dir, staged, dtype, base_dir=origin.base_dir)
        return
    progress("merging")
    if kind.write is None:
        write_merged(origin, staged, dtype, written=merged)
        return
    tools = {"llama_cpp": Path(llama_cpp) if llama_cpp else None, "written": written} if kind.by_llama_cpp else {}
    with merged_directory(origin, dtype, near=staged, written=merged) as directory:
        progress("writing")
        kind.write(directory, staged, dtype, **tools)


def _prove(format: str, directory: Path, origin: Origin, dtype: str, told: dict[str, Any]) -> Parity:
    """Compare weights, logits and prompts of an artefact with those of training, and write down what was found."""
    parity = check_artifact(format, directory, origin, dtype)
    tokenizer = origin.tokenizer()
    for surface in FORMATS[format].surfaces(directory):
        if fault := compare_surface(surface, origin.prompter, tokenizer):
            if FORMATS[format].source == "adapter":  # which had it before
                raise ExportError(
                    f"the adapter's {surface.name} {fault}: remove it from {str(origin.adapter_dir)!r}, or put that of "
                    "training there"
                )
            raise ParityError(f"[template] the {surface.name} {fault}", code="template", tensor=None)
    made_from = {"adapter_sha256": _files.sha256_of(origin.adapter_dir / WEIGHTS)}
    _files.write_json(directory / REPORT, parity.to_dict() | told | made_from)
    seal(directory)
    return parity


def stored_dtype(directory: Path) -> str:
    """Return the number format that most of a model's weights are stored in; f32 for one that is not written here."""
    counts: dict[str, int] = {}
    names = {kind: name for name, kind in DTYPES.items()}
    for shape in WeightFiles(directory).shapes.values():
        name = names.get(shape.dtype, "f32")
        counts[name] = counts.get(name, 0) + shape.numel()
    return max(counts, key=lambda name: counts[name])
