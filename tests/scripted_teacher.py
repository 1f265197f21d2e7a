"""A teacher on loopback: answers that depend on the question alone, faults by schedule, and a bill of its own.

Its answers never change, so a run against it can be compared with another one, and its bill with a ledger.
"""

import asyncio
import base64
import gzip
import json
import random
import threading
import time
from collections import Counter
from typing import NamedTuple

VERBS = [
    "Explain",
    "Describe",
    "Compare",
    "Summarise",
    "Rewrite",
    "List",
    "Plan",
    "Sort",
    "Translate",
    "Suggest",
    "Outline",
    "Judge",
    "Correct",
    "Invent",
]
SYLLABLES = [
    "ba",
    "ce",
    "di",
    "fa",
    "gu",
    "ha",
    "je",
    "ki",
    "lo",
    "mu",
    "na",
    "pe",
    "qui",
    "ro",
    "su",
    "ta",
    "ve",
    "wi",
    "xo",
    "yu",
    "za",
    "bri",
    "cla",
    "dre",
    "flo",
    "gru",
]
TRANSIENT = (
    "busy",
    "server_408",
    "server_500",
    "server_502",
    "server_503",
    "server_504",
    "server_529",
    "html",
    "empty_body",
    "null",
    "list",
    "invalid_utf8",
    "reset",
    "cut_body",
    "cut_chunk",
    "event_stream",
    "no_choices",
    "proxy_407",
)
STRANGE = ("usage_missing", "usage_negative", "usage_absurd")
"""Faults that still carry the answer."""


class Charge(NamedTuple):
    """One line of the bill."""

    key: str
    prompt_tokens: int
    completion_tokens: int


class ScriptedTeacher:
    """A server in a thread of its own; use it as a context manager.

    Args:
        seed: of answers and faults.
        rate: share of attempts that get a fault.
        faults: names of the faults to draw from.
        script: decides instead: (key, attempt from 1) -> fault or None.
        once: bill repeated attempts of one key once, and say so in a header.
        latency_seconds: before each answer.
        port: 0 takes a free one.
        text: answers instead of the tasks: (prompt) -> text.
    """

    def __init__(
        self,
        *,
        seed=0,
        rate=0.0,
        faults=TRANSIENT + STRANGE,
        script=None,
        once=False,
        latency_seconds=0.0,
        port=0,
        text=None,
    ):
        self.seed, self.rate, self.faults, self.once = seed, rate, faults, once
        self.script, self.latency_seconds, self.port, self.text = script, latency_seconds, port, text
        self.bill: list[Charge] = []
        self.attempts: Counter[str] = Counter()
        self.seen: list[dict] = []
        self.most_at_once = self._at_once = 0
        self._loop = asyncio.new_event_loop()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/v1"

    def __enter__(self):
        started = threading.Event()

        async def serve():
            server = await asyncio.start_server(self._connection, "127.0.0.1", self.port)
            self.port = server.sockets[0].getsockname()[1]
            started.set()
            self._stop = asyncio.Event()
            await self._stop.wait()
            server.close()
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await server.wait_closed()
            await asyncio.sleep(0.01)  # transports close at the next turn of the loop

        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(serve()), daemon=True)
        self._thread.start()
        assert started.wait(10)
        return self

    def __exit__(self, *_):
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        self._loop.close()

    async def _connection(self, reader, writer):
        try:
            while (first := await reader.readexactly(1)) != b"\x16":  # which is how TLS begins
                head = first + await reader.readuntil(b"\r\n\r\n")
                lines = head.decode("latin-1").split("\r\n")
                headers = {
                    name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])
                }
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                if not await self._respond(writer, lines[0].split()[1], headers, body):
                    break
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()

    async def _respond(self, writer, path, headers, body):
        if path.endswith("/models"):
            return await _send(writer, 200, json.dumps({"data": [{"id": "teacher-a"}, {"id": "teacher-b"}]}))
        asked = json.loads(body)
        key = headers.get("idempotency-key", "").partition("/")[2]
        prompt = asked["messages"][0]["content"] if "messages" in asked else asked["prompt"]
        self.attempts[key] += 1
        self.seen.append({"path": path, "headers": headers, "body": asked, "key": key, "time": time.monotonic()})
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        await asyncio.sleep(self.latency_seconds)
        self._at_once -= 1
        fault = self._fault(key)
        text = self.text(prompt) if self.text else answer_text(prompt, self.seed)
        usage = {"prompt_tokens": len(prompt) // 4, "completion_tokens": len(text) // 4}
        return await FAULTS.get(fault, _answer)(
            self, writer, key=key, usage=usage, text=text, headers=headers, fault=fault
        )

    def _fault(self, key):
        attempt = self.attempts[key]
        if self.script:
            return self.script(key, attempt)
        draw = random.Random(f"{self.seed}/{key}/{attempt}")
        return draw.choice(self.faults) if draw.random() < self.rate else None

    def charge(self, key, usage):
        """Write an answer on the bill, unless this key is on it already and is billed once."""
        if not (self.once and any(charge.key == key for charge in self.bill)):
            self.bill.append(Charge(key, usage["prompt_tokens"], usage["completion_tokens"]))


def answer_text(prompt, seed):
    """The answer to a prompt, always the same one."""
    draw = random.Random(f"{seed}/{prompt}")
    if prompt.startswith("Judge whether"):
        return "yes, it does." if draw.random() < 0.7 else "no, it is wrong."
    if prompt.startswith("Field:"):
        return "\n".join(f"- {_word(draw)} {_word(draw)}" for _ in range(6))
    if "new tasks" not in prompt and "20 tasks" not in prompt:
        return f"{_sentence(draw)}."
    if "20 tasks" in prompt:
        tasks = [_task(draw) for _ in range(6)]
        pieces = (
            f" {task['instruction']}\n{number}. Input:\n{task['input'] or '<noinput>'}\n"
            f"{number}. Output:\n{task['output']}\n"
            for number, task in enumerate(tasks, start=4)
        )
        return "".join(f"###\n{n}. Instruction:{piece}" for n, piece in enumerate(pieces, start=4)).removeprefix(
            "###\n4. Instruction:"
        )
    return json.dumps({"tasks": [_task(draw) for _ in range(5)]})


def _task(draw):
    kind = draw.random()
    if kind < 0.1:
        return {"instruction": "Too short.", "input": "", "output": "Yes."}
    if kind < 0.15:
        return {"instruction": f"Attach the picture of {_sentence(draw)}.", "input": "", "output": "Here."}
    if kind < 0.2:
        return {"instruction": f"Say nothing about {_sentence(draw)}.", "input": "", "output": ""}
    if kind < 0.25:
        return {"instruction": "Tell the same old story once more.", "input": "", "output": _sentence(draw)}
    given = _sentence(draw) if draw.random() < 0.5 else ""
    return {
        "instruction": f"{draw.choice(VERBS)} {_sentence(draw)}.",
        "input": given,
        "output": f"{_sentence(draw)}. The year 2020. It cost $20. {_sentence(draw)}.",
    }


def _sentence(draw):
    return " ".join(_word(draw) for _ in range(draw.randint(5, 9)))


def _word(draw):
    return "".join(draw.choice(SYLLABLES) for _ in range(draw.randint(2, 3)))


async def _send(writer, status, body, *, kind="application/json", more=(), length=None, close=False):
    data = body if isinstance(body, bytes) else body.encode()
    lines = [f"HTTP/1.1 {status} Scripted", f"content-type: {kind}", f"content-length: {length or len(data)}", *more]
    writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + data)
    await writer.drain()
    return not close


