"""Whom an evaluation asks: an adapter on its base, that base, another model or adapter, or answers that are stored."""

import contextlib
import gc
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from alpaca_lora import _files
from alpaca_lora._paths import expanded
from alpaca_lora.adapters import find_trained, load_adapter
from alpaca_lora.adapters.sidecar import WEIGHTS
from alpaca_lora.config import QuantizationSettings
from alpaca_lora.errors import ConfigError
from alpaca_lora.evaluation.annotations import load_model_outputs
from alpaca_lora.evaluation.sets import Task
from alpaca_lora.models import (
    check_vocabulary,
    fingerprint,
    load_base_model,
    load_tokenizer,
    locate_base_model,
    stop_ids,
)
from alpaca_lora.planning import Precision, config_of, refuse_quantised
from alpaca_lora.prompts import Prompter
from alpaca_lora.reporting.wording import public_name

__all__ = ["StoredAnswers", "Subject", "find_other", "find_subject", "is_adapter", "look_for"]


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A model that is asked, with or without an adapter."""

    name: str
    """Unique in an evaluation."""

    base_model: str
    base_dir: Path
    adapter_dir: Path | None
    tokenizer: PreTrainedTokenizerBase
    prompter: Prompter
    precision: Precision
    quantization: QuantizationSettings
    stops: tuple[int, ...] | None
    """Ids that end an answer; None: those of tokenizer and model."""

    @property
    def base(self) -> "Subject":
        """The same model without the adapter, held and asked in the same way."""
        return replace(self, name=public_name(self.base_model), adapter_dir=None)

    def describe(self) -> dict[str, Any]:
        """Return what decides its answers, as JSON values without directories of this machine."""
        return {
            "name": self.name,
            "base_model": public_name(self.base_model),
            "base_fingerprint": fingerprint(self.base_dir),
            "adapter_sha256": None if self.adapter_dir is None else _files.sha256_of(self.adapter_dir / WEIGHTS),
            "template": {"name": self.prompter.template.name, "sha256": self.prompter.sha256},
            "precision": self.precision,
            "quantization": self.quantization.method,
        }

    @contextlib.contextmanager
    def open(self) -> Iterator[Any]:
        """Lend the loaded model, after freeing the memory of the one before, which its borrower holds to the end."""
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        model: Any = load_base_model(self.base_dir, precision=self.precision, quantization=self.quantization)
        check_vocabulary(self.tokenizer, model)
        model.generation_config.eos_token_id = list(self.stops or stop_ids(self.tokenizer, model))
        if self.adapter_dir is not None:
            model = load_adapter(model, self.adapter_dir, self.base_dir)
        yield model


@dataclass(frozen=True)
class StoredAnswers:
    """Answers of a model that is not here, from a file."""

    name: str
    sha256: str
    answers: Mapping[str, str]
    """By question."""

    def describe(self) -> dict[str, Any]:
        """Return what decides its answers."""
        return {"name": self.name, "answers_sha256": self.sha256}

    def answer(self, tasks: Sequence[Task]) -> list[str]:
        """Return its answers to these tasks.

        Raises:
            ConfigError: it lacks some.
        """
        lacking = [task.record.origin for task in tasks if task.question not in self.answers]
        if lacking:
            raise ConfigError(
                f"{self.name!r} has no answer to {len(lacking)} of {len(tasks)} rows, {lacking[0]} first: give a file "
                "with an answer to each instruction of the evaluation set (an input follows after an empty line)"
            )
        return [self.answers[task.question] for task in tasks]


def find_subject(
    adapter: str | Path, *, base_model: str | None = None, template: str | None = None, name: str | None = None
) -> Subject:
    """Return an adapter on its base.

    Args:
        adapter: adapter directory, or run directory with one.
        base_model: name of the base; None takes that of the sidecar.
        template: prompt template; None takes that of the sidecar.
        name: what to call it; None takes the directory's name.

    Raises:
        AdapterError, ModelError, TemplateError, ConfigError: it cannot be used, or base and template are not known.
    """
    trained = find_trained(adapter, base_model=base_model, template=template)
    refuse_quantised(config_of(trained.base_dir), trained.base_model)
    directory = trained.adapter_dir.resolve()
    return Subject(
        name=name or (directory.parent if directory.name == "adapter" else directory).name,
        base_model=trained.base_model,
        base_dir=trained.base_dir,
        adapter_dir=trained.adapter_dir,
        tokenizer=trained.tokenizer(),
        prompter=trained.prompter,
        precision=trained.precision,
        quantization=trained.quantization,
        stops=trained.sidecar.stop_ids if trained.sidecar else None,
    )


def find_other(named: str | Path, like: Subject) -> Subject | StoredAnswers:
    """Return what an adapter is compared with beside its base.

    Args:
        named: another adapter or run, a base model, or a file of stored answers in AlpacaEval's format.
        like: the adapter; a base model is asked with its template.

    Raises:
        ConfigError, RecordError, AdapterError, ModelError: it cannot be used.
    """
    found = look_for(named)
    if not isinstance(found, Path):
        return found
    return replace(
        like,
        name=public_name(str(named)),
        base_model=str(named),
        base_dir=found,
        adapter_dir=None,
        tokenizer=load_tokenizer(found),
        quantization=QuantizationSettings(),
        stops=None,
    )


def look_for(named: str | Path) -> Subject | StoredAnswers | Path:
    """Return an adapter or stored answers of this name, or the directory of a base model; see `find_other`."""
    path = expanded(named)
    if path.is_file():
        outputs = load_model_outputs(path)
        names = list(dict.fromkeys(item.generator for item in outputs))
        if len(names) != 1:
            raise ConfigError(f"{str(named)!r} must hold the answers of one model, got {', '.join(map(repr, names))}")
        return StoredAnswers(names[0], _files.sha256_of(path), {item.instruction: item.output for item in outputs})
    if is_adapter(path):
        return find_subject(path)
    return locate_base_model(str(named), unquantised=True)


def is_adapter(path: Path) -> bool:
    """Tell whether a directory is that of an adapter, or of a run with one."""
    return any((place / "adapter_config.json").is_file() for place in (path, path / "adapter"))
