import ast
import re
from dataclasses import replace

import pytest
from ruamel.yaml import YAML

from alpaca_lora.reporting.card import render_card
from alpaca_lora.reporting.summary import RunSummary


def front_matter(card: str) -> dict[str, object]:
    assert card.startswith("---\n")
    return YAML(typ="safe").load(card[4 : card.index("\n---\n")])


def outside_fences(card: str) -> str:
    """Return what Markdown interprets: the card without its fenced blocks, which must all be closed."""
    kept, fence = [], ""
    for line in card.split("\n"):
        ticks = re.match("`{3,}", line)
        if not fence and ticks:
            fence = ticks[0]
        elif fence and line.rstrip() == fence:
            fence = ""
        elif not fence:
            kept.append(line)
    assert fence == ""
    return "\n".join(kept)


def test_the_front_matter_is_what_the_hub_reads(summary: RunSummary) -> None:
    data = replace(summary.data, hub_id="yahma/alpaca-cleaned")
    assert front_matter(render_card(replace(summary, data=data))) == {
        "base_model": "HuggingFaceTB/SmolLM2-135M-Instruct",
        "library_name": "peft",
        "pipeline_tag": "text-generation",
        "datasets": ["yahma/alpaca-cleaned"],
        "tags": ["alpaca", "instruction-tuning", "lora"],
    }


def test_what_the_hub_does_not_know_stays_out_of_the_front_matter(summary: RunSummary) -> None:
    assert front_matter(render_card(replace(summary, base_model_hub_id=None))).keys() == {
        "library_name",
        "pipeline_tag",
        "tags",
    }


def test_every_number_stands_beside_what_it_was_measured_on(summary: RunSummary) -> None:
    card = render_card(summary)
    assert "| Loss, nats per token | 2.000 | 1.500 | −25.0 % | 3,187 tokens in 40 held-out rows |" in card
    assert (
        "| Answers that end by themselves | 6 % | 94 % |  | 16 held-out records; 95 % interval after: 72 % to 99 % |"
        in card
    )


def test_nothing_held_out_claims_nothing(without_heldout: RunSummary) -> None:
    card = render_card(without_heldout)
    assert "## What this run measured\n\nNothing: no rows were held out.\n" in card
    assert "Perplexity" not in card


def test_the_code_of_the_card_is_python_with_the_exact_prompt(summary: RunSummary) -> None:
    blocks = re.findall("```python\n(.*?)```", render_card(summary), flags=re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        ast.parse(block)
    assert re.findall("^prompt = (.*)$", blocks[1], flags=re.MULTILINE) == [
        '"### Instruction:\\nName two primary colours.\\n\\n### Response:\\n"'
    ]


def test_the_example_is_the_prompt_itself_whatever_stands_in_it(summary: RunSummary) -> None:
    template = 'Answer as {{"a": 1}}.\r\n{instruction}\u202e\x9b\U0001f999\nAnswer:'
    card = render_card(replace(summary, prompt_no_input=template))
    (literal,) = re.findall("^prompt = (.*)$", card, flags=re.MULTILINE)
    assert ast.literal_eval(literal) == 'Answer as {"a": 1}.\r\nName two primary colours.\u202e\x9b\U0001f999\nAnswer:'
    assert "\u202e" not in literal
    assert "A doubled brace stands for a single one." in card
    assert "doubled" not in render_card(summary)


@pytest.mark.parametrize(
    ("base_model", "hub_id", "argument"),
    [
        ("huggyllama/llama-7b", "huggyllama/llama-7b", '"huggyllama/llama-7b"'),
        ("smollm2-135m", "HuggingFaceTB/SmolLM2-135M-Instruct", 'locate_base_model("smollm2-135m")'),
        ("/home/somebody/llama-7b", None, '"path/to/llama-7b"'),
    ],
)
def test_plain_peft_gets_a_base_that_it_can_load(
    summary: RunSummary, base_model: str, hub_id: str | None, argument: str
) -> None:
    card = render_card(replace(summary, base_model=base_model, base_model_hub_id=hub_id))
    assert f"AutoModelForCausalLM.from_pretrained({argument}, dtype=" in card
    assert ("import locate_base_model" in card) is argument.startswith("locate")
    assert "somebody" not in card


def test_both_prompts_are_given_with_their_last_byte_in_words(summary: RunSummary) -> None:
    card = render_card(replace(summary, prompt_no_input="{instruction}:"))
    assert "With an input, with a line end after the last line:\n\n```text\n### Instruction:" in card
    assert "Without an input, without a line end after the last line:\n\n```text\n{instruction}:\n```" in card


def test_text_of_models_and_data_cannot_leave_its_place(summary: RunSummary, nasty: str, written_by) -> None:
    card = render_card(written_by(summary, nasty))
    card.encode("utf-8")
    assert front_matter(card)["library_name"] == "peft"
    prose = re.sub("(`+) ?.*? ?\\1", "", outside_fences(card))
    assert "<" not in re.sub(r"\\<", "", prose)
    assert "](http://evil" not in re.sub(r"\\[\[\]!]", "", prose)
    assert [line for line in prose.split("\n") if line.startswith("#")][1:] == [
        "## What this run measured",
        "## How to use it",
        "## Prompt",
        "## Training data",
        "## Training",
        "## Answers before and after",
        "## Limits",
    ]


def test_a_table_cell_cannot_open_another(summary: RunSummary) -> None:
    card = render_card(replace(summary, config={"a|b": "c`|`d"}))
    assert "| `a\\|b` | ``c`\\|`d`` |" in card


def test_a_picture_is_shown_only_where_there_is_one(summary: RunSummary) -> None:
    assert "](loss.png)" in render_card(summary, picture="loss.png")
    assert "![" not in render_card(summary)
