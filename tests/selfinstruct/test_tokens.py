import pytest

from alpaca_lora.selfinstruct.tokens import signs, tokens


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Don't stop: name 3 Ökosysteme!", ["don", "t", "stop", "name", "3", "ökosysteme"]),
        ("Кошка спит.", ["кошка", "спит"]),
        ("文を英語に", ["文", "を", "英", "語", "に"]),
        ("한국어 문장", ["한국어", "문장"]),
        ("हिन्दी किताब", ["हिन्दी", "किताब"]),
        ("ที่นี่", ["ที่", "นี่"]),
        ("C++, C# & R", ["c", "+", "+", "c", "#", "&", "r"]),
        ("👍 or 👎?", ["👍", "or", "👎"]),
        ("12 - 7, -5 and 3-(-2)", ["12", "-", "7", "-", "5", "and", "3", "-", "(", "-", "2", ")"]),
        ("(2 + 3) * 4 (two)", ["(", "2", "+", "3", ")", "*", "4", "two"]),
        ("COVID-19, a well-known plan - in short", ["covid", "19", "a", "well", "known", "plan", "in", "short"]),
        ("# Head\n- one\n  * two\n> 3", ["head", "one", "two", "3"]),
        ("**Cats** and *big dogs*; a * b, **kwargs", ["cats", "and", "big", "dogs", "a", "*", "b", "*", "*", "kwargs"]),
        ("关于**猫**的诗", ["关", "于", "猫", "的", "诗"]),
        ("2*3*4 and int *a, *b", ["2", "*", "3", "*", "4", "and", "int", "*", "a", "*", "b"]),
        ("12 − 7 – 3 × 4 ∗ 5 ÷ 6 · 7", ["12", "-", "7", "-", "3", "*", "4", "*", "5", "/", "6", "*", "7"]),
        ("1 plus 2 minus 3 times 4", ["1", "+", "2", "-", "3", "*", "4"]),
        ("玛丽·居里 – a plus", ["玛", "丽", "居", "里", "a", "plus"]),
        ("– one\n· two", ["one", "two"]),
        ("___ «…» — \n", []),
    ],
)
def test_words_of_any_script_and_signs_that_mean_something_are_tokens(text, expected):
    assert tokens(text) == expected


def test_case_and_the_way_an_accent_is_written_make_no_other_token():
    assert tokens("CAFE\u0301 Straße") == tokens("café STRASSE")


def test_numbers_alone_are_no_signs():
    assert signs("Name 3 rivers (of 7).") == []
    assert signs("Is 3 < 7?") == ["3", "<", "7"]
    assert signs("What is C++?") == ["+", "+"]
