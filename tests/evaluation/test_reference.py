"""AlpacaEval's stored verdicts give the figures of its leaderboards."""

import csv
import json

import pytest

from alpaca_lora.evaluation import load_annotations, load_model_outputs, measure_win_rate, save_annotations

pytestmark = pytest.mark.reference

FILES = [
    ("alpaca-7b", "gpt4", "leaderboard_v1_gpt4.csv"),
    ("falcon-7b-instruct", "gpt4", "leaderboard_v1_gpt4.csv"),
    ("guanaco-65b", "gpt4", "leaderboard_v1_gpt4.csv"),
    ("phi-2", "gpt4", "leaderboard_v1_gpt4.csv"),
    ("text_davinci_001", "gpt4", "leaderboard_v1_gpt4.csv"),
    ("alpaca-7b", "weighted_gpt4_turbo", "leaderboard_v2_weighted.csv"),
]
FIGURES = ("win_rate", "standard_error", "discrete_win_rate", "n_wins", "n_wins_base", "n_draws", "n_total")


@pytest.fixture
def published(reference_data):
    """The row of a model on a leaderboard."""

    def find(leaderboard, model):
        with (reference_data / "alpaca_eval" / leaderboard).open(encoding="utf-8", newline="") as stream:
            return next(row for row in csv.DictReader(stream) if row[""] == model)

    return find


@pytest.mark.parametrize(("model", "judge", "leaderboard"), FILES)
def test_every_figure_is_the_leaderboard_s(reference_data, published, model, judge, leaderboard):
    rate = measure_win_rate(load_annotations(reference_data / f"alpaca_eval/{model}.{judge}.annotations.json"))
    row = published(leaderboard, model)
    assert [getattr(rate, name) for name in FIGURES] == pytest.approx([float(row[name]) for name in FIGURES], abs=1e-9)
    assert rate.n_total + rate.n_missing == 805


def test_alpaca_on_the_user_oriented_tasks(reference_data):
    rows = load_annotations(reference_data / "alpaca_eval/alpaca-7b.gpt4.annotations.json")
    rate = measure_win_rate([row for row in rows if row.dataset == "selfinstruct"])
    assert (rate.n_total, rate.n_wins, rate.n_wins_base, rate.n_draws) == (252, 63, 181, 8)
    assert round(rate.win_rate, 1) == 26.6


def test_length_controlled_rates_are_near_the_published_ones_or_refused(reference_data, published):
    differences = {}
    for model, judge, leaderboard in FILES:
        rate = measure_win_rate(load_annotations(reference_data / f"alpaca_eval/{model}.{judge}.annotations.json"))
        theirs = float(published(leaderboard, model)["length_controlled_winrate"])
        ours = rate.length_controlled
        differences[model, judge] = None if ours is None else abs(ours.win_rate - theirs)
    assert {key for key, value in differences.items() if value is None} == {
        ("guanaco-65b", "gpt4"),
        ("alpaca-7b", "weighted_gpt4_turbo"),
    }
    assert max(value for value in differences.values() if value is not None) < 1


@pytest.mark.parametrize("name", ["alpaca-7b.weighted_gpt4_turbo", "phi-2.gpt4"])
def test_stored_verdicts_come_back_as_they_were(reference_data, tmp_path, name):
    path = reference_data / f"alpaca_eval/{name}.annotations.json"
    save_annotations(load_annotations(path), tmp_path / "again.json")
    assert json.loads((tmp_path / "again.json").read_bytes()) == json.loads(path.read_bytes())


def test_stored_answers_are_read(reference_data):
    outputs = load_model_outputs(reference_data / "alpaca_eval/alpaca-7b.outputs.json")
    assert (len(outputs), {item.generator for item in outputs}) == (805, {"alpaca-7b"})
