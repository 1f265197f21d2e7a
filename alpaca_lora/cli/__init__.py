"""The `alpaca-lora` command: one subcommand for each thing that a person does.

This file and `commands` import nothing beyond the standard library, so `alpaca-lora --help` answers at once; parsing
brings in tyro and the config, and only a command that works brings in torch.
"""

import contextlib
import difflib
import io
import logging
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator, Sequence

from alpaca_lora._version import __version__
from alpaca_lora.cli.commands import COMMANDS
from alpaca_lora.cli.failures import Terminated, explain
from alpaca_lora.cli.guide import GUIDE

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line.

    Args:
        argv: arguments without the program's name; None takes those of the process.

    Returns:
        The exit code: 0 done, 1 a fault of this program, 2 bad input, 3 a budget is reached, 4 out of disk or memory,
        130 interrupted, 141 nobody read on, 143 terminated.
    """
    if sys.stdout is None or sys.stderr is None:  # closed by whoever started us
        with (
            contextlib.redirect_stdout(sys.stdout or io.StringIO()),
            contextlib.redirect_stderr(sys.stderr or io.StringIO()),
        ):
            return main(argv)
    for stream, errors in ((sys.stdin, "replace"), (sys.stdout, "backslashreplace"), (sys.stderr, "backslashreplace")):
        if hasattr(stream, "reconfigure"):
            with contextlib.suppress(ValueError):  # of an input that was read from before
                stream.reconfigure(errors=errors)
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    name, *rest = [argument for argument in arguments if argument != "--debug"] or ["--help"]
    code = 128 + signal.SIGPIPE  # what a shell says of a command that a reader left halfway
    with contextlib.suppress(BrokenPipeError):
        code = _attempt(name, rest, debug=debug)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:  # at its exit Python would try once more, and complain
            from alpaca_lora._console import let_go

            let_go(stream)
    return code


def _attempt(name: str, arguments: list[str], *, debug: bool) -> int:
    try:
        with _library_advice(shown=debug), _sigterm_as_exception():
            return _run(name, arguments)
    except BrokenPipeError:
        raise
    except (Exception, KeyboardInterrupt) as error:
        if debug:
            traceback.print_exc()
        return explain(error, name)


def _run(name: str, arguments: list[str]) -> int:
    if name in ("-h", "--help"):
        print(_help())
        return 0
    if name == "--version":
        print(__version__)
        return 0
    if name not in COMMANDS:
        print(_unknown(name), file=sys.stderr)
        return 2
    try:
        return COMMANDS[name](arguments)
    except SystemExit as end:  # tyro ends so, after a help text or a usage error that it has explained
        return int(end.code or 0)


@contextlib.contextmanager
def _sigterm_as_exception() -> Iterator[None]:
    """Let SIGTERM end a command as Ctrl-C does, so that nothing half-written stays behind."""

    def end(*_: object) -> None:
        raise Terminated

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _library_advice(*, shown: bool) -> Iterator[None]:
    """Keep what other libraries have to say to developers away from a person at a terminal."""
    with warnings.catch_warnings():
        if not shown:
            warnings.simplefilter("ignore", FutureWarning)
            logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
        yield


def _help() -> str:
    width = max(map(len, COMMANDS))
    listed = "\n".join(f"  {name:<{width}}  {GUIDE[name].summary}" for name in COMMANDS)
    examples = "\n".join(f"  {GUIDE[name].examples[0]}" for name in COMMANDS)
    return f"""\
usage: alpaca-lora COMMAND [OPTIONS]

The Stanford Alpaca recipe: fine-tune a language model on instructions, and use the result.

commands:
{listed}

  alpaca-lora COMMAND --help tells everything about one of them; --debug shows a traceback when one fails.
  --version shows the version.

examples:
{examples}"""


def _unknown(name: str) -> str:
    close = difflib.get_close_matches(name, COMMANDS, n=1)
    meant = f"did you mean {close[0]!r}? " if close else ""
    return f"error: unknown command {name!r}; {meant}Commands: {', '.join(COMMANDS)}; alpaca-lora --help explains them"
