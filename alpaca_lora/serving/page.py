"""The web page of an adapter: layout, and which control goes where.

Every control is a field of a `Question`, and all of them reach the model; what cannot take effect together, as a beam
search and a temperature, cannot be set together. Answers, notes and tokens come from people and models, so they go into
fields that show text as text; our own HTML holds nothing that is not escaped.
"""

import re
from collections.abc import Iterator
from html import escape
from importlib.resources import files
from typing import Any

from alpaca_lora._optional import require
from alpaca_lora.errors import AlpacaLoraError
from alpaca_lora.models import Decoding
from alpaca_lora.reporting.wording import visible
from alpaca_lora.serving.desk import Answer, Desk, Question, TokenView

__all__ = ["Page"]

_EXAMPLES = (
    ("Name three primary colours.", ""),
    ("Turn the sentence into a question.", "The train leaves at noon."),
    ("Write a short poem about rain.", ""),
)
_LONGEST_ANSWER = 2048
_COLORS = {"even": "#d5e8e8", "odd": "#f3e3c3"}
_FONTS = {"font": ["system-ui", "sans-serif"], "font_mono": ["ui-monospace", "monospace"]}


class Page:
    """The page as an app of gradio, without the server.

    Args:
        desk: who answers the questions.
        title: what is shown above them, as the adapter's name.
        subtitle: what is shown below that.

    Attributes:
        blocks: the `gradio.Blocks`.
        look: what gradio wants to know about theme and style when the page is served.

    Raises:
        MissingDependencyError: gradio is not installed.
    """

    def __init__(self, desk: Desk, title: str, subtitle: str) -> None:
        self._gr = require("gradio", extra="ui")
        for handler in (Page._answer, Page._stop):  # by this type of a parameter gradio knows that it wants the request
            handler.__annotations__["request"] = self._gr.Request
        self._desk = desk
        self.look = {
            "theme": self._gr.themes.Default(primary_hue="teal", **_FONTS),
            "css": files("alpaca_lora.serving").joinpath("page.css").read_text(encoding="utf-8"),
        }
        with self._gr.Blocks(title=f"{visible(title)} · alpaca-lora", analytics_enabled=False) as self.blocks:
            heading = f"<h1>{escape(visible(title))}</h1><p>{escape(visible(subtitle))}</p>"
            self._gr.HTML(heading, elem_classes="title")
            with self._gr.Row(elem_classes="board"):
                self._lay_out_question()
                self._lay_out_answers()
                self._lay_out_settings()
            self._connect()

    def _lay_out_question(self) -> None:
        gr = self._gr
        with gr.Column(elem_classes="ask"):
            self.instruction = gr.Textbox(
                label="Instruction",
                lines=3,
                max_lines=12,
                autofocus=True,
                placeholder="What should be done? Shift+Enter answers.",
            )
            self.input = gr.Textbox(
                label="Input", lines=2, max_lines=12, placeholder="What it is to be done with; may stay empty."
            )
            with gr.Row():
                self.ask = gr.Button("Answer", variant="primary", min_width=80)
                self.halt = gr.Button("Stop", variant="stop", interactive=False, min_width=80)
            self.compare = gr.Checkbox(label="Let the base model answer too, without the adapter")
            gr.Examples(
                [list(example) for example in _EXAMPLES],
                [self.instruction, self.input],
                example_labels=[instruction for instruction, _ in _EXAMPLES],
                cache_examples=False,
            )

    def _lay_out_answers(self) -> None:
        gr = self._gr

        def one(label: str, name: str) -> tuple[Any, Any]:
            text = gr.Textbox(
                label=label, lines=8, max_lines=24, interactive=False, buttons=["copy"], elem_classes=name
            )
            return text, gr.HTML(elem_classes="note")

        with gr.Column(elem_classes="answers"):
            with gr.Row():
                with gr.Column(min_width=260):
                    self.tuned, self.tuned_note = one("With the adapter", "tuned")
                with gr.Column(min_width=260, visible=False) as self.base_column:
                    self.base, self.base_note = one("Base model alone", "base")
            with gr.Accordion("What the model reads, token by token", open=False):
                self.token_note = gr.HTML(elem_classes="note")
                self.tokens = gr.HighlightedText(
                    show_label=False, color_map=_COLORS, show_inline_category=False, elem_classes="pieces"
                )
                self.ids = gr.Textbox(label="Ids", max_lines=4, interactive=False, buttons=["copy"], elem_classes="ids")

    def _lay_out_settings(self) -> None:
        gr, default = self._gr, Decoding()
        with gr.Column(elem_classes="settings"), gr.Accordion("Settings"):
            self.template = gr.Dropdown(
                list(self._desk.templates), value=self._desk.template, label="Template", elem_classes="template"
            )
            self.temperature = gr.Slider(
                0, 2, default.temperature, step=0.05, label="Temperature", info="0 takes the likeliest token each time."
            )
            self.top_p = gr.Slider(
                0.05, 1, default.top_p, step=0.05, label="Top-p", info="At a temperature above 0.", interactive=False
            )
            self.top_k = gr.Slider(
                0, 200, default.top_k, step=1, label="Top-k", info="At a temperature above 0; 0: no limit.",
                interactive=False,
            )  # fmt: skip
            self.num_beams = gr.Slider(1, 8, default.num_beams, step=1, label="Beams", info="At temperature 0.")
            self.max_new_tokens = gr.Slider(
                1, _LONGEST_ANSWER, default.max_new_tokens, step=1, label="Longest answer in tokens"
            )
            self.seed = gr.Textbox(
                label="Seed", info="A number repeats what is drawn; without one it is drawn anew.", interactive=False
            )
            self.streaming = gr.Checkbox(True, label="Show the answer while it is written")

    def _connect(self) -> None:
        gr = self._gr
        asked = [self.instruction, self.input, self.template]
        drawn = [self.temperature, self.top_p, self.top_k, self.num_beams, self.max_new_tokens, self.seed]
        shown = [self.tuned, self.tuned_note, self.base, self.base_note, self.ask, self.halt]
        gr.on(
            [self.ask.click, self.instruction.submit, self.input.submit],
            self._answer,
            [*asked, *drawn, self.streaming, self.compare],
            shown,
            api_name="answer",
            show_progress="hidden",
            concurrency_limit=16,
        ).then(self._ready, None, [self.ask, self.halt], queue=False, api_visibility="private", show_progress="hidden")
        self.halt.click(self._stop, queue=False, api_name="stop", show_progress="hidden")
        self.blocks.unload(self._stop)
        gr.on(
            [self.blocks.load, *(field.change for field in asked)],
            self._look,
            asked,
            [self.token_note, self.tokens, self.ids],
            api_name="tokens",
            show_progress="hidden",
            trigger_mode="always_last",
        )
        self.temperature.change(
            self._allow,
            self.temperature,
            [self.top_p, self.top_k, self.seed, self.num_beams],
            queue=False,
            api_visibility="private",
            show_progress="hidden",
        )
        self.compare.change(
            lambda wanted: gr.update(visible=wanted),
            self.compare,
            self.base_column,
            queue=False,
            api_visibility="private",
            show_progress="hidden",
        )
        self.blocks.queue(max_size=32)

    def _answer(
        self,
        instruction: str,
        input: str,
        template: str,
        temperature: float,
        top_p: float,
        top_k: int,
        num_beams: int,
        max_new_tokens: int,
        seed: str,
        streaming: bool,
        compare: bool,
        request: Any,
    ) -> Iterator[tuple[Any, ...]]:
        decoding = {
            "temperature": temperature,
            "top_p": top_p,
            "top_k": top_k,
            "num_beams": num_beams,
            "max_new_tokens": max_new_tokens,
            "seed": int(seed) if re.fullmatch(r"\s*\d{1,18}\s*", seed) else seed.strip() or None,
        }
        question = Question(instruction or "", input or "", template, decoding, streaming, compare)
        running = self._gr.update(interactive=False), self._gr.update(interactive=True)
        for tuned, base in self._desk.answer(request.session_hash, question):
            yield tuned.text, _note(tuned), base.text, _note(base), *running

    def _ready(self) -> tuple[Any, Any]:
        return self._gr.update(interactive=True), self._gr.update(interactive=False)

    def _stop(self, request: Any) -> None:
        self._desk.stop(request.session_hash)

    def _look(self, instruction: str, input: str, template: str) -> tuple[str, list[tuple[str, str]], str]:
        try:
            view = self._desk.look(instruction or "", input or "", template)
        except AlpacaLoraError as error:
            view = TokenView(str(error), (), ())
        spans = [(text, "odd" if index % 2 else "even") for index, text in enumerate(view.pieces)]
        return f"<span>{escape(visible(view.note))}</span>", spans, " ".join(map(str, view.ids))

    def _allow(self, temperature: float) -> tuple[Any, ...]:
        """Let only what has an effect at this temperature be set."""
        drawing = self._gr.update(interactive=temperature > 0)
        beams = {"interactive": False, "value": 1} if temperature > 0 else {"interactive": True}
        return drawing, drawing, drawing, self._gr.update(**beams)


def _note(answer: Answer) -> str:
    return f'<span class="{answer.state}">{escape(answer.note)}</span>'
