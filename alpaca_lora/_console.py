"""A console whose reader may leave, as `head` does, while a command is still at work."""

import contextlib
import io
import os
from typing import IO

import rich.console


class Console(rich.console.Console):
    """Says nothing more once its reader has left, where rich would end the process."""

    def on_broken_pipe(self) -> None:
        """Go on without a display."""
        self.quiet = True
        let_go(self.file)


def let_go(stream: IO[str]) -> None:
    """Let what is still written to a stream go nowhere, since its reader has left."""
    with contextlib.suppress(io.UnsupportedOperation):  # it is no file
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
