"""A trained adapter that answers, in the exact prompt that it was trained on.

The sidecar of an adapter knows its base model, its prompt template and how the base was held, so a directory is all
that is needed. Each can be overridden; another template only on purpose, since a model that is asked in words that it
was not trained on answers worse, and nothing says so.
"""

import contextlib
import dataclasses
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast, get_args

from transformers import PreTrainedTokenizerBase

from alpaca_lora.adapters import Sidecar, inspect_adapter, load_adapter, locate_base_of, read_sidecar
from alpaca_lora.config import QuantizationSettings
from alpaca_lora.errors import AdapterError, ConfigError, TemplateError
from alpaca_lora.models import (
    Decoding,
    Precision,
    Response,
    best_precision,
    check_vocabulary,
    generate_responses,
    load_base_model,
    load_tokenizer,
    stream_response,
)
from alpaca_lora.prompts import Prompter, Template
from alpaca_lora.records import Record

__all__ = ["Assistant", "load"]

Quantization = Literal["none", "nf4"]

_WHOLE = frozenset({"max_new_tokens", "top_k", "num_beams", "seed"})


@dataclass(frozen=True)
class Assistant:
    """A base model with its adapter, ready to answer. Every question stands alone: nothing said before is remembered.

    Decoding options are the fields of `models.Decoding`. Without any, decoding is greedy and an answer ends after 256
    tokens at the latest.
    """

    model: Any
    """Base and adapter, as a `peft.PeftModel`."""

    tokenizer: PreTrainedTokenizerBase
    """The tokenizer that the adapter was trained with."""

    prompter: Prompter
    """Renders the prompt around instruction and input."""

    def respond(self, instruction: str, input: str = "", **decoding: Any) -> str:
        """Return the answer to one instruction, without white space around it.

        Args:
            instruction: what to do.
            input: what to do it with; empty where the instruction says everything.
            **decoding: fields of `models.Decoding`, as `max_new_tokens=64, temperature=0.7`.

        Raises:
            ConfigError: there is no such option, or its value is out of range; all faults at once.
        """
        return self.respond_batch([Record(instruction, input)], **decoding)[0]

    def respond_batch(self, records: Sequence[Record], *, batch_size: int = 8, **decoding: Any) -> list[str]:
        """Return the answers to several records in their order; each is what `respond` would return.

        Args:
            records: what to answer; their outputs are not looked at.
            batch_size: records answered together.
            **decoding: see `respond`.

        Raises:
            ConfigError: see `respond`.
        """
        return [response.text for response in self.respond_full(records, batch_size=batch_size, **decoding)]

    def respond_full(self, records: Sequence[Record], *, batch_size: int = 8, **decoding: Any) -> list[Response]:
        """Return the answers with their length, and whether the model ended them itself; see `respond_batch`."""
        chosen = make_decoding(decoding)
        prompts = [self.prompter.prompt(record) for record in records]
        responses = generate_responses(self.model, self.tokenizer, prompts, chosen, batch_size=batch_size)
        return [dataclasses.replace(response, text=response.text.strip()) for response in responses]

    def stream(self, instruction: str, input: str = "", **decoding: Any) -> Generator[str, None, None]:
        """Return an iterator over the pieces of the answer; joined they are what `respond` would return.

        Closing the iterator stops the model at its next token. Beam search knows its answer only at the end, so its
        answer is one piece.

        Args:
            instruction: see `respond`.
            input: see `respond`.
            **decoding: see `respond`.

        Raises:
            ConfigError: see `respond`; raised here and not by the first piece.
        """
        chosen = make_decoding(decoding)
        if chosen.num_beams > 1:
            return (answer for answer in [self.respond(instruction, input, **decoding)])
        prompt = self.prompter.generate_prompt(instruction, input)
        pieces = stream_response(self.model, self.tokenizer, prompt, chosen)
        return _stripped(cast("Generator[str, None, None]", pieces))

    @contextlib.contextmanager
    def without_adapter(self) -> Iterator[None]:
        """Let the base model answer alone for the time of a `with` block, to see what training changed."""
        with self.model.disable_adapter():
            yield