def _document(usage, text, finish="stop", **message):
    body = {"id": "x", "choices": [{"index": 0, "finish_reason": finish, "text": text}], "usage": usage}
    body["choices"][0]["message"] = {"role": "assistant", "content": text, **message}
    return body


async def _answer(server, writer, *, key, usage, text, headers, fault):
    replayed = server.once and any(charge.key == key for charge in server.bill)
    server.charge(key, usage)
    more = [f"idempotent-replayed: {str(replayed).lower()}"] if server.once else []
    finish = {"length": "length", "content_filter": "content_filter", "tool_calls": "tool_calls"}.get(fault, "stop")
    said = {
        "usage_missing": None,
        "usage_negative": {**usage, "completion_tokens": -5},
        "usage_absurd": {"prompt_tokens": 10**12, "completion_tokens": 10**12},
    }.get(fault, usage)
    message = {"refusal": "I will not."} if fault == "refusal" else {}
    document = _document(said, None if fault in ("null_content", "tool_calls", "refusal") else text, finish, **message)
    if fault == "key_in_text":
        document["choices"][0]["message"]["content"] = text + headers.get("authorization", "")
    return await _send(writer, 200, json.dumps(document), more=more)


def _error(status, *, more=(), billed=False, **fields):
    async def send(server, writer, *, key, usage, headers, **_):
        if billed:
            server.charge(key, usage)
        said = headers.get("authorization", "")
        word = said.removeprefix("Bearer ")
        message = f"{fields.get('message', 'no')} ({said}; {base64.b64encode(word.encode()).decode()}; {word[::-1]})"
        return await _send(writer, status, json.dumps({"error": {**fields, "message": message}}), more=more)

    return send


