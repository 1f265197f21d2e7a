import shutil

import pytest

from alpaca_lora.replication.ahead import all_deviations, look_ahead
from alpaca_lora.replication.reading import load_recipe
from alpaca_lora.replication.stages import Work


@pytest.fixture
def outlooks(tmp_path, monkeypatch):
    """What the stages of a recipe would do, by stage."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)

    def look(recipe):
        return {item.stage: item for item in look_ahead(Work(load_recipe(recipe), tmp_path))}

    return look


def test_a_plan_tells_memory_and_time_where_the_model_is_known(outlooks, monkeypatch):
    asked = {"data": "a.jsonl", "finetune": {"base_model": "tinyllama-1.1b", "preset": "alpaca-qlora-24gb"}}
    monkeypatch.setattr(
        "alpaca_lora.replication.ahead.locate_base_model", lambda *_, **__: pytest.fail("a model was looked for")
    )
    said = outlooks(asked)["finetune"].said
    assert said[0] == "tinyllama-1.1b on a.jsonl"
    assert said[1].startswith("fits a 4090: ")
    assert "by its data sheet" in said[1]


def test_inputs_are_shown_by_their_place_in_the_directory(outlooks):
    stages = outlooks({"generate": {}, "data": "alpaca-mini", "curate": {"against": ["a.jsonl"]}, "finetune": {}})
    said = stages["curate"].said
    assert said[:2] == ("cleans 1-generate/joined.jsonl", "drops what is like a.jsonl")
    assert said[2].startswith("to be mended first: cannot read a.jsonl")
    assert stages["finetune"].said[0] == "smollm2-135m on 2-curate/curated.jsonl"


def test_an_evaluation_says_which_rows_and_who_judges_and_what_it_lacks(outlooks):
    recipe = {
        "data": "a.jsonl",
        "finetune": {"base_model": "tinyllama-1.1b"},
        "evaluate": {"rows": 5, "judge": "openai", "judge_model": "m", "budget_usd": 1.0},
    }
    said = outlooks(recipe)["evaluate"].said
    assert said[:2] == (
        "adapter and base on at most 5 rows of what the run holds out of a.jsonl; rows trained on are left out",
        "judged by m",
    )
    assert said[2].startswith("to be mended first: the environment variable OPENAI_API_KEY holds no key")


def test_what_later_stages_lack_is_said_first(outlooks, tmp_path):
    (tmp_path / "eval.jsonl").write_text('{"instruction": "Name a river.", "output": "The Nile."}\n')
    recipe = {
        "data": "alpaca-mini",
        "curate": {"against": [str(tmp_path / name) for name in ("eval.jsonl", "evall.jsonl", "evil.jsonl")]},
        "finetune": {},
        "evaluate": {"against": str(tmp_path / "eval.jsonl")},
        "export": [{"format": "hf"}, {"format": "gguf", "dtype": "q4_k_m", "llama_cpp": str(tmp_path)}],
    }
    lacking = {
        stage: [text for text in item.said if text.startswith("to be mended first: ")]
        for stage, item in outlooks(recipe).items()
    }
    assert {stage: len(texts) for stage, texts in lacking.items()} == {
        "curate": 1,
        "finetune": 0,
        "evaluate": 1,
        "export": 1,
    }
    assert all(name in lacking["curate"][0] for name in ("evall.jsonl: no such file", "evil.jsonl: no such file"))
    assert "eval.jsonl" in lacking["evaluate"][0]
    assert "llama-quantize" in lacking["export"][0]


def test_deviations_of_the_generator_need_no_key(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    found = all_deviations(load_recipe({"generate": {"teacher": "openai", "model": "m", "completion": True}}))
    assert "generate: model: published 'text-davinci-003', here 'm': it is no longer offered" in found
    assert not any("here chat" in text for text in found)
    chatting = all_deviations(load_recipe({"generate": {"teacher": "openai", "model": "m"}}))
    assert any("here chat" in text for text in chatting)


@pytest.mark.parametrize(
    "recipe",
    [
        {"data": "alpaca-mini", "finetune": {}, "evaluate": {"judge": "local", "judge_model": "nobody/has-this"}},
        {"generate": {"answers": "nobody/has-this"}},
    ],
)
def test_a_teacher_of_the_hub_is_not_looked_for(outlooks, recipe, monkeypatch):
    monkeypatch.setattr("alpaca_lora.models.locate.hf_hub_download", lambda *_, **__: pytest.fail("it was looked for"))
    said = " ".join(text for item in outlooks(recipe).values() for text in item.said)
    assert "nobody/has-this" in said
    assert "to be mended first" not in said


def test_the_base_of_an_adapter_to_compare_with_is_not_looked_for_and_its_files_are(
    outlooks, train, tiny_base, rewrite, tmp_path, monkeypatch
):
    for name in ("hf_hub_download", "snapshot_download"):
        monkeypatch.setattr(f"alpaca_lora.models.locate.{name}", lambda *_, **__: pytest.fail("it was looked for"))
    other = shutil.copytree(train(tiny_base), tmp_path / "other" / "adapter")
    rewrite(other / "alpaca_lora.json", lambda it: it.update(base_model="nobody/has-this"))
    recipe = {"data": "alpaca-mini", "finetune": {}, "evaluate": {"against": str(other.parent)}}
    assert "to be mended first" not in " ".join(outlooks(recipe)["evaluate"].said)
    rewrite(other / "alpaca_lora.json", lambda it: it.pop("template"))
    assert "alpaca_lora.json' is damaged" in " ".join(outlooks(recipe)["evaluate"].said)


def test_sets_are_read_by_the_maps_of_their_stages(outlooks, tmp_path):
    for name, word in (("data.jsonl", "river"), ("odd.jsonl", "sea")):
        (tmp_path / name).write_text(f'{{"frage": "Name a {word}.", "antwort": "The Aral."}}\n', encoding="utf-8")
    columns, odd = {"instruction": "frage", "output": "antwort"}, str(tmp_path / "odd.jsonl")
    recipe = {
        "data": str(tmp_path / "data.jsonl"),
        "curate": {"against": [odd], "column_map": columns},
        "finetune": {},
        "evaluate": {"data": odd, "column_map": columns},
    }
    said = [text for item in outlooks(recipe).values() for text in item.said]
    assert not any("to be mended first" in text for text in said)