def load(
    adapter_dir: str | Path,
    *,
    base_model: str | Path | None = None,
    template: str | Path | Template | None = None,
    force_template: bool = False,
    precision: Precision | None = None,
    quantization: Quantization | None = None,
    device: str | None = None,
) -> Assistant:
    """Load an adapter on its base model, ready to answer.

    Args:
        adapter_dir: an adapter directory, or a run directory that holds a finished `adapter/`.
        base_model: embedded name, directory or Hub id; None takes the one that the adapter was trained on.
        template: prompt template; None takes the one that the adapter was trained with.
        force_template: ask with `template` although the adapter was trained with another.
        precision: number format of the base; None takes that of the training.
        quantization: how the base's linear layers are held; None as in training.
        device: `cpu`, `cuda`, `cuda:1` …; None takes the current CUDA device, else Apple's, else the processor.

    Returns:
        The assistant.

    Raises:
        ConfigError: precision or quantization is unknown, or an adapter of another tool needs a template by name.
        AdapterError: the adapter cannot be used, or fits another base; see `adapters.inspect_adapter`.
        TemplateError: the template cannot be used, or is not the adapter's.
        ModelError: the base model cannot be found or loaded.
    """
    _check_choices(precision=(precision, get_args(Precision)), quantization=(quantization, get_args(Quantization)))
    directory = _adapter_in(Path(adapter_dir).expanduser())
    sidecar = read_sidecar(directory)
    prompter = _prompter_for(directory, sidecar, template, force=force_template)
    base_dir = locate_base_of(directory, None if base_model is None else str(base_model))
    inspect_adapter(directory, base_dir)
    tokenizer = load_tokenizer(directory if (directory / "tokenizer_config.json").is_file() else base_dir)
    held = {"method": quantization} if quantization else sidecar.quantization if sidecar else {}
    model = load_base_model(
        base_dir,
        precision=precision or (cast("Precision", sidecar.precision) if sidecar else best_precision()),
        quantization=QuantizationSettings(**held),
        device=device,
    )
    check_vocabulary(tokenizer, model)
    if sidecar:
        model.generation_config.eos_token_id = list(sidecar.stop_ids)
    return Assistant(load_adapter(model, directory, base_dir), tokenizer, prompter)


def make_decoding(options: Mapping[str, Any]) -> Decoding:
    """Return decoding options by name as `Decoding`.

    Raises:
        ConfigError: names are unknown or values cannot be used.
    """
    known = {field.name for field in dataclasses.fields(Decoding)}
    faults = [
        f"unknown decoding option {name!r}; allowed: {', '.join(sorted(known))}" for name in options.keys() - known
    ]
    faults += [
        f"{name} must be {'a whole number' if name in _WHOLE else 'a number'}, got {value!r}"
        for name, value in options.items()
        if name in known and not _fits(name, value)
    ]
    if faults:
        raise ConfigError("\n".join(sorted(faults)))
    return Decoding(**options)


def _fits(name: str, value: Any) -> bool:
    if value is None:
        return name == "seed"
    return isinstance(value, int if name in _WHOLE else int | float) and not isinstance(value, bool)


def _check_choices(**choices: tuple[str | None, tuple[str, ...]]) -> None:
    faults = [
        f"{name} must be one of {', '.join(map(repr, allowed))}, got {value!r}"
        for name, (value, allowed) in choices.items()
        if value is not None and value not in allowed
    ]
    if faults:
        raise ConfigError("\n".join(faults))


def _adapter_in(path: Path) -> Path:
    """Return the adapter directory at a path, which may be that of a run."""
    candidates = (path, path / "adapter")
    for directory in candidates:
        if (directory / "adapter_config.json").is_file():
            return directory
    if (path / "run.json").is_file():
        raise AdapterError(
            f"the run in {str(path)!r} has no adapter yet: finish it with the command that started it, which goes on "
            "from its newest checkpoint"
        )
    raise AdapterError(
        f"no adapter at {str(path)!r}: give a directory with adapter_config.json, or a run directory with adapter/"
    )


def _prompter_for(
    directory: Path, sidecar: Sidecar | None, template: str | Path | Template | None, *, force: bool
) -> Prompter:
    if template is None and sidecar is None:
        raise ConfigError(
            f"{str(directory)!r} was not made by alpaca-lora, so its prompt is not known: name the template that it "
            "was trained with (alpaca is the usual one) and its base model"
        )
    if template is None and sidecar is not None:
        return Prompter(sidecar.prompt_template())
    prompter = Prompter(template or "alpaca")
    if sidecar is not None and prompter.sha256 != sidecar.template_sha256 and not force:
        raise TemplateError(
            f"the adapter in {str(directory)!r} was trained with template {sidecar.template['name']!r} "
            f"(sha256 {sidecar.template_sha256[:12]}), not {prompter.template.name!r} ({prompter.sha256[:12]}), and "
            "answers worse when it is asked in other words: leave the template out, or force it "
            "(force_template=True, --force-template)"
        )
    return prompter


def _stripped(pieces: Generator[str, None, None]) -> Generator[str, None, None]:
    """Yield the pieces without white space at either end of the whole; closing this closes them."""
    held, begun = "", False
    with contextlib.closing(pieces):
        for piece in pieces:
            text = held + piece if begun else piece.lstrip()
            body = text.rstrip()
            held = text[len(body) :]
            if body:
                begun = True
                yield body
