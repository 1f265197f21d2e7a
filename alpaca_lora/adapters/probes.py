"""Four fixed records whose losses tell whether an adapter still computes what it did when it was trained."""

from typing import Any

from transformers import PreTrainedTokenizerBase

from alpaca_lora.models import IGNORED, encode_prompt, encode_text, row_losses
from alpaca_lora.prompts import Prompter
from alpaca_lora.records import Record

PROBES = (
    Record("Name the three primary colours of light.", "", "Red, green and blue."),
    Record("Turn the sentence into a question.", "The train leaves at noon.", "Does the train leave at noon?"),
    Record("Explain in one sentence why ice floats.", "", "Ice is less dense than water, so water carries it."),
    Record("Work out the sum.", "17 + 25", "42"),
)
"""Chosen to be short, plain and unlike each other; never trained on."""


def probe_losses(model: Any, tokenizer: PreTrainedTokenizerBase, prompter: Prompter) -> tuple[float, ...]:
    """Return the mean loss per answer token, end-of-text included, on each probe record."""
    rows = []
    for record in PROBES:
        prompt = encode_prompt(tokenizer, prompter.prompt(record))
        answer = [*encode_text(tokenizer, prompter.completion(record)), int(tokenizer.eos_token_id)]
        rows.append((prompt + answer, [IGNORED] * len(prompt) + answer))
    return tuple(loss.nll / loss.tokens for loss in row_losses(model, rows))
