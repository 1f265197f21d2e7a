"""What base and tuned model answer to held-out records, for the stop rate and for the eye."""

import math
from collections.abc import Sequence
from typing import Any

from transformers import PreTrainedTokenizerBase

from alpaca_lora.errors import NonFiniteLossError
from alpaca_lora.models import Decoding, Response, generate_responses, mean_loss, row_losses
from alpaca_lora.prompts import Prompter
from alpaca_lora.records import Record
from alpaca_lora.reporting.summary import AnswerPair
from alpaca_lora.training.encoding import EncodedRow


def answer_records(
    model: Any, tokenizer: PreTrainedTokenizerBase, prompter: Prompter, records: Sequence[Record], max_new_tokens: int
) -> list[Response]:
    """Answer records greedily."""
    prompts = [prompter.prompt(record) for record in records]
    return generate_responses(model, tokenizer, prompts, Decoding(max_new_tokens=max_new_tokens))


def pair_answers(
    records: Sequence[Record], before: Sequence[Response], after: Sequence[Response]
) -> tuple[AnswerPair, ...]:
    """Put the two models' answers to each record side by side."""
    return tuple(
        AnswerPair(
            instruction=record.instruction,
            input=record.input,
            reference=record.output,
            before=first.text.strip(),
            after=second.text.strip(),
            before_stopped=first.stopped,
            after_stopped=second.stopped,
        )
        for record, first, second in zip(records, before, after, strict=True)
    )


def stop_rate(responses: Sequence[Response]) -> float | None:
    """Return the share of answers that the model ended itself; None without answers."""
    return sum(response.stopped for response in responses) / len(responses) if responses else None


def heldout_loss(model: Any, rows: Sequence[EncodedRow]) -> float:
    """Return the loss per answer token over the held-out rows, of which there must be some.

    Raises:
        NonFiniteLossError: the model computes NaN or infinity.
    """
    loss = mean_loss(row_losses(model, [(row.input_ids, row.labels) for row in rows]))
    if not math.isfinite(loss):
        raise NonFiniteLossError(
            f"the held-out loss is {loss}: the model overflows in this precision; try another, or a lower learning rate"
        )
    return loss
