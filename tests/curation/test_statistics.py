import pytest

from alpaca_lora.curation import describe_set
from alpaca_lora.curation.statistics import guess_language
from alpaca_lora.curation.verbs import count_verbs, find_verb_noun
from alpaca_lora.records import Record


def test_a_set_is_counted():
    records = [
        Record("Name a colour.", "", "Red."),
        Record("Name a colour.", "", "Red."),
        Record("Name a colour.", "", "Blue, I think."),
        Record("Write a story about rain.", "Use two words.", "It rained."),
    ]
    numbers = describe_set(records)
    assert (numbers.records, numbers.with_input, numbers.exact_duplicates, numbers.repeated_tasks) == (4, 1, 1, 2)
    assert numbers.lengths["output"].longest == 3
    assert numbers.lengths["input"].count == 1
    assert numbers.verbs == {"name": {"colour": 3}, "write": {"story": 1}}
    assert numbers.with_verb == 4


def test_an_empty_set_has_numbers_too():
    assert describe_set([]).as_json()["lengths"] == {}


@pytest.mark.parametrize(
    ("instruction", "found"),
    [
        ("Write a short story about a dragon.", ("write", "story")),
        ("Can you please list five benefits of sleep?", ("list", "benefit")),
        ("Give me an example of irony.", ("give", "example")),
        ("Rewrite the following sentence using simpler words.", ("rewrite", "sentence")),
        ("Create a list of questions for an interview.", ("create", "question")),
        ("Generate a product review.", ("generate", "review")),
        ("Explain how tides work.", ("explain", None)),
        ("Identify the countries in South America.", ("identify", "country")),
        ("Summarise the classes of insects.", ("summarise", "class")),
        ("Describe the process of photosynthesis.", ("describe", "process")),
        ("What is a verb?", None),
        ("The sea is wide.", None),
        ("Überlege dir eine Frage.", None),
        ("", None),
    ],
)
def test_the_verb_of_an_instruction_and_its_noun(instruction, found):
    assert find_verb_noun(instruction) == found


def test_the_most_frequent_verbs_and_nouns_are_counted():
    texts = ["Write a story."] * 3 + ["Write a poem."] * 2 + ["Name a colour."] * 4 + ["Write a song."]
    assert count_verbs(map(find_verb_noun, texts), verbs=2, nouns=2) == {
        "write": {"story": 3, "poem": 2},
        "name": {"colour": 4},
    }


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Explain what the difference between the two is.", "English"),
        ("Erkläre, was der Unterschied ist und warum das nicht geht.", "German"),
        ("Explique la différence et pourquoi elle est importante.", "French"),
        ("Explica la diferencia y por qué es importante para los niños.", "Spanish"),
        ("Объясни разницу между словами.", "Cyrillic"),
        ("解释这两个词的区别。", "Chinese"),
        ("二つの言葉の違いを説明してください。", "Japanese"),
        ("두 단어의 차이를 설명하세요.", "Korean"),
        ("print(x)", "not told"),
        ("42", "not told"),
    ],
)
def test_languages_are_guessed_from_scripts_and_common_words(text, language):
    assert guess_language(text) == language
