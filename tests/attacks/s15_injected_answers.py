"""S15: generated text that speaks to whoever reads it next: the next prompt, the pipeline, a person."""

import json
from pathlib import Path

from tests.attacks.corpus import Attack, Parts
from tests.attacks.endpoint import INJECTED


def rows(directory: Path, parts: Parts) -> Path:
    path = directory / "generated.jsonl"
    lines = [{"instruction": text, "input": text[::-1], "output": text} for text in INJECTED]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def journal(text: str):
    def make(directory: Path, parts: Parts) -> Path:
        target = directory / "generation"
        target.mkdir()
        (target / "journal.jsonl").write_text(text)
        (target / "run.json").write_text('{"x": 1}')
        return target

    return make


ATTACKS = (
    *(
        Attack(
            f"answers as {form}",
            "endpoint",
            lambda directory, parts, form=form: parts.endpoint.url(form),
            refused=False,
        )
        for form in ("text", "json")
    ),
    Attack("answers as records", "records", rows, refused=False),
    *(
        Attack(f"a journal of {name}", "generation", journal(text))
        for name, text in (("nothing", ""), ("deep brackets", "[" * 10**5), ("lies", '{"kind":"answer","crc":0}\n' * 5))
    ),
)
