"""S13: what the web page shows and who may open it. The page itself is attacked in tests/serving/test_website.py."""

import json
from pathlib import Path

from tests.attacks.corpus import Attack, Parts


def accounts(text: str, mode: int = 0o600):
    def make(directory: Path, parts: Parts) -> Path:
        path = directory / "accounts.txt"
        path.write_text(text)
        path.chmod(mode)
        return path

    return make


def named(name: str):
    def make(directory: Path, parts: Parts) -> Path:
        target = parts.copy("adapter", directory)
        path = target / "alpaca_lora.json"
        document = json.loads(path.read_text())
        document["template"] |= {"name": name, "description": name}
        document["trained"] = {name: name}
        path.write_text(json.dumps(document))
        return target

    return make


ATTACKS = (
    Attack("accounts that others can read", "accounts", accounts("me:password-of-mine\n", 0o644), "chmod 600"),
    Attack("accounts without a password", "accounts", accounts("me:\nyou\n"), "accounts.txt:1"),
    Attack("accounts of escapes", "accounts", accounts("\x1b[2J\x1b]0;x\x07\n"), "accounts.txt:1"),
    *(
        Attack(f"a template called {name[:12]!r}", "adapter", named(name), refused=False)
        for name in ("<script>alert(1)</script>", "\x1b]0;x\x07", "../../x")
    ),
)
