"""Where an export comes from: the adapter, its base, its prompt, all checked before anything is computed."""

import contextlib
import dataclasses
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

from alpaca_lora import _files
from alpaca_lora._paths import expanded
from alpaca_lora._runs import COMPLETE, CONTRACT, check_output_dir
from alpaca_lora.adapters import TrainedAdapter, Updates, find_adapter, find_trained, read_sidecar
from alpaca_lora.adapters.sidecar import WEIGHTS
from alpaca_lora.errors import AdapterError, ConfigError, ModelError
from alpaca_lora.exports.contract import Contract, find_contract
from alpaca_lora.models import fingerprint, stop_ids
from alpaca_lora.planning import Precision
from alpaca_lora.prompts import Prompter, Template

__all__ = ["Into", "Origin", "resolve"]

Into = Literal["original", "dequantized"]


@dataclass(frozen=True)
class Origin(TrainedAdapter):
    """An adapter that is exported."""

    into: Into = "original"
    """Whether the base counts as it is, or as it looks after NF4."""

    @cached_property
    def updates(self) -> Updates:
        """Return what the adapter makes of the base's weights."""
        return Updates(self.adapter_dir, self.base_dir)

    @property
    def precision(self) -> Precision:
        """Return the number format of the base in training; no other on another machine where that is not known."""
        return super().precision if self.sidecar else "bf16"

    def contract(self) -> Contract:
        """Return what a model merged from this has to know."""
        return Contract(
            template=self.prompter.template.to_dict(),
            template_sha256=self.prompter.sha256,
            base_model=self.base_model,
            base_fingerprint=fingerprint(self.base_dir),
            adapter_sha256=_files.sha256_of(self.adapter_dir / WEIGHTS),
            merged_into=self.into,
            stop_ids=self.sidecar.stop_ids if self.sidecar else stop_ids(self.tokenizer(), self.base_dir),
        )

    def to_json(self) -> dict[str, Any]:
        """Return what another process needs to make the same origin, ready for JSON."""
        return {
            "adapter_dir": str(self.adapter_dir),
            "base_dir": str(self.base_dir),
            "base_model": self.base_model,
            "template": self.prompter.template.to_dict(),
            "into": self.into,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Return what `to_json` was made from."""
        directory, template = Path(document["adapter_dir"]), document["template"]
        return cls(
            directory,
            Path(document["base_dir"]),
            document["base_model"],
            read_sidecar(directory),
            Prompter(Template.from_dict(template, template["name"])),
            document["into"],
        )

    def held(self, into: Into) -> "Origin":
        """Return the same adapter for another form of the base."""
        return dataclasses.replace(self, into=into)


def resolve(
    adapter_dir: str | Path,
    *,
    base_model: str | Path | None = None,
    template: str | Path | Template | None = None,
    allow_incomplete: bool = False,
) -> Origin:
    """Find an adapter's base and prompt, and refuse what must not leave the house.

    Args:
        adapter_dir: an adapter directory, or a run directory with one.
        base_model: name of the base; None takes that of the sidecar.
        template: prompt template; None takes that of the sidecar.
        allow_incomplete: take the adapter of a run that has not finished.

    Raises:
        AdapterError: there is no adapter, its run is not complete, or it has been merged into this base already.
        ModelError: the base cannot be used or is quantised itself.
        ConfigError: an adapter of another tool needs base and template by name.
    """
    directory = find_adapter(adapter_dir)
    run = directory.resolve().parent
    if (run / CONTRACT).is_file() and not (run / COMPLETE).is_file() and not allow_incomplete:
        raise AdapterError(
            f"the run in {str(run)!r} is not complete, so its adapter is not the final one: finish it with the command "
            "that started it, or allow an incomplete one (allow_incomplete=True, --allow-incomplete)"
        )
    found = find_trained(directory, base_model=base_model, template=template)
    _refuse_base(found.base_dir, directory)
    return Origin(**vars(found))


def check_output(output_dir: str | Path) -> Path:
    """Return the output directory, which must be new or empty.

    Raises:
        ConfigError: it holds something, is no directory, or cannot be written to.
    """
    path = expanded(output_dir)
    if path.is_dir() and any(path.iterdir()):
        raise ConfigError(f"output_dir {str(output_dir)!r} is not empty: give a new directory, as 'exports/my-model'")
    check_output_dir(path, base_dir=None, data=None)
    return path


@contextlib.contextmanager
def new_output(output_dir: Path) -> Iterator[Path]:
    """Build an output directory that appears complete, and only where nothing has appeared meanwhile.

    What a killed export left beside it, a whole model perhaps, is removed first.

    Yields:
        The staging directory to write into.

    Raises:
        ConfigError: another process has filled it.
    """
    _files.sweep_abandoned(output_dir.resolve().parent)
    with _files.new_directory(output_dir) as staged:
        yield staged
        check_output(output_dir)


def _refuse_base(base_dir: Path, adapter_dir: Path) -> None:
    document = json.loads((base_dir / "config.json").read_text(encoding="utf-8"))
    if quantization := document.get("quantization_config"):
        method = quantization.get("quant_method", "unknown") if isinstance(quantization, dict) else quantization
        raise ModelError(
            f"{str(base_dir)!r} is quantised itself ({method}), and merging would round the adapter away: name the "
            "16-bit model that it was made from"
        )
    merged = find_contract(base_dir)
    if merged and merged.adapter_sha256 == _files.sha256_of(adapter_dir / WEIGHTS):
        raise AdapterError(
            f"{str(base_dir)!r} has this adapter in it already: a second merge would add it twice. Name the base that "
            f"it was trained on, {merged.base_model!r}"
        )