def _body(body, **options):
    async def send(server, writer, *, key, usage, **_):
        server.charge(key, usage)
        return await _send(writer, 200, body() if callable(body) else body, **options)

    return send


async def _reset(server, writer, **_):
    writer.transport.abort()
    return False


async def _cut_body(server, writer, *, key, usage, text, **_):
    server.charge(key, usage)
    whole = json.dumps(_document(usage, text))
    return await _send(writer, 200, whole[: len(whole) // 2], length=len(whole), close=True)


async def _cut_chunk(server, writer, *, key, usage, text, **_):
    server.charge(key, usage)
    half = json.dumps(_document(usage, text))[:40].encode()
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n")
    writer.write(f"{len(half):x}\r\n".encode() + half + b"\r\nff\r\nhal")
    await writer.drain()
    return False


async def _drip(server, writer, *, key, usage, text, **_):
    server.charge(key, usage)
    whole = json.dumps(_document(usage, text)).encode()
    writer.write(f"HTTP/1.1 200 OK\r\ncontent-length: {len(whole)}\r\n\r\n".encode())
    for byte in whole:
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(0.02)
    return True


async def _silence(server, writer, **_):
    await asyncio.sleep(60)
    return False


def _events(*lines):
    return _body("".join(f"data: {line}\n\n" for line in lines), kind="text/event-stream")


_CHUNK = json.dumps({"choices": [{"delta": {"content": '{"tasks": []}'}}]})
_TOO_LONG = {"message": "This model's maximum context length is 4096 tokens", "code": "context_length_exceeded"}
FAULTS = {
    "wrong_key": _error(401, message="Incorrect API key provided", code="invalid_api_key"),
    "forbidden": _error(403, message="not allowed"),
    "busy": _error(429, message="slow down", more=["retry-after: 0"]),
    "busy_date": _error(
        429, message="slow", more=["date: Mon, 02 Mar 2026 10:00:00 GMT", "retry-after: Mon, 02 Mar 2026 10:00:07 GMT"]
    ),
    "busy_negative": _error(429, message="slow", more=["retry-after: -5"]),
    "busy_for_ever": _error(429, message="slow", more=["retry-after: 1000000000"]),
    "busy_billing": _error(
        429,
        message="Rate limit reached. Add a payment method to raise it: example.org/account/billing",
        code="rate_limit_exceeded",
    ),
    "no_quota": _error(429, message="You exceeded your current quota", code="insufficient_quota"),
    "server_408": _error(408, message="took too long", billed=True),
    "server_500": _error(500, message="oops", billed=True),
    "server_502": _error(502, message="bad gateway", billed=True),
    "server_503": _error(503, message="unavailable"),
    "server_504": _error(504, message="gateway timeout", billed=True),
    "server_529": _error(529, message="overloaded"),
    "too_long": _error(400, **_TOO_LONG),
    "no_seed": _error(400, message="Unsupported parameter: 'seed'", param="seed"),
    "no_temperature": _error(400, message="Unsupported parameter: 'temperature'", param="temperature"),
    "no_schema": _error(400, message="'response_format' of type json_schema is not supported", param="response_format"),
    "other_name": _error(400, message="Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."),
    "bad_request": _error(400, message="messages: no"),
    "no_model": _error(404, message="The model does not exist", code="model_not_found"),
    "proxy_407": _error(407, message="Proxy Authentication Required"),
    "html": _body("<html><body>Welcome to the hotel WiFi</body></html>", kind="text/html"),
    "empty_body": _body(b""),
    "null": _body("null"),
    "list": _body("[]"),
    "wrong_type": _body("OK", kind="text/plain"),
    "invalid_utf8": _body(b'{"choices": [{"message": {"content": "\xff\xfe"}}]}'),
    "gzip_bomb": _body(lambda: gzip.compress(b"0" * 50_000_000, 1), more=["content-encoding: gzip"]),
    "huge": _body(lambda: b'{"choices": "' + b"0" * 50_000_000 + b'"}'),
    "no_choices": _body('{"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 0}}'),
    "reset": _reset,
    "cut_body": _cut_body,
    "cut_chunk": _cut_chunk,
    "drip": _drip,
    "silence": _silence,
    "event_stream": _events(_CHUNK, "[DONE]"),
    "event_no_done": _events(_CHUNK),
    "event_garbage": _events(_CHUNK, "garbage"),
    "event_error": _events(_CHUNK, '{"error": {"message": "overloaded"}}'),
    "event_twice": _events(_CHUNK, _CHUNK, "[DONE]"),
}


def redirecting(target):
    """A fault that sends the client elsewhere."""
    return _error(302, message="moved", more=[f"location: {target}"])
