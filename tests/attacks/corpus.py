"""What an attack is, what it is tried on, and the healthy parts from which attacks are made.

An attack is a file or a directory that passes for something that our commands read. `USES` lists every place of every
command that reads such a thing, so that each attack meets them all. The attacks stand in one module for each class of
`S01` to `S21`; nothing of them is committed as bytes.
"""

import json
import shlex
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.attacks.endpoint import HostileEndpoint

CLASSES = (
    "s01_pickles",
    "s02_remote_code",
    "s03_chat_templates",
    "s04_format_strings",
    "s05_template_paths",
    "s06_gguf",
    "s07_safetensors",
    "s08_adapter_config",
    "s09_paths",
    "s10_addresses",
    "s11_redirects",
    "s12_keys",
    "s13_web_page",
    "s14_control_tokens",
    "s15_injected_answers",
    "s16_yaml",
    "s17_supply_chain",
    "s18_shell",
    "s19_reports",
    "s20_exhaustion",
    "s21_shared_machine",
)

_TRAIN = "--base-model {base} --quiet --micro-batch-size 1 --batch-size 1 --validation-size 2"
_ASK = "--prompt Hi. --max-new-tokens 2"

USES = {
    "records": (
        "finetune --dry-run --data {it} --output-dir OUT " + _TRAIN,
        "inspect --data {it} --base-model {base}",
        "curate {it} --output-dir OUT",
        "curate {records} --against {it} --output-dir OUT",
        "generate --teacher local --model {base} --num 3 --seeds {it} --output-dir OUT --dry-run",
        "evaluate --annotations {it}",
    ),
    "verdicts": (
        "evaluate --annotations {it}",
        "evaluate --annotations {verdicts} --variants {it} --json",
        "compare --outputs {it} --baseline {it} --output-dir OUT --prepare",
    ),
    "settings": (
        "finetune --dry-run --config {it} --data {records} --output-dir OUT --base-model {base} --quiet",
        "inspect --config {it} --data {records} --base-model {base}",
        "plan --config {it} --model {base}",
        "replicate --recipe {it} --dry-run --output-dir OUT",
    ),
    "template": (
        "finetune --dry-run --template {it} --data {records} --output-dir OUT " + _TRAIN,
        "inspect --template {it} --data {records} --base-model {base}",
        "chat --template {it} --adapter {adapter} " + _ASK,
        "ui --template {it} --adapter {adapter} --port 0",
        "merge --template {it} --adapter {adapter} --output-dir OUT",
        "export adapter --template {it} --adapter {adapter} --output-dir OUT",
    ),
    "adapter": (
        "chat --adapter {it} " + _ASK,
        "chat --adapter {it} --base-model {base} --template alpaca " + _ASK,
        "ui --adapter {it} --port 0",
        "ui --adapter {it} --recipe vllm",
        "merge --adapter {it} --output-dir OUT",
        "export adapter --adapter {it} --base-model {base} --output-dir OUT",
        "export gguf-adapter --adapter {it} --output-dir OUT",
        "check-template --adapter {it}",
        "verify {it}",
    ),
    "base": (
        "plan --model {it} --card 3090",
        "finetune --dry-run --data {records} --output-dir OUT --base-model {it} --quiet",
        "inspect --data {records} --base-model {it}",
        "generate --teacher local --model {it} --num 3 --output-dir OUT --dry-run",
        "chat --adapter {adapter} --base-model {it} " + _ASK,
        "ui --adapter {adapter} --base-model {it} --port 0",
        "merge --adapter {adapter} --base-model {it} --output-dir OUT",
        "export gguf --adapter {adapter} --base-model {it} --output-dir OUT",
    ),
    "weights": (
        "export weight-diff --tuned {it} --raw {base} --output-dir OUT",
        "export weight-diff --tuned {merged} --raw {it} --output-dir OUT",
        "export recover --diff {difference} --raw {it} --output-dir OUT",
    ),
    "tuned": ("export weight-diff --tuned {it} --raw {base} --output-dir OUT",),
    "artifact": ("check-template --adapter {adapter} --artifacts {it}", "verify {it}"),
    "difference": ("export recover --diff {it} --raw {base} --output-dir OUT", "verify {it}"),
    "run": (
        "finetune --data {records} --output-dir {it} --max-steps 2 --save-steps 1 " + _TRAIN,
        "chat --adapter {it} " + _ASK,
        "merge --adapter {it} --output-dir OUT",
        "verify {it}",
    ),
    "generation": (
        "generate --teacher local --model {base} --num 3 --budget-tokens 3000 --output-dir {it}",
        "finetune --dry-run --data {it}/generated.jsonl --output-dir OUT " + _TRAIN,
        "verify {it}",
    ),
    "endpoint": (
        "generate --teacher openai --model m --base-url {it} --num 3 --budget-tokens 3000 "
        "--pause-seconds 0.001 --output-dir OUT",
        "generate --teacher openai --model m --base-url {it} --num 3 --completion --budget-tokens 3000 "
        "--pause-seconds 0.001 --profile modern --output-dir OUT",
    ),
    "curation": (
        "curate {records} --replay {it} --output-dir OUT",
        "curate {records} --output-dir {it}",
        "verify {it}",
    ),
    "accounts": ("ui --adapter {adapter} --accounts {it} --port 0",),
    "place": (
        "doctor",
        "inspect --data {records} --base-model {base}",
        "curate {records} --output-dir OUT",
        "generate --teacher local --model {base} --num 3 --output-dir OUT --dry-run",
        "evaluate --annotations {verdicts}",
        "chat --adapter {adapter} " + _ASK,
        "ui --adapter {adapter} --port 0",
        "check-template --adapter {adapter}",
    ),
}
"""Commands by what they read; `{it}` is the attack, a place is where the command is started. `ui` ends when it
has loaded everything."""

