"""Answers from a model: many at once or one as a stream.

Batches are padded on the left with an explicit mask, so an answer does not depend on what shares its batch. Only new
tokens are returned, cut at the first stop id. Without a temperature decoding is greedy; with a temperature and a seed
it is repeatable too.
"""

import contextlib
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import (
    GenerationConfig,
    PreTrainedTokenizerBase,
    StoppingCriteria,
    StoppingCriteriaList,
    TextIteratorStreamer,
)

from alpaca_lora.errors import ConfigError
from alpaca_lora.models.tokenizer import encode_prompt, stop_ids


@dataclass(frozen=True, kw_only=True)
class Decoding:
    """How the next token is chosen.

    Raises:
        ConfigError: values out of range, all named at once.
    """

    max_new_tokens: int = 256
    """Longest answer in tokens, 1 or more."""

    temperature: float = 0.0
    """0 takes the likeliest token; higher flattens the distribution that tokens are drawn from."""

    top_p: float = 1.0
    """Draw only among the likeliest tokens that together hold this probability, in (0, 1]."""

    top_k: int = 0
    """Draw only among this many likeliest tokens; 0 sets no limit."""

    num_beams: int = 1
    """Beams searched at temperature 0; 1 is greedy."""

    repetition_penalty: float = 1.0
    """Above 1, tokens already in the text become less likely."""

    seed: int | None = None
    """Makes drawing repeatable; None draws anew each time."""

    def __post_init__(self) -> None:
        """Refuse what cannot work, all at once."""
        faults = [
            f"{name} must be {allowed}, got {getattr(self, name)!r}"
            for name, allowed, fine in (
                ("max_new_tokens", "at least 1", self.max_new_tokens >= 1),
                ("temperature", "between 0 and 10", 0 <= self.temperature <= 10),
                ("top_p", "above 0 and at most 1", 0 < self.top_p <= 1),
                ("top_k", "0 (no limit) or more", self.top_k >= 0),
                ("num_beams", "at least 1", self.num_beams >= 1),
                ("repetition_penalty", "above 0", self.repetition_penalty > 0),
            )
            if not fine
        ]
        if self.num_beams > 1 and self.temperature > 0:
            faults.append("num_beams above 1 works at temperature 0 only; set one of them")
        if faults:
            raise ConfigError("; ".join(faults))

    def to_generation_config(self, stops: Sequence[int], pad: int) -> GenerationConfig:
        """Return the same as a config of transformers, which has no meaning of its own for a temperature of 0."""
        options: dict[str, Any] = {"do_sample": self.temperature > 0, "num_beams": self.num_beams}
        if self.temperature > 0:
            options |= {"temperature": self.temperature, "top_p": self.top_p, "top_k": self.top_k}
        return GenerationConfig(
            max_new_tokens=self.max_new_tokens,
            repetition_penalty=self.repetition_penalty,
            eos_token_id=list(stops),
            pad_token_id=pad,
            use_cache=True,
            **options,
        )


@dataclass(frozen=True, slots=True)
class Response:
    """What a model answered."""

    text: str
    """The answer without prompt and without control tokens."""

    tokens: int
    """Length in tokens, the stop token included."""

    stopped: bool
    """Whether the model ended the answer itself; if not, it was cut at max_new_tokens."""


def generate_responses(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    decoding: Decoding | None = None,
    *,
    batch_size: int = 8,
    stop_texts: Sequence[str] = (),
) -> list[Response]:
    """Answer every prompt.

    Args:
        model: a causal language model, with or without adapters; its training mode is put back afterwards.
        tokenizer: the tokenizer of that model.
        prompts: rendered prompts, without a beginning-of-text token.
        decoding: None means greedy, at most 256 tokens.
        batch_size: prompts answered together; prompts of like length share a batch.
        stop_texts: an answer also ends behind the first of these texts, which stays a part of it.

    Returns:
        One response per prompt, in the order of the prompts.
    """
    decoding = decoding or Decoding()
    ids = [encode_prompt(tokenizer, prompt) for prompt in prompts]
    order = sorted(range(len(ids)), key=lambda index: len(ids[index]))
    responses: dict[int, Response] = {}
    stops = stop_ids(tokenizer, model)
    with _answering(model, decoding.seed):
        for start in range(0, len(order), batch_size):
            batch = order[start : start + batch_size]
            inputs = _pad_left([ids[index] for index in batch], int(tokenizer.pad_token_id), model.device)
            config = decoding.to_generation_config(stops, int(tokenizer.pad_token_id))
            config.stop_strings = list(stop_texts) or None
            outputs = model.generate(**inputs, generation_config=config, tokenizer=tokenizer)
            for index, row in zip(batch, outputs[:, inputs["input_ids"].shape[1] :].tolist(), strict=True):
                responses[index] = _response(tokenizer, row, stops)
    return [responses[index] for index in range(len(ids))]


