"""Whole comparisons by a judge on loopback: what counts, what it costs, and that all ways lead to the same bytes."""

import json
import math
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from alpaca_lora import LocalTeacher, OpenAITeacher, SelfInstructConfig
from alpaca_lora.config import JudgeConfig
from alpaca_lora.errors import ConfigError, CoverageError, RunError, TeacherRefusedError
from alpaca_lora.evaluation import ModelOutput, judge_outputs, load_annotations, measure_win_rate, save_model_outputs
from alpaca_lora.teachers import Answer, Usage
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


def test_concurrency_and_faults_change_nothing_in_the_verdicts_and_the_ledger_holds_the_bill(judge, capfd):
    with ScriptedTeacher(text=prefer_good) as server:
        clean = judge(server, "clean", concurrency=1)
    with ScriptedTeacher(text=prefer_good, rate=0.5) as faulty:
        result = judge(faulty, "faulty", concurrency=16)
    assert result.annotations.read_bytes() == clean.annotations.read_bytes()
    assert (result.win_rate, result.repeated_alike) == (clean.win_rate, clean.repeated_alike)
    assert {event["kind"] for event in events(result) if event["event"] in ("release", "doubt")} >= {"busy", "garbage"}
    assert result.tokens + result.doubtful_tokens >= billed(faulty) > billed(server)
    said = "".join(capfd.readouterr())
    assert KEY not in said + "".join(path.read_text() for path in result.directory.iterdir())


def test_a_judge_that_bills_once_has_a_bill_that_is_the_ledger(judge):
    with ScriptedTeacher(
        text=prefer_good, rate=0.4, once=True, faults=("cut_body", "reset", "html", "busy", "refusal", "null_content")
    ) as server:
        result = judge(server)
    assert result.answers_without_verdict > 0
    assert (result.tokens, result.doubtful_tokens) == (billed(server), 0)


def test_a_budget_ends_the_run_without_a_score_and_a_larger_one_pays_for_the_rest_alone(judge, tmp_path):
    with ScriptedTeacher(text=prefer_good) as server:
        with pytest.raises(CoverageError, match=r"of 12 comparisons .* \(budget: .* tokens are booked"):
            judge(server, budget_tokens=5_000, concurrency=1)
        paid, asked = billed(server), len(server.seen)
        assert 0 < paid <= 5_000
        assert not (tmp_path / "run" / "annotations.json").exists()
        result = judge(server)
        whole = judge(server, "whole")
    assert len(server.seen) == 2 * 28
    assert asked < 28
    assert result.annotations.read_bytes() == whole.annotations.read_bytes()


def budget_for(result, calls):
    """The largest budget that ends a run like this one after so many calls."""
    booked = {
        kind: [event["tokens"] for event in events(result) if event["event"] == kind] for kind in ("answer", "reserve")
    }
    return sum(booked["answer"][:calls]) + booked["reserve"][calls] - 1


def test_a_budget_that_ends_among_the_repeats_leaves_the_score_and_says_so(judge):
    with ScriptedTeacher(text=prefer_good) as server:
        whole = judge(server, "whole", concurrency=1)
        cut = judge(server, budget_tokens=budget_for(whole, 26), concurrency=1)
        assert (cut.win_rate, cut.comparisons, cut.repeated) == (whole.win_rate, 12, 2)
        assert cut.annotations.read_bytes() == whole.annotations.read_bytes()
        (note,) = cut.notes
        assert note.startswith("The judge was not asked everything (budget: ")
        assert judge(server) == replace(whole, directory=cut.directory)


def test_a_budget_that_ends_with_enough_verdicts_leaves_the_others_null(judge):
    sides = {"outputs": answers(["good"] * 20, "new"), "baseline": answers(["bad"] * 20, "old")}
    with ScriptedTeacher(text=prefer_good) as server:
        whole = judge(server, "whole", **sides, concurrency=1)
        for calls in (39, 38):
            cut = judge(server, str(calls), budget_tokens=budget_for(whole, calls), concurrency=1, **sides)
            assert (cut.win_rate.n_total, cut.win_rate.n_missing, cut.repeated) == (19, 1, 0)
            rows = load_annotations(cut.annotations)
            assert [row.preference is None for row in rows] == [False] * calls + [True] * (40 - calls)
        with pytest.raises(CoverageError, match=r"18 of 20 comparisons .* \(budget: "):
            judge(server, "37", budget_tokens=budget_for(whole, 37), concurrency=1, **sides)


