import json
import random

import pytest

from alpaca_lora.errors import ConfigError, RunError
from alpaca_lora.evaluation import BlindComparison, score_votes, seal_comparison
from tests.evaluation.conftest import answers

NEW, OLD = answers(["good"] * 30, "new"), answers(["bad"] * 30, "old")


@pytest.fixture
def sealed(tmp_path, quick_disk):
    seal_comparison(NEW, OLD, tmp_path / "run", num=10)
    return tmp_path / "run"


def vote_all(directory, choose):
    """Let a rater vote on every pair that is left: (pair) -> vote."""
    with BlindComparison.open(directory) as comparison:
        while not comparison.complete:
            number = len(comparison.votes)
            assert comparison.vote(number, choose(comparison.pairs[number]))
        return score_votes(comparison, comparison.unseal())


def like_good(pair):
    return "left" if pair.left.startswith("good") else "right"


def test_a_rater_who_sees_the_difference_finds_the_model_whatever_its_side(sealed):
    result = vote_all(sealed, like_good)
    assert (result.model, result.baseline) == ("new", "old")
    assert (result.wins, result.losses, result.ties, result.share) == (10, 0, 0, 1.0)
    assert result.decided.low == pytest.approx(0.025**0.1)
    assert result.p_value == 2 / 1024


def test_a_rater_who_favours_a_side_is_found_out(tmp_path, quick_disk):
    seal_comparison(NEW, OLD, tmp_path / "run", num=30)
    result = vote_all(tmp_path / "run", lambda pair: "left")
    assert (result.left, result.right) == (30, 0)
    assert result.sides_p_value < 1e-6
    assert 0 < result.wins < 30


def test_draws_count_half_and_are_no_part_of_the_exact_interval(sealed):
    result = vote_all(sealed, lambda pair: "tie")
    assert (result.share, result.ties, result.decided, result.p_value) == (0.5, 10, None, 1.0)


def test_the_file_of_the_rater_tells_nothing_of_whose_the_answers_are(tmp_path, quick_disk):
    new, old = (
        [type(item)(instruction=item.instruction, output=item.output.split(" of ")[0], generator=name) for item in side]
        for side, name in ((NEW, "secret-model"), (OLD, "secret-baseline"))
    )
    seal_comparison(new, old, tmp_path / "run", num=30)
    seal_comparison(new, old, tmp_path / "again", num=30)
    texts = [(tmp_path / name / "comparison.json").read_text() for name in ("run", "again")]
    assert "secret" not in "".join(texts)
    first, second = map(json.loads, texts)
    sides = [[pair["left"].startswith("good") for pair in said["pairs"]] for said in (first, second)]
    assert 0 < sum(sides[0]) < 30
    assert sides[0] != sides[1]  # the seed does not tell the sides
    assert first["commitment"] != second["commitment"]
    asked = [[pair["instruction"] for pair in said["pairs"]] for said in (first, second)]
    assert asked[0] == asked[1]


def test_the_key_is_for_its_owner_alone(sealed):
    assert (sealed / "key.json").stat().st_mode & 0o777 == 0o600
    assert (sealed / "comparison.json").stat().st_mode & 0o444


def test_the_key_is_not_opened_before_the_last_vote(sealed):
    (sealed / "key.json").write_text("whoever reads this fails")
    with BlindComparison.open(sealed) as comparison:
        for number in range(9):
            comparison.vote(number, "left")
        with pytest.raises(RunError, match="the key stays sealed: 9 of 10 comparisons are done"):
            comparison.unseal()
        comparison.vote(9, "left")
        with pytest.raises(RunError, match=r"key.json' is no key of a comparison"):
            comparison.unseal()


@pytest.mark.parametrize("what", ["sides", "names", "answers"])
def test_a_key_or_an_answer_that_was_changed_is_noticed(sealed, what):
    path = sealed / ("comparison.json" if what == "answers" else "key.json")
    said = json.loads(path.read_text())
    if what == "sides":
        said["model_left"][0] = not said["model_left"][0]
    elif what == "names":
        said["model"], said["baseline"] = said["baseline"], said["model"]
    else:
        said["pairs"][0]["left"], said["pairs"][0]["right"] = said["pairs"][0]["right"], said["pairs"][0]["left"]
    path.write_text(json.dumps(said))
    with pytest.raises(RunError, match="not the key that comparison.json was sealed with"):
        vote_all(sealed, like_good)


