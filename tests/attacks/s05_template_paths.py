"""S5: names of templates and presets that are paths."""

from pathlib import Path

from tests.attacks.corpus import Attack, Parts

_NAMES = (
    "../../../etc/passwd",
    "..\\..\\x",
    "/etc/passwd",
    "C:\\x",
    "CON",
    "a/../alpaca",
    "alpaca\0",
    "x" * 5000,
    "..",
    "",
)


def named(name: str):
    return lambda directory, parts: name or "''"


def linked(directory: Path, parts: Parts) -> Path:
    path = directory / "evil.json"
    path.symlink_to("/etc/passwd")
    return path


def device(directory: Path, parts: Parts) -> Path:
    path = directory / "endless.json"
    path.symlink_to("/dev/zero")
    return path


ATTACKS = (
    *(
        Attack(
            f"the template {name[:30]!r}",
            "template",
            named(name.replace("\0", "%00")),
            "template|chat_template|Unknown|unknown",
        )
        for name in _NAMES
    ),
    Attack("a link to a secret", "template", linked, "evil.json"),
    Attack("a link to an endless device", "template", device, "endless.json"),
    *(
        Attack(f"the settings {name!r}", "settings", named(name), "preset|file|read")
        for name in ("../../etc/passwd", "/dev/zero")
    ),
)
