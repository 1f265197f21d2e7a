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
    monkeypatch.setattr("alpaca_lora.replication.ahead._check_base", lambda work: pytest.fail("a model was looked for"))
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
        "curate": {"against": [str(tmp_path / "eval.jsonl"), str(tmp_path / "evall.jsonl")]},
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
    assert "evall.jsonl" in lacking["curate"][0]
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
