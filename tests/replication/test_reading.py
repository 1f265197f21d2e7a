import json

import pytest

from alpaca_lora import errors
from alpaca_lora.config.faults import settings_of
from alpaca_lora.config.packaged import PROFILES
from alpaca_lora.replication.reading import load_recipe
from alpaca_lora.replication.sections import SECTIONS

SMALL = {"data": "alpaca-mini", "finetune": {"max_steps": 2}}


def refused(source):
    with pytest.raises(errors.ConfigError) as caught:
        load_recipe(source)
    return str(caught.value).splitlines()


@pytest.fixture
def file(tmp_path):
    """Write a recipe and return its path, and what messages call it."""

    def write(text):
        path = tmp_path / "recipe.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_all_faults_of_a_file_are_named_at_once_with_their_lines(file):
    path = file(
        """\
name: 7
data: alpaca-mini
generate:
  num: 0
  budgit_usd: 1
curate:
  thresholds:
    near_duplicates: 0.9
  actions:
    refusal: burn
finetune:
  preset: stanford-8b
  lora:
    rank: 0
  batch_size: 6
  micro_batch_size: 4
evaluate:
  rows: many
export:
  - format: zip
  - format: hf
    dtype: q8_0
publish:
"""
    )
    lines = refused(path)
    assert [line.removeprefix(f"{path}:") for line in lines] == [
        "23: 'publish' is no stage and nothing else of a recipe; stages: generate, curate, finetune, evaluate, export; "
        "before them may stand profile, name, description, source, data, deviations",
        "1: name must be text, got 7",
        "4: generate.num must be an integer of at least 1, got 0",
        "5: generate.budgit_usd is not a setting; did you mean generate.budget_usd?",
        "7: curate: threshold: there is no rule 'near_duplicates'; alpaca-lora curate --rules lists them",
        "9: curate: action of refusal must be one of drop, fix, flag, off, got 'burn'",
        "12: unknown preset 'stanford-8b'; did you mean 'stanford-7b'? presets: alpaca-lora-24gb-bf16, alpaca-lora-7b, "
        "alpaca-qlora-12gb, alpaca-qlora-16gb, alpaca-qlora-24gb, alpaca-qlora-8gb, auto, laptop-cpu, stanford-7b",
        "14: finetune.lora.rank must be an integer from 1 to 1024, got 0",
        "15: finetune.batch_size 6 is no multiple of finetune.micro_batch_size 4; a batch of 4 or 8 is",
        "18: evaluate.rows must be an integer of at least 1, got 'many' (text)",
        "20: export: format must be one of 'hf', 'adapter', 'meta', 'gguf', 'gguf-adapter', 'ollama', got 'zip'",
        "22: export: dtype must be one of 'f32', 'f16', 'bf16' for hf, got 'q8_0'",
    ]


