"""The settings of a comparison by a judge."""

from typing import Annotated

from pydantic import Field

from alpaca_lora.config.calling import CallSettings

__all__ = ["JudgeConfig"]


class JudgeConfig(CallSettings):
    """Everything about a run of `judge_outputs` but for its answers and its judge."""

    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = 42
    """Decides which verdicts are asked for twice; equal seeds and equal verdicts give equal bytes."""

    repeats: Annotated[int, Field(ge=0)] = 20
    """Verdicts that are asked for a second time, to see how often the judge agrees with itself; 0 for none. One that
    weighs the answers draws nothing, and is not asked again."""
