"""What a person sees while a run is going on.

On a terminal and in a notebook: one line for each finished stage, and below it a live display of the current one. Where
lines cannot be redrawn (a log file, a pipe, a notebook without widgets): plain lines, few enough to read afterwards.
Everything goes to standard error, so that standard output stays free for results.
"""

import math
import sys
from importlib.util import find_spec
from types import TracebackType
from typing import Self

from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from alpaca_lora._console import Console
from alpaca_lora.reporting.wording import count, duration, memory, printable, visible

__all__ = ["Progress"]

_PLAIN_SHARE = 0.05
_PLAIN_STAGE_SHARE = 0.25
_PLAIN_SECONDS = 30.0
_REDRAWS_PER_SECOND = 4


class Progress:
    """Shows stages, steps and losses as they come; use it as a context manager.

    Leaving the block, by an exception too, gives the terminal back as it was.
    """

    def __init__(self, enabled: bool, console: Console | None = None) -> None:
        """Prepare a display; nothing is shown before the block is entered.

        Args:
            enabled: False shows nothing at all.
            console: where to show it; None is standard error, or the notebook's cell.
        """
        self._enabled = enabled
        self._console = console or Console(stderr=True)
        self._live: Live | None = None
        self._spinner = Spinner("dots", style="cyan")
        self._stage = ""
        self._stage_began = 0.0
        self._stage_count = ""
        self._said_count = 0
        self._said_time = 0.0
        self._training = False
        self._total_steps = 0
        self._resumed_from = 0
        self._training_began = 0.0
        self._step = 0
        self._numbers: list[str] = []
        self._heldout_losses: list[float] = []
        self._plain_step = 0
        self._plain_time = 0.0

    def __enter__(self) -> Self:
        """Start the live display where there can be one."""
        if self._enabled and _can_redraw(self._console):
            self._live = Live(
                console=self._console,
                get_renderable=self._picture,
                refresh_per_second=_REDRAWS_PER_SECOND,
                transient=True,
                redirect_stdout=sys.stdout.isatty(),
            )
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Take the live display away, saying how far an unfinished stage or training came."""
        if self._stage:
            self._end_stage(finished=kind is None)
        if self._training:
            self._end_training()
        if self._live is not None:
            self._live.stop()
            self._live = None

    def stage(self, text: str) -> None:
        """Show that something without countable steps has begun.

        It is over when the next stage begins, or, while training, with the next step.
        """
        self._end_stage()
        self._stage, self._stage_began, self._stage_count = printable(text), self._console.get_time(), ""
        self._said_count, self._said_time = 0, self._stage_began
        if self._live is None:
            self._say(f"{self._stage} …")
        else:
            self._live.refresh()

    def advance(self, done: int, total: int) -> None:
        """Show how far the current stage is.

        Args:
            done: parts of it that are finished.
            total: parts that it has.
        """
        self._stage_count = f"{count(done)}/{count(total)} "
        now = self._console.get_time()
        due = done - self._said_count >= _PLAIN_STAGE_SHARE * total or now - self._said_time >= _PLAIN_SECONDS
        if self._live is not None:
            self._live.refresh()
        elif due and done < total:
            self._say(f"{self._stage} … {count(done)}/{count(total)}")
            self._said_count, self._said_time = done, now

    def start(self, total_steps: int, *, done: int = 0) -> None:
        """Show that training has begun.

        Args:
            total_steps: optimizer steps of the whole run.
            done: of these, done before this process took over; time left is estimated from the rest.
        """
        self._end_stage()
        self._training, self._total_steps = True, total_steps
        self._step = self._resumed_from = self._plain_step = done
        self._training_began = self._plain_time = self._console.get_time()

    def step(
        self,
        step: int,
        loss: float,
        learning_rate: float,
        tokens_per_second: float | None,
        memory_bytes: float | None,
    ) -> None:
        """Show the numbers of a finished optimizer step.

        Args:
            step: steps done, from 1.
            loss: of this step, nats per token.
            learning_rate: of this step.
            tokens_per_second: real tokens, padding not counted; None when not measured.
            memory_bytes: of the device, or of the process on a CPU; None when not measured.
        """
        self._stage = ""
        self._step = step
        self._numbers = [f"loss {loss:.3f}", f"lr {learning_rate:.1e}"]
        if tokens_per_second is not None:
            self._numbers.append(f"{count(tokens_per_second)} tokens/s")
        if memory_bytes is not None:
            self._numbers.append(memory(memory_bytes))
        if self._live is None and self._plain_line_is_due():
            self._say(f"step {self._position()}  {self._measured()}  {self._times()}")
            self._plain_step, self._plain_time = step, self._console.get_time()

    def evaluation(self, step: int, heldout_loss: float) -> None:
        """Show the loss on the held-out rows; step 0 is before training."""
        before = f" ({heldout_loss - self._heldout_losses[-1]:+.3f})" if self._heldout_losses else ""
        self._heldout_losses.append(heldout_loss)
        self._say(f"  held-out loss {heldout_loss:.3f}{before} at step {count(step)}")

    def note(self, *texts: str) -> None:
        """Print sentences that should not wait for the end of the run; those that begin with `warning:` as they are."""
        for text in texts:
            self._say(visible(text if text.startswith("warning:") else f"note: {text}"))

    def finish(self) -> None:
        """Show that training is over; stages may follow."""
        self._end_stage()
        self._end_training()

    def _end_stage(self, *, finished: bool = True) -> None:
        if self._stage and self._live is not None:
            self._say(f"{'✓' if finished else '✗'} {self._stage}", self._console.get_time() - self._stage_began)
        self._stage = ""

    def _end_training(self) -> None:
        if not self._training:
            return
        mark = "✓" if self._step >= self._total_steps else "✗"
        self._say(f"{mark} trained {self._position()}  {self._measured()}", self._elapsed())
        self._training = False

    def _say(self, text: str, seconds: float | None = None) -> None:
        """Print a line that stays."""
        if not self._enabled:
            return
        line = Text(text)
        if seconds is not None:
            line.append(f"  {duration(seconds)}", style="dim")
        self._console.print(line, soft_wrap=True, highlight=False)

    def _plain_line_is_due(self) -> bool:
        return (
            self._step - self._plain_step >= _PLAIN_SHARE * self._total_steps
            or self._console.get_time() - self._plain_time >= _PLAIN_SECONDS
        )

    def _position(self) -> str:
        return f"{count(self._step)}/{count(self._total_steps)}"

    def _measured(self) -> str:
        return "  ".join(self._numbers)

    def _elapsed(self) -> float:
        return self._console.get_time() - self._training_began

    def _times(self) -> str:
        done = self._step - self._resumed_from
        if done <= 0:
            return f"{_clock(self._elapsed())} elapsed"
        left = self._elapsed() / done * max(0, self._total_steps - self._step)
        return f"{_clock(self._elapsed())} elapsed, {_clock(left)} left"

    def _picture(self) -> RenderableType:
        """Return the live display: the bar with its numbers while training, and the stage that goes on."""
        parts: list[RenderableType] = []
        if self._training:
            bar = Table.grid(padding=(0, 1), expand=True)
            bar.add_column(no_wrap=True)
            bar.add_column(ratio=1)
            bar.add_column(no_wrap=True, justify="right")
            bar.add_row(
                Text(f"training {self._position()}"),
                ProgressBar(total=max(1, self._total_steps), completed=self._step),
                Text(self._times(), style="dim"),
            )
            heldout = f"  held-out {self._heldout_losses[-1]:.3f}" if self._heldout_losses else ""
            parts += [bar, Text(f"  {self._measured()}{heldout}", no_wrap=True, overflow="ellipsis")]
        if self._stage:
            parts.append(self._stage_line())
        return Group(*parts)

    def _stage_line(self) -> RenderableType:
        seconds = _clock(self._console.get_time() - self._stage_began)
        self._spinner.update(text=Text.assemble(f"{self._stage} {self._stage_count}", (seconds, "dim")))
        return self._spinner


def _can_redraw(console: Console) -> bool:
    if console.is_jupyter:
        return find_spec("ipywidgets") is not None
    return console.is_terminal and not console.is_dumb_terminal


def _clock(seconds: float) -> str:
    minutes, rest = divmod(math.ceil(seconds) if seconds > 0 else 0, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
