"""S4: templates that a `str.format` would evaluate, and rows that look like fields."""

import json
from pathlib import Path

from tests.attacks.corpus import Attack, Parts

_FIELDS = (
    "{instruction.__class__.__init__.__globals__}",
    "{instruction[0]}",
    "{instruction!r:>1000000000}",
    "{instruction:{input}}",
    "{instruction:>999999999}",
    "{0}",
    "{}",
    "{output}",
    "{self}",
    "{instruction",
    "}{",
)


def template(field: str):
    def make(directory: Path, parts: Parts) -> Path:
        path = directory / "evil.json"
        prompt = f"{{instruction}} {field}\n### Response:"
        document = {"prompt_input": "{input} " + prompt, "prompt_no_input": prompt, "response_split": "### Response:"}
        path.write_text(json.dumps(document))
        return path

    return make


def rows(directory: Path, parts: Parts) -> Path:
    path = directory / "rows.jsonl"
    texts = [f"{field} {{input}} {{{{x}}}} %s $instruction {{% raw %}}" for field in _FIELDS]
    path.write_text("".join(json.dumps({"instruction": text, "input": text, "output": text}) + "\n" for text in texts))
    return path


ATTACKS = (
    *(Attack(f"the field {field}", "template", template(field), r"evil\.json") for field in _FIELDS),
    Attack("rows of braces", "records", rows, refused=False),
)
