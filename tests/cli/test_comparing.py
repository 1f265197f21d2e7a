import io
import json
import signal

import pytest

from alpaca_lora.cli import main


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("os.fsync", lambda descriptor: None)
    for name, word in (("new", "good"), ("old", "bad")):
        rows = [{"instruction": f"task {n}\x1b[31m", "output": f"{word} {n}", "generator": name} for n in range(12)]
        (tmp_path / f"{name}.json").write_text(json.dumps(rows))
    return ["--outputs", "new.json", "--baseline", "old.json", "--num", "3", "--output-dir", "run"]


@pytest.fixture
def vote(monkeypatch):
    """Answer at the terminal with these lines: `vote(["l", "t"], *arguments)` returns the exit code."""

    def run(lines, *arguments):
        monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{line}\n" for line in lines)))
        return main(["compare", *arguments])

    return run


def test_a_rater_stops_goes_on_and_learns_the_names_at_the_end(files, vote, capsys, tmp_path):
    assert vote(["what?", "l"], *files, "--terminal") == 3
    shown = capsys.readouterr()
    assert "=== 2 of 3: instruction" in shown.out
    assert "1 of 3 comparisons are done; the key stays sealed, and the same command goes on" in shown.err
    assert not any(text in shown.out for text in ("new", "old", "\x1b"))
    assert vote(["q"], "--output-dir", "run", "--terminal") == 3
    assert vote(["t", "2"], "--output-dir", "run", "--terminal") == 0
    shown = capsys.readouterr().out
    assert "new against old, 3 comparisons without names\nvotes       " in shown
    assert "resolution  2 decided comparisons tell no share from 50 %" in shown
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert (result["ties"], result["left"], result["right"], result["judge"]) == (1, 1, 1, None)


@pytest.mark.parametrize("stdin", [b"caf\xe9\nl\n", None])
def test_a_rater_who_types_anything_or_nothing_can_go_on(files, monkeypatch, capsys, stdin):
    monkeypatch.setattr("sys.stdin", stdin and io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8"))
    assert main(["compare", *files, "--terminal"]) == 3
    assert f"{1 if stdin else 0} of 3 comparisons are done" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize(("sent", "code", "last"), [(signal.SIGTERM, 143, "interrupted\n"), (signal.SIGINT, 3, "")])
def test_a_page_of_comparisons_ends_with_the_signals_code(files, start, opened, sent, code, last):
    pytest.importorskip("gradio", reason="the extra ui is not installed")
    assert main(["compare", *files, "--prepare"]) == 0
    child = start("compare", "--output-dir", "run", "--port", "0")
    opened(child.stderr.readline())
    child.send_signal(sent)
    _, said = child.communicate(timeout=60)
    told = "0 of 3 comparisons are done; the key stays sealed, and the same command goes on\n"
    assert (child.returncode, said) == (code, told + last)


def test_the_verdicts_of_a_judge_are_put_beside(files, vote, capsys):
    rows = [
        {"instruction": f"task {n}\x1b[31m", "output_1": f"bad {n}", "generator_1": "old", "output_2": f"good {n}",
         "generator_2": "new", "annotator": "gpt", "preference": 2}
        for n in range(12)
    ]  # fmt: skip
    with open("annotations.json", "w") as stream:
        json.dump(rows, stream)
    assert vote(["t"] * 3, *files, "--terminal", "--annotations", "annotations.json") == 0
    shown = capsys.readouterr().out
    assert "judge       gpt: 100.0 % (43.9 to 100.0) on 3 of the same rows" in shown
    assert "agreement   0.0 % (0.0 to 70.8) of 3, exact" in shown


def test_a_key_that_somebody_else_kept_is_asked_for_at_the_end(files, vote, capsys, tmp_path):
    assert main(["compare", *files, "--prepare"]) == 0
    said = capsys.readouterr().out
    commitment = json.loads((tmp_path / "run" / "comparison.json").read_text())["commitment"]
    assert said == f"3 comparisons are sealed; SHA-256 of the key {commitment}\n"
    (tmp_path / "run" / "key.json").rename(tmp_path / "kept.json")
    assert vote(["l"] * 3, "--output-dir", "run", "--terminal") == 0
    said = capsys.readouterr()
    assert (
        "all 3 comparisons are done, and key.json is not here: give the directory back to whoever sealed it" in said.out
    )
    assert said.err == ""
    assert not (tmp_path / "run" / "result.json").exists()
    assert main(["compare", "--output-dir", "run", "--key", "kept.jso"]) == 2
    assert "key 'kept.jso' cannot be read (No such file or directory): say where it is" in capsys.readouterr().err
    assert main(["compare", "--output-dir", "run", "--key", "kept.json"]) == 0
    assert "new against old" in capsys.readouterr().out


def test_without_a_number_all_rows_are_compared_that_differ(files, capsys):
    assert main(["compare", *files[:4], *files[6:], "--prepare"]) == 0
    assert capsys.readouterr().out.startswith("12 comparisons are sealed; ")


def test_what_checks_a_comparison_is_said_by_verify(files, vote, capsys):
    assert vote(["l"] * 3, *files, "--terminal") == 0
    assert main(["verify", "run"]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "'run' is a blind comparison, and those are not sealed: alpaca-lora compare --output-dir run tells" in said
    assert main(["compare", "--output-dir", "run"]) == 0
    assert "new against old, 3 comparisons without names" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--outputs", "new.json"], "a comparison needs two files of answers"),
        (["--output-dir", "nowhere"], "'nowhere' holds no comparison.json: begin one with two files of answers"),
        (["--outputs", "new.json", "--baseline", "old.json", "--num", "13"], "num must be from 1 to 12"),
        (["--outputs", "new.json", "--baseline", "new.json"], "gave the same answer to every instruction"),
        (["--num", "5"], "--num is for --outputs with --baseline, and does nothing here: leave it out"),
    ],
)
def test_what_cannot_be_compared_is_refused(files, capsys, arguments, said):
    assert main(["compare", *arguments]) == 2
    assert said in capsys.readouterr().err
