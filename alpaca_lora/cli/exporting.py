"""Merge, export and template check from the command line."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from alpaca_lora.cli.conversation import text_flag
from alpaca_lora.cli.modes import refuse_idle
from alpaca_lora.errors import ConfigError, ExportError
from alpaca_lora.reporting.wording import visible

if TYPE_CHECKING:
    from alpaca_lora.exports import ExportResult

__all__ = ["CheckTemplateOptions", "ExportOptions", "MergeOptions", "check_template", "run_export", "run_merge"]

_Directory = Annotated[str, tyro.conf.arg(metavar="DIR")]
_KEYWORDS = ("base", "dtype", "base_model", "template", "allow_incomplete")
_BAD_INPUT = 2
_MERGED = ("export hf", "export gguf", "export ollama", "export meta")
_ADAPTED = (*_MERGED, "export adapter", "export gguf-adapter")
_READERS = {
    **dict.fromkeys(("adapter", "dtype", "base_model", "template", "allow_incomplete", "push"), _ADAPTED),
    "base": _MERGED,
    "llama_cpp": ("export gguf", "export ollama"),
    "tuned": ("export weight-diff",),
    "diff": ("export recover",),
    "raw": ("export weight-diff", "export recover"),
}
"""Which formats read which flags."""


@dataclass(frozen=True, kw_only=True)
class _Common:
    """Flags of everything that begins with an adapter."""

    base: Literal["original", "dequantized", "auto"] = "auto"
    """Form of the base to merge into; for an adapter trained on four bits, auto measures both and takes the nearer."""

    dtype: Annotated[str | None, text_flag("f32|f16|bf16|q8_0", "the format's usual one; the base's own for hf")] = None
    """Number format of the weights."""

    base_model: Annotated[str | None, text_flag("NAME|DIR|HUB_ID", "the one that the adapter was trained on")] = None
    """Base model."""

    template: Annotated[str | None, text_flag("NAME|FILE", "the one that the adapter was trained with")] = None
    """Prompt template; an adapter of another tool needs it by name."""

    allow_incomplete: tyro.conf.FlagCreatePairsOff[bool] = False
    """Take the adapter of a run that has not finished."""

    push: Annotated[str | None, text_flag("ORG/NAME", "none")] = None
    """Upload the result to this private repository of the Hub; it stays on the disk, and a failed push is only told."""

    @property
    def keywords(self) -> dict[str, Any]:
        """Return the arguments of `exports.export` that they stand for."""
        return {name: getattr(self, name) for name in _KEYWORDS}


@dataclass(frozen=True, kw_only=True)
class MergeOptions(_Common):
    """The flags of `merge`."""

    dtype: Annotated[
        str | None, text_flag("f32|f16|bf16", "the base's own, or f16 where bf16 rounds the adapter away")
    ] = None
    """Number format of the weights."""

    adapter: _Directory
    """Adapter directory, or run directory with a finished adapter."""

    output_dir: _Directory
    """New or empty directory for the merged model."""


@dataclass(frozen=True, kw_only=True)
class ExportOptions(_Common):
    """The flags of `export`."""

    format: Annotated[
        tyro.conf.Positional[str], tyro.conf.arg(metavar="hf|adapter|gguf|gguf-adapter|ollama|meta|weight-diff|recover")
    ] = "hf"
    """hf: a merged model for transformers and vLLM; adapter: for PEFT, old versions too; gguf: for llama.cpp;
    gguf-adapter: the adapter alone for llama.cpp; ollama: gguf with a Modelfile; meta: consolidated.00.pth;
    weight-diff: the difference of two models, bit for bit; recover: a model from its base and a difference."""

    output_dir: Annotated[str | None, text_flag("DIR", "none")] = None
    """New or empty directory for the result."""

    adapter: Annotated[str | None, text_flag("DIR", "none")] = None
    """Adapter directory, or run directory with a finished adapter."""

    tuned: Annotated[str | None, text_flag("DIR", "none")] = None
    """The fine-tuned model (weight-diff)."""

    raw: Annotated[str | None, text_flag("DIR", "none")] = None
    """The base model that the receiver has too (weight-diff, recover)."""

    diff: Annotated[str | None, text_flag("DIR", "none")] = None
    """A difference that weight-diff wrote (recover)."""

    llama_cpp: Annotated[str | None, text_flag("DIR", "LLAMA_CPP_DIR, then the PATH")] = None
    """An installed llama.cpp, for models and number formats that gguf and ollama do not write themselves (q4_k_m …)."""


@dataclass(frozen=True, kw_only=True)
class CheckTemplateOptions:
    """The flags of `check-template`."""

    adapter: _Directory
    """Adapter directory, or run directory with one."""

    artifacts: Annotated[tuple[str, ...], tyro.conf.arg(metavar="DIR ...", help_behavior_hint="(default: none)")] = ()
    """Directories that export made from it."""


def run_merge(options: MergeOptions) -> int:
    """Merge an adapter into its base."""
    from alpaca_lora.exports import merge_adapter

    return _finish(merge_adapter(options.adapter, options.output_dir, progress=_say, **options.keywords), options)


def run_export(options: ExportOptions) -> int:
    """Write an adapter, or a model, in another form."""
    mode = f"export {options.format}"
    if any(mode in modes for modes in _READERS.values()):
        refuse_idle(options, _READERS, mode)
    if options.format == "weight-diff":
        from alpaca_lora.exports import make_weight_diff

        print(make_weight_diff(*_given(options, "tuned", "raw", "output_dir"), progress=_count))
        return 0
    if options.format == "recover":
        from alpaca_lora.exports import recover_weights

        print(recover_weights(*_given(options, "diff", "raw", "output_dir"), progress=_count))
        return 0
    paths = _given(options, "adapter", "output_dir")
    from alpaca_lora.exports import export
    from alpaca_lora.exports.formats import FORMATS

    keywords = options.keywords | {"llama_cpp": options.llama_cpp, "progress": _say}
    result = export(options.format, *paths, **keywords)
    code = _finish(result, options)
    if next_step := FORMATS[result.format].next_step:
        print(next_step(result.directory))
    return code


def check_template(options: CheckTemplateOptions) -> int:
    """Say of each place from which a program takes the prompt whether it gives the token ids of training."""
    from alpaca_lora.exports import check_templates

    faults, found = 0, set[Path]()
    for finding in check_templates(options.adapter, options.artifacts):
        faults += finding.fault is not None
        verdict = f"wrong   {finding.fault}" if finding.fault else "ok"
        found.add(finding.directory)
        print(visible(f"{finding.directory}: {finding.surface}: {verdict}"))
    for artifact in options.artifacts:
        if Path(artifact).expanduser() not in found:
            print(visible(f"{artifact}: nothing in it holds a prompt"))
    return _BAD_INPUT if faults else 0


def _given(options: ExportOptions, *names: str) -> list[str]:
    """Return the directories of these flags, which this format needs."""
    lacking = [f"--{name.replace('_', '-')} DIR" for name in names if getattr(options, name) is None]
    if lacking:
        raise ConfigError(f"export {options.format} needs {' and '.join(lacking)}")
    return [getattr(options, name) for name in names]


def _finish(result: "ExportResult", options: _Common) -> int:
    """Show what was made and how near it is, and push it if that was asked for."""
    parity = result.parity
    for form, divergence in result.base_kl.items():
        chosen = ", taken" if form == parity.merged_into else ""
        print(f"base {form}: KL {divergence:.3g} nats per token from the model as it was trained{chosen}")
    print(
        f"parity: {parity.agreement:.1%} of {parity.positions} greedy tokens, largest logit difference "
        f"{parity.max_logit_delta:.3g}, KL {parity.mean_kl:.3g}; {parity.tensors} weights compared ({result.dtype})"
    )
    if result.note:
        print(f"note: {result.note}", file=sys.stderr)
    print(result.directory)
    if options.push:
        from alpaca_lora.exports.hub import push

        try:
            print(push(result.directory, options.push))
        except ExportError as error:
            print(f"note: {error}", file=sys.stderr)
    return 0


def _say(text: str) -> None:
    print(f"{text} …", file=sys.stderr)


def _count(done: int, total: int) -> None:
    _say(f"{done} of {total} tensors")
