"""A model of this machine as a teacher: offline, at no cost, and repeatable.

Each request is drawn with its own seed and answered alone, since numbers change in their last digits with what shares a
batch, and a drawn answer with them. Where an answer can only be one of a few, it is not drawn: their probabilities say
more than the one word that a small model happens to write.
"""

import asyncio
import json
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from alpaca_lora.models.documents import positions_of
from alpaca_lora.models.embedded import EMBEDDED
from alpaca_lora.models.fingerprints import fingerprint
from alpaca_lora.models.generation import Decoding, generate_responses
from alpaca_lora.models.loading import best_precision, load_base_model
from alpaca_lora.models.locate import locate_base_model
from alpaca_lora.models.losses import next_token_shares
from alpaca_lora.models.tokenizer import encode_prompt, encode_text, load_tokenizer
from alpaca_lora.teachers import Answer, Fault, Request, Usage

__all__ = ["LocalTeacher"]


class LocalTeacher:
    """Asks a causal language model with transformers.

    Args:
        model: the embedded model, a directory, or a Hub id.
        most_tokens: longest answer in tokens; a small model does not use more to any good.
        device: `cpu`, `cuda` …; None takes the best there is.

    Raises:
        ModelError: the model cannot be found.
    """

    free = True
    chat = False

    def __init__(self, model: str = EMBEDDED, *, most_tokens: int = 256, device: str | None = None) -> None:
        self.model = model
        self.notes: list[str] = []
        self._most_tokens, self._device = most_tokens, device
        self._directory = locate_base_model(model)
        self._tokenizer = load_tokenizer(self._directory)
        self._positions = positions_of(self._directory)
        self._loaded: Any = None
        self._turn = threading.Lock()

    def describe(self) -> Mapping[str, Any]:
        """Return what decides its answers."""
        return {
            "kind": "local",
            "model": Path(self.model).name if Path(self.model).is_dir() else self.model,
            "fingerprint": fingerprint(self._directory),
            "most_tokens": self._most_tokens,
        }

    def most_prompt_tokens(self, request: Request) -> int:
        """Return the exact length of the prompt."""
        return len(encode_prompt(self._tokenizer, request.prompt + request.opening))

    def redact(self, text: str) -> str:
        """Return the text, as there is no key."""
        return text

    async def answer(self, request: Request) -> Answer:
        """Ask once; see `Teacher.answer`. Cancelling it ends the answer at its next token."""
        cancelled = threading.Event()
        try:
            return await asyncio.to_thread(self._answer, request, cancelled)
        finally:
            cancelled.set()

    async def close(self) -> None:
        """Forget the loaded model; the next question loads it again."""
        self._loaded = None

    def _answer(self, request: Request, cancelled: threading.Event) -> Answer:
        prompt = request.prompt + request.opening
        used = self.most_prompt_tokens(request)
        most = min(request.max_tokens, self._most_tokens, self._positions - used)
        if most < 1:
            raise Fault("unfit", f"the prompt of {used} tokens leaves no room: {self.model} reads {self._positions}")
        decoding = Decoding(
            max_new_tokens=most, temperature=request.temperature, top_p=request.top_p, seed=request.seed
        )
        if request.choices:
            shares = self._weigh(prompt, request.choices)
            return Answer(text=json.dumps(shares), finish="stop", usage=Usage(used, 1))
        # One line is one task; what a small model writes after its first is seldom any.
        stops = (*request.stop, "\n") if request.schema else request.stop
        with self._turn:
            (response,) = generate_responses(
                self._model(), self._tokenizer, [prompt], decoding, stop_texts=stops, stop=cancelled
            )
        ends = [place for stop in stops if (place := response.text.find(stop)) >= 0]
        text = response.text[: min(ends)] if ends else response.text
        return Answer(
            text=text,
            finish="stop" if response.stopped or ends else "length",
            usage=Usage(used, response.tokens),
        )

    def _weigh(self, prompt: str, choices: Sequence[str]) -> dict[str, float]:
        """Return how likely the first token of each choice is among those, after a prompt."""
        firsts = [encode_text(self._tokenizer, choice)[0] for choice in choices]
        if len(set(firsts)) < len(firsts):
            raise Fault("unfit", f"{choices} begin with the same token of {self.model}")
        with self._turn:
            shares = next_token_shares(self._model(), encode_prompt(self._tokenizer, prompt), firsts)
        return dict(zip(choices, shares, strict=True))

    def _model(self) -> Any:
        if self._loaded is None:
            self._loaded = load_base_model(self._directory, precision=best_precision(), device=self._device)
        return self._loaded
