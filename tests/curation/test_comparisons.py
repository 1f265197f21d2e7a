import random

import pytest

from alpaca_lora.curation import CurationSettings, curate
from alpaca_lora.curation.comparisons import compare_with_held_out, compare_within
from alpaca_lora.errors import MissingDependencyError
from alpaca_lora.records import Record

QUESTION = "Name the three largest cities of Portugal and say in one sentence what each of them is known for today."


def rules(found, place):
    return [finding.rule for finding in found.get(place, ())]


def test_a_repetition_is_found_whatever_blanks_are_around_it():
    records = [Record("Name a colour.", "", "Red."), Record(" Name a colour.", "", "Red.\n")]
    found = compare_within(records, "task", "exact")
    assert rules(found, 1) == ["exact_duplicate"]
    assert found[1][0].other == 0


def test_a_repetition_in_other_letters_and_blanks_is_a_near_duplicate_and_no_conflict():
    records = [
        Record("Name a colour.", "", "Red."),
        Record("name  a COLOUR.", "", "Red."),
        Record("Name a colour.", "", "RED"),
        Record("Name a colour.", "", "red."),
    ]
    found = compare_within(records, "task", "exact")
    assert set(rules(found, 1)) == {"near_duplicate"}
    assert set(rules(found, 2)) == {"near_duplicate", "conflicting_answer"}
    assert "the task of" not in "".join(finding.detail for finding in found[3] if finding.other == 0)


def test_another_answer_to_the_same_task_is_a_conflict_and_a_near_duplicate():
    records = [Record("Name a colour.", "", "Red."), Record("Name a colour.", "", "Blue.")]
    assert rules(compare_within(records, "task", "exact"), 1) == ["conflicting_answer", "near_duplicate"]


def test_the_input_makes_a_general_instruction_another_task():
    records = [
        Record("Translate into German.", "The sea is wide.", "Das Meer."),
        Record("Translate into German.", "It rains on my hat.", "Es regnet."),
    ]
    assert rules(compare_within(records, "task", "exact"), 1) == []
    assert rules(compare_within(records, "instruction", "exact"), 1) == ["near_duplicate"]


TOLD_APART = {
    "Russian inputs": [
        Record("Translate the sentence into English.", text, answer)
        for text, answer in {"Кошка спит.": "The cat sleeps.", "Завтра дождь.": "It rains tomorrow."}.items()
    ],
    "Chinese inputs": [
        Record("Translate the sentence into English.", text, answer)
        for text, answer in {"猫在睡觉。": "The cat sleeps.", "明天下雨。": "It rains tomorrow."}.items()
    ],
    "a Latin word in Chinese": [
        Record("用Python写一个排序函数。", "", "1"),
        Record("解释Python的列表推导式是什么。", "", "2"),
    ],
    "an operator": [
        Record(f"What is 12 {sign} 7?", "", answer) for sign, answer in {"+": "19", "-": "5", "*": "84"}.items()
    ],
    "a number beside an operator": [Record("What is 12 + 7?", "", "19"), Record("What is 12 + 8?", "", "20")],
    "brackets": [Record("Evaluate.", "(2 + 3) * 4 - 6", "14"), Record("Evaluate.", "2 + (3 * 4) - 6", "8")],
    "operators as input": [
        Record("Evaluate the expression.", "8 + 2", "10"),
        Record("Evaluate the expression.", "8 / 2", "4"),
    ],
    "names of languages": [Record(f"Explain what {name} is used for.", "", name) for name in ("C++", "C#", "C")],
    "operators in words": [
        Record("What is 12 plus 7?", "", "19"),
        Record("What is 12 minus 7?", "", "5"),
        Record("What is 12 times 7?", "", "84"),
    ],
    "pointers": [Record("Explain: int *a, b;", "", "1"), Record("Explain: int *a, *b;", "", "2")],
    "emoji": [Record("What does the emoji say?", "👍", "Yes."), Record("What does the emoji say?", "👎", "No.")],
    "case": [Record("Is this word capitalised?", "Paris", "Yes."), Record("Is this word capitalised?", "paris", "No.")],
    "indentation": [
        Record("Does this Python code run?", "def f():\n    return 1", "Yes."),
        Record("Does this Python code run?", "def f():\nreturn 1", "No."),
    ],
    "indentation of the first line": [
        Record("Does this Python code run?", "x = 1\nprint(x)", "Yes."),
        Record("Does this Python code run?", "  x = 1\nprint(x)", "No."),
    ],
    "nothing but punctuation": [
        Record("Name the mark.", "?", "Question mark."),
        Record("Name the mark.", ";", "Semicolon."),
    ],
}


