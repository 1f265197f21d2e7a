"""Reading a file of settings. The rows are those of the catalogue of bad input: test_settings.py has the others."""

import pytest

from alpaca_lora.config.yaml_files import MAX_BYTES, MAX_DEPTH, parse_settings, read_settings
from alpaca_lora.errors import ConfigError


def refusal(text):
    with pytest.raises(ConfigError) as caught:
        parse_settings(text, name="run.yaml")
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2e-4", 2e-4),
        ("2E-4", 2e-4),
        ("1e30", 1e30),
        ("3", 3),
        ("08", 8),
        ("0.5", 0.5),
        ("true", True),
        ("null", None),
        ("on", "on"),
        ("no", "no"),
        ("12:30:45", "12:30:45"),
        ('"8"', "8"),
        ("[q_proj, v_proj]", ["q_proj", "v_proj"]),
        ("{rank: 8}", {"rank": 8}),
    ],
)
def test_a_value_is_read_by_the_rules_of_yaml_1_2(text, value):
    read = parse_settings(f"key: {text}", name="run.yaml").values["key"]
    assert (read, type(read)) == (value, type(value))


def test_every_key_is_known_with_its_line():
    document = parse_settings("# a comment\nepochs: 3\nlora:\n  rank: 8\n  alpha: 16\n", name="run.yaml")
    assert document.values == {"epochs": 3, "lora": {"rank": 8, "alpha": 16}}
    assert document.lines == {("epochs",): 2, ("lora",): 3, ("lora", "rank"): 4, ("lora", "alpha"): 5}


def test_a_key_that_is_set_twice_is_refused_with_both_lines():
    assert refusal("epochs: 1\nlora:\n  rank: 8\n  rank: 16\nepochs: 2\n") == (
        "run.yaml:4: lora.rank is set again: line 3 sets it already; keep one\n"
        "run.yaml:5: epochs is set again: line 1 sets it already; keep one"
    )


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        pytest.param(
            "epochs: !!python/object/apply:os.system [id]",
            "run.yaml:1: a value of type 'python/object/apply:os.system' is refused: quote it if it is text",
            id="a tag that names code",
        ),
        pytest.param(
            "epochs: !custom 1", "run.yaml:1: a value of type '!custom' is refused: quote it if it is text", id="a tag"
        ),
        pytest.param(
            "template: 2024-01-01",
            "run.yaml:1: a value of type 'timestamp' is refused: quote it if it is text",
            id="a date",
        ),
        pytest.param(
            "a: &x [1]\nb: *x",
            "run.yaml:1: anchor &x is refused: write the value out where it is used",
            id="an alias",
        ),
        pytest.param("<<: {a: 1}", "run.yaml:1: key '<<' must be text: the name of a setting", id="a merge key"),
        pytest.param("1: 2", "run.yaml:1: key '1' must be text: the name of a setting", id="a number as key"),
        pytest.param(
            "%YAML 1.1\n---\npacking: on",
            "run.yaml:1: '%YAML 1.1' is refused: files are read as YAML 1.2; remove the line",
            id="another version of YAML",
        ),
        pytest.param(
            "lora:\n\trank: 8",
            "run.yaml:2: not YAML: found character '\\t' that cannot start any token; indent with spaces, not tabs",
            id="a tab",
        ),
        pytest.param("a: 1\n---\nb: 2", "run.yaml:2: not YAML: but found another document", id="two documents"),
        pytest.param("a: b: c", "run.yaml:1: not YAML: mapping values are not allowed here", id="two colons"),
        pytest.param(
            "a: \x00",
            "run.yaml: not YAML: unacceptable character #x0000: special characters are not allowed",
            id="a NUL",
        ),
        pytest.param("seed: " + "9" * 5000, f"run.yaml:1: '{'9' * 40}' is not a usable int", id="5000 digits"),
        pytest.param("[" * 1000, "run.yaml: nested deeper than 20 levels; settings need three", id="1000 brackets"),
        pytest.param(
            "- epochs", "run.yaml: must be a mapping with at least one setting, such as 'epochs: 3'", id="a list"
        ),
        pytest.param(
            "# nothing", "run.yaml: must be a mapping with at least one setting, such as 'epochs: 3'", id="a comment"
        ),
    ],
)
def test_anything_but_plain_settings_is_refused_with_its_line(text, fault):
    assert refusal(text) == fault


def test_a_bomb_of_aliases_is_refused_before_it_grows():
    levels = [f"l{level}: &l{level} [{', '.join([f'*l{level - 1}'] * 9)}]" for level in range(1, 12)]
    assert refusal("\n".join(["l0: &l0 [lol]", *levels])).startswith("run.yaml:1: anchor &l0 is refused")


def test_nesting_is_allowed_to_the_limit_and_refused_beyond_it():
    def nested(depth):
        return f"a: {'[' * depth}{']' * depth}"

    assert parse_settings(nested(MAX_DEPTH), name="run.yaml").values.keys() == {"a"}
    assert refusal(nested(MAX_DEPTH + 1)) == "run.yaml:1: nested deeper than 20 levels; settings need three"


def test_a_file_is_read_with_its_byte_order_mark_taken_off(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_bytes(b"\xef\xbb\xbfepochs: 3\n")
    assert read_settings(path).values == {"epochs": 3}


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"epochs: \xff", "byte 8 is not UTF-8; save the file as UTF-8"),
        (b"#" * (MAX_BYTES + 1), "100001 bytes is no file of settings, which has at most 100000"),
    ],
    ids=["not UTF-8", "too large"],
)
def test_a_file_that_cannot_hold_settings_is_refused_by_name(tmp_path, content, fault):
    path = tmp_path / "run.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        read_settings(path)
    assert str(caught.value) == f"{path}: {fault}"


def test_a_file_that_is_not_there_is_refused_by_name(tmp_path):
    with pytest.raises(ConfigError, match="No such file or directory"):
        read_settings(tmp_path / "none.yaml")
