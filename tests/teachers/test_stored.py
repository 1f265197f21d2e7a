import asyncio

import pytest

from alpaca_lora.teachers import Fault, Request, StoredTeacher


def test_it_is_who_it_was_and_answers_nothing():
    said = {"kind": "openai", "model": "teacher-a", "base_url": "https://x/v1", "chat": True}
    teacher = StoredTeacher(said, ["a note"])
    assert (teacher.describe(), teacher.model, teacher.chat, teacher.notes) == (said, "teacher-a", True, ("a note",))
    assert not StoredTeacher({"kind": "local", "model": "m"}).chat
    with pytest.raises(Fault, match="the journal has no answer to tasks/3") as caught:
        asyncio.run(teacher.answer(Request(key="tasks/3", prompt="", max_tokens=1)))
    assert (caught.value.kind, caught.value.billed) == ("quota", False)
