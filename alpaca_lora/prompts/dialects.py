r"""A template in the languages of other programs: Jinja for transformers, Go's text/template for Ollama.

Literal text is quoted wherever the other language would not take it as it is. Jinja drops a final newline and turns
`\r\n` into `\n` in plain text, so there all of it stands in string literals. Go only reads `{{` as code, but Ollama
reads the template out of a Modelfile, and there it drops what has no picture: a no-break space, a soft hyphen.
"""

import json
import re

from alpaca_lora.errors import TemplateError
from alpaca_lora.prompts.pattern import Pattern

_JINJA_FIELDS = {"instruction": "message['content']", "input": "message['input']"}
_JINJA = """\
{%- for message in messages -%}
  {%- if message['content'] is not string or (message['input'] and message['input'] is not string) -%}
    {{- raise_exception('content and input of a message must be text') -}}
  {%- elif message['role'] == 'user' and loop.index0 % 2 == 0 -%}
    {%- if message['input'] -%}
      {{- PROMPT -}}
    {%- else -%}
      {{- PROMPT -}}
    {%- endif -%}
  {%- elif message['role'] == 'assistant' and loop.index0 % 2 == 1 -%}
    {{- message['content'] + eos_token -}}
  {%- else -%}
    {{- raise_exception('this template takes user and assistant in turn, beginning with user, and no other role; \
message ' ~ loop.index ~ ' has the role ' ~ message['role']) -}}
  {%- endif -%}
{%- endfor -%}"""

_GO_FIELDS = {"instruction": "{{ .Prompt }}"}
_GO_SYSTEM = "{{ if .System }}{{ .System }}\n\n{{ end }}"
_GO_ACTION = re.compile(r'\{\{ (?:if \.(?P<test>\w+)|(?P<end>end)|\.(?P<field>\w+)|(?P<text>"(?:[^"\\]|\\.)*")) \}\}')


def jinja(with_input: Pattern, without_input: Pattern, *, bos: bool) -> str:
    """Return the Jinja template of a pair of patterns; see `Prompter.chat_template`."""
    start = "{{- bos_token -}}\n" if bos else ""
    before, between, after = _JINJA.split("PROMPT")
    return f"{start}{before}{_jinja_expression(with_input)}{between}{_jinja_expression(without_input)}{after}"


def ollama(pattern: Pattern, *, eos_token: str) -> str:
    """Return the Go template of a pattern; see `Prompter.ollama_template`."""
    prompt = "".join(_go_text(piece) if isinstance(piece, str) else _GO_FIELDS[piece.field] for piece in pattern)
    return f"{_GO_SYSTEM}{prompt}{{{{ .Response }}}}{_go_text(eos_token)}"


def render_ollama(template: str, **fields: str) -> str:
    """Render a template that `ollama` wrote as Ollama does.

    Args:
        template: the Go template.
        fields: `Prompt`, and optionally `System` and `Response`.

    Raises:
        TemplateError: it holds an action that `ollama` does not write.
    """
    output, position, shown = [], 0, True
    while (start := template.find("{{", position)) >= 0:
        action = _GO_ACTION.match(template, start)
        if action is None:
            raise TemplateError(f"{template[start : start + 40]!r} is no action that this library writes for Ollama")
        written = template[position:start] + fields.get(action["field"] or "", "")
        if action["text"]:
            written += _read_go_string(action["text"])
        output.append(written if shown else "")
        if action["test"] or action["end"]:
            shown = bool(action["end"] or fields.get(action["test"]))
        position = action.end()
    return "".join(output) + template[position:]


def _read_go_string(literal: str) -> str:
    return str(json.loads(re.sub(r"\\U([0-9a-f]{8})", lambda match: chr(int(match[1], 16)), literal)))


def _jinja_expression(pattern: Pattern) -> str:
    return " + ".join(
        json.dumps(piece, ensure_ascii=False) if isinstance(piece, str) else _JINJA_FIELDS[piece.field]
        for piece in pattern
    )


def _go_text(text: str) -> str:
    """Quote what would be read with an action, what would end the text in a Modelfile, and what Ollama drops there."""
    dropped = "".join({char for char in text if char > "\uffff" or not (char.isprintable() or char in "\t\n")})
    special = re.compile(rf'(?:"{{3,}}|[{{{re.escape(dropped)}])+')

    def quoted(match: re.Match[str]) -> str:
        alone = match.group() == "{" and match.end() < len(text)
        return match.group() if alone else f"{{{{ {_go_string(match.group())} }}}}"

    return special.sub(quoted, text)


def _go_string(text: str) -> str:
    """Return a string literal with nothing but ASCII in it; Go has no surrogate pairs."""
    shown = {"{": "{", '"': '\\"'}
    escapes = (shown.get(char) or rf"\u{ord(char):04x}" if char <= "\uffff" else rf"\U{ord(char):08x}" for char in text)
    return "".join(escapes).join('""')
