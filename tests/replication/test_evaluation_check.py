"""The figures of an evaluation are computed again from its answers, and the win rate from the judge's words."""

import json
import re

import pytest

from alpaca_lora.replication.evaluation_check import _by_model

CHECKS = dict.fromkeys(("files", "contract", "answers", "figures", "judge"), "passed")


def test_the_figures_follow_from_the_answers(evaluation, found_in):
    found = found_in(evaluation)
    assert (found.result.kind, found.outcomes) == ("evaluation", CHECKS)
    assert "measures with their intervals computed again" in found.said["figures"]


def test_the_run_of_a_judge_can_be_verified_alone(evaluation, found_in):
    found = found_in(evaluation / "judge")
    assert (found.result.kind, found.outcomes) == ("judging", {"files": "passed", "judge": "passed"})


def test_stored_answers_and_no_judge_are_verified_too(evaluation, train, tiny_base, assess, found_in, tmp_path):
    stored = next(path for path in sorted((evaluation / "outputs").iterdir()) if "base" in path.name)
    assess(train(tiny_base), tmp_path / "out", trained_on="unknown", judge=None, against=stored)
    found = found_in(tmp_path / "out")
    assert found.outcomes == {name: "passed" for name in CHECKS if name != "judge"}


@pytest.mark.parametrize(
    ("file", "change", "check", "said"),
    [
        (
            "results.json",
            lambda it: next(iter(it["measures"][0]["models"].values())).update(value=0.1),
            "figures",
            "results.json: loss is not what the answers in rows.jsonl give",
        ),
        ("results.json", lambda it: it["measures"].pop(), "figures", "characters is not what"),
        ("results.json", lambda it: it["set"].update(rows=7), "contract", "does not agree with run.json: rows 7"),
        ("results.json", lambda it: it["models"][0].update(adapter_sha256="0"), "contract", "does not agree with run"),
        (
            "results.json",
            lambda it: it["judge"]["win_rate"].update(win_rate=99.0),
            "judge",
            "does not agree with judge/",
        ),
        ("rows.jsonl", lambda rows: _first(rows[0]).update(answer="Else."), "answers", "not what journal.jsonl has"),
        ("rows.jsonl", lambda rows: _first(rows[0])["loss"].update(nll=1.0), "answers", "not what journal.jsonl has"),
        ("rows.jsonl", lambda rows: rows[0]["record"].update(instruction="Else."), "answers", "outputs/ has not"),
        ("rows.jsonl", lambda rows: rows.pop(), "answers", "does not hold the rows"),
        ("rows.jsonl", lambda rows: rows[1].pop("models"), "answers", "rows.jsonl:2: the line is damaged"),
        ("journal.jsonl", lambda rows: rows.pop(), "answers", "not what journal.jsonl has"),
        (
            "journal.jsonl",
            lambda rows: rows.append({"piece": "nobody/loss/0", "value": []}),
            "answers",
            r"^journal\.jsonl has 'nobody/loss/0', a piece of no model of results\.json",
        ),
        ("judge/annotations.json", lambda rows: rows[0].update(preference=1.5), "judge", "annotations.json does not"),
        ("judge/judge.json", lambda it: it.update(repeated_alike=0), "judge", "does not agree with"),
        ("run.json", lambda it: it["config"].update(seed=1), "contract", "does not agree with run.json: config"),
    ],
)
def test_what_does_not_follow_is_found_although_it_is_sealed(
    evaluation, copy_of, found_in, rewrite, file, change, check, said
):
    failure = found_in(copy_of(evaluation, lambda it: rewrite(it / file, change))).failure
    assert failure is not None
    assert (failure.check, bool(re.search(said, failure.found))) == (check, True), failure


def test_an_evaluation_of_an_earlier_version_is_checked_as_far_as_it_goes(evaluation, copy_of, found_in):
    found = found_in(copy_of(evaluation, lambda it: (it / "rows.jsonl").unlink()))
    assert found.outcomes == CHECKS | {"answers": "not checked", "figures": "not checked"}
    assert "there is no rows.jsonl" in found.said["answers"]


def test_pieces_of_tasks_are_told_from_answers_by_the_name_of_the_model(tmp_path):
    pieces = {
        "org/name/loss/0": [[1.0, 2, True]],
        "org/name/answers/1": [["A river. ", 3, True]],
        "org/name/task/loss/sums.yaml": {"figures": {}},
        "org/name/task/answers/0": {"figures": {}},
    }
    lines = (json.dumps({"piece": piece, "value": value}) + "\n" for piece, value in pieces.items())
    (tmp_path / "journal.jsonl").write_text("".join(lines))
    found = _by_model(tmp_path, ["org", "org/name"])
    assert found == {
        "org": {"loss": [], "answers": []},
        "org/name": {"loss": [[1.0, 2, True]], "answers": [("A river.", True)]},
    }


def _first(row):
    return next(iter(row["models"].values()))
