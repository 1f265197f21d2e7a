import json

import pytest

from alpaca_lora.cli import main


def row(number, preference, *, model="new", lengths=(10, 12), **others):
    texts = {"output_1": "b" * lengths[0], "output_2": "m" * lengths[1]}
    names = {"generator_1": "old", "generator_2": model, "annotator": "judge", "dataset": f"part {number % 2}"}
    return {"instruction": f"task {number}", **texts, **names, "preference": preference, **others}


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write(name, rows):
        (tmp_path / name).write_text(json.dumps(rows), encoding="utf-8")

    return write


def test_a_table_shows_the_rate_with_its_interval_and_what_it_can_tell(write, capsys):
    write("a.json", [row(n, 1 + (n % 4 == 0), lengths=(10, 9 + n % 3)) for n in range(100)])
    assert main(["evaluate", "--annotations", "a.json"]) == 0
    shown = capsys.readouterr().out
    head, line, *rest = shown.splitlines()
    assert " ".join(head.split()) == "model baseline n won drawn lost win rate, % length-controlled, %"
    assert line.startswith("new    old       100   25      0    75  25.0 (17.5 to 34.3)")
    assert "judged by   judge" in rest
    assert "resolution  100 comparisons tell 50 % from 63.8 %, four times in five" in rest
    assert "note:" not in shown


def test_three_comparisons_tell_nothing_from_one_half(write, capsys):
    write("a.json", [row(n, 2) for n in range(3)])
    assert main(["evaluate", "--annotations", "a.json"]) == 0
    assert "resolution  3 comparisons tell no share from 50 %" in capsys.readouterr().out.splitlines()


def test_json_is_one_object_per_model_file_and_part(write, capsys):
    write("a.json", [row(n, 2) for n in range(4)] + [row(n, 1, model="other") for n in range(2)])
    write("b.json", [row(0, 1.5)])
    assert main(["evaluate", "--annotations", "a.json", "b.json", "--by-dataset", "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["file"], line["model"], line["dataset"], line["n_total"], line["win_rate"]) for line in lines] == [
        ("a.json", "new", None, 4, 100),
        ("a.json", "new", "part 0", 2, 100),
        ("a.json", "new", "part 1", 2, 100),
        ("a.json", "other", None, 2, 0),
        ("a.json", "other", "part 0", 1, 0),
        ("a.json", "other", "part 1", 1, 0),
        ("b.json", "new", None, 1, 50),
        ("b.json", "new", "part 0", 1, 50),
    ]
    assert lines[-1]["standard_error"] is None


def test_what_makes_a_rate_doubtful_is_noted(write, capsys):
    longer = [10] * 16 + [90] * 3 + [5]  # most are equally long
    write("a.json", [row(n, None if n < 2 else 1, lengths=(10, longer[n])) for n in range(20)])
    assert main(["evaluate", "--annotations", "a.json"]) == 0
    shown = capsys.readouterr().out
    assert "note: new: 2 comparisons, 10%, have no preference; judge them again before you report a rate" in shown
    assert (
        "note: new: no win rate at equal lengths: too few answers are longer than the baseline's, or too few shorter, "
        "to tell quality from length; give --variants" in shown
    )


def test_variants_of_the_baseline_give_the_length_controlled_rate(write, capsys):
    write("a.json", [row(n, 1 + n % 2, lengths=(100, 180 + n)) for n in range(40)])
    write("concise.json", [row(n, 1 + (n % 4 == 0), model="concise", lengths=(100, 40)) for n in range(40)])
    write("verbose.json", [row(n, 1 + (n % 4 > 0), model="verbose", lengths=(100, 190)) for n in range(40)])
    command = ["evaluate", "--annotations", "a.json", "--variants", "concise.json", "verbose.json", "--json"]
    assert main(command) == 0
    (line,) = capsys.readouterr().out.splitlines()
    controlled = json.loads(line)["length_controlled"]
    assert controlled["length_effect"] > 0
    assert controlled["win_rate"] < json.loads(line)["win_rate"]


def test_a_judge_that_takes_the_first_answer_is_noted(write, capsys):
    both = [row(n, 1 + shown, is_switched_outputs=bool(shown)) for n in range(20) for shown in (0, 1)]
    write("a.json", both)
    assert main(["evaluate", "--annotations", "a.json"]) == 0
    shown = capsys.readouterr().out
    assert "note: new: the answer shown first gets 100.0 % (p = 1.9e-06); 0% of 20 pairs have one winner" in shown
    assert "win rate without the order 50.0 (" in shown


def test_what_has_no_preference_takes_no_other_rate_away(write, capsys):
    write("a.json", [row(n, None if n % 2 else 2) for n in range(4)] + [row(n, None, model="mute") for n in range(2)])
    assert main(["evaluate", "--annotations", "a.json", "--by-dataset", "--json"]) == 0
    said = capsys.readouterr()
    assert [json.loads(line)["dataset"] for line in said.out.splitlines()] == [None, "part 0"]
    assert said.err.splitlines() == [
        "note: a.json: part 1: no comparison of 'new' with 'old' has a preference; judge them again",
        "note: a.json: no comparison of 'mute' with 'old' has a preference; judge them again",
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--annotations", "nowhere.json"], "nowhere.json: no such file"),
        (["--annotations", "a.json", "--variants", "gpt.json"], "variants must be judged against 'old' by 'judge'"),
        (["--annotations", "none.json"], "no comparison of 'new' with 'old' has a preference; judge them again"),
    ],
)
def test_what_cannot_be_scored_is_refused(write, capsys, arguments, said):
    write("a.json", [row(0, 2)])
    write("gpt.json", [row(0, 2) | {"generator_1": "gpt"}])
    write("none.json", [row(0, None)])
    assert main(["evaluate", *arguments]) == 2
    assert said in capsys.readouterr().err
