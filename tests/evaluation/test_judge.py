"""Whole comparisons by a judge on loopback: what counts, what it costs, and that all ways lead to the same bytes."""

import json

import pytest

from alpaca_lora import OpenAITeacher
from alpaca_lora.config import JudgeConfig
from alpaca_lora.errors import CoverageError
from alpaca_lora.evaluation import judge_outputs, load_annotations, measure_win_rate
from tests.evaluation.conftest import answers, prefer_good, shown, verdict
from tests.scripted_teacher import ScriptedTeacher

KEY = "sk-canary-0123456789abcdef"
KINDS = ["good"] * 6 + ["bad"] * 3 + ["good"] * 3
BASE_KINDS = ["bad"] * 6 + ["good"] * 3 + ["good"] * 3


@pytest.fixture
def judge(monkeypatch, quick_disk, tmp_path):
    """Run one session against a server: `judge(server, repeats=3)`; the directory is always the same."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)

    def run(server, directory="run", *, outputs=None, baseline=None, chat=True, **settings):
        return judge_outputs(
            answers(KINDS, "new") if outputs is None else outputs,
            answers(BASE_KINDS, "old") if baseline is None else baseline,
            teacher=OpenAITeacher("teacher-a", base_url=server.url, deadline_seconds=5, chat=chat),
            directory=tmp_path / directory,
            config=JudgeConfig(**{"budget_tokens": 10**9, "pause_seconds": 0.001, "repeats": 4, **settings}),
        )

    return run


def events(result_or_path):
    path = getattr(result_or_path, "directory", result_or_path) / "journal.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def billed(server):
    return sum(charge.prompt_tokens + charge.completion_tokens for charge in server.bill)


def test_a_judge_that_sees_the_answers_gives_the_true_rate(judge):
    with ScriptedTeacher(text=prefer_good) as server:
        result = judge(server)
    rate = result.win_rate
    assert (rate.n_wins, rate.n_wins_base, rate.n_draws, rate.n_missing) == (6, 3, 3, 0)
    assert (rate.win_rate, rate.model, rate.baseline, rate.annotator) == (62.5, "new", "old", "teacher-a")
    assert (rate.position_bias.consistent, rate.position_bias.shown_first) == (1.0, 0.5)
    assert (result.repeated, result.repeated_alike) == (4, 4)
    assert len(server.seen) == 2 * 12 + 4
    assert result.tokens == billed(server)


def test_the_annotations_are_those_of_alpaca_eval_and_score_the_same(judge):
    with ScriptedTeacher(text=prefer_good) as server:
        result = judge(server)
    rows = load_annotations(result.annotations)
    assert measure_win_rate(rows) == result.win_rate
    assert [row.is_switched_outputs for row in rows[:4]] == [False, True, False, True]
    assert (rows[0].preference, rows[0].output_2, rows[0].generator_1) == (2, "good answer 0 of new", "old")
    assert rows[0].extra["raw_completion"] == '{"verdict": "B"}'
    assert json.loads((result.directory / "judge.json").read_text())["win_rate"]["win_rate"] == 62.5


def test_a_judge_that_takes_the_first_answer_finds_draws_only(judge):
    with ScriptedTeacher(text=lambda prompt: verdict("A")) as server:
        rate = judge(server).win_rate
    assert (rate.win_rate, rate.n_draws, rate.position_bias.consistent, rate.position_bias.shown_first) == (
        50.0,
        12,
        0.0,
        1.0,
    )
    assert rate.position_bias.p_value < 0.001


def test_a_win_in_one_order_and_a_draw_in_the_other_is_a_draw(judge):
    def first_or_tie(prompt):
        _, first, _ = shown(prompt)
        return verdict("A" if first.startswith("good answer") and "of new" in first else "tie")

    with ScriptedTeacher(text=first_or_tie) as server:
        rate = judge(server).win_rate
    assert (rate.n_wins, rate.n_draws, rate.win_rate) == (0, 12, 50.0)


def test_when_model_and_baseline_change_places_the_rate_turns_around(judge):
    with ScriptedTeacher(text=prefer_good) as server:
        one = judge(server, "one")
        other = judge(server, "other", outputs=answers(BASE_KINDS, "old"), baseline=answers(KINDS, "new"))
    assert one.win_rate.win_rate + other.win_rate.win_rate == 100


def test_equal_answers_are_a_draw_that_costs_nothing(judge):
    with ScriptedTeacher(text=prefer_good) as server:
        result = judge(server, baseline=answers(KINDS, "new"), repeats=0)
    assert (len(server.seen), result.identical, result.win_rate.win_rate) == (0, 12, 50.0)


@pytest.mark.parametrize("fault", ["null_content", "refusal", "content_filter", "tool_calls", "length"])
def test_what_is_no_verdict_is_asked_once_more_and_decides_nothing(judge, fault):
    def once(key, attempt):
        return fault if key.endswith("/1") else None

    with ScriptedTeacher(text=prefer_good, script=once) as server:
        result = judge(server)
    assert result.win_rate.win_rate == 62.5
    assert result.win_rate.n_missing == 0
    assert result.answers_without_verdict == len(server.seen) / 2 == 28
    assert result.tokens == billed(server)


@pytest.mark.parametrize(
    "said",
    ["", "A", "I prefer A.", '{"verdict": "C"}', '{"verdict": "A"} because', '[{"verdict": "A"}]', '{"verdict": null}',
     '{"A": 9, "B": 1}', '{"verdict": "A", "verdict2": "B"}', "null"],
)  # fmt: skip
def test_garbage_gives_no_score_but_the_count_and_what_to_do(judge, said, tmp_path):
    with ScriptedTeacher(text=lambda prompt: said) as server, pytest.raises(CoverageError) as caught:
        judge(server)
    assert str(caught.value).startswith(
        "0 of 12 comparisons (0.0%) have a verdict in both orders, and a score needs 95% (the judge was asked 2 times"
    )
    assert "run the same again" in str(caught.value)
    assert not (tmp_path / "run" / "annotations.json").exists()
    assert len(server.seen) == 2 * 2 * 12


def test_below_the_coverage_the_next_session_asks_for_what_is_missing_alone(judge, tmp_path):
    silent = {"verdict/3/model-first", "verdict/7/baseline-first"}

    def script(key, attempt):
        return "refusal" if key.rpartition("/")[0] in silent else None

    with ScriptedTeacher(text=prefer_good, script=script) as server:
        with pytest.raises(CoverageError, match=r"10 of 12 comparisons \(83\.3%\)"):
            judge(server)
        asked = len(server.seen)
        with pytest.raises(CoverageError, match=r"10 of 12 comparisons"):
            judge(server)
        assert len(server.seen) == asked + 2 * len(silent)
        server.script = None
        result = judge(server)
        asked = len(server.seen)
        assert (result.win_rate.win_rate, result.answers_without_verdict) == (62.5, 8)
        assert judge(server) == result
        assert len(server.seen) == asked
    assert result.tokens == billed(server)


def test_above_the_coverage_a_missing_verdict_is_counted_and_the_comparison_left_out(judge):
    kinds, base = ["good"] * 20 + ["bad"] * 10, ["bad"] * 20 + ["good"] * 10
    script = lambda key, attempt: "refusal" if key.startswith("verdict/0/model-first") else None  # noqa: E731
    sides = {"outputs": answers(kinds, "new"), "baseline": answers(base, "old")}
    with ScriptedTeacher(text=prefer_good, script=script) as server:
        result = judge(server, **sides)
        rate, asked = result.win_rate, len(server.seen)
        assert judge(server, **sides) == result
    assert (rate.n_total, rate.n_missing, rate.n_wins) == (29, 1, 19)
    assert len(server.seen) == asked
