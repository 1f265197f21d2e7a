import unicodedata

import pytest

from alpaca_lora.reporting import wording


def test_a_terminal_gets_no_control_character_whatever_the_text(nasty: str) -> None:
    printed = wording.printable(nasty)
    assert not [c for c in printed if unicodedata.category(c) in {"Cc", "Cs"} and c not in "\n\t"]
    assert not set(printed) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07after", "after"),
        ("\x1b]8;;http://evil.example\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x9b2Jcleared", "cleared"),
        ("\x1bcreset", "reset"),
        ("\x1b]0;never ended", "0;never ended"),
        ("a\r\nb\rc", "a\nbc"),
        ("👩‍👩‍👧", "👩‍👩‍👧"),
    ],
)
def test_escape_sequences_go_with_their_parameters(text: str, printed: str) -> None:
    assert wording.printable(text) == printed


def test_a_page_shows_where_control_characters_were() -> None:
    assert wording.visible("\x1b[31m\x00\x7f\x9b\u202e\ud800\r\n\t") == "␛[31m␀␡\ufffd\ufffd\ufffd\n\t"


def test_every_visible_text_can_be_written_as_utf8(nasty: str) -> None:
    assert wording.visible(nasty).encode("utf-8").decode("utf-8") == wording.visible(nasty)


@pytest.mark.parametrize(
    ("name", "public"),
    [
        ("smollm2-135m", "smollm2-135m"),
        ("huggyllama/llama-7b", "huggyllama/llama-7b"),
        ("/home/somebody/models/llama-7b/", "llama-7b"),
        ("./data/mine.jsonl", "mine.jsonl"),
        ("~/mine.jsonl", "mine.jsonl"),
        ("C:\\Users\\somebody\\mine.jsonl", "mine.jsonl"),
        ("a/b/c.json", "c.json"),
        ("/", "/"),
    ],
)
def test_a_public_name_tells_no_directory_of_the_machine(name: str, public: str) -> None:
    assert wording.public_name(name) == public


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.9, "1 min 00 s"),
        (412.7, "6 min 53 s"),
        (3599.7, "1 h 00 min"),
        (90_061, "25 h 01 min"),
    ],
)
def test_a_duration_has_its_two_leading_units(seconds: float, words: str) -> None:
    assert wording.duration(seconds) == words


@pytest.mark.parametrize(
    ("size", "words"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (2.5e6, "2.5 MB"), (24e9, "24.0 GB")]
)
def test_memory_is_in_decimal_units(size: float, words: str) -> None:
    assert wording.memory(size) == words


@pytest.mark.parametrize(
    ("loss", "value", "hesitation"),
    [
        (None, "–", "–"),
        (float("nan"), "not finite", "–"),
        (1.5, "1.500", "4.48"),
        (6, "6.000", "403"),
        (20, "20.000", "over a million"),
    ],
)
def test_a_loss_and_its_perplexity_always_have_words(loss: float | None, value: str, hesitation: str) -> None:
    assert (wording.loss_value(loss), wording.perplexity(loss)) == (value, hesitation)


@pytest.mark.parametrize(("ratio", "words"), [(None, "–"), (-0.25, "−25.0 %"), (0.031, "+3.1 %"), (0.0, "+0.0 %")])
def test_a_change_has_its_sign(ratio: float | None, words: str) -> None:
    assert wording.change(ratio) == words


def test_clipped_text_says_how_much_is_missing() -> None:
    assert wording.clipped("a" * 3000, 1000) == "a" * 1000 + " … (2,000 more characters)"
    assert wording.clipped("short", 5) == "short"


def test_quantiles_have_names() -> None:
    assert [wording.quantile(share) for share in (0.0, 0.5, 0.9, 1.0)] == [
        "shortest",
        "median",
        "90 % up to",
        "longest",
    ]
