"""Put a saved adapter on its base model, or refuse."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from peft import PeftModel
from transformers import PreTrainedTokenizerBase

from alpaca_lora._paths import expanded
from alpaca_lora.adapters.attach import quiet_peft
from alpaca_lora.adapters.inspection import inspect_adapter
from alpaca_lora.adapters.probes import PROBES
from alpaca_lora.adapters.sidecar import Sidecar, read_sidecar
from alpaca_lora.config import QuantizationSettings
from alpaca_lora.errors import AdapterError, ConfigError, ModelError, TemplateError
from alpaca_lora.models import (
    best_precision,
    check_documents,
    encode_texts,
    load_tokenizer,
    locate_base_model,
)
from alpaca_lora.planning import Precision
from alpaca_lora.prompts import Prompter, Template


def find_adapter(path: str | Path) -> Path:
    """Return the adapter directory at a path, which may be that of a run.

    Raises:
        ConfigError: the path cannot be one, see `expanded`.
        AdapterError: there is none, or the run has not finished one yet.
        ModelError: a file in it would do harm, see `models.check_documents`.
    """
    path = expanded(path)
    candidates = (path, path / "adapter")
    for directory in candidates:
        if (directory / "adapter_config.json").is_file():
            check_documents(directory)
            return directory
    if (path / "run.json").is_file():
        raise AdapterError(
            f"the run in {str(path)!r} has no adapter yet: finish it with the command that started it, which goes on "
            "from its newest checkpoint"
        )
    raise AdapterError(
        f"no adapter at {str(path)!r}: give a directory with adapter_config.json, or a run directory with adapter/"
    )


def prompter_of(
    directory: Path, sidecar: Sidecar | None, template: str | Path | Template | None, *, force: bool = False
) -> Prompter:
    """Return what renders the prompt of an adapter.

    Args:
        directory: adapter directory.
        sidecar: its sidecar, None where there is none.
        template: what the user named; None takes the template of the sidecar.
        force: take `template` although the adapter was trained with another.

    Raises:
        ConfigError: there is neither sidecar nor template.
        TemplateError: the template cannot be used, or is not the adapter's.
    """
    if template is None and sidecar is not None:
        return Prompter(sidecar.prompt_template())
    if template is None:
        if (directory / "MANIFEST.json").is_file():
            raise ConfigError(
                f"{str(directory)!r} is a checkpoint, from which its run goes on: give the run directory, or name the "
                "template and the base model to look at the checkpoint itself"
            )
        raise ConfigError(
            f"{str(directory)!r} was not made by alpaca-lora, so its prompt is not known: name the template that it "
            "was trained with (alpaca is the usual one) and its base model"
        )
    prompter = Prompter(template)
    if sidecar is not None and prompter.sha256 != sidecar.template_sha256 and not force:
        raise TemplateError(
            f"the adapter in {str(directory)!r} was trained with template {sidecar.template['name']!r} "
            f"(sha256 {sidecar.template_sha256[:12]}), not {prompter.template.name!r} ({prompter.sha256[:12]}), and "
            "answers worse when it is asked in other words: leave the template out, or force it where you ask it "
            "(force_template=True, chat --force-template)"
        )
    return prompter


@dataclass(frozen=True)
class TrainedAdapter:
    """An adapter with everything that it belongs to."""

    adapter_dir: Path
    base_dir: Path
    base_model: str
    """Name of the base model, as the user or the sidecar gives it."""

    sidecar: Sidecar | None
    """None for an adapter of another tool."""

    prompter: Prompter
    """Renders the prompt that it was trained on."""

    @property
    def quantization(self) -> QuantizationSettings:
        """Return how the base was held in training."""
        return QuantizationSettings(**self.sidecar.quantization) if self.sidecar else QuantizationSettings()

    @property
    def precision(self) -> Precision:
        """Return the number format of the base in training, or the best one here where that is not known."""
        return cast("Precision", self.sidecar.precision) if self.sidecar else best_precision()

    def tokenizer(self) -> PreTrainedTokenizerBase:
        """Load the tokenizer that it was trained with: its own, or its base's where it has none.

        Raises:
            ModelError: there is none that can be read; or it is another model's, and makes other ids of ordinary text.
        """
        directory, base_dir = self.adapter_dir, self.base_dir
        if not (directory / "tokenizer_config.json").is_file():
            return load_tokenizer(base_dir)
        own = load_tokenizer(directory)
        if self.sidecar and (base_dir / "tokenizer_config.json").is_file():
            texts = [f"{probe.instruction}\n{probe.input}\n{probe.output}" for probe in PROBES]
            if encode_texts(own, texts) != encode_texts(load_tokenizer(base_dir), texts):
                raise ModelError(
                    f"the tokenizer in {str(directory)!r} makes other token ids of ordinary text than that of the base "
                    f"{str(base_dir)!r}, so it belongs to another model: copy the adapter again, or name its base"
                )
        return own


def find_trained(
    path: str | Path,
    *,
    base_model: str | Path | None = None,
    template: str | Path | Template | None = None,
    force_template: bool = False,
) -> TrainedAdapter:
    """Find an adapter, its base and its prompt.

    Args:
        path: an adapter directory, or a run directory with one.
        base_model: name of the base; None takes that of the sidecar. The name in PEFT's own file is not followed, since
            whoever wrote the file would decide what is downloaded.
        template: prompt template; None takes that of the sidecar.
        force_template: take `template` although the adapter was trained with another.

    Raises:
        AdapterError, ModelError, TemplateError, ConfigError: one cannot be used, or is not known.
    """
    directory = find_adapter(path)
    sidecar = read_sidecar(directory)
    prompter = prompter_of(directory, sidecar, template, force=force_template)
    named = str(base_model or (sidecar.base_model if sidecar else ""))
    if not named:
        raise AdapterError(
            f"{str(directory)!r} was not made by alpaca-lora, so its base is not known: name the base model yourself"
        )
    return TrainedAdapter(directory, locate_base_model(named), named, sidecar, prompter)


def load_adapter(model: Any, directory: Path, base_dir: Path) -> PeftModel:
    """Return base and adapter together, for answering.

    Args:
        model: the base, loaded from `base_dir`.
        directory: adapter directory.
        base_dir: directory of the base model.

    Raises:
        AdapterError: one of its kinds, see `inspect_adapter`.
    """
    config = inspect_adapter(directory, base_dir)
    config.inference_mode = True
    with quiet_peft():
        return PeftModel.from_pretrained(model, str(directory), config=config, local_files_only=True).eval()
