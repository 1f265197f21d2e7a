import pytest

from alpaca_lora.errors import ConfigError
from alpaca_lora.evaluation import Annotation, BlindComparison, score_votes, seal_comparison
from tests.evaluation.conftest import answers

KINDS = ["good"] * 8 + ["bad"] * 4
NEW, OLD = answers(KINDS, "new"), answers(["bad"] * 8 + ["good"] * 4, "old")


def judged(preferences, **others):
    return [
        Annotation(
            instruction=new.instruction,
            output_1=old.output,
            generator_1="old",
            output_2=new.output,
            generator_2="new",
            annotator="judge",
            preference=preference,
            **others,
        )
        for new, old, preference in zip(NEW, OLD, preferences, strict=False)
    ]


@pytest.fixture
def score(tmp_path, quick_disk):
    """Let a rater who sees which answer is good vote on all rows, and put a judge beside it."""

    def run(annotations):
        seal_comparison(NEW, OLD, tmp_path / "run", num=12)
        with BlindComparison.open(tmp_path / "run") as comparison:
            for number, pair in enumerate(comparison.pairs):
                comparison.vote(number, "left" if pair.left.startswith("good") else "right")
            return score_votes(comparison, comparison.unseal(), annotations)

    return run


def test_a_judge_stands_beside_the_rater_on_the_same_rows(score):
    result = score(judged([2] * 6 + [1, 1.5] + [1] * 4))
    assert (result.wins, result.losses) == (8, 4)
    judge = result.judge
    assert (judge.win_rate.n_wins, judge.win_rate.n_draws, judge.win_rate.n_total) == (6, 1, 12)
    assert (judge.agreed, judge.compared) == (10, 12)
    assert judge.agreement.low < 10 / 12 < judge.agreement.high
    assert result.to_json()["judge"]["win_rate"]["n_wins"] == 6


def test_verdicts_that_are_missing_are_left_out_and_counted(score):
    judge = score(judged([2, None, 2, 1.5])).judge
    assert (judge.compared, judge.agreed, judge.win_rate.n_missing) == (3, 2, 1)


def test_both_orders_of_a_judge_count_once(score):
    both = [*judged([2] * 12, is_switched_outputs=True), *judged([1] * 12, is_switched_outputs=False)]
    judge = score(both).judge
    assert (judge.win_rate.n_draws, judge.compared, judge.agreed) == (12, 12, 0)
    assert judge.win_rate.position_bias.consistent == 0


def test_without_a_judge_there_is_none_and_a_judge_of_other_answers_is_refused(score):
    assert score([]).judge is None
    names = {"generator_1": "old", "generator_2": "new"}
    other = [Annotation(instruction="x", output_1="a", output_2="b", preference=2, **names)]
    with pytest.raises(ConfigError, match="must be verdicts on answers of 'new' .* that were compared, but none is"):
        score(other)