@pytest.mark.slow
def test_a_run_that_is_killed_again_and_again_pays_for_no_verdict_twice(judge, repository, tmp_path, monkeypatch):
    save_model_outputs(answers(KINDS, "new"), tmp_path / "new.json")
    save_model_outputs(answers(BASE_KINDS, "old"), tmp_path / "old.json")
    code = (
        "import sys; from alpaca_lora import OpenAITeacher; from alpaca_lora.config import JudgeConfig\n"
        "from alpaca_lora.evaluation import ModelOutput, judge_outputs, load_model_outputs\n"
        "new, old = map(load_model_outputs, sys.argv[1:3])\n"
        "judge_outputs(new, old, teacher=OpenAITeacher('teacher-a', base_url=sys.argv[3]), directory=sys.argv[4],\n"
        "              config=JudgeConfig(budget_tokens=10**9, concurrency=2, repeats=4))"
    )
    files = [str(tmp_path / name) for name in ("new.json", "old.json")]
    monkeypatch.setenv("PYTHONPATH", str(repository))
    held = ("verdict/2/model-first/1", "verdict/8/baseline-first/1")

    def hold(key, attempt):
        return "silence" if key in held and attempt == 1 else None

    with ScriptedTeacher(text=prefer_good, script=hold, once=True) as server:
        for key in held:
            session = subprocess.Popen([sys.executable, "-c", code, *files, server.url, str(tmp_path / "killed")])
            while not server.attempts[key]:
                assert session.poll() is None
                time.sleep(0.01)
            session.send_signal(signal.SIGKILL)
            session.wait()
        result = judge(server, "killed")
        assert result.annotations.read_bytes() == judge(server, "whole").annotations.read_bytes()
    answered = [event["request"] for event in events(result) if event["event"] == "answer"]
    assert len(answered) == len(set(answered)) == 28
    assert [event["kind"] for event in events(result) if event["event"] == "doubt"].count("interrupted") >= 2
    assert result.doubtful_tokens == 0  # the server said that it bills a request once


class PlantedJudge:
    """A judge in this process that adds `bias` to the log odds of whichever answer it is shown first."""

    free, chat, model, notes = True, True, "planted", ()

    def __init__(self, bias, seed):
        self.bias, self.seed = bias, seed

    def describe(self):
        return {"kind": "planted", "model": self.model}

    def most_prompt_tokens(self, request):
        return len(request.prompt)

    def redact(self, text):
        return text

    async def answer(self, request):
        instruction, first, _ = shown(request.prompt)
        quality = self.quality(instruction)
        odds = (quality if "of new" in first else -quality) + self.bias
        draw = random.Random(f"{self.seed}/{request.key.partition('/')[2]}").random()
        letter = "A" if draw < 1 / (1 + math.exp(-odds)) else "B"
        return Answer(text=verdict(letter), finish="stop", usage=Usage(10, 1))

    async def close(self):
        pass

    def quality(self, instruction):
        return random.Random(f"{self.seed}/{instruction}").gauss(0.4, 0.8)


def test_a_planted_position_bias_is_detected_and_corrected_within_its_interval(quick_disk, tmp_path):
    covered, kinds = 0, ["fine"] * 300
    for seed in range(5):
        planted = PlantedJudge(1.0, seed)
        truth = sum(1 / (1 + math.exp(-planted.quality(f"task {n}"))) for n in range(300)) / 300
        result = judge_outputs(
            answers(kinds, "new"),
            answers(kinds, "old"),
            teacher=planted,
            directory=tmp_path / str(seed),
            config=JudgeConfig(repeats=50),
        )
        bias = result.win_rate.position_bias
        assert bias.p_value < 0.01
        assert bias.shown_first > 0.6
        assert result.self_consistency.low < result.repeated_alike / result.repeated < 1
        covered += bias.interval.low <= truth <= bias.interval.high
    assert covered >= 4


def test_without_the_planted_bias_the_same_look_finds_none(quick_disk, tmp_path):
    kinds = ["fine"] * 300
    for seed in range(3):
        result = judge_outputs(
            answers(kinds, "new"),
            answers(kinds, "old"),
            teacher=PlantedJudge(0.0, seed),
            directory=tmp_path / str(seed),
        )
        assert result.win_rate.position_bias.p_value > 0.01


def test_a_verdict_is_asked_for_a_second_time_with_another_seed(judge):
    with ScriptedTeacher(text=prefer_good) as server:
        judge(server, repeats=24)
    seeds = {seen["key"]: seen["body"]["seed"] for seen in server.seen}
    repeats = {key: seed for key, seed in seeds.items() if key.startswith("repeat/")}
    assert len(repeats) == 24
    assert all(seed != seeds[key.replace("repeat", "verdict")] for key, seed in repeats.items())