def test_a_comparison_goes_on_after_a_torn_vote_and_counts_each_pair_once(sealed):
    with BlindComparison.open(sealed) as comparison:
        assert comparison.vote(0, "left")
        assert not comparison.vote(0, "right")  # an older page
        assert not comparison.vote(2, "right")
        assert comparison.vote(1, "tie")
    with (sealed / "votes.jsonl").open("a") as stream:
        stream.write('{"pair": 2, "vo')
    with BlindComparison.open(sealed) as comparison:
        assert comparison.votes == ["left", "tie"]
        assert comparison.vote(2, "right")
    result = vote_all(sealed, like_good)
    assert result.comparisons == result.wins + result.losses + result.ties == 10


def test_the_same_comparison_stays_and_another_is_refused(sealed):
    before = (sealed / "key.json").read_bytes()
    seal_comparison(NEW, OLD, sealed, num=10)
    assert (sealed / "key.json").read_bytes() == before
    with pytest.raises(RunError, match="holds another comparison"):
        seal_comparison(NEW, OLD, sealed, num=11)
    with pytest.raises(RunError, match="holds another comparison"):
        seal_comparison(OLD, NEW, sealed, num=10)


def test_two_raters_cannot_vote_at_once(sealed):
    with (
        BlindComparison.open(sealed),
        pytest.raises(RunError, match="in use by another process"),
        BlindComparison.open(sealed),
    ):
        pass


@pytest.mark.parametrize("line", ["", "null", '{"pair": 1, "vote": "left"}', '{"pair": 0, "vote": "up"}', "[]"])
def test_a_damaged_vote_is_named(sealed, line):
    (sealed / "votes.jsonl").write_text(f"{line}\n")
    with pytest.raises(RunError, match=r"votes.jsonl':1: no vote"), BlindComparison.open(sealed):
        pass


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": "other"}'])
def test_a_damaged_comparison_is_refused(sealed, text):
    (sealed / "comparison.json").write_text(text)
    with (
        pytest.raises(RunError, match=r"comparison.json' is no blind comparison that this version reads"),
        BlindComparison.open(sealed),
    ):
        pass


def test_what_cannot_be_compared_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="num must be from 1 to 30, the rows whose answers differ, got 31"):
        seal_comparison(NEW, OLD, tmp_path / "run", num=31)
    same = [*OLD[:28], *NEW[28:]]
    renamed = [type(item)(instruction=item.instruction, output=item.output, generator="new") for item in same]
    with pytest.raises(ConfigError, match="num must be from 1 to 2, "):
        seal_comparison(renamed, OLD, tmp_path / "run", num=3)
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(RunError, match="is not empty and holds no comparison"):
        seal_comparison(NEW, OLD, tmp_path, num=1)
    with pytest.raises(ConfigError, match=r"holds no comparison.json"), BlindComparison.open(tmp_path):
        pass
    assert sorted(item.name for item in tmp_path.iterdir()) == ["mine.txt"]


def test_without_a_number_at_most_a_hundred_rows_that_differ_are_compared(tmp_path, quick_disk):
    seal_comparison(NEW, OLD, tmp_path / "few")
    seal_comparison(NEW, OLD, tmp_path / "few", num=30)  # the same comparison
    seal_comparison(answers(["good"] * 120, "new"), answers(["bad"] * 120, "old"), tmp_path / "many")
    found = [json.loads((tmp_path / name / "comparison.json").read_text()) for name in ("few", "many")]
    assert [len(said["pairs"]) for said in found] == [30, 100]


def test_simulated_raters_cover_the_true_share_as_often_as_the_exact_interval_says(sealed):
    """Ten decided comparisons each: at least 95 %, as the exact interval promises for any number."""
    with BlindComparison.open(sealed) as comparison:
        generator, covered = random.Random(90), 0
        for number in range(10):
            comparison.vote(number, "left")
        key = comparison.unseal()
        for _ in range(1000):
            won = [generator.random() < 0.6 for _ in range(10)]
            comparison.votes = [
                "left" if win == left else "right" for win, left in zip(won, key.model_left, strict=True)
            ]
            result = score_votes(comparison, key)
            covered += result.decided.low <= 0.6 <= result.decided.high
    assert 950 <= covered <= 1000
