"""What ends a run before it does harm: numbers that are not finite, a loss that runs away, a signal."""

import builtins
import contextlib
import math
import signal
import statistics
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from alpaca_lora import _files
from alpaca_lora.errors import DivergenceError, NonFiniteLossError

NAN_REPORT = "nan_report.json"
_BASELINE_STEPS = 10
_PATIENCE = 10
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Watchdog:
    """Stops a run whose loss has left for good.

    The median of the first ten steps is what the loss began with. Ten steps in a row above three times that, and above
    the loss of guessing all tokens alike plus 3 nats, are no noise. A resumed run looks at its own first ten steps; a
    run of fewer than twenty is never stopped.

    Args:
        vocabulary: how many tokens the model tells apart.
    """

    def __init__(self, vocabulary: int) -> None:
        self.floor = math.log(vocabulary) + 3
        self.first: list[float] = []
        self.above = 0

    def see(self, loss: float, step: int) -> None:
        """Look at the loss of one optimizer step.

        Raises:
            DivergenceError: it was the tenth in a row.
        """
        if len(self.first) < _BASELINE_STEPS:
            self.first.append(loss)
            return
        limit = max(3 * statistics.median(self.first), self.floor)
        self.above = self.above + 1 if loss > limit else 0
        if self.above >= _PATIENCE:
            raise DivergenceError(
                f"the loss is {loss:.2f} at step {step} and was above {limit:.2f} for {_PATIENCE} steps: training "
                "diverged. Lower the learning rate and give a new output_dir; checkpoints from before are unharmed"
            )


class Interruption(TrainerCallback):
    """Lets SIGINT and SIGTERM end a run at the next step boundary, after a checkpoint.

    The second signal is obeyed at once. Whoever handled the signals before handles them again afterwards, and is
    handed the one that came. Nothing is installed outside of the main thread or in a notebook, whose kernel has plans
    of its own for them.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._before: dict[int, Any] = {}

    @contextlib.contextmanager
    def armed(self) -> Iterator[None]:
        """Receive signals for the time of a `with` block."""
        if threading.current_thread() is threading.main_thread() and not hasattr(builtins, "get_ipython"):
            for number in _SIGNALS:
                before = signal.getsignal(number)
                if before not in (signal.SIG_IGN, None):
                    self._before[number] = before
                    signal.signal(number, self._receive)
        try:
            yield
        finally:
            self._restore()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Save and stop if a signal has come."""
        if self.received is not None:
            control.should_save = control.should_training_stop = True

    def deliver(self) -> None:
        """Hand the signal to whoever handles it now; returns only if that does."""
        if self.received is not None:
            signal.raise_signal(self.received)

    def _receive(self, number: int, _: Any) -> None:
        if self.received is None:
            self.received = number
        else:
            self._restore()
            signal.raise_signal(number)

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}


def refuse_non_finite(
    run_dir: Path, model: torch.nn.Module, what: str, *, step: int, learning_rate: float, records: Sequence[str]
) -> None:
    """Write down what was being trained on when a number stopped being one, and end the run.

    Args:
        run_dir: gets nan_report.json.
        model: its gradients are searched for the first one that is not finite.
        what: the loss or the gradient, as "loss is nan".
        step: the optimizer step that was not made.
        learning_rate: that of the step.
        records: where the records of the step came from.

    Raises:
        NonFiniteLossError: always.
    """
    bad = [
        name
        for name, parameter in model.named_parameters()
        if parameter.grad is not None and not torch.isfinite(parameter.grad).all()
    ]
    report = {
        "step": step,
        "what": what,
        "learning_rate": learning_rate,
        "records": list(records),
        "first_gradient_not_finite": bad[0] if bad else None,
    }
    with contextlib.suppress(OSError):
        _files.write_json(run_dir / NAN_REPORT, report)
    raise NonFiniteLossError(
        f"the {what} at step {step}, before it reached the weights: lower the learning rate ({learning_rate}), or look "
        f"at the {len(records)} records of that step, which {NAN_REPORT} lists. Checkpoints up to here are unharmed"
    )
