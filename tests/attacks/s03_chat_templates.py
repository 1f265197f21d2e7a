"""S3: chat templates, which are programs: code, cost, files and what a row would put in their place."""

import json
from pathlib import Path

from tests.attacks.corpus import Attack, Parts

_CODE = "__import__('os').system('touch planted-canary')"
PAYLOADS = {
    "a walk over attributes": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "the globals of lipsum": '{{ lipsum.__globals__["os"].popen("touch planted-canary") }}',
    "the globals of a filter": "{{ (messages|attr('__init__')|attr('__globals__')) }}",
    "the format method": "{{ '{0.__class__.__init__.__globals__}'.format(raise_exception) }}",
    "a call of eval": f"{{{{ cycler.__init__.__globals__.__builtins__.eval({_CODE!r}) }}}}",
    "an import": "{% import '/etc/passwd' as x %}{{ x }}",
    "an include": "{% include '/etc/passwd' %}",
    "a long range": "{% for i in range(10**9) %}x{% endfor %}",
    "nested loops": "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
    "a long string": "{{ 'x' * 2 * 10**9 }}",
    "a wide string": "{{ 'x'|center(4000000000) }}",
    "a wide number": "{{ '%04000000000d' % 1 }}",
    "a string that doubles": "{% set n = namespace(s='x') %}{% for i in range(60) %}{% set n.s = n.s ~ n.s %}{% endfor %}{{ n.s }}",
    "a huge power": "{{ 9**9**9**9 }}",
    "a macro without end": "{% macro f(x) %}{{ f(x) }}{{ f(x) }}{% endmacro %}{{ f(1) }}",
    "deep brackets": "{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}",
    "a large file": "x" * 3_000_000,
    "no text at all": {"default": ["x"]},
}


def adapter(template):
    def make(directory: Path, parts: Parts) -> Path:
        target = parts.copy("adapter", directory)
        if isinstance(template, str):
            (target / "chat_template.jinja").write_text(template)
        else:
            path = target / "tokenizer_config.json"
            (target / "chat_template.jinja").unlink(missing_ok=True)
            path.write_text(json.dumps(json.loads(path.read_text()) | {"chat_template": template}))
        return target

    return make


def artifact(template: str):
    def make(directory: Path, parts: Parts) -> Path:
        target = parts.copy("merged", directory)
        (target / "chat_template.jinja").write_text(template)
        return target

    return make


def base(directory: Path, parts: Parts) -> Path:
    target = parts.copy("base", directory)
    (target / "chat_template.jinja").write_text(PAYLOADS["nested loops"])
    return target


def row(directory: Path, parts: Parts) -> Path:
    extra = {"chat_template_kwargs": {"chat_template": f"{{{{ {_CODE} }}}}"}, "tools": [1], "chat_template": "x"}
    path = directory / "rows.jsonl"
    path.write_text(
        "".join(json.dumps({"instruction": f"Say {n}.", "output": f"{n}"} | extra) + "\n" for n in range(6))
    )
    return path


ATTACKS = (
    *(Attack(f"of an adapter: {name}", "adapter", adapter(text), refused=False) for name, text in PAYLOADS.items()),
    *(
        Attack(f"of an artefact: {name}", "artifact", artifact(PAYLOADS[name]), "cannot be rendered")
        for name in ("nested loops", "a string that doubles", "a walk over attributes")
    ),
    Attack("of a base model", "base", base, refused=False),
    Attack("in a row", "records", row, refused=False),
)
