"""The body of an answer, read strictly: what is not exactly an answer is garbage, and none of it becomes a record."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from alpaca_lora.teachers.protocol import Answer, Fault, Finish, Usage

__all__ = ["read_answer"]

_FINISHES: dict[str, Finish] = {
    "length": "length",
    "max_tokens": "length",
    "content_filter": "filter",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
}
_SHOWN = 200


def read_answer(body: bytes, headers: Mapping[str, str], *, redact: Callable[[str], str]) -> Answer:
    """Return the answer in the body of a response with status 200.

    Args:
        body: the bytes, uncompressed.
        headers: the response's, with names in any case.
        redact: takes the key out of a text.

    Returns:
        The answer; its text holds no key and no lone surrogate.

    Raises:
        Fault: the body is no chat completion and no completion; it may have been billed all the same.
    """
    try:
        document = json.loads(body)
        choice = document["choices"][0]
        text, finish = _content(choice)
    except (AttributeError, ValueError, KeyError, IndexError, TypeError, RecursionError):
        shown = redact(body[: _SHOWN * 2].decode("utf-8", "replace"))[:_SHOWN]
        raise Fault("garbage", f"the answer is no completion: {shown!r}", billed=True) from None
    return Answer(
        text=redact(text).encode("utf-8", "replace").decode("utf-8"),
        finish=finish,
        usage=_usage(document.get("usage")),
        once="idempotent-replayed" in headers,
    )


def _content(choice: Any) -> tuple[str, Finish]:
    message = choice["message"] if "message" in choice else {"content": choice["text"]}
    text = message.get("content")
    if text is not None and not isinstance(text, str):
        raise TypeError
    if message.get("refusal"):
        return "", "refusal"
    finish = _FINISHES.get(str(choice.get("finish_reason")), "stop")
    return (text or "", finish) if finish in ("stop", "length") else ("", finish)


def _usage(given: Any) -> Usage | None:
    """Return what the teacher says it used, or None where that cannot be.

    A sum above its two parts has tokens that only it counts, as thoughts; they are billed as those of an answer.
    """
    if not isinstance(given, dict):
        return None
    prompt, completion = given.get("prompt_tokens"), given.get("completion_tokens")
    if type(prompt) is not int or type(completion) is not int or min(prompt, completion) < 0:
        return None
    total = given.get("total_tokens")
    return Usage(prompt, max(completion, total - prompt) if type(total) is int else completion)