def test_stages_in_another_order_are_refused(file):
    path = file("data: alpaca-mini\nfinetune:\ncurate:\n")
    order = "stages run in the order generate, curate, finetune, evaluate, export"
    assert refused(path) == [f"{path}:3: 'curate' stands after 'finetune', and {order}: move it up"]


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        (
            {"data": "a.jsonl"},
            "a recipe needs at least one stage; stages: generate, curate, finetune, evaluate, export",
        ),
        (
            {"curate": {}},
            "there are no records to start from: add a section 'generate', or name a file or dataset with 'data'",
        ),
        ({"data": "alpaca-mini", "curate": {}, "export": {}}, "'export' needs an adapter: add a section 'finetune'"),
        (
            {"generate": {}, "data": "alpaca-mini"},
            "data has no use: there is neither 'curate' nor 'finetune'; leave it out",
        ),
        (
            {"data": "a.jsonl", "finetune": {"validation_size": 0}, "evaluate": {}},
            "evaluate.data names no set, and finetune.validation_size 0 holds out no records: name one, or hold some "
            "out",
        ),
        (
            {"data": "a.jsonl", "finetune": {}, "evaluate": {"data": "a.jsonl"}},
            "evaluate.data is what is trained on: leave it out to take what is held out of it",
        ),
        (
            {**SMALL, "evaluate": {"budget_usd": 1.0}},
            "evaluate.budget_usd is for a judge, and none is named: name one, or leave it out",
        ),
        (
            {"data": "a.jsonl", "curate": {}, "finetune": {"column_map": {"output": "answer"}}},
            "finetune.column_map: an earlier stage reads the columns; write it into 'curate'",
        ),
        (
            {"generate": {}, "curate": {"column_map": {"output": "answer"}}},
            "curate.column_map is for 'data', and there is none: leave it out",
        ),
        (
            {**SMALL, "evaluate": {"column_map": {"output": "answer"}}},
            "evaluate.column_map is for evaluate.data, and there is none: leave it out",
        ),
        (
            {
                "data": "a.jsonl",
                "curate": {},
                "finetune": {},
                "evaluate": {"data": "b.jsonl", "column_map": {"output": "a"}},
            },
            "evaluate.column_map: 'curate' reads evaluate.data too, and not by this map: give curate.column_map the "
            "same, or rename the columns",
        ),
        (
            {**SMALL, "export": {"format": "adapter", "base": "original"}},
            "export: base 'original' is of no use to adapter, which merges nothing: leave it out",
        ),
        ({**SMALL, "export": [{}, {"format": "hf"}]}, "export: 'hf' is asked for twice; keep one"),
        ({**SMALL, "deviations": "none"}, "deviations must be a list of texts, got 'none' (text)"),
        ({**SMALL, "export": "hf"}, "export must be a mapping of settings, got 'hf' (text)"),
        (
            {"generate": {"proxy": "http://me:secret@proxy:3128"}},
            "generate.proxy is not for a recipe: it may hold a password, and a recipe is for others to read; leave it "
            "out",
        ),
        (
            {"data": "alpaca-mini", "finetune": {"resume": "never"}},
            "finetune.resume is not for a recipe: each stage goes on by itself; leave it out",
        ),
        (
            {**SMALL, "profile": "laptp"},
            "unknown profile 'laptp'; did you mean 'laptop'? profiles: " + ", ".join(PROFILES.names()),
        ),
    ],
)
def test_what_stages_lack_is_said(recipe, said):
    assert refused(recipe) == [said]


def test_a_section_without_settings_takes_the_defaults(file):
    recipe = load_recipe(file("data: alpaca-mini\ncurate:\nfinetune:\n"))
    assert recipe.stages == ("curate", "finetune")
    assert recipe.finetune.config.model_fields_set == set()
    assert recipe.curate.config.compare == "task"


def test_a_file_may_start_from_a_profile_and_each_change_is_a_deviation(file):
    recipe = load_recipe(file("profile: laptop\nfinetune:\n  max_steps: 3\nevaluate:\n  rows: 5\nexport: {}\n"))
    profile = load_recipe("laptop")
    assert recipe.name == "laptop"
    assert recipe.finetune.max_steps == 3
    assert recipe.finetune.lora.rank == profile.finetune.lora.rank == 8
    assert [section.folder for section in recipe.export] == ["hf"]
    new = [text for text in recipe.deviations if text not in profile.deviations]
    assert new[:2] == [
        "finetune.max_steps: the profile has null, here 3",
        f"evaluate.rows: the profile has {profile.evaluate.rows}, here 5",
    ]


@pytest.mark.parametrize("name", PROFILES.names())
def test_a_profile_says_where_it_is_from_and_what_it_does_otherwise(name):
    recipe = load_recipe(name)
    assert recipe.name == name
    assert recipe.description.endswith(".")
    assert recipe.source
    assert len(recipe.deviations) >= 3
    assert all(text.endswith(".") for text in recipe.deviations)


@pytest.mark.parametrize("name", PROFILES.names())
def test_what_a_recipe_writes_of_itself_is_the_same_recipe(name, tmp_path):
    recipe = load_recipe(name)
    path = tmp_path / "recipe.json"
    path.write_text(json.dumps(recipe.to_json(), indent=2), encoding="utf-8")
    again = load_recipe(path)
    assert again.to_json() == recipe.to_json()
    assert [again.finetune.config, again.evaluate.config] == [recipe.finetune.config, recipe.evaluate.config]


def test_settings_that_only_limit_a_session_are_not_part_of_the_contract():
    given = {"generate": {"budget_usd": 1.0, "patience": 3, "num": 5}}
    assert {"budget_usd", "patience", "concurrency"}.isdisjoint(load_recipe(given).contract()["generate"])
    assert load_recipe(given).contract()["generate"]["num"] == 5


def test_every_setting_of_a_stage_has_its_description():
    for name, section in SECTIONS.items():
        assert all(field.description for _, field in settings_of(section)), name
