import re
from pathlib import Path

import pytest

from alpaca_lora.replication.figures import StageFigures
from alpaca_lora.replication.page import render_card, render_replication
from alpaca_lora.replication.reading import load_recipe
from alpaca_lora.replication.stages import Work


@pytest.fixture
def work():
    recipe = {
        "name": "<b>mine</b>",
        "description": "A | B.",
        "source": "javascript:alert(1)",
        "data": "/home/somebody/private.jsonl",
        "finetune": {},
    }
    return Work(load_recipe(recipe), Path("/data/my run"))


@pytest.fixture
def figures():
    directory = Path("/data/my run/3-finetune")
    return (
        StageFigures(
            "finetune",
            directory,
            ("2.5 → 2.2", "loss"),
            {"rows": "8 <i>trained</i>", "steps | all": "4"},
            {},
            {"report": directory / "report.html"},
            75.0,
        ),
    )


def test_the_page_shows_numbers_links_deviations_and_commands(work, figures):
    page = render_replication(work, figures, ["One <thing>."])
    assert '<a href="3-finetune/report.html">report</a>' in page
    assert "2.5 → 2.2" in page
    assert "<li>One &lt;thing&gt;.</li>" in page
    assert "alpaca-lora replicate --recipe &#x27;my run/recipe.json&#x27; --output-dir &#x27;my run-again&#x27;" in page
    assert "1 stages, 1 min 15 s of work" in page


def test_the_page_runs_and_loads_nothing_whatever_a_recipe_says(work, figures):
    page = render_replication(work, figures, [])
    assert "<script" not in page
    assert "<b>mine" not in page
    assert "<i>trained" not in page
    assert re.findall(r'(?:href|src)="([^"]*)"', page) == ["3-finetune/report.html"]
    assert "/data/my run" not in page


def test_the_card_says_the_same_in_text_that_markdown_shows_as_it_is(work, figures):
    card = render_card(work, figures, ["One <thing>, ~~no~~ &lt; !"])
    assert card.startswith("# \\<b\\>mine\\</b\\>\n\nA \\| B.\n")
    assert "| steps \\| all | 4 |\n" in card
    assert "- One \\<thing\\>, \\~\\~no\\~\\~ \\&lt; \\!\n" in card
    assert "`private.jsonl`" in card
    assert "/home/somebody" not in card