def test_a_local_judge_weighs_the_letters_offline_and_is_asked_nothing_twice(tiny_base, quick_disk, tmp_path):
    sides = answers(KINDS, "new"), answers(BASE_KINDS, "old")
    teacher = LocalTeacher(str(tiny_base), device="cpu")
    results = [
        judge_outputs(*sides, teacher=teacher, directory=tmp_path / name, config=JudgeConfig(repeats=3))
        for name in ("one", "two")
    ]
    assert results[0].annotations.read_bytes() == results[1].annotations.read_bytes()
    assert (results[0].win_rate.n_total, results[0].repeated, results[0].usd) == (12, 0, "0")
    assert results[0].self_consistency is None
    rows = load_annotations(results[0].annotations)
    assert all(1 < row.preference < 2 for row in rows)
    assert len({row.preference for row in rows}) > 12
    weights = json.loads(rows[0].extra["raw_completion"])
    assert sum(weights.values()) == pytest.approx(1)
    assert rows[0].preference == pytest.approx(1 + weights["B"])  # the baseline was shown first
    assert rows[1].preference == pytest.approx(1 + json.loads(rows[1].extra["raw_completion"])["A"])


def test_a_completion_endpoint_goes_on_with_the_beginning_of_a_verdict(judge):
    with ScriptedTeacher(text=lambda prompt: prefer_good(prompt).removeprefix('{"verdict": "')) as server:
        result = judge(server, chat=False)
    assert result.win_rate.win_rate == 62.5
    assert server.seen[0]["body"]["prompt"].endswith('\n{"verdict": "')


def test_another_judge_seed_or_answer_in_the_same_directory_is_refused(judge):
    with ScriptedTeacher(text=prefer_good) as server, ScriptedTeacher(text=prefer_good) as other:
        judge(server)
        for change, said in (
            ({"seed": 1}, "config.seed was 42, now 1"),
            ({"outputs": answers(["good"] * 12, "new")}, "outputs_sha256"),
        ):
            with pytest.raises(RunError, match=said):
                judge(server, **change)
        with pytest.raises(RunError, match="judge.base_url"):
            judge(other)
        assert judge(server, budget_tokens=10**8, concurrency=2).win_rate.n_total == 12


def test_a_wrong_key_stops_at_once(judge):
    with ScriptedTeacher(script=lambda key, attempt: "wrong_key") as server, pytest.raises(TeacherRefusedError):
        judge(server, concurrency=1)
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"budget_tokens": None}, "no budget: give budget_usd or budget_tokens"),
        ({"budget_tokens": None, "budget_usd": 1.0}, "the price of 'teacher-a' is not known"),
        ({"outputs": []}, "outputs must hold answers of one model, got none"),
        (
            {"outputs": answers(KINDS, "new")[1:]},
            "outputs has no answer to 1 instructions .*, as 'task 0'",
        ),
        ({"baseline": answers(KINDS, "a")[:6] + answers(KINDS, "b")[6:]}, "answers of one model, got 'a', 'b'"),
    ],
)
def test_what_cannot_be_judged_is_refused_before_anything_is_sent(judge, change, said, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "none"))
    with ScriptedTeacher() as server, pytest.raises(ConfigError, match=said):
        judge(server, **change)
    assert server.seen == []
    assert not (tmp_path / "run").exists()


def test_a_name_for_a_teacher_and_foreign_settings_are_refused(tmp_path):
    sides = answers(KINDS, "new"), answers(BASE_KINDS, "old")
    with pytest.raises(ConfigError, match="judge must be an OpenAITeacher, a LocalTeacher or another Teacher"):
        judge_outputs(*sides, teacher="gpt-5", directory=tmp_path / "run")
    with pytest.raises(ConfigError, match="config must be a JudgeConfig, got SelfInstructConfig"):
        judge_outputs(*sides, teacher=PlantedJudge(0, 0), directory=tmp_path / "run", config=SelfInstructConfig())


@pytest.mark.slow
def test_the_embedded_model_minds_the_order_alone_and_the_result_says_so(quick_disk, tmp_path):
    """It is far too small to judge: of a right and a wrong answer it takes whichever stands first."""
    sums = [(3, 4), (5, 6), (2, 9), (7, 7), (8, 1), (6, 3), (9, 9), (4, 2), (5, 1), (8, 8)]

    def said(wrong, generator):
        return [
            ModelOutput(instruction=f"Add {a} and {b}.", output=f"The sum is {a + b + wrong}.", generator=generator)
            for a, b in sums
        ]

    result = judge_outputs(
        said(0, "right"),
        said(3, "wrong"),
        teacher=LocalTeacher(),
        directory=tmp_path / "run",
        config=JudgeConfig(repeats=0),
    )
    rate = result.win_rate
    assert (rate.n_wins, rate.n_draws, rate.n_total) == (0, 10, 10)
    assert rate.position_bias.consistent == 0
    assert rate.position_bias.p_value < 0.01
    assert rate.position_bias.shown_first > 0.6
