r"""A template in the languages of other programs: Jinja for transformers, Go's text/template for Ollama.

Literal text is quoted wherever the other language would not take it as it is. Jinja drops a final newline and turns
`\r\n` into `\n` in plain text, so there all of it stands in string literals; Go only reads `{{` as code.
"""

import json
import re

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
# A brace right before an action would be read with it, and three quotes would end the text in a Modelfile.
_GO_SPECIAL = re.compile(r'\{{2,}|\{\Z|"{3,}')


def jinja(with_input: Pattern, without_input: Pattern, *, bos: bool) -> str:
    """Return the Jinja template of a pair of patterns; see `Prompter.chat_template`."""
    start = "{{- bos_token -}}\n" if bos else ""
    before, between, after = _JINJA.split("PROMPT")
    return f"{start}{before}{_jinja_expression(with_input)}{between}{_jinja_expression(without_input)}{after}"


def ollama(pattern: Pattern, *, eos_token: str) -> str:
    """Return the Go template of a pattern; see `Prompter.ollama_template`."""
    prompt = "".join(_go_text(piece) if isinstance(piece, str) else _GO_FIELDS[piece.field] for piece in pattern)
    return f"{_GO_SYSTEM}{prompt}{{{{ .Response }}}}{_go_text(eos_token)}"


def _jinja_expression(pattern: Pattern) -> str:
    return " + ".join(
        json.dumps(piece, ensure_ascii=False) if isinstance(piece, str) else _JINJA_FIELDS[piece.field]
        for piece in pattern
    )


def _go_text(text: str) -> str:
    return _GO_SPECIAL.sub(lambda match: f"{{{{ {json.dumps(match.group())} }}}}", text)