WRITES_INTO_IT = ("run", "generation", "curation")
"""Kinds that are a directory which a command is told to go on in."""


READ_IN_PART = (
    "check-template --adapter {it}",
    "compare --outputs {it}",
    "plan --model {it}",
    "ui --adapter {it} --recipe",
    "verify {it}",
)
"""Commands that read a part of it only, an adapter without its weights, say, and so may pass it; or look at digests
first, and refuse it for another reason."""


@dataclass(frozen=True)
class Attack:
    """A hostile file or directory."""

    name: str
    kind: str
    """A key of `USES`."""

    make: Callable[[Path, "Parts"], Path | str]
    """Writes it below an empty directory and returns its path or address."""

    says: str = ""
    """What the message must hold wherever the attack is refused; a regular expression."""

    refused: bool = True
    """Whether every command must refuse it; otherwise it must be harmless."""

    passes: tuple[str, ...] = ()
    """Beginnings of commands that have no need of what is hostile in it, and must be harmless only."""


@dataclass(frozen=True)
class Parts:
    """Healthy things of each kind."""

    base: Path
    adapter: Path
    merged: Path
    difference: Path
    run: Path
    records: Path
    verdicts: Path
    curation: Path
    canary: Path
    """A file that hostile code creates when it is run."""

    endpoint: HostileEndpoint

    def fill(self, command: str, it: Path | str) -> list[str]:
        """Return a command of `USES` as arguments."""
        names = ("base", "adapter", "merged", "difference", "records", "verdicts")
        paths = {name: getattr(self, name) for name in names} | {"it": it}
        return [word.format(**paths) if "{" in word else word for word in shlex.split(command)]

    def copy(self, name: str, directory: Path, **documents: Any) -> Path:
        """Copy a part into a directory, with changes to its JSON documents: `config={"auto_map": …}`.

        A document that is no mapping replaces the whole file.
        """
        target = Path(shutil.copytree(getattr(self, name), directory / name))
        for stem, changes in documents.items():
            path = target / f"{stem}.json"
            old = json.loads(path.read_text()) if path.exists() and isinstance(changes, dict) else {}
            path.write_text(json.dumps(old | changes) if isinstance(changes, dict) else changes)
        return target


def uses(attack: Attack) -> tuple[str, ...]:
    """Return the commands that an attack is tried on, but those that `merges` returns."""
    return tuple(use for use in USES[attack.kind] if use not in merges(attack))


def merges(attack: Attack) -> tuple[str, ...]:
    """Return the commands that merge and export what is not refused, which takes longer than the others."""
    return tuple(use for use in USES[attack.kind] if not attack.refused and use.startswith(("merge", "export")))


def all_attacks() -> Iterator[tuple[str, Attack]]:
    """Yield every attack with the name of its class."""
    for name in CLASSES:
        for attack in import_module(f"tests.attacks.{name}").ATTACKS:
            yield name, attack
