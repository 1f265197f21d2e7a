"""S18: names that a shell would run, also in the commands that we print for somebody to paste."""

import json
from pathlib import Path

from tests.attacks.corpus import Attack, Parts
from tests.attacks.victim import MARKER

NAMES = (
    f"x; touch {MARKER}",
    f"$(touch {MARKER})",
    f"`touch {MARKER}`",
    f"x\ntouch {MARKER}",
    f"' ; touch {MARKER} '",
    "-rf",
    "--help",
)


def adapter(name: str):
    def make(directory: Path, parts: Parts) -> Path:
        target = parts.copy("adapter", directory, alpaca_lora={"base_model": name})
        return target.rename(directory / (name.replace("/", "_").replace("-", "x") or "x"))

    return make


def records(name: str):
    def make(directory: Path, parts: Parts) -> Path:
        path = directory / f"{name.replace('/', '_').replace('-', 'x')}.jsonl"
        path.write_text(json.dumps({"instruction": "x"}) + "\n")
        return path

    return make


ATTACKS = (
    *(
        Attack(f"an adapter and its base called {name[:14]!r}", "adapter", adapter(name), refused=False)
        for name in NAMES
    ),
    *(Attack(f"records called {name[:14]!r}", "records", records(name)) for name in NAMES),
)
