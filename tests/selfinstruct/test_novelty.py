"""The index against the method that compares with everything, written down from rouge_score's own definition."""

import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alpaca_lora.errors import ConfigError
from alpaca_lora.records import Record
from alpaca_lora.selfinstruct import Match, NoveltyIndex, compared_text
from alpaca_lora.selfinstruct.novelty import rouge_l, words

VOCABULARY = re.findall(r"\w+", "name list three two colours animals that live in a sea, and why a poem about rain")


def common_words(first, second):
    """The length of the longest common subsequence, by the table."""
    row = [0] * (len(second) + 1)
    for word in first:
        previous = row
        row = [0]
        for place, other in enumerate(second):
            row.append(previous[place] + 1 if word == other else max(row[-1], previous[place + 1]))
    return row[-1]


def score(first, second):
    """ROUGE-L's F-measure as rouge_score computes it."""
    if not first or not second:
        return 0.0
    common = common_words(first, second)
    precision, recall = common / len(second), common / len(first)
    return 2 * precision * recall / (precision + recall) if precision + recall > 0 else 0.0


def matches(known, text, threshold):
    """What the index must find: every known text above the threshold."""
    scores = [score(words(text), words(other)) for other in known]
    return [Match(number, value) for number, value in enumerate(scores) if value > threshold]


texts = st.lists(st.sampled_from(VOCABULARY), max_size=12).map(" ".join)


@given(st.lists(texts, max_size=12), texts, st.sampled_from([0, 0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 1]))
def test_the_index_finds_what_comparing_with_all_finds(known, text, threshold):
    assert NoveltyIndex(known, threshold=threshold).matches(text) == matches(known, text, threshold)


@pytest.mark.parametrize("threshold", [0.5, 0.7])
def test_a_stream_is_decided_as_by_comparing_with_all(threshold):
    rng = random.Random(1)
    stream = [" ".join(rng.choices(VOCABULARY[:9], k=rng.randint(0, 9))) for _ in range(400)]
    index, kept = NoveltyIndex(threshold=threshold), []
    for text in stream:
        found = matches(kept, text, threshold)
        expected = max(found, key=lambda match: (match.score, -match.number), default=None)
        assert index.admit(text) == expected
        if expected is None:
            kept.append(text)
    assert len(index) == len(kept)
    assert 0 < len(kept) < len(stream)


def test_a_pair_that_scores_just_the_threshold_is_decided_by_rounding_as_in_rouge_score():
    # 2L / (m + n) = 0.7 in each; in floating point some come out a little above.
    cases = [(common, first, 20 * common // 7 - first) for common in range(7, 71, 7) for first in range(common, 100)]
    exact = [case for case in cases if case[0] <= case[2]]
    above = 0
    for common, first, second in exact:
        shared = [f"s{n}" for n in range(common)]
        text = " ".join([*shared, *(f"a{n}" for n in range(first - common))])
        other = " ".join([*shared, *(f"b{n}" for n in range(second - common))])
        expected = matches([other], text, 0.7)
        above += len(expected)
        assert NoveltyIndex([other]).matches(text) == expected
    assert 0 < above < len(exact)


def test_a_text_without_words_is_always_new():
    index = NoveltyIndex(["?!", "你好"])
    assert index.admit("?!") is None
    assert index.admit("你好") is None
    assert len(index) == 4


def test_of_equally_similar_texts_the_first_is_named():
    index = NoveltyIndex(["name two animals", "name three colours", "name three colours"])
    assert index.nearest("Name three colours!") == Match(1, 1.0)


def test_case_and_punctuation_do_not_make_a_text_new():
    assert NoveltyIndex(["List three colours."]).admit("list: THREE colours") == Match(0, 1.0)


def test_the_number_of_different_words_has_no_limit(monkeypatch):
    monkeypatch.setattr("sys.maxunicode", 3)  # from the fifth word on, numbers are no characters any more
    known = ["name three colours please", "name three large animals", "tell why rain falls"]
    index = NoveltyIndex(known)
    for text in ("name three large animals", "name three large colours", "why rain falls", "three colours please"):
        assert index.matches(text) == matches(known, text, 0.7)


def test_the_score_is_symmetric_and_one_for_equal_texts():
    first, second = words("Name three primary colours."), words("Name three colours, please.")
    assert rouge_l(first, second) == rouge_l(second, first) == score(first, second) == 0.75
    assert rouge_l(first, first) == 1
    assert rouge_l(first, []) == 0


def test_the_input_counts_only_where_it_shall():
    task = Record("Translate the sentence.", "The sea is wide.", "La mer est large.")
    other = Record("Translate the sentence.", "Rain falls on the roof.", "La pluie tombe sur le toit.")
    instructions = NoveltyIndex([compared_text(task, with_input=False)])
    assert instructions.nearest(compared_text(other, with_input=False)) == Match(0, 1.0)
    both = NoveltyIndex([compared_text(task, with_input=True)])
    assert both.nearest(compared_text(other, with_input=True)) is None


@pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan")])
def test_a_threshold_that_is_no_share_is_refused(threshold):
    with pytest.raises(ConfigError, match="threshold must be a number from 0 to 1, got"):
        NoveltyIndex(threshold=threshold)