@pytest.mark.parametrize("records", TOLD_APART.values(), ids=TOLD_APART)
def test_what_tells_tasks_apart_is_seen(records, tmp_path):
    assert curate(records, tmp_path / "out").kept == len(records)


@pytest.mark.parametrize(
    "records",
    [
        [
            Record("Переведи предложение.", "Сегодня кошка долго спит."),
            Record("Переведи предложение.", "Кошка долго спит."),
        ],
        [Record("翻译这个句子。", "今天猫睡得很久。"), Record("翻译这个句子。", "今天猫睡得很久了。")],
        [Record("What is 12 + 7?", "", "19"), Record("What is: 12+7?", "", "It is 19.")],
        [Record("Write about **cats** and dogs."), Record("Write about cats and *dogs*.")],
        [Record("What is 12 - 7?", "", "5"), Record("What is 12 − 7?", "", "5.")],
        [Record("What is 3 * 4?", "", "12"), Record("What is 3 × 4?", "", "12.")],
        [Record("What is 3 × 4?", "", "12"), Record("What is 3 times 4?", "", "12.")],
        [Record("Translate the Morse code.", "... --- ...", "SOS"), Record("Translate the Morse code", "... --- ...")],
        [Record("Summarise.", "- The sea is wide.", "Wide."), Record("Summarise.", "* The sea is wide", "Wide.")],
        [Record("Translate.", "The sea is wide.", "Weit."), Record("Translate.", "the sea is wide", "Weit.")],
    ],
)
def test_nearly_the_same_is_found_in_any_script_and_whatever_the_punctuation(records):
    assert rules(compare_within(records, "task", "exact"), 1) == ["near_duplicate"]


def test_instructions_are_compared_by_the_published_words():
    records = [Record("What is C++ used for?"), Record("What is C# used for?"), Record("Кошка?"), Record("Кошка!")]
    found = compare_within(records, "instruction", "exact")
    assert [(finding.rule, finding.score) for finding in found[1]] == [("near_duplicate", 1.0)]
    assert rules(found, 3) == []


def test_a_long_instruction_does_not_hide_that_the_inputs_differ():
    task = "Rewrite the sentence in the passive voice and keep its tense as it is."
    records = [
        Record(task, "The cook baked a pie."),
        Record(task, "She saw a ship."),
        Record(task, "The cook baked pie."),
    ]
    found = compare_within(records, "task", "exact")
    assert rules(found, 1) == []
    assert rules(found, 2) == ["near_duplicate"]


def test_of_many_records_that_are_alike_one_is_left(tmp_path):
    task = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
    variants = [Record(" ".join(task), "", "x")]  # which the others are less like than each other
    variants += [Record(" ".join([*task[:8], "a", f"b{number}"]), "", f"x{number}") for number in range(80)]
    same = [Record("Name a colour.", "", f"Colour {number}.") for number in range(120)]
    for records, rule in ((same, "conflicting_answer"), (variants, "near_duplicate")):
        actions = {"conflicting_answer": "off", "near_duplicate": "off", rule: "drop"}
        settings = CurationSettings(actions=actions)
        assert curate(records, tmp_path / rule, settings=settings).kept == 1


def test_one_record_is_compared_with_at_most_fifty_earlier_ones():
    records = [Record("Name a colour.", "", f"Colour {number}.") for number in range(80)]
    found = compare_within(records, "task", "exact")
    assert rules(found, 79).count("conflicting_answer") == 50
    assert rules(found, 79).count("near_duplicate") == 50


def test_minhash_finds_what_is_nearly_the_same_in_any_script():
    pytest.importorskip("datasketch")
    records = [
        Record("请写一首关于大海和星星的短诗，不要超过四行。"),
        Record("请写一首关于大海和星星的短诗，不要超过五行。"),
        Record("解释为什么树叶在秋天会变黄并落下。"),
    ]
    found = compare_within(records, "task", "minhash")
    assert rules(found, 1) == ["near_duplicate"]
    assert rules(found, 2) == []
    assert 0.5 < found[1][0].score < 1
    assert compare_within(records, "task", "minhash") == found


