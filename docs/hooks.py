"""Fill the reference pages with what the code says about itself, so that no list is kept twice.

mkdocs calls `on_page_markdown` for every page; a line `<!-- generated: NAME -->` becomes what the function of that name
below returns. The rest of its paragraph, which tells a reader of the source where to look meanwhile, is left out.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from alpaca_lora.cli.commands import COMMANDS
from alpaca_lora.config import config_reference
from alpaca_lora.planning import available_presets, preset

_MARK = re.compile(r"^<!-- generated: (\w+) -->(?:\n.+)*$", re.MULTILINE)
_HELP_COLUMNS = "100"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace the marks of one page; a name that is not known ends the build."""
    return _MARK.sub(lambda mark: _GENERATED[mark[1]](), markdown)


def list_settings() -> str:
    """Return a table of every setting."""
    head = ("Setting", "Allowed", "Default", "Meaning")
    return _table(
        head, [(f"`{name}`", values, f"`{default}`", text) for name, values, default, text in config_reference()]
    )


def list_presets() -> str:
    """Return a section for each preset: its purpose, its source, what it sets, and what it does otherwise."""
    return "\n\n".join(_preset(name) for name in available_presets())


def list_commands() -> str:
    """Return the help text of each command, as it prints it."""
    overall = _help()
    return "\n\n".join([_fence(overall), *(f"## {name}\n\n{_fence(_help(name))}" for name in COMMANDS)])


def _preset(name: str) -> str:
    shown = preset(name)
    source = f"<{shown.source}>" if shown.source.startswith("https://") else shown.source
    parts = [f"## {name}", shown.description, f"Source: {source}"]
    settings = shown.config.model_dump(mode="json")
    rows = [
        (f"`{setting}`", _shown(settings, setting), f"`{default}`") for setting, _, default, _ in config_reference()
    ]
    changed = [row for row in rows if row[1] != row[2]]
    if changed:
        parts.append(_table(("Setting", "Here", "Default"), changed))
    if size := re.search(r"(\d+)gb", name):
        asked = ["plan", "--model", "llama-2-7b", "--memory-gb", size[1], "--config", name]
        parts.append(f"`alpaca-lora {' '.join(asked)}`:\n\n{_fence(_run(*asked))}")
    if shown.deviations:
        parts.append("What is done otherwise than in the source:\n\n" + "\n".join(f"- {x}" for x in shown.deviations))
    return "\n\n".join(parts)


def _shown(settings: Any, dotted: str) -> str:
    """Return the value of a setting as the reference writes its default."""
    for name in dotted.split("."):
        settings = settings[name]
    return f"`{json.dumps(settings)}`"


def _help(*command: str) -> str:
    return _run(*command, "--help")


def _run(*arguments: str) -> str:
    environment = os.environ | {"COLUMNS": _HELP_COLUMNS, "NO_COLOR": "1", "PYTHONIOENCODING": "utf-8"}
    command = [sys.executable, "-m", "alpaca_lora", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, encoding="utf-8", check=True).stdout


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _fence(text: str) -> str:
    return f"```text\n{text.rstrip()}\n```"


_GENERATED: dict[str, Callable[[], str]] = {
    "settings": list_settings,
    "presets": list_presets,
    "commands": list_commands,
    "docstrings": str,  # mkdocstrings makes them
}
