import json

import pytest

from alpaca_lora.cli import main
from alpaca_lora.records import Record, save_records

ASKED = ["--trained-on", "unknown", "--max-new-tokens", "8", "--resamples", "100"]


@pytest.fixture
def evaluate(tiny_base, train, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    save_records([Record(f"Write about {word}.", "", word) for word in ("rain", "owls", "tea")], tmp_path / "set.jsonl")

    def evaluate(*arguments, adapter=None):
        code = main(["evaluate", "--adapter", str(adapter or train(tiny_base)), "--data", "set.jsonl", *arguments])
        return code, capsys.readouterr()

    return evaluate


def test_a_summary_names_every_number_its_interval_and_the_report(evaluate, tmp_path):
    code, shown = evaluate(*ASKED, "--output-dir", "out")
    lines = shown.out.splitlines()
    assert code == 0
    assert lines[0] == "3 rows, 0 left out; 95 % intervals, seed 42"
    assert lines[-1] == f"report: {tmp_path / 'out/report.html'}"
    assert any(line.startswith("Loss of the reference answers, nats per token ") for line in lines)
    assert any(line.startswith("Length of an answer, characters ") for line in lines)
    assert "note: Few rows: an interval from fewer than 20 rows is narrower than the truth." in lines
    assert any(line.startswith("Answers that end by themselves within 8 tokens ") for line in lines)
    page = (tmp_path / "out/report.html").read_text(encoding="utf-8")
    assert page.count("Answers that end by themselves within 8 tokens") == 3  # tile, table and differences
    assert "<td>Empty answers, share</td>" in page
    assert "<h3>Empty answers" not in page  # 0 % of both models needs no picture
    assert sum("against tiny-base" in line for line in lines) == 6
    assert "note: Nobody knows what the adapter was trained on" in shown.out
    assert "asking tiny-base0 …" in shown.err


def test_json_is_what_stands_in_the_file(evaluate, tmp_path):
    code, shown = evaluate(*ASKED, "--output-dir", "out", "--json", "--quiet")
    assert (code, shown.err) == (0, "")
    assert json.loads(shown.out) == json.loads((tmp_path / "out/results.json").read_text(encoding="utf-8"))


def test_the_report_holds_the_command_that_repeats_it(evaluate, tmp_path):
    code, shown = evaluate(*ASKED, "--output-dir", "out", "--rows", "2", "--quiet")
    assert (code, shown.out) == (0, f"{tmp_path / 'out/report.html'}\n")
    page = (tmp_path / "out/report.html").read_text(encoding="utf-8")
    command = page.split('<pre class="command">')[1].split("</pre>")[0]
    assert command.endswith(
        "--data set.jsonl --trained-on unknown --rows 2 --max-new-tokens 8 --resamples 100 --output-dir out"
    )


def test_the_columns_of_a_set_may_be_mapped(evaluate, tmp_path):
    (tmp_path / "set.jsonl").write_text('{"frage": "Write about rain.", "reply": "Rain."}\n', encoding="utf-8")
    code, shown = evaluate(*ASKED, "--output-dir", "out")
    assert code == 2
    assert "add it, or name it in column_map (--map)" in " ".join(shown.err.split())
    columns = ["--map", "instruction=frage", "--map", "output=reply"]
    code, shown = evaluate(*ASKED, *columns, "--output-dir", "out")
    assert (code, shown.out.splitlines()[0][:19]) == (0, "1 rows, 0 left out;")
    command = (tmp_path / "out/report.html").read_text(encoding="utf-8").split('<pre class="command">')[1]
    assert "--map instruction=frage --map output=reply" in command


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "evaluate takes one of --adapter DIR, --annotations FILE and --card FILE, got none of them"),
        (["--adapter", "a", "--card", "b"], "got --adapter and --card"),
        (["--adapter", "a", "--judge", "gpt"], "--judge must be local or openai, got 'gpt'"),
        (["--adapter", "a", "--judge", "openai"], "needs a model: give its name at the endpoint (--judge-model)"),
        (
            ["--adapter", "a", "--judge-model", "x", "--budget-usd", "2"],
            "--judge-model, --budget-usd is for --judge local or --judge openai, and does nothing here: leave it out",
        ),
        (["--adapter", "a", "--judge", "local", "--base-url", "x"], "--base-url is for --judge openai, and does"),
        (["--adapter", "a", "--variants", "x", "--by-dataset"], "--variants, --by-dataset is for --annotations, and"),
        (
            [
                "--annotations",
                "x",
                "--judge",
                "openai",
                "--budget-usd",
                "3",
                "--tasks",
                "x",
                "--output-dir",
                "X",
                "--quiet",
            ],
            "--output-dir, --tasks, --judge, --budget-usd, --quiet is for --adapter, and does nothing here",
        ),
        (["--annotations", "x", "--rows", "3"], "--rows is for --adapter, and"),
        (["--annotations", "x", "--map", "input=y"], "--map is for --adapter, and"),
        (["--card", "x", "--json", "--by-dataset"], "--by-dataset is for --annotations, and does nothing here"),
        (["--adapter", "nowhere"], "no adapter at 'nowhere'"),
        (["--adapter", "a", "--rows", "0"], "config.rows must be an integer of at least 1, got 0"),
        (["--card", "nowhere.md"], "'nowhere.md' cannot be read as a model card"),
    ],
)
def test_what_cannot_be_asked_for_is_refused_in_words(arguments, said, capsys):
    assert main(["evaluate", *arguments]) == 2
    assert said in " ".join(capsys.readouterr().err.split())


def test_an_adapter_without_its_run_asks_for_the_training_data(evaluate):
    code, shown = evaluate("--output-dir", "out")
    assert code == 2
    assert "name the data (--trained-on FILE), or 'unknown'" in " ".join(shown.err.split())


def test_a_card_with_a_bare_claim_of_parity_fails_and_the_claim_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.md").write_text("# Card\n\nOn par with GPT-4.\n", encoding="utf-8")
    (tmp_path / "good.md").write_text("# Card\n\nOn par with GPT-4: 50 % (43 to 57 %).\n", encoding="utf-8")
    assert main(["evaluate", "--card", "good.md"]) == 0
    assert main(["evaluate", "--card", "good.md", "bad.md"]) == 2
    good, bad = "good.md: no claim of parity without an interval\n", "bad.md:3: claims parity without an interval: "
    assert capsys.readouterr().out == f"{good}{good}{bad}On par with GPT-4.\n"
