import asyncio

import pytest

from alpaca_lora import OpenAITeacher
from alpaca_lora.teachers import Request

KEY = "sk-canary-0123456789abcdef"


@pytest.fixture
def key(monkeypatch):
    """A key in the environment, to be looked for everywhere."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    return KEY


@pytest.fixture
def ask(key):
    """Ask a server once, and return the answer or raise the fault; `teacher` and `request_` may be changed."""

    def asking(server, *, prompt="Name a colour.", times=1, **options):
        teacher = OpenAITeacher("teacher-a", base_url=server.url, **{"deadline_seconds": 5, **options})
        request = Request(key="run/tasks/0", prompt=prompt, max_tokens=50, seed=7, schema={"type": "object"})

        async def once():
            try:
                return [await teacher.answer(request) for _ in range(times)][-1]
            finally:
                await teacher.close()

        answer = asyncio.run(once())
        return answer, teacher

    return asking