def stream_response(
    model: Any, tokenizer: PreTrainedTokenizerBase, prompt: str, decoding: Decoding | None = None
) -> Iterator[str]:
    """Yield the answer to one prompt piece by piece, as soon as whole characters are there.

    Closing the iterator stops the model at its next token.

    Raises:
        ConfigError: several beams, of which none is the answer before the end.
    """
    decoding = decoding or Decoding()
    if decoding.num_beams > 1:
        raise ConfigError(f"num_beams is {decoding.num_beams}, but only one beam can be streamed: set it to 1")
    inputs = _pad_left([encode_prompt(tokenizer, prompt)], int(tokenizer.pad_token_id), model.device)
    stops = stop_ids(tokenizer, model)
    config = decoding.to_generation_config(stops, int(tokenizer.pad_token_id))
    streamer: TextIteratorStreamer = _Streamer(tokenizer, stops)
    stopping = _Stopping()
    failures: list[BaseException] = []

    def work() -> None:
        try:
            with _answering(model, decoding.seed):
                criteria = StoppingCriteriaList([stopping])
                model.generate(**inputs, generation_config=config, streamer=streamer, stopping_criteria=criteria)
        except BaseException as error:  # noqa: BLE001 - raised again below, in the caller's thread
            failures.append(error)
            streamer.end()

    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    try:
        yield from (piece for piece in streamer if piece)
    finally:
        stopping.event.set()
        worker.join()
    if failures:
        raise failures[0]


class _Streamer(TextIteratorStreamer):
    """The text of new tokens; a stop id is no text, whatever the tokenizer says."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, stops: Sequence[int]) -> None:
        super().__init__(tokenizer, skip_prompt=True, skip_special_tokens=True)
        self.stops = stops

    def put(self, value: torch.Tensor) -> None:
        if self.next_tokens_are_prompt or int(value) not in self.stops:
            super().put(value)  # type: ignore[no-untyped-call]


class _Stopping(StoppingCriteria):
    """Stop generating once the event is set."""

    def __init__(self) -> None:
        self.event = threading.Event()

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor, **_: Any) -> torch.Tensor:
        return torch.full((input_ids.shape[0],), self.event.is_set(), device=input_ids.device)


@contextlib.contextmanager
def _answering(model: Any, seed: int | None) -> Iterator[None]:
    """Evaluation mode without gradients, without defaults of the model and, with a seed, with its own random numbers.

    transformers would fill what `Decoding` leaves open from the model's own generation config.
    """
    causal = model.get_base_model() if hasattr(model, "get_base_model") else model
    training, defaults = model.training, causal.generation_config
    model.eval()
    causal.generation_config = GenerationConfig()
    try:
        with torch.no_grad(), torch.random.fork_rng(enabled=seed is not None):
            if seed is not None:
                torch.manual_seed(seed)
            yield
    finally:
        causal.generation_config = defaults
        model.train(training)


def _pad_left(rows: list[list[int]], pad: int, device: torch.device) -> dict[str, torch.Tensor]:
    width = max(len(row) for row in rows)
    ids_BT = torch.tensor([[pad] * (width - len(row)) + row for row in rows], device=device)
    mask_BT = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows], device=device)
    return {"input_ids": ids_BT, "attention_mask": mask_BT}


def _response(tokenizer: PreTrainedTokenizerBase, ids: list[int], stops: Sequence[int]) -> Response:
    end = next((position for position, token in enumerate(ids) if token in stops), None)
    kept = ids if end is None else ids[:end]
    return Response(
        text=str(tokenizer.decode(kept, skip_special_tokens=True)),
        tokens=len(kept) + (end is not None),
        stopped=end is not None,
    )
