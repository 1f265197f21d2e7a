import json
from dataclasses import replace

import pytest

from alpaca_lora.selfinstruct.choosing import Chooser
from alpaca_lora.selfinstruct.fewshot import TaskWriter
from alpaca_lora.selfinstruct.profiles import MODERN, STANFORD
from alpaca_lora.selfinstruct.seeds import load_seeds
from alpaca_lora.teachers import Answer


def decided(profile, instructions):
    """The rule that drops each task of one answer, `kept` for those that stay."""
    seeds = load_seeds()
    chooser = Chooser(profile, seeds, threshold=0.7, with_input=False, judge_outputs=False)
    text = json.dumps({"tasks": [{"instruction": text, "input": "", "output": "x"} for text in instructions]})
    asked = TaskWriter(MODERN, seeds.tasks, seed=0).asked(0)
    answer = Answer(text=text, finish="stop", usage=None)
    return [decision.rule or "kept" for decision in chooser.decide(asked, answer, chat=True)]


@pytest.mark.parametrize(
    "instructions",
    [
        ["Объясни, что такое HTTP и зачем он нужен.", "Напиши стихотворение про сервер HTTP."],
        ["用Python写一个排序函数。", "解释Python的列表推导式是什么。"],
        ["Πες μου τι είναι το DNS.", "Γράψε ένα ποίημα για το DNS και τη θάλασσα."],
    ],
)
def test_tasks_in_other_scripts_are_not_one_task_for_a_latin_word_that_they_share(instructions):
    assert decided(MODERN, instructions) == ["kept", "kept"]
    assert decided(replace(MODERN, words=STANFORD.words), instructions) == ["kept", "not_novel"]


def test_a_task_that_is_nearly_an_earlier_one_is_dropped_in_any_script():
    near = ["Объясни коротко, что такое протокол HTTP.", "Объясни коротко, что такое этот протокол HTTP."]
    assert decided(MODERN, near) == ["kept", "not_novel"]
    near = ["请写一首关于大海和星星的短诗，不要超过四行。", "请写一首关于大海和星星的短诗，不要超过五行。"]
    assert decided(MODERN, near) == ["kept", "not_novel"]
