"""S19: text that becomes a program where a report is opened: a formula, a script, an escape of the terminal."""

import csv
import json
from pathlib import Path

from tests.attacks.corpus import Attack, Parts
from tests.attacks.endpoint import ESCAPES

TEXTS = (
    "=cmd|' /C calc'!A0",
    "+1+cmd",
    "-2+3+cmd",
    "@SUM(1)",
    "\t=1",
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "![x](http://192.0.2.1/x.png)",
    "</td></table><iframe src=http://192.0.2.1>",
    "]]><!-- ${x} -->",
    ESCAPES,
    "\x1b]8;;http://192.0.2.1\x07click\x1b]8;;\x07",
    "\u2066\u2069\u202ereversed",
)


def _lines() -> str:
    rows = [
        {"instruction": f"{text} {number}", "input": text, "output": f"{text} is {text}"}
        for number, text in enumerate(TEXTS)
    ]
    return "".join(json.dumps(row) + "\n" for row in rows + rows)


def jsonl(directory: Path, parts: Parts) -> Path:
    path = directory / "rows.jsonl"
    path.write_text(_lines())
    return path


def table(directory: Path, parts: Parts) -> Path:
    path = directory / "rows.csv"
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["instruction", "input", "output", *TEXTS])
        writer.writerows([text, text, text, *TEXTS] for text in TEXTS)
    return path


def bad_rows(directory: Path, parts: Parts) -> Path:
    """Return rows whose faults have to be told with what is wrong in them."""
    path = directory / f"rows{ESCAPES[:4]}.jsonl"
    lines = [json.dumps({text: 1, "instruction": [text], "output": {text: text}}) for text in TEXTS]
    path.write_text("\n".join([*lines, f'{{"instruction": "{ESCAPES}", ']), errors="surrogatepass")
    return path


def verdicts(directory: Path, parts: Parts) -> Path:
    path = directory / "verdicts.json"
    rows = json.loads(parts.verdicts.read_text())
    for row, text in zip(rows, TEXTS * len(rows), strict=False):
        row |= {"generator_2": ESCAPES + "x", "annotator": ESCAPES, "instruction": text, "dataset": ESCAPES}
    path.write_text(json.dumps(rows))
    return path


def settings(directory: Path, parts: Parts) -> Path:
    path = directory / "settings.yaml"
    path.write_text("".join(f"{json.dumps(text)}: {json.dumps(text)}\n" for text in dict.fromkeys(TEXTS)))
    return path


def template(directory: Path, parts: Parts) -> Path:
    path = directory / "evil.json"
    path.write_text(json.dumps(dict.fromkeys(TEXTS, ESCAPES) | {"prompt_input": "{" + ESCAPES + "}"}))
    return path


def documents(part: str, name: str):
    def make(directory: Path, parts: Parts) -> Path:
        return parts.copy(
            part, directory, **{name: dict.fromkeys([*TEXTS, "model_type", "peft_type", "base_model"], ESCAPES)}
        )

    return make


def artifact(directory: Path, parts: Parts) -> Path:
    (directory / "parity.json").write_text(json.dumps({"format": ESCAPES}))
    return directory


ATTACKS = (
    Attack("rows", "records", jsonl, refused=False),
    Attack("a table", "records", table, refused=False),
    Attack("rows with faults", "records", bad_rows),
    Attack("verdicts", "verdicts", verdicts, refused=False),
    Attack("settings", "settings", settings),
    Attack("a template", "template", template),
    *(
        Attack(f"{name} of {part}", part, documents(part, name))
        for part, name in (("base", "config"), ("adapter", "adapter_config"), ("adapter", "alpaca_lora"))
    ),
    Attack("an artefact", "artifact", artifact),
)
