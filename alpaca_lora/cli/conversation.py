"""Chat from the command line: one answer on standard output, or a conversation."""

import contextlib
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from alpaca_lora.cli.modes import refuse_idle
from alpaca_lora.errors import ConfigError

if TYPE_CHECKING:
    from alpaca_lora.serving import Assistant

__all__ = ["AdapterOptions", "ChatOptions", "answer_once", "converse", "read_line", "text_flag"]

_DRAWING = "--temperature above 0"
_DECODING = ("max_new_tokens", "temperature", "top_p", "top_k", "num_beams", "seed")


def text_flag(metavar: str, default: str) -> Any:
    """Return how a flag that takes text is shown in a help text."""
    return tyro.conf.arg(metavar=metavar, help_behavior_hint=f"(default: {default})")


@dataclass(frozen=True, kw_only=True)
class AdapterOptions:
    """The flags of every command that lets an adapter answer."""

    adapter: Annotated[str, tyro.conf.arg(metavar="DIR")]
    """Adapter directory, or run directory with a finished adapter."""

    base_model: Annotated[str | None, text_flag("NAME|DIR|HUB_ID", "the one that the adapter was trained on")] = None
    """Base model."""

    template: Annotated[str | None, text_flag("NAME|FILE", "the one that the adapter was trained with")] = None
    """Prompt template."""

    force_template: tyro.conf.FlagCreatePairsOff[bool] = False
    """Ask with --template although the adapter was trained with another."""

    precision: Annotated[str | None, text_flag("bf16|fp16|fp32", "that of the training")] = None
    """Number format of the base model."""

    quantization: Annotated[str | None, text_flag("none|nf4", "as in training")] = None
    """How the linear layers of the base model are held; nf4 holds them in 4 bits."""

    def load(self) -> "Assistant":
        """Load the adapter on its base model."""
        from alpaca_lora.serving import load

        return load(
            self.adapter,
            base_model=self.base_model,
            template=self.template,
            force_template=self.force_template,
            precision=self.precision,  # type: ignore[arg-type]  # any text: `load` says which there are
            quantization=self.quantization,  # type: ignore[arg-type]
        )


@dataclass(frozen=True, kw_only=True)
class ChatOptions(AdapterOptions):
    """The flags of `chat`; decoding has the defaults of `models.Decoding`."""

    prompt: Annotated[str | None, text_flag("TEXT", "none")] = None
    """Answer this instruction on standard output and leave; without it a conversation begins."""

    input: Annotated[str | None, text_flag("TEXT", "none")] = None
    """What --prompt is to be done with."""

    max_new_tokens: int = 256
    """Longest answer in tokens."""

    temperature: float = 0.0
    """0 takes the likeliest token; higher draws more freely."""

    top_p: float = 1.0
    """Draw only among the likeliest tokens that together hold this probability."""

    top_k: int = 0
    """Draw only among this many likeliest tokens; 0 sets no limit."""

    num_beams: int = 1
    """Beams searched at temperature 0; 1 is greedy."""

    seed: Annotated[int | None, text_flag("INT", "none")] = None
    """Makes drawing repeatable."""

    @property
    def decoding(self) -> dict[str, Any]:
        """Return the options that choose the next token."""
        return {name: getattr(self, name) for name in _DECODING}


def answer_once(options: ChatOptions) -> int:
    """Write the answer to `--prompt`, and nothing else, to standard output."""
    from alpaca_lora.records import Record
    from alpaca_lora.reporting.wording import visible

    drawing = dict.fromkeys(("top_p", "top_k", "seed"), (_DRAWING,))
    refuse_idle(options, drawing, _DRAWING if options.temperature > 0 else "the likeliest token")
    (response,) = _load(options).respond_full(
        [Record(_clean(options.prompt), _clean(options.input))], **options.decoding
    )
    print(visible(response.text) if sys.stdout.isatty() else response.text)
    if not response.stopped:
        print(f"note: cut off after {response.tokens} tokens; --max-new-tokens allows more", file=sys.stderr)
    return 0


def converse(options: ChatOptions) -> int:
    """Answer what is typed until the person leaves."""
    if options.input is not None:
        raise ConfigError("--input belongs to --prompt; in a conversation /input takes one")
    from alpaca_lora.serving import Chat

    with contextlib.suppress(ImportError):
        import readline  # noqa: F401 - gives `input` a history and arrow keys
    print("loading …", file=sys.stderr)
    ask = read_line if sys.stdin and sys.stdin.isatty() else lambda _: read_line("")
    Chat(_load(options), ask, sys.stdout, **options.decoding).run()
    return 0


def read_line(prompt: str) -> str:
    """Return the next line that is typed.

    Raises:
        EOFError: there is none, or whoever started us closed the input.
    """
    if sys.stdin is None:
        raise EOFError
    return input(prompt)


def _load(options: ChatOptions) -> "Assistant":
    from alpaca_lora.models import Decoding

    Decoding(**options.decoding)  # refused before anything is loaded
    return options.load()


def _clean(text: str | None) -> str:
    """Return an argument whose bytes were no UTF-8 with replacement characters, which a tokenizer accepts."""
    return (text or "").encode("utf-8", "replace").decode("utf-8")
