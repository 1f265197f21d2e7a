"""The web page from the command line."""

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from alpaca_lora.cli.conversation import AdapterOptions, text_flag
from alpaca_lora.cli.failures import until_interrupted
from alpaca_lora.errors import ConfigError
from alpaca_lora.reporting.wording import printable

if TYPE_CHECKING:
    from alpaca_lora.serving import Assistant
    from alpaca_lora.serving.website import Accounts

__all__ = ["UiOptions", "open_page"]


@dataclass(frozen=True, kw_only=True)
class UiOptions(AdapterOptions):
    """The flags of `ui`."""

    port: int = 7860
    """Port of 127.0.0.1 that the page is at; 0 takes a free one."""

    accounts: Annotated[Path | None, text_flag("FILE", "none")] = None
    """Who may open the page: a line name:password for each."""

    share: tyro.conf.FlagCreatePairsOff[bool] = False
    """Make a link that works from everywhere, through a tunnel of gradio's makers; needs --accounts."""

    recipe: Annotated[str | None, text_flag("transformers|vllm", "none")] = None
    """Print the commands that serve this adapter with another program, and leave."""


def open_page(options: UiOptions) -> int:
    """Serve the page until Ctrl-C, or print a recipe."""
    if options.recipe is not None:
        from alpaca_lora.serving.recipes import recipe

        lines = recipe(options.adapter, options.recipe).split("\n")
        print("\n".join(map(printable, lines)), end="")  # the base's name is the adapter's maker's word
        return 0
    if options.share and options.accounts is None:
        raise ConfigError("--share lets everybody who has the link reach this machine: say with --accounts who may")
    from alpaca_lora._optional import require
    from alpaca_lora.serving.website import read_accounts

    with _own_directory("GRADIO_TEMP_DIR"):
        require("gradio", extra="ui")
        accounts = read_accounts(options.accounts) if options.accounts else None
        return _serve(options, accounts)


@contextlib.contextmanager
def _own_directory(variable: str) -> Iterator[None]:
    """Let gradio keep its files where nobody else of this machine can look, and not in /tmp/gradio."""
    before = os.environ.get(variable)
    with tempfile.TemporaryDirectory(prefix="alpaca-lora-ui-") as place:
        os.environ[variable] = place
        try:
            yield
        finally:
            del os.environ[variable]
            if before is not None:
                os.environ[variable] = before


def _serve(options: UiOptions, accounts: "Accounts | None") -> int:
    from alpaca_lora.serving.website import Website, listen

    with listen(options.port) as listening:  # so that a port in use is told before a model is loaded
        print("loading …", file=sys.stderr)
        from alpaca_lora.serving.desk import Desk
        from alpaca_lora.serving.page import Page

        assistant = options.load()
        desk = Desk(assistant)
        website = Website(Page(desk, *_names(options, assistant)), listening, accounts=accounts)
        if options.share:
            print(f"shared as {website.share()}")
        print(f"open {website.url} in a browser; Ctrl-C ends it", flush=True)
        try:
            with until_interrupted():
                website.serve()
        finally:
            desk.close()
    return 0


def _names(options: UiOptions, assistant: "Assistant") -> tuple[str, str]:
    """Return what stands above the page: the run's name, and what answers there."""
    from alpaca_lora.adapters import find_adapter, read_sidecar
    from alpaca_lora.reporting.wording import public_name

    directory = find_adapter(options.adapter).resolve()
    run = directory.parent if directory.name == "adapter" else directory
    sidecar = read_sidecar(directory)
    base = public_name(options.base_model or (sidecar.base_model if sidecar else "its base model"))
    return run.name, f"An adapter on {base}, asked in the words of template {assistant.prompter.template.name}"
