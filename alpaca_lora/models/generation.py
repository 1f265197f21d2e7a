"""Answers from a model: many at once or one as a stream.

Batches are padded on the left with an explicit mask, so an answer does not depend on what shares its batch. Only new
tokens are returned, cut at the first stop id. Without a temperature decoding is greedy; with a temperature and a seed
it is repeatable too. Threads may ask at the same time: one answer is written after another, since each changes the
model and the random numbers of the process for as long as it takes.
"""

import contextlib
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import GenerationConfig, PreTrainedTokenizerBase, StoppingCriteriaList
from transformers.generation.streamers import BaseStreamer

from alpaca_lora.errors import ConfigError
from alpaca_lora.models.hardware import kept_random_state, seed_random_state
from alpaca_lora.models.stopping import StopOnOrder, StopOnText
from alpaca_lora.models.tokenizer import encode_prompt, stop_ids

_turn = threading.Lock()
_PATIENCE_SECONDS = 0.05


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
                ("seed", "within 64 bits", self.seed is None or -(2**63) <= self.seed < 2**63),
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
    adapted: bool = True,
    stop: threading.Event | None = None,
) -> list[Response]:
    """Answer every prompt.

    Args:
        model: a causal language model, with or without adapters; its training mode is put back afterwards.
        tokenizer: the tokenizer of that model.
        prompts: rendered prompts, without a beginning-of-text token.
        decoding: None means greedy, at most 256 tokens.
        batch_size: prompts answered together; prompts of like length share a batch.
        stop_texts: an answer also ends behind the first of these texts, which stays a part of it.
        adapted: False switches the adapters of the model off while it answers.
        stop: setting this event ends every answer at its next token.

    Returns:
        One response per prompt, in the order of the prompts.

    Raises:
        ConfigError: batch_size is below 1.
    """
    if batch_size < 1:
        raise ConfigError(f"batch_size must be at least 1, got {batch_size}")
    decoding = decoding or Decoding()
    ids = [encode_prompt(tokenizer, prompt) for prompt in prompts]
    order = sorted(range(len(ids)), key=lambda index: len(ids[index]))
    responses: dict[int, Response] = {}
    with _turn, _answering(model, tokenizer, decoding, adapted=adapted) as config:
        for start in range(0, len(order), batch_size):
            batch = order[start : start + batch_size]
            inputs = _pad_left([ids[index] for index in batch], int(tokenizer.pad_token_id), model.device)
            width = inputs["input_ids"].shape[1]
            stopping = StoppingCriteriaList([StopOnOrder(stop.is_set)] if stop else [])
            if stop_texts:
                stopping.append(StopOnText(tokenizer, stop_texts, width))
            outputs = model.generate(**inputs, generation_config=config, stopping_criteria=stopping)
            for index, row in zip(batch, outputs[:, width:].tolist(), strict=True):
                responses[index] = _response(tokenizer, row, config.eos_token_id)
    return [responses[index] for index in range(len(ids))]


def stream_response(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    prompt: str,
    decoding: Decoding | None = None,
    *,
    adapted: bool = True,
    stop: threading.Event | None = None,
) -> Iterator[Response]:
    """Yield the answer to one prompt as it grows, each time all of it, up to a whole character.

    The first response is empty: the model begins, which can be long in coming. Of several beams none is the answer
    before the end. Closing the iterator, or setting the event `stop`, ends the answer at the next token.
    """
    decoding = decoding or Decoding()
    inputs = _pad_left([encode_prompt(tokenizer, prompt)], int(tokenizer.pad_token_id), model.device)
    closed = threading.Event()
    stops: list[int] = []  # known once it is our turn, before anything is written
    written: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def over() -> bool:
        return closed.is_set() or (stop is not None and stop.is_set())

    def work() -> None:
        try:
            with _turn_unless(over) as ours:
                if ours:
                    with _answering(model, tokenizer, decoding, adapted=adapted) as config:
                        stops.extend(config.eos_token_id)
                        _write(model, inputs, config, over, written)
            written.put(None)
        except BaseException as error:  # noqa: BLE001 - raised again below, in the caller's thread
            written.put(error)

    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    ids: list[int] = []
    try:
        while isinstance(new := written.get(), list):
            ids += new
            response = _response(tokenizer, ids, stops)
            if not response.text.endswith("\ufffd"):
                yield response
    finally:
        closed.set()
        worker.join()
    if new is not None:
        raise new
    yield _response(tokenizer, ids, stops)


def _write(
    model: Any,
    inputs: dict[str, torch.Tensor],
    config: GenerationConfig,
    over: Callable[[], bool],
    written: "queue.SimpleQueue[Any]",
) -> None:
    """Let the model write: nothing to the queue at first, then each token at once, or several beams at their end."""
    alone = config.num_beams == 1
    written.put([])
    outputs = model.generate(
        **inputs,
        generation_config=config,
        streamer=_Streamer(written) if alone else None,
        stopping_criteria=StoppingCriteriaList([StopOnOrder(over)]),
    )
    if not alone:
        written.put(outputs[0, inputs["input_ids"].shape[1] :].tolist())


class _Streamer(BaseStreamer):
    """Put the ids of new tokens on a queue; what comes first is the prompt."""

    def __init__(self, written: "queue.SimpleQueue[Any]") -> None:
        self.written, self.is_prompt = written, True

    def put(self, value: torch.Tensor) -> None:
        if not self.is_prompt:
            self.written.put(value.flatten().tolist())
        self.is_prompt = False

    def end(self) -> None:
        pass


@contextlib.contextmanager
def _turn_unless(over: Callable[[], bool]) -> Iterator[bool]:
    """Wait until no other answer is being written, and yield True; or yield False as soon as it is over."""
    while not (ours := _turn.acquire(timeout=_PATIENCE_SECONDS)) and not over():
        pass
    try:
        yield ours and not over()
    finally:
        if ours:
            _turn.release()


@contextlib.contextmanager
def _answering(
    model: Any, tokenizer: PreTrainedTokenizerBase, decoding: Decoding, *, adapted: bool
) -> Iterator[GenerationConfig]:
    """Evaluation mode without gradients, without defaults of the model and, with a seed, with its own random numbers.

    transformers would fill what `Decoding` leaves open from the model's own generation config. Of that, only the ids
    that end an answer go into the config that is yielded, and nobody can read it meanwhile.
    """
    causal = model.get_base_model() if hasattr(model, "get_base_model") else model
    training, defaults = model.training, causal.generation_config
    config = decoding.to_generation_config(stop_ids(tokenizer, model), int(tokenizer.pad_token_id))
    model.eval()
    causal.generation_config = GenerationConfig()
    try:
        adapters = contextlib.nullcontext() if adapted else model.disable_adapter()
        seeded = decoding.seed is not None
        with adapters, torch.no_grad(), kept_random_state(model.device, enabled=seeded):
            if decoding.seed is not None:
                seed_random_state(model.device, decoding.seed)
            yield config
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
        text=str(tokenizer.decode(kept, skip_special_tokens=True, clean_up_tokenization_spaces=False)),
        tokens=len(kept) + (end is not None),
        stopped=end is not None,
    )
