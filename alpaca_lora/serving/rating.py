"""The web page of a blind comparison: an instruction, two answers, three buttons, and nothing of whose the answers are.

Each button also has a key. A vote carries the number of the pair that its page shows, so a second window, a page that
was left open or a key that was hit twice cannot vote on a pair that nobody has read. All texts are foreign and go into
fields that show text as text.
"""

from collections.abc import Callable, Sequence
from html import escape
from importlib.resources import files
from typing import Any, Protocol

from alpaca_lora._optional import require
from alpaca_lora.reporting.wording import visible

__all__ = ["Ballot", "RatingPage"]

_BUTTONS = (("left", "1 · Left is better"), ("tie", "0 · Neither is"), ("right", "2 · Right is better"))
_SCRIPT = """<script>
let last = -1000;
document.addEventListener("click", event => {
  if (!event.target.closest?.("[id^=vote-]")) return;
  if (event.timeStamp - last < 500) event.stopImmediatePropagation(); else last = event.timeStamp;
}, true);
document.addEventListener("keydown", event => {
  const name = {"1": "left", "0": "tie", "2": "right"}[event.key];
  if (name && !event.repeat && !event.ctrlKey && !event.metaKey && !event.altKey)
    document.querySelector("#vote-" + name)?.click();
});
</script>"""
"""A second click within half a second is a double click, and no vote on the pair that has just appeared."""


class _Shown(Protocol):
    @property
    def instruction(self) -> str:
        """Return what was to be done."""

    @property
    def left(self) -> str:
        """Return one answer."""

    @property
    def right(self) -> str:
        """Return the other one."""


class Ballot(Protocol):
    """What the page needs to know of a comparison."""

    @property
    def pairs(self) -> Sequence[_Shown]:
        """Return what is compared."""

    @property
    def votes(self) -> Sequence[str]:
        """Return the votes so far."""

    def vote(self, number: int, vote: str) -> bool:
        """Write down a vote on the pair that is due; False where it was on another one."""


class RatingPage:
    """The page as an app of gradio, without the server.

    Args:
        ballot: the comparison.
        finish: called after the last vote; returns what the rater is told then.

    Attributes:
        blocks: the `gradio.Blocks`.
        look: what gradio wants to know about theme and style when the page is served.

    Raises:
        MissingDependencyError: gradio is not installed.
    """

    def __init__(self, ballot: Ballot, finish: Callable[[], str]) -> None:
        gr = self._gr = require("gradio", extra="ui")
        self._ballot, self._finish = ballot, finish
        self.look = {
            "theme": gr.themes.Default(primary_hue="teal", font=["system-ui", "sans-serif"]),
            "css": files("alpaca_lora.serving").joinpath("rating.css").read_text(encoding="utf-8"),
            "head": _SCRIPT,
        }
        with gr.Blocks(title="Blind comparison · alpaca-lora", analytics_enabled=False) as self.blocks:
            self._progress = gr.HTML(elem_classes="title")
            self._number = gr.Number(value=-1, precision=0, visible="hidden")
            self._instruction = self._text("Instruction", lines=2)
            with gr.Row(equal_height=True, elem_classes="answers") as self._answers:
                self._left, self._right = self._text("Left", lines=12), self._text("Right", lines=12)
            self._told = self._text("Result", lines=8, visible=False)
            with gr.Row(elem_classes="votes") as self._buttons:
                made = [(vote, gr.Button(label, elem_id=f"vote-{vote}", min_width=90)) for vote, label in _BUTTONS]
            for vote, button in made:
                self._connect(button, vote)
            self.blocks.load(self._show, None, self._outputs, queue=False, show_progress="hidden")

    @property
    def _outputs(self) -> list[Any]:
        shown = [self._progress, self._number, self._instruction, self._left, self._right]
        return [*shown, self._answers, self._buttons, self._told]

    def _text(self, label: str, lines: int, **options: Any) -> Any:
        return self._gr.Textbox(
            label=label, lines=lines, max_lines=40, interactive=False, autoscroll=False,
            elem_classes=label.lower(), **options,
        )  # fmt: skip

    def _connect(self, button: Any, vote: str) -> None:
        def cast(number: float) -> tuple[Any, ...]:
            self._ballot.vote(int(number), vote)
            return self._show()

        button.click(
            cast, self._number, self._outputs, api_visibility="private", concurrency_id="vote", concurrency_limit=1,
            show_progress="hidden",
        )  # fmt: skip

    def _show(self) -> tuple[Any, ...]:
        """Return what all fields hold now."""
        number, total, update = len(self._ballot.votes), len(self._ballot.pairs), self._gr.update
        done = number == total
        head = "Done: thank you" if done else f"Comparison {number + 1} of {total}"
        asked = "" if done else "Which answer does better what was asked? Keys 1, 0 and 2 press the buttons."
        bar = f'<progress max="{total}" value="{number}"></progress>'
        progress = f"<h1>{escape(head)}</h1><p>{escape(asked)}</p>{bar}"
        if done:
            told = update(value=visible(self._finish()), visible=True)
            hidden = update(visible=False)
            return progress, number, update(visible=False), "", "", hidden, hidden, told
        pair = self._ballot.pairs[number]
        texts = (visible(text) for text in (pair.instruction, pair.left, pair.right))
        return progress, number, *texts, update(), update(), update()
