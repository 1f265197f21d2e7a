"""What every run that asks a teacher can be told: what it may cost, and how fast and how long it may ask."""

from typing import Annotated, ClassVar

from pydantic import Field

from alpaca_lora.config.sections import Settings

__all__ = ["CallSettings"]


class CallSettings(Settings):
    """Limits of a run that asks a teacher. None of them decides what the run makes."""

    free: ClassVar[frozenset[str]] = frozenset(
        {
            "budget_usd",
            "budget_tokens",
            "prices",
            "concurrency",
            "requests_per_minute",
            "tokens_per_minute",
            "max_seconds",
            "pause_seconds",
        }
    )
    """Settings that another session of the same run may change."""

    budget_usd: Annotated[float, Field(gt=0)] | None = None
    """Most that may be spent over all sessions of the run, in US dollars. None: no such cap."""

    budget_tokens: Annotated[int, Field(gt=0)] | None = None
    """Most tokens that may be used over all sessions of the run. None: no such cap."""

    prices: str | None = None
    """JSON file of prices per million tokens. None: prices.json in the user's configuration directory."""

    concurrency: Annotated[int, Field(ge=1, le=256)] = 8
    """Requests under way at once; it changes nothing in the result."""

    requests_per_minute: Annotated[int, Field(ge=1)] | None = None
    """Most requests in any minute. None: no limit."""

    tokens_per_minute: Annotated[int, Field(ge=1)] | None = None
    """Most tokens in any minute, each request counted at its worst case. None: no limit."""

    max_seconds: Annotated[float, Field(gt=0)] | None = None
    """Begin no further request after this time. None: no limit."""

    pause_seconds: Annotated[float, Field(gt=0)] = 0.5
    """Wait before a failed request is sent again; it doubles each time, up to a minute."""
