import pytest

from alpaca_lora import errors
from alpaca_lora.config import TeacherSettings
from alpaca_lora.teachers.selection import LOCAL_MODEL, select_teachers


def select(**settings):
    """The teachers that settings describe; a local one is its model's name."""
    return select_teachers(
        TeacherSettings(**settings), local=lambda model: model, spell=lambda name: f"my.{name}", connections=2
    )


def test_a_teacher_of_this_machine_is_made_by_whoever_asks():
    assert select() == (LOCAL_MODEL, None, None)
    assert select(model="a", answers="b", judge="c") == ("a", "b", "c")


def test_others_are_asked_at_the_same_endpoint_unless_they_name_one(monkeypatch):
    monkeypatch.setenv("KEY", "secret-of-one")
    here = "http://127.0.0.1:9/v1"
    given = {
        "teacher": "openai",
        "model": "a",
        "answers": "b",
        "judge": "c@http://localhost:8/v1",
        "api_key_env": "KEY",
    }
    asked = [teacher.describe() for teacher in select(**given, base_url=here, completion=True)]
    assert [(one["model"], one["base_url"], one["chat"]) for one in asked] == [
        ("a", here, False),
        ("b", here, False),
        ("c", "http://localhost:8/v1", False),
    ]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"teacher": "openai"}, "teacher 'openai' needs a model: give its name at the endpoint (my.model)"),
        (
            {"base_url": "http://localhost:1/v1", "judge": "m@http://localhost:2/v1"},
            "teacher 'local' is a model of this machine, so it has no use for my.judge m@http://localhost:2/v1, "
            "my.base_url: add my.teacher openai, or leave that out",
        ),
        (
            {"teacher": "openai", "model": "a", "judge_api_key_env": "KEY"},
            "nobody is asked with my.judge_api_key_env: add my.judge, or leave that out",
        ),
        ({"teacher": "cloud"}, "config.teacher must be one of 'local', 'openai', got 'cloud'"),
        ({"deadline_seconds": 0.0}, "config.deadline_seconds must be a number above 0, got 0.0"),
    ],
)
def test_messages_name_settings_as_the_user_writes_them(settings, said):
    with pytest.raises(errors.ConfigError) as caught:
        select(**settings)
    assert str(caught.value) == said
