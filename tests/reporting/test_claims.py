import pytest

from alpaca_lora.reporting.card import render_card
from alpaca_lora.reporting.claims import find_bare_claims
from alpaca_lora.reporting.summary import RunSummary

BARE = [
    "Our model is on par with text-davinci-003.",
    "It performs similarly to GPT-3.5 on our set.",
    "Alpaca behaves qualitatively similarly to text-davinci-003.",
    "It shows comparable performance at a tenth of the cost.",
    "The adapter reaches parity with the full fine-tune.",
    "It is as good as the original.",
    "It matches the performance of ChatGPT.",
    "Raters found it indistinguishable from the original (90 versus 89).",
    "The quality is roughly equal.",
    "It is no worse than the base model in 51 % of the cases.",
    "There is no significant difference between the two.",
    "Similar quality, half the price",
    "| Alpaca | on par |",
]
SOUND = [
    "Our model is on par with text-davinci-003: 50.3 % of 179 comparisons, 95 % interval 43.0 to 57.5 %.",
    "It performs similarly to GPT-3.5 (win rate 48 ± 4 %).",
    "It shows comparable performance, 95 % CI [0.43, 0.57].",
    "There is no significant difference: 1.2 points (−0.8 to 3.1).",
    "It reaches parity within 47–53 %.",
    "The template matches the one of the training.",
    "Similar prompts are left out, and the parity gate compares weights.",
    "It won 26.5 % of the comparisons.",
    "Use it as well with other bases.",
    "The par value and the parable are not claims.",
    "```text\nIt is on par with GPT-4.\n```",
    "<!-- on par with what? -->",
]


@pytest.mark.parametrize("sentence", BARE)
def test_a_claim_of_parity_without_an_interval_is_a_fault(sentence):
    assert [claim.line for claim in find_bare_claims(f"# Card\n\nSome words.\n\n{sentence}\n")] == [5]


@pytest.mark.parametrize("sentence", SOUND)
def test_a_claim_with_its_interval_and_what_is_no_claim_pass(sentence):
    assert list(find_bare_claims(f"# Card\n\nSome words.\n\n{sentence}\n")) == []


def test_an_interval_in_another_sentence_does_not_help():
    card = "---\ntags: [on par]\n---\n\nIt won 50 % (43 to 57 %).\nSo it is on par\nwith the teacher. Fine.\n"
    (claim,) = find_bare_claims(card)
    assert claim.line == 6
    assert claim.sentence == "So it is on par with the teacher."


def test_several_claims_are_all_found():
    assert [claim.line for claim in find_bare_claims("- on par with A\n- on par with B\n")] == [1, 2]


def test_the_card_of_a_run_claims_nothing_bare(summary: RunSummary):
    card = render_card(summary)
    assert list(find_bare_claims(card)) == []
    assert len(list(find_bare_claims(card + "\nIt is on par with the base.\n"))) == 1
