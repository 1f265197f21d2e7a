"""The settings of an evaluation."""

from typing import Annotated

from pydantic import AfterValidator, Field

from alpaca_lora.config.rules import record_fields
from alpaca_lora.config.sections import Settings

__all__ = ["EvaluationConfig"]


class EvaluationConfig(Settings):
    """Everything that decides the numbers of `evaluate`, but for its models, its rows and its judge."""

    column_map: Annotated[dict[str, str], AfterValidator(record_fields)] = {}
    """Which column of the set is which field, as {"instruction": "question"}; empty takes the usual names."""

    rows: Annotated[int, Field(ge=1)] | None = None
    """Most rows, drawn by the seed from those that may be used. None: all of them."""

    max_new_tokens: Annotated[int, Field(ge=1)] = 256
    """Longest answer in tokens; one that is cut here counts as not ended."""

    batch_size: Annotated[int, Field(ge=1)] = 8
    """Rows answered together."""

    task_rows: Annotated[int, Field(ge=1)] | None = None
    """Most documents of each task of lm-evaluation-harness, for a first look. None: all of them."""

    resamples: Annotated[int, Field(ge=100)] = 10_000
    """Bootstrap samples behind each interval that is not a share's."""

    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = 42
    """Decides which rows are drawn, every bootstrap sample, and what the judge is asked twice."""
