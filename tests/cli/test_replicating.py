import json
import re

import pytest

from alpaca_lora.cli import main
from alpaca_lora.config.packaged import PROFILES
from tests.scripted_teacher import ScriptedTeacher

RECIPE = """\
generate:
  teacher: openai
  model: teacher-a
  base_url: {url}
  num: {num}
  budget_tokens: {budget}
  pause_seconds: 0.001
  {more}
curate:
  compare: {compare}
"""


@pytest.fixture
def server():
    with ScriptedTeacher() as server:
        yield server


@pytest.fixture
def replicate(server, tmp_path):
    """Run the command on a recipe of records and their curation; settings of it may be given."""

    def run(*flags, num=12, budget=1_000_000, compare="task", more=""):
        recipe = tmp_path / "mine.yaml"
        text = RECIPE.format(url=server.url, num=num, budget=budget, compare=compare, more=more)
        recipe.write_text(text, encoding="utf-8")
        return main(["replicate", "--recipe", str(recipe), "--output-dir", str(tmp_path / "run"), *flags])

    return run


def test_stages_run_one_after_the_other_and_the_last_words_say_what_came_out(replicate, capsys, tmp_path):
    assert replicate() == 0
    said = capsys.readouterr()
    assert "stage 1 of 2: generate, in 1-generate\n" in said.err
    assert "stage 2 of 2: curate, in 2-curate\n" in said.err
    assert "2 stages finished" in said.out
    assert re.search(r"records kept +12 of \d+ pieces", said.out)
    assert f"report    {tmp_path}/run/report.html\n" in said.out
    manifest = json.loads((tmp_path / "run" / "replication.json").read_text(encoding="utf-8"))
    assert [stage["dir"] for stage in manifest["stages"]] == ["1-generate", "2-curate"]
    assert manifest["recipe"]["generate"]["num"] == 12


def test_what_is_finished_is_not_done_again(replicate, server, capsys, tmp_path):
    assert replicate() == 0
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*") if path.is_file()}
    asked = len(server.seen)
    capsys.readouterr()
    assert replicate() == 0
    said = capsys.readouterr()
    assert said.err == "stage 1 of 2: generate is done already\nstage 2 of 2: curate is done already\n"
    assert "2 stages finished" in said.out
    assert len(server.seen) == asked
    changed = {path.name for path, time in files.items() if path.stat().st_mtime_ns != time}
    assert changed <= {"run.json", "recipe.json"}


def test_a_budget_ends_it_with_3_and_a_larger_one_goes_on(replicate, capsys, tmp_path):
    assert replicate("--quiet", num=200, budget=12_000) == 3
    said = capsys.readouterr()
    assert said.out == f"{tmp_path}/run\n"
    assert said.err == "note: not complete (budget); the same command goes on\n"
    assert not (tmp_path / "run" / "2-curate").exists()
    assert not (tmp_path / "run" / "replication.json").exists()
    assert replicate("--quiet", num=200) == 0
    assert capsys.readouterr().out == f"{tmp_path}/run/report.html\n"


def test_another_recipe_in_the_same_directory_is_refused_with_old_and_new(replicate, capsys, tmp_path):
    assert replicate("--quiet") == 0
    before = (tmp_path / "run" / "replication.json").read_bytes()
    assert replicate("--quiet", num=13, compare="instruction") == 2
    assert capsys.readouterr().err == (
        f"error: '{tmp_path}/run' holds another run: recipe.curate.compare was 'task', now 'instruction'; "
        "recipe.generate.num was 12, now 13. Give a new output_dir, or the old settings to go on\n"
    )
    assert (tmp_path / "run" / "replication.json").read_bytes() == before


def test_a_recipe_that_never_got_an_answer_may_be_changed(replicate, capsys):
    assert replicate("--quiet", more="completion: 1") == 2
    assert "generate.completion must be true or false, got 1" in capsys.readouterr().err
    assert replicate("--quiet", budget=10) == 3
    assert replicate("--quiet", num=5) == 0


def test_settings_of_an_endpoint_are_called_by_their_names_in_the_recipe(replicate, capsys):
    assert replicate(more="judge: m@https://example.com/v1") == 2
    assert "name the variable that holds the key for example.com with generate.judge_api_key_env" in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize("name", PROFILES.names())
def test_a_dry_run_shows_every_stage_and_deviation_and_leaves_nothing(name, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert main(["replicate", "--profile", name, "--dry-run"]) == 0
    said = capsys.readouterr()
    assert said.out.startswith(f"{name}: ")
    assert "\n3-finetune\n" in said.out
    assert re.search(r"^    lora.rank \d+$", said.out, re.MULTILINE)
    assert re.search(r"^\d+ deviations from the original:$", said.out, re.MULTILINE)
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_names_what_has_to_be_mended_and_what_it_costs(capsys, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert main(["replicate", "--profile", "stanford-2023", "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "  52,002 records, tasks by gpt-3.5-turbo-instruct, profile stanford-2023\n" in said
    assert "  uses at most 25,000,000 tokens\n" in said
    assert "  to be mended first: the environment variable OPENAI_API_KEY holds no key" in said


def test_the_help_lists_the_profiles_that_there_are(capsys):
    assert main(["replicate", "--help"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert all(name in said for name in PROFILES.names())


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ([], "give one of --profile NAME and --recipe FILE"),
        (["--profile", "laptop", "--recipe", "a.yaml"], "give one of --profile NAME and --recipe FILE"),
        (["--profile", "laptob"], "unknown profile 'laptob'; did you mean 'laptop'?"),
        (["--recipe", "none.yaml"], "'none.yaml' is neither a profile nor a file"),
    ],
)
def test_not_one_recipe_is_refused(flags, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["replicate", *flags]) == 2
    assert said in capsys.readouterr().err
