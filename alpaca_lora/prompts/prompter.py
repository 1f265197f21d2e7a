"""Records to prompts and back, in the exact bytes of one template."""

from pathlib import Path

from alpaca_lora.errors import TemplateError
from alpaca_lora.prompts import dialects
from alpaca_lora.prompts.catalog import load_template
from alpaca_lora.prompts.pattern import Pattern, fill, scan, shorten
from alpaca_lora.prompts.template import Template
from alpaca_lora.records import Record

__all__ = ["Prompter"]


class Prompter:
    r"""Render records with one template, and find the response in generated text.

    `generate_prompt`, `get_response` and `template` are the surface that alpaca-lora's own `Prompter` had, so code
    written for it keeps working.

    Args:
        template: name of a built-in template, path of a JSON file, or a `Template`; `""` is `alpaca`, as it was there.

    Raises:
        UnknownTemplateError: there is no template of this name, or no such file.
        TemplateError: the file's template cannot be used.

    Source: https://github.com/tloen/alpaca-lora/blob/8bb8579e403dc78e37fe81ffbb253c413007323f/utils/prompter.py. Unlike
    there, a template is checked when it is loaded, a response may hold the response heading, and text without the
    heading raises `TemplateError` instead of `IndexError`.

    >>> prompter = Prompter("alpaca_short")
    >>> prompter.generate_prompt("Add the numbers.", "1, 2")
    '### Instruction:\nAdd the numbers.\n\n### Input:\n1, 2\n\n### Response:\n'
    >>> prompter.generate_prompt("Say hello.", label="Hello!")
    '### Instruction:\nSay hello.\n\n### Response:\nHello!'
    >>> prompter.get_response("### Instruction:\nSay hello.\n\n### Response:\nHello!\n")
    'Hello!'
    >>> prompter.prompt(Record("Say {hello}.", output="Hello!"))
    '### Instruction:\nSay {hello}.\n\n### Response:\n'
    >>> prompter.stop_strings
    ('### Instruction:', '### Response:')
    >>> Prompter("alpca")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    alpaca_lora.errors.UnknownTemplateError: unknown template 'alpca'; did you mean 'alpaca'? Built-in: alpaca, ...
    """

    def __init__(self, template: str | Path | Template = "alpaca") -> None:
        self._template = template if isinstance(template, Template) else load_template(template or "alpaca")
        self._with_input, _ = scan(self._template.prompt_input)
        self._without_input, _ = scan(self._template.prompt_no_input)

    def __repr__(self) -> str:
        return f"Prompter({self._template.name!r})"

    @property
    def template(self) -> Template:
        """The template that is rendered."""
        return self._template

    @property
    def sha256(self) -> str:
        """Digest of the template's behaviour, see `Template.sha256`."""
        return self._template.sha256

    def generate_prompt(self, instruction: str, input: str | None = None, label: str | None = None) -> str:
        """Render one prompt, and the answer after it if there is one.

        Args:
            instruction: what to do; it may hold braces and any other text.
            input: what to do it with; empty or None takes the form without an input section, a space does not.
            label: an answer to append as it is; None appends nothing.

        Raises:
            TemplateError: one of them is no text.
        """
        for name, value in {"instruction": instruction, "input": input or "", "label": label or ""}.items():
            if not isinstance(value, str):
                raise TemplateError(f"{name} must be text, got {value!r}: write it as text, an absent one as ''")
        pattern = self._with_input if input else self._without_input
        return fill(pattern, {"instruction": instruction, "input": input or ""}) + (label or "")

    def prompt(self, record: Record) -> str:
        """Return what the model reads before it answers, in training and at inference alike."""
        return self.generate_prompt(record.instruction, record.input)

    def completion(self, record: Record) -> str:
        """Return what is trained after the prompt: the output exactly as it is, without an end-of-text token."""
        return record.output

    def get_response(self, text: str, *, prompt: str | None = None) -> str:
        """Return the response in a text that begins with a prompt, without white space around it.

        The response is all that follows the first response heading, so one that repeats the heading comes back whole.
        An instruction or input that holds the heading cannot be told apart by the text alone: then pass `prompt`.
        Special tokens in the text are not removed; decode without them.

        Args:
            text: prompt and response, as decoded; something may stand before the prompt.
            prompt: the prompt that was used, to cut exactly behind it; None looks for the response heading.

        Raises:
            TemplateError: the text holds no response heading, or not this prompt.
        """
        border = self._template.response_split if prompt is None else prompt
        start = text.find(border)
        if start < 0:
            what = (
                f"response heading {border!r} of template {self._template.name!r}" if prompt is None else "given prompt"
            )
            raise TemplateError(
                f"the text does not hold the {what}: {shorten(text)!r}; pass prompt and response together, decoded "
                "without clean-up of spaces"
            )
        return text[start + len(border) :].strip()

    @property
    def stop_strings(self) -> tuple[str, ...]:
        """Texts that show a new turn has begun, for servers where the end-of-text token does not stop the model.

        They are the heading before the instruction, as it stands in the template, and the response heading. A response
        that quotes one is cut there, so prefer the token wherever it works.
        """
        return tuple(dict.fromkeys([*_instruction_heading(self._without_input), self._template.response_split.strip()]))

    def chat_template(self, *, bos: bool = False) -> str:
        """Return this template in Jinja, for `apply_chat_template` of transformers and for servers that read it.

        A user message carries the instruction as `content` and, optionally, the input as `input`. It renders as the
        whole prompt, response heading included, whatever `add_generation_prompt` says; an assistant message renders as
        its content and the end-of-text token. Turns must alternate, beginning with a user; Alpaca knows no system
        message and no tools, so another role raises.

        Args:
            bos: begin with the beginning-of-text token. True where the tokenizer itself adds one, since
                `apply_chat_template` does not let it.
        """
        return dialects.jinja(self._with_input, self._without_input, bos=bos)

    def ollama_template(self, *, eos_token: str = "") -> str:
        '''Return this template in Go's text/template, for `TEMPLATE """…"""` of an Ollama Modelfile.

        Ollama has no second field for the user, so the form without an input section is used. A system text that
        somebody sets goes before the prompt, with an empty line between; without one the prompt has the training bytes.

        Args:
            eos_token: text of the token that ends an answer, which closes the earlier turns of a conversation.
        '''
        return dialects.ollama(self._without_input, eos_token=eos_token)


def _instruction_heading(pattern: Pattern) -> list[str]:
    """Return the last line before the instruction, or nothing where it has no letter to recognise it by."""
    before = pattern[0] if isinstance(pattern[0], str) else ""
    heading = before.strip().rpartition("\n")[2].strip()
    return [heading] if any(character.isalpha() for character in heading) else []
