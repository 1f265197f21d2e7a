import errno
import pickle

import pytest

from alpaca_lora.cli.failures import Terminated, explain
from alpaca_lora.errors import AlpacaLoraError, ConfigError, CoverageError, NonFiniteLossError, ParityError, RunError


class OutOfMemoryError(RuntimeError):
    """As torch names its own."""


class AcceleratorError(RuntimeError):
    """As torch names what a card says."""


def raised_from(cause: BaseException) -> BaseException:
    error = RunError("cannot save")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ConfigError("config.epochs must be a number"), 2, "error: config.epochs must be a number"),
        (CoverageError("9 of 12 comparisons"), 3, "error: 9 of 12 comparisons"),
        (NonFiniteLossError("the loss is nan"), 2, "error: the loss is nan"),
        (ParityError("[not-merged] it differs", code="not-merged"), 1, "error: [not-merged] it differs"),
        (PermissionError(errno.EACCES, "Permission denied", "/x"), 2, "error: '/x': Permission denied"),
        (OSError(errno.ENOSPC, "No space left on device"), 4, "error: the disk is full: make room and try again"),
        (
            raised_from(OSError(errno.ENOSPC, "No space left")),
            4,
            "error: the disk is full: make room and try again",
        ),
        (
            RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"),
            4,
            "error: the disk is full: make room and try again",
        ),
        (OSError("24576 requested and 18832 written"), 4, "error: the disk is full: make room and try again"),
        (MemoryError(), 4, "error: out of memory"),
        (MemoryError("it was ended by signal 9: free some"), 4, "error: it was ended by signal 9: free some"),
        (OutOfMemoryError("CUDA out of memory"), 4, "error: out of memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), 4, "error: out of memory"),
        (AcceleratorError("CUDA error: out of memory\nCompile with `TORCH_USE_CUDA_DSA`"), 4, "error: out of memory"),
        (
            RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
            4,
            "error: out of memory",
        ),
        (KeyboardInterrupt(), 130, "interrupted"),
        (Terminated(), 143, "interrupted"),
        (
            RuntimeError("oops"),
            1,
            "error: this is a fault of alpaca-lora, not of your input (RuntimeError: oops); run the command again with "
            "--debug and report what it prints",
        ),
    ],
)
def test_a_failure_has_its_code_and_its_sentence(capsys, error: BaseException, code: int, said: str):
    assert explain(error, "chat") == code
    assert capsys.readouterr().err == f"{said}\n"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), MemoryError(), OSError(errno.ENOSPC, "No space left")])
def test_what_can_be_resumed_says_so_when_training(capsys, error: BaseException):
    explain(error, "finetune")

    assert capsys.readouterr().err.endswith(
        "\n       nothing that was saved is lost: the same command goes on from the run's newest checkpoint\n"
    )


def test_every_line_of_a_message_is_shown(capsys: pytest.CaptureFixture[str]):
    explain(AlpacaLoraError("first\nsecond"), "finetune")

    assert capsys.readouterr().err == "error: first\n       second\n"


def test_a_message_does_nothing_to_the_terminal(capsys: pytest.CaptureFixture[str]):
    explain(AlpacaLoraError("named \x1b[2J\x1b]0;x\x07 and \u202e"), "chat")

    assert capsys.readouterr().err == "error: named \u241b[2J\u241b]0;x\u2407 and \ufffd\n"


def test_a_pickle_in_a_checkpoint_is_no_fault_of_ours(capsys: pytest.CaptureFixture[str]):
    assert explain(pickle.UnpicklingError("Unsupported operand 149"), "finetune") == 2

    assert "a file of the checkpoint holds something else than tensors" in capsys.readouterr().err
