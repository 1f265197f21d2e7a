"""A replication as a page and as a card: the numbers of each stage, what was done otherwise, and how to repeat it."""

import shlex
from collections.abc import Iterator, Sequence

from alpaca_lora.replication.figures import StageFigures
from alpaca_lora.replication.stages import Work
from alpaca_lora.reporting.elements import bullets, escaped, render_page, section, table, tile
from alpaca_lora.reporting.wording import count, duration, public_name, unmarked

__all__ = ["commands", "render_card", "render_replication"]

_TITLES = {
    "generate": "Generated",
    "curate": "Curated",
    "finetune": "Fine-tuned",
    "evaluate": "Evaluated",
    "export": "Exported",
}


_TILES = 4
"""As many as stand in one line."""


def render_replication(work: Work, figures: Sequence[StageFigures], deviations: Sequence[str]) -> str:
    """Render the page of a finished replication, which needs nothing beside it but what it links to.

    Args:
        work: recipe and directory.
        figures: of each stage.
        deviations: what was done otherwise than in the original.
    """
    recipe = work.recipe
    name = escaped(recipe.name)
    about = f'<p class="card">{escaped(recipe.description)}</p>' if recipe.description else ""
    if recipe.source:
        web = recipe.source.startswith("https://")
        shown = _link(recipe.source, recipe.source) if web else escaped(recipe.source)
        about += f'<p class="note">Source: {shown}</p>'
    source = recipe.source if recipe.source.startswith("https://") else "the original"
    return render_page(
        eyebrow="Replication report",
        title=f"{name}: replication report",
        heading=name,
        facts=f'<span class="status completed">completed</span> {count(len(figures))} stages, '
        f"{duration(sum(item.seconds for item in figures))} of work",
        tiles=[
            tile(_TITLES[item.stage], escaped(item.headline[0]), escaped(item.headline[1])) for item in figures[:_TILES]
        ],
        body="\n".join(
            (
                section("What it is", about),
                *(_stage(work, item) for item in figures),
                section("What was done otherwise", bullets(deviations, "reasons card"), f"than in {escaped(source)}"),
                section("The same again", f'<pre class="command">{escaped(chr(10).join(commands(work)))}</pre>'),
            )
        ),
    )


def _stage(work: Work, item: StageFigures) -> str:
    links = " · ".join(_link(title, path.relative_to(work.root).as_posix()) for title, path in item.links.items())
    where = f"<code>{escaped(item.directory.name)}</code>, {duration(item.seconds)}"
    facts = table(("What", "Found"), list(item.facts.items()), numbers=0, shown=len(item.facts), codes=0)
    return section(_TITLES[item.stage], f'{facts}<p class="note">{links}</p>', where)


def _link(title: str, target: str) -> str:
    """Return a link within the directory, or to a web page; any other target is shown as text."""
    if target.startswith("https://") or ":" not in target:
        return f'<a href="{escaped(target)}">{escaped(title)}</a>'
    return escaped(title)


def commands(work: Work) -> Iterator[str]:
    """Yield the commands that repeat a replication elsewhere and that check it, to be typed where its directory is."""
    name = work.root.name
    yield shlex.join(["alpaca-lora", "replicate", "--recipe", f"{name}/recipe.json", "--output-dir", f"{name}-again"])
    yield shlex.join(["alpaca-lora", "verify", name])


def render_card(work: Work, figures: Sequence[StageFigures], deviations: Sequence[str]) -> str:
    """Render the same as Markdown, for whoever opens the directory."""
    recipe = work.recipe
    lines = [f"# {unmarked(recipe.name)}", "", unmarked(recipe.description or "A replication."), ""]
    if recipe.data:
        lines += [f"It starts from `{public_name(recipe.data)}`.", ""]
    for item in figures:
        lines += [f"## {_TITLES[item.stage]} (`{item.directory.name}`)", "", "| | |", "|---|---|"]
        lines += [f"| {unmarked(what)} | {unmarked(value)} |" for what, value in item.facts.items()]
        lines.append("")
    if deviations:
        lines += ["## What was done otherwise", "", *(f"- {unmarked(text)}" for text in deviations), ""]
    lines += ["## The same again", "", "```sh", *commands(work), "```", ""]
    return "\n".join(lines)
