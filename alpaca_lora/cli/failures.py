"""What a command says when it does not succeed, and its exit code.

0 done · 1 a fault of this program · 2 bad input · 3 a budget is reached, or a judge gave too few verdicts · 4 out of
disk or memory · 130 interrupted · 141 whoever read the output has left · 143 terminated.
"""

import contextlib
import errno
import sys
import textwrap
from collections.abc import Iterator

from alpaca_lora._exhaustion import is_disk_full, is_out_of_memory
from alpaca_lora.errors import AlpacaLoraError, CoverageError, DiskFullError, ParityError
from alpaca_lora.reporting.wording import visible

__all__ = ["Terminated", "explain", "until_interrupted"]

_RESUME = {
    "finetune": "\nnothing that was saved is lost: the same command goes on from the run's newest checkpoint",
    "generate": "\nno answer is lost: the same command goes on with those in the run's journal",
    "replicate": "\nno finished stage is lost: the same command goes on where this one was",
}
_LESS_MEMORY = "; --quantization nf4, a smaller --micro-batch-size or a smaller --max-length needs less"


class Terminated(KeyboardInterrupt):
    """SIGTERM has come; what cleans up after Ctrl-C cleans up after this too."""


@contextlib.contextmanager
def until_interrupted() -> Iterator[None]:
    """Let Ctrl-C, but not SIGTERM, end the block and no more than that."""
    try:
        yield
    except KeyboardInterrupt as error:
        if type(error) is not KeyboardInterrupt:
            raise


def explain(error: BaseException, command: str) -> int:
    """Write what happened to stderr and return the exit code.

    Args:
        error: what ended the command.
        command: the subcommand.
    """
    training = command == "finetune"
    resume = _RESUME.get(command, "")
    if isinstance(error, KeyboardInterrupt):
        return _say(f"interrupted{resume}", 143 if isinstance(error, Terminated) else 130)
    if isinstance(error, DiskFullError):
        return _say(f"error: {error}{resume}", 4)
    if any(isinstance(cause, OSError) and cause.errno == errno.EIO for cause in _causes(error)):
        return _say(f"error: the disk failed to read or write ({error}): check it and try again{resume}", 4)
    if any(map(is_disk_full, _causes(error))):
        return _say(f"error: the disk is full: make room and try again{resume}", 4)
    if any(map(is_out_of_memory, _causes(error))):
        if type(error) is MemoryError and str(error):  # of a clean process, which says more than an allocator
            return _say(f"error: {error}{resume}", 4)
        return _say(f"error: out of memory{_LESS_MEMORY if training else ''}{resume}", 4)
    if isinstance(error, CoverageError):
        return _say(f"error: {error}", 3)
    if any(type(cause).__name__ == "UnpicklingError" for cause in _causes(error)):
        said = "a file of the checkpoint holds something else than tensors, and nothing else is read from a pickle"
        return _say(f"error: {said}: give a new output directory, or resume from another checkpoint", 2)
    if isinstance(error, AlpacaLoraError):
        return _say(f"error: {error}", 1 if isinstance(error, ParityError) else 2)
    if isinstance(error, OSError) and error.filename is not None:
        return _say(f"error: {str(error.filename)!r}: {error.strerror}", 2)
    return _say(
        f"error: this is a fault of alpaca-lora, not of your input ({type(error).__name__}: {error}); run the command "
        "again with --debug and report what it prints",
        1,
    )


def _say(text: str, code: int) -> int:
    """Print a message so that nothing in it, which may be somebody else's, does anything to a terminal."""
    first, *others = visible(text).splitlines() or [""]
    with contextlib.suppress(BrokenPipeError):  # nobody reads it, but the code says it too
        print("\n".join([first, *(textwrap.indent(line, "       ") for line in others)]), file=sys.stderr)
    return code


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what it was raised from."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__
