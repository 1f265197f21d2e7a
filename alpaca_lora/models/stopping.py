"""What ends an answer beside the model itself: an order from outside, or a text that the answer has reached."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase, StoppingCriteria

__all__ = ["StopOnOrder", "StopOnText"]


class StopOnOrder(StoppingCriteria):
    """Stop generating once a function says that it is over."""

    def __init__(self, over: Callable[[], bool]) -> None:
        self.over = over

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor, **_: Any) -> torch.Tensor:
        """Return for each row the same: whether it is over."""
        return torch.full((input_ids.shape[0],), self.over(), device=input_ids.device)


class StopOnText(StoppingCriteria):
    """End each answer behind the first of some texts, control tokens included.

    transformers' own looks at the prompt too: one that ends in a line end would make an empty line of the next.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], start: int) -> None:
        self.tokenizer, self.texts, self.start = tokenizer, texts, start

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor, **_: Any) -> torch.Tensor:
        """Return for each row whether it has one of the texts."""
        answers = (
            str(self.tokenizer.decode(row, clean_up_tokenization_spaces=False))
            for row in input_ids[:, self.start :].tolist()
        )
        over = [any(text in answer for text in self.texts) for answer in answers]
        return torch.tensor(over, device=input_ids.device)
