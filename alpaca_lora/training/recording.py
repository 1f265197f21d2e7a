"""Write down what happens while training runs: metrics.jsonl, the progress display, and when to evaluate."""

import math
import resource
import sys
import time
from typing import IO, Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from alpaca_lora import _files
from alpaca_lora.training.progress import Progress


class Recorder(TrainerCallback):
    """One line of metrics.jsonl per logged step, checkpoint and evaluation.

    It stands after whatever asks for a checkpoint.

    Args:
        stream: metrics.jsonl, opened for appending.
        progress: the display.
        eval_steps: optimizer steps between evaluations; 0 for none.
        tokens: tokens trained before this process started, when resuming.
        seconds: seconds trained before this process started, when resuming.
    """

    def __init__(self, stream: IO[str], progress: Progress, *, eval_steps: int, tokens: int, seconds: float) -> None:
        self.stream, self.progress, self.eval_steps = stream, progress, eval_steps
        self.tokens_before, self.seconds_before = tokens, seconds
        self.tokens = torch.zeros((), dtype=torch.long)
        self.started = self.step_began = time.monotonic()
        self.busy_seconds = 0.0
        self.last = (0, 0.0)

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Start the clock and the display."""
        state.compute_steps(args, state.max_steps)  # a checkpoint brings the intervals of its own session
        self.started = time.monotonic()
        self.progress.start(state.max_steps, done=state.global_step)

    def on_step_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Note when the step began, so that evaluations and checkpoints do not count as training time."""
        self.step_began = time.monotonic()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Ask for an evaluation every `eval_steps` steps and at the last one, and for a line at each checkpoint.

        A resumed run goes on from that line: what was trained since an earlier one would be missing.
        """
        self.busy_seconds += time.monotonic() - self.step_began
        at_end = state.global_step >= state.max_steps
        control.should_log |= control.should_save
        control.should_evaluate = self.eval_steps > 0 and (at_end or state.global_step % self.eval_steps == 0)

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Write one line and move the display."""
        logs: dict[str, Any] = kwargs["logs"]
        if "eval_loss" in logs:
            _files.append_line(self.stream, {"step": state.global_step, "heldout_loss": logs["eval_loss"]})
            self.progress.evaluation(state.global_step, logs["eval_loss"])
        elif "loss" in logs:
            grad_norm = float(logs.get("grad_norm", 0.0))
            self._write_step(state.global_step, float(logs["loss"]), float(logs["learning_rate"]), grad_norm)

    def _write_step(self, step: int, loss: float, learning_rate: float, grad_norm: float) -> None:
        tokens = int(self.tokens.item())
        tokens_per_second = (tokens - self.last[0]) / max(self.busy_seconds - self.last[1], 1e-9)
        self.last = (tokens, self.busy_seconds)
        memory = memory_bytes()
        line = {
            "step": step,
            "loss": loss,
            "grad_norm": grad_norm if math.isfinite(grad_norm) else None,
            "learning_rate": learning_rate,
            "tokens": self.tokens_before + tokens,
            "tokens_per_second": round(tokens_per_second, 1),
            "memory_bytes": memory,
            "seconds": round(self.seconds_before + time.monotonic() - self.started, 3),
        }
        _files.append_line(self.stream, line)
        self.progress.step(
            step, loss=loss, learning_rate=learning_rate, tokens_per_second=tokens_per_second, memory_bytes=memory
        )


def memory_bytes() -> int:
    """Return the peak memory so far: of the CUDA device where there is one, else of this process."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_reserved()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
