"""The settings of instruction generation."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from alpaca_lora.config.calling import CallSettings

__all__ = ["SelfInstructConfig"]


class SelfInstructConfig(CallSettings):
    """Everything that decides which records a run of `generate_instructions` makes, but for its teachers."""

    free: ClassVar[frozenset[str]] = CallSettings.free | {"num", "pilot", "patience"}
    """Settings that another session of the same run may change: they decide how far it goes, not what it makes."""

    num: Annotated[int, Field(ge=1)] = 100
    """Records to keep."""

    profile: Literal["modern", "stanford-2023"] = "modern"
    """How tasks are asked for, read and chosen; each run prints what differs from the published generator."""

    domain: str = ""
    """Field that all tasks shall belong to, in a few words; empty for any. Only with profile 'modern'."""

    seeds: str | None = None
    """File of seed tasks. None: the 175 packaged ones."""

    requirements: str | None = None
    """Text file with the words that ask for tasks, as Stanford's prompt.txt. None: the profile's own."""

    novelty_threshold: Annotated[float, Field(gt=0, le=1)] = 0.7
    """A task is dropped if its ROUGE-L to a seed task or to an earlier task is above this."""

    novelty_with_input: bool = False
    """Compare instruction and input instead of the instruction alone."""

    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = 42
    """Decides every request; equal seeds and equal answers give equal bytes."""

    pilot: Annotated[int, Field(ge=1)] | None = None
    """Stop after this many requests with a forecast of rows and cost. None: no pilot."""

    patience: Annotated[int, Field(ge=1)] = 50
    """Stop after this many requests in a row without a row that is kept."""
