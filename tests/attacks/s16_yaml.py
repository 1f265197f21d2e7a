"""S16: settings that name code, hide a value, or grow while they are read."""

from pathlib import Path

from tests.attacks.corpus import Attack, Parts
from tests.attacks.victim import MARKER

_LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
)
TEXTS = {
    "a Python object": f"seed: !!python/object/apply:os.system ['touch {MARKER}']\n",
    "a Python name": "seed: !!python/name:os.system\n",
    "a tag of its own": "seed: !evil {x: 1}\n",
    "a class to call": "_target_: os.system\n_args_: [true]\n",
    "a component to call": "model:\n  _component_: os.system\n",
    "laughs": _LAUGHS,
    "a merge of itself": "a: &a\n  <<: *a\n",
    "a key twice": "seed: 1\nseed: 2\n",
    "depth": "a: " + "[" * 5000,
    "a deep mapping": "".join(" " * n + "a:\n" for n in range(900)),
    "a directive": "%YAML 1.1\n---\nseed: yes\n",
    "two documents": "seed: 1\n---\nseed: 2\n",
    "a long number": "seed: " + "9" * 90_000 + "\n",
    "a number of base sixty": "epochs: " + "1:" * 20_000 + "1\n",
    "a large file": "# " + "x" * 3_000_000,
    "a binary file": "\x00\x01\x02seed: 1",
    "an escape": 'seed: "\\x1b[2J\\u202e"\n"\\x1b]0;x\\x07": 1\n',
    "an include": "<<: !include /etc/passwd\n",
    "a slow pattern": "lora:\n  target_modules: '([a-z._0-9]+)+!'\n",
    "an option for code": "trainer_options:\n  trust_remote_code: true\n  hub_token: $HF_TOKEN\n",
}


def settings(text: str):
    def make(directory: Path, parts: Parts) -> Path:
        path = directory / "settings.yaml"
        path.write_bytes(text.encode())
        return path

    return make


ATTACKS = tuple(
    Attack(name, "settings", settings(text), "settings.yaml|target_modules|config") for name, text in TEXTS.items()
)