def test_minhash_without_its_package_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "datasketch", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'alpaca-lora\[curate\]'"):
        compare_within([Record("Name a colour.")], "task", "minhash")


def leak(question):
    """Ways in which a question of an evaluation set gets into training data."""
    middle = question.split()
    middle[5] = "biggest"
    return {
        "verbatim": Record(question, "", "Lisbon."),
        "shouted": Record(question.upper().replace(".", "!"), "", "Lisbon."),
        "reworded": Record(" ".join(middle), "", "Lisbon."),
        "in the input": Record("Answer the question.", question, "Lisbon."),
        "wrapped": Record(
            f"You are an expert. Think step by step. Question: {question} Answer briefly.", "", "Lisbon."
        ),
        "in the output": Record("Write an exam question about Portugal.", "", f"Here is one: {question}"),
    }


@pytest.mark.parametrize("way", leak(QUESTION))
def test_a_planted_leak_is_found(way):
    held_out = {"eval.jsonl": [Record("Explain rain."), Record(QUESTION, "", "Lisbon", origin="eval.jsonl:2")]}
    found = compare_with_held_out([Record("Describe a tree."), leak(QUESTION)[way]], held_out)
    assert list(found) == [1]
    assert found[1][0].rule == "contamination"
    assert found[1][0].score > 0.7
    assert "eval.jsonl:2" in found[1][0].detail


def test_general_instructions_with_other_inputs_are_no_leaks():
    held_out = {"eval.jsonl": [Record("Answer the following question.", "Who wrote the Odyssey in ancient Greece?")]}
    trained = [
        Record("Answer the following question.", "How many legs does a garden spider have?", "Eight."),
        Record("Answer the following question.", "What is the boiling point of water at sea level?", "100 °C."),
    ]
    assert not any(
        finding.score > 0.7 for found in compare_with_held_out(trained, held_out).values() for finding in found
    )


RUSSIAN = "Назови три самых больших города Португалии и скажи, чем каждый из них известен сегодня и почему."
CHINESE = "请说出葡萄牙最大的三个城市，并用一句话说明它们各自因什么而闻名。"


@pytest.mark.parametrize("question", [RUSSIAN, CHINESE])
def test_a_leak_in_another_script_is_found_beside_latin_words_and_digits(question):
    held_out = {"eval.jsonl": [Record(question)]}
    wrapped = f"Q1 (level B2): read the text of 1998, then answer as an expert would. **{question}** Answer in JSON."
    (finding,) = compare_with_held_out([Record(wrapped)], held_out)[0]
    assert finding.score == 1


@pytest.mark.parametrize(
    ("trained", "evaluated"),
    [
        ("Кошка спит.", "Завтра дождь."),
        ("猫在睡觉。", "明天下雨。"),
        ("The cat sleeps.", "It rains."),
        ("8 + 2", "8 / 2"),
    ],
)
def test_a_general_instruction_with_another_input_is_no_leak_in_any_script(trained, evaluated):
    held_out = {"eval.jsonl": [Record("Translate the whole sentence into English.", evaluated)]}
    found = compare_with_held_out([Record("Translate the whole sentence into English.", trained)], held_out)
    assert all(finding.score <= 0.7 for findings in found.values() for finding in findings)


@pytest.mark.parametrize("text", ["... --- ...", "?!", "(()"])
def test_an_input_without_words_is_a_leak_where_it_is_the_same(text):
    held_out = {"eval.jsonl": [Record("Say what it means.", text, "Help")]}
    trained = [Record("Say what it means.", f"{text}\n", "Help."), Record("Say what it means.", f";{text}", "No.")]
    found = compare_with_held_out(trained, held_out)
    assert found[0][0].score == 1
    assert len(found) == 1 + (text == "(()")  # whose bracket is a token


def test_without_anything_held_out_nothing_is_compared():
    assert compare_with_held_out([Record("Describe a tree.")], {}) == {}


def test_of_several_held_out_records_the_most_similar_is_named():
    rng = random.Random(0)
    others = [Record(" ".join(rng.sample(QUESTION.split(), 12)), origin=f"eval.jsonl:{n}") for n in range(5)]
    held_out = {"eval.jsonl": [*others, Record(QUESTION, origin="eval.jsonl:9")]}
    found = compare_with_held_out([Record(QUESTION)], held_out)
    assert found[0][0].score == 1
    assert "eval.jsonl:9" in found[0][0].detail
