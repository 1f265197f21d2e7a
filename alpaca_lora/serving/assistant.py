"""A trained adapter that answers, in the exact prompt that it was trained on."""

import contextlib
import dataclasses
import threading
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from transformers import PreTrainedTokenizerBase

from alpaca_lora.errors import ConfigError
from alpaca_lora.models import Decoding, Response, encode_prompt, generate_responses, stream_response
from alpaca_lora.prompts import Prompter
from alpaca_lora.records import Record

__all__ = ["Assistant", "make_decoding"]

_WHOLE = frozenset({"max_new_tokens", "top_k", "num_beams", "seed"})


@dataclass(frozen=True)
class Assistant:
    """A base model with its adapter, ready to answer. Every question stands alone: nothing said before is remembered.

    Decoding options are the fields of `models.Decoding`. Without any, decoding is greedy and an answer ends after 256
    tokens at the latest. Several threads may ask at the same time; they are answered one after another.
    """

    model: Any
    """Base and adapter, as a `peft.PeftModel`."""

    tokenizer: PreTrainedTokenizerBase
    """The tokenizer that the adapter was trained with."""

    prompter: Prompter
    """Renders the prompt around instruction and input."""

    adapted: bool = True
    """Whether the adapter takes part in the answers."""

    @property
    def base(self) -> "Assistant":
        """The same assistant without the adapter, to see what training changed."""
        return dataclasses.replace(self, adapted=False)

    def respond(self, instruction: str, input: str = "", **decoding: Any) -> str:
        """Return the answer to one instruction, without white space around it.

        Args:
            instruction: what to do.
            input: what to do it with; empty where the instruction says everything.
            **decoding: fields of `models.Decoding`, as `max_new_tokens=64, temperature=0.7`.

        Raises:
            ConfigError: there is no such option, its value is out of range, or the model cannot read that many tokens.
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
        prompts = [self._checked_prompt(record.instruction, record.input, chosen) for record in records]
        responses = generate_responses(
            self.model, self.tokenizer, prompts, chosen, batch_size=batch_size, adapted=self.adapted
        )
        return [_stripped(response) for response in responses]

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
        return _pieces(self.stream_full(instruction, input, **decoding))

    def stream_full(
        self, instruction: str, input: str = "", *, stop: threading.Event | None = None, **decoding: Any
    ) -> Generator[Response, None, None]:
        """Return an iterator over the answer as it grows, each time all of it with its length.

        The first response is empty and says that the model begins; see `models.stream_response`.

        Args:
            instruction: see `respond`.
            input: see `respond`.
            stop: once it is set, by another thread, the model stops at its next token.
            **decoding: see `respond`.

        Raises:
            ConfigError: see `respond`; raised here and not by the first response.
        """
        chosen = make_decoding(decoding)
        prompt = self._checked_prompt(instruction, input, chosen)
        responses = stream_response(self.model, self.tokenizer, prompt, chosen, adapted=self.adapted, stop=stop)
        return _stripped_all(cast("Generator[Response, None, None]", responses))

    def _checked_prompt(self, instruction: str, input: str, decoding: Decoding) -> str:
        """Return the prompt, unless it and the longest answer are more than the model can read."""
        prompt = self.prompter.generate_prompt(instruction, input)
        room = getattr(self.model.config, "max_position_embeddings", None)
        needed = len(encode_prompt(self.tokenizer, prompt))
        if room is not None and needed + decoding.max_new_tokens > room:
            raise ConfigError(
                f"the prompt has {needed} tokens and the answer may have {decoding.max_new_tokens}, but the model "
                f"reads at most {room}: shorten the instruction or the input, or lower max_new_tokens"
            )
        return prompt


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


def _stripped(response: Response) -> Response:
    return dataclasses.replace(response, text=response.text.strip())


def _stripped_all(responses: Generator[Response, None, None]) -> Generator[Response, None, None]:
    with contextlib.closing(responses):
        yield from map(_stripped, responses)


def _pieces(responses: Generator[Response, None, None]) -> Generator[str, None, None]:
    """Yield what each response adds to the one before it; closing this closes them."""
    shown = 0
    with contextlib.closing(responses):
        for response in responses:
            if piece := response.text[shown:]:
                yield piece
                shown += len(piece)
