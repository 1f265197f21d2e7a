"""What a person sees while a run of generation goes on: rows, money, forecast, on standard error."""

from types import TracebackType
from typing import Self

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from alpaca_lora._console import Console

__all__ = ["Display"]

_PLAIN_SECONDS = 30.0


class Display:
    """A bar on a terminal, a line now and then elsewhere; use it as a context manager."""

    def __init__(self, total: int, *, enabled: bool, noun: str = "rows", console: Console | None = None) -> None:
        """Prepare a display.

        Args:
            total: how many are wanted.
            enabled: False shows nothing.
            noun: what is counted.
            console: where; None is standard error.
        """
        self._console = console or Console(stderr=True)
        self._enabled, self._noun = enabled, noun
        self._said = self._console.get_time()
        self._bar = Progress(
            TextColumn(noun),
            BarColumn(),
            TextColumn("{task.completed:,.0f}/{task.total:,.0f}"),
            TextColumn("{task.fields[cost]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
        )
        self._task = self._bar.add_task(noun, total=total, cost="")

    def __enter__(self) -> Self:
        """Show the bar where there can be one."""
        if self._enabled and self._console.is_terminal:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Take the bar away."""
        if self._bar.live.is_started:
            self._bar.stop()

    def update(self, kept: int, cost: str) -> None:
        """Show how far the run is.

        Args:
            kept: how many so far.
            cost: what they cost, in words.
        """
        self._bar.update(self._task, completed=kept, cost=cost)
        now = self._console.get_time()
        if self._enabled and not self._console.is_terminal and now - self._said >= _PLAIN_SECONDS:
            self._said = now
            self._console.print(f"{kept:,} {self._noun}, {cost}", highlight=False, markup=False, soft_wrap=True)
