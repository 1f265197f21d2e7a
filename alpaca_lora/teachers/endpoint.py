"""Any OpenAI-compatible endpoint as a teacher: a cloud, vLLM, Ollama, a llama.cpp server.

One call is one attempt: the library's own retries are off, since nobody would pay for them knowingly. Answers are never
streamed, so there is no half of one. Options that an endpoint does not know are left out from then on, and said so in
`notes`.
"""

import asyncio
import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from alpaca_lora._optional import require
from alpaca_lora.errors import ConfigError
from alpaca_lora.teachers.bodies import read_answer
from alpaca_lora.teachers.protocol import Answer, Fault, FaultKind, Request
from alpaca_lora.teachers.secrets import read_key
from alpaca_lora.teachers.transport import make_http_client

__all__ = ["OPENAI_URL", "OpenAITeacher", "is_here"]

OPENAI_URL = "https://api.openai.com/v1"

_PROXY = re.compile(r"(?:https?|socks5h?)://[^/\s]")
_FRAME_TOKENS = 256
"""More than any chat template adds around a message."""

_LEAVABLE = ("response_format", "seed", "top_p", "temperature", "stop")
_TOO_LONG = re.compile(r"context.{0,20}(length|window|size)|too long|maximum.{0,40}tokens|reduce (your|the)", re.I)
_NO_MONEY = re.compile(
    r"insufficient_quota|billing_(?:hard_limit|not_active)|exceeded your current quota|credit balance|spending limit"
    r"|(?:no|no more|not enough|insufficient|out of|all available) credits?\b",
    re.I,
)
_TOO_FAST = "rate_limit_exceeded"
"""Goes away by itself, although its message may name a page where more can be bought."""

_FILTERED = re.compile(r"content_filter|content_policy|content management policy", re.I)
_TURNED_AWAY = (407, 409, 425, 503, 529)
"""Statuses of somebody who did not take the request: a proxy, a lock, an endpoint that has no room. Any other failure,
as a gateway's 504 or 408, may come after the model has written its answer, which is billed then."""

_NEVER_SENT = {"ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError", "UnsupportedProtocol"}


class OpenAITeacher:
    """Asks one model of one endpoint.

    Args:
        model: the model's name at the endpoint.
        base_url: the endpoint, up to and with `/v1`.
        chat: ask for a chat message; False asks the older completions, which go on with a text.
        api_key_env: environment variable with the key. An endpoint on this machine needs none; None sends it none.
        deadline_seconds: longest time for one attempt as a whole.
        connections: how many are kept open at most.
        proxy: URL of a proxy; None asks directly, whatever the environment says.
        keyless: whether it may be without the key that it would need to ask, as for a plan that asks nobody.

    Raises:
        ConfigError: a URL or the deadline cannot be used.
        TeacherRefusedError: there is no key.
        MissingDependencyError: `openai` is not installed.
    """

    free = False

    def __init__(
        self,
        model: str,
        *,
        base_url: str = OPENAI_URL,
        chat: bool = True,
        api_key_env: str | None = "OPENAI_API_KEY",
        deadline_seconds: float = 300.0,
        connections: int = 64,
        proxy: str | None = None,
        keyless: bool = False,
    ) -> None:
        self.model, self.base_url, self.chat = model, base_url.rstrip("/"), chat
        self.api_key_env = api_key_env
        self.notes: list[str] = []
        self._deadline_seconds = deadline_seconds
        self._names = {"max_tokens": "max_tokens"} | {name: name for name in _LEAVABLE}
        here = is_here(self.base_url)
        self._key = read_key(api_key_env, needed=not (here or keyless))
        if not here and self.base_url.startswith("http:"):
            raise ConfigError(f"base_url {base_url!r} would send the key unencrypted to another machine: use https")
        if not deadline_seconds > 0:
            raise ConfigError(f"deadline_seconds must be above 0, got {deadline_seconds!r}")
        if proxy is not None and not _PROXY.match(proxy):  # not shown, as it may hold a password
            raise ConfigError("proxy is no address of a proxy: give one like 'http://proxy.example.org:3128'")
        self._openai: Any = require("openai", extra="teacher")
        self._connections, self._proxy = connections, proxy
        self._made: Any = None

    def describe(self) -> Mapping[str, Any]:
        """Return what decides its answers."""
        return {"kind": "openai", "model": self.model, "base_url": self.base_url, "chat": self.chat}

    def most_prompt_tokens(self, request: Request) -> int:
        """Return the bytes of the prompt, as no token is shorter than one, and what a chat template may add."""
        return len((request.prompt + request.opening).encode("utf-8")) + _FRAME_TOKENS

    def redact(self, text: str) -> str:
        """Return a text without the key."""
        return self._key.redact(text)

    async def answer(self, request: Request) -> Answer:
        """Ask once; see `Teacher.answer`."""
        try:
            async with asyncio.timeout(self._deadline_seconds):
                while True:
                    options = self._options(request)
                    try:
                        return await self._attempt(request, options)
                    except self._openai.APIStatusError as error:
                        if not self._adapt(error, options):
                            raise await self._fault(error) from None
        except TimeoutError:
            raise Fault("timeout", f"no whole answer within {self._deadline_seconds:g} s", billed=True) from None
        except self._openai.APITimeoutError as error:
            sent = type(error.__cause__).__name__ not in _NEVER_SENT
            raise Fault("timeout", f"no answer from {self._host()}", billed=sent) from None
        except self._openai.APIConnectionError as error:
            cause = error.__cause__
            text = self._clean(f"{type(cause).__name__}: {cause}" if str(cause) else type(cause).__name__)
            if type(cause).__name__ in _NEVER_SENT:
                raise Fault("connection", f"{self._host()} cannot be reached ({text})") from None
            raise Fault("cut", f"the connection to {self._host()} broke ({text})", billed=True) from None

    async def close(self) -> None:
        """Close all connections; the next question opens new ones."""
        made, self._made = self._made, None
        if made is not None:
            await made.close()

    @property
    def _client(self) -> Any:
        """The client, made when it is first needed, since its connections belong to one event loop."""
        if self._made is None:
            http = make_http_client(
                require("httpx2", extra="teacher"),
                timeout_seconds=self._deadline_seconds,
                connections=self._connections,
                proxy=self._proxy,
            )
            self._made = self._openai.AsyncOpenAI(
                api_key=self._key.reveal(), base_url=self.base_url, max_retries=0, http_client=http
            )
        return self._made

    def _options(self, request: Request) -> dict[str, Any]:
        """Return what is sent beside the prompt, as far as the endpoint is known to take it."""
        options: dict[str, Any] = {
            "max_tokens": request.max_tokens,
            "temperature": request.temperature,
            "top_p": request.top_p,
            "seed": request.seed,
        }
        if request.stop:
            options["stop"] = list(request.stop)
        if request.schema and self.chat:
            schema = {"name": "answer", "strict": True, "schema": request.schema}
            options["response_format"] = {"type": "json_schema", "json_schema": schema}
        return {self._names[name]: value for name, value in options.items() if name in self._names}

    async def _attempt(self, request: Request, options: Mapping[str, Any]) -> Answer:
        text = request.prompt + request.opening
        asked: dict[str, Any]
        if self.chat:
            create = self._client.chat.completions.with_raw_response.create
            asked = {"messages": [{"role": "user", "content": text}]}
        else:
            create = self._client.completions.with_raw_response.create
            asked = {"prompt": text}
        raw = await create(model=self.model, **asked, **options, extra_headers={"Idempotency-Key": request.key})
        return read_answer(raw.content, raw.headers, redact=self.redact)

    def _adapt(self, error: Any, sent: Mapping[str, Any]) -> bool:
        """Leave out or rename an option that the endpoint does not know; tell whether to ask again.

        Of several calls under way, each learns of the option from an error of its own: the first one to do so changes
        what is sent from then on, and the others are asked again all the same.
        """
        if error.status_code not in (400, 422):
            return False
        text = f"{error.param or ''} {error.message}"
        if "max_completion_tokens" in text and "max_tokens" in sent:
            self._names["max_tokens"] = "max_completion_tokens"
            return True
        if _TOO_LONG.search(text):
            return False
        for name in _LEAVABLE:
            if name in sent and re.search(rf"\b{name}\b", text):
                if self._names.pop(name, None):
                    self.notes.append(f"{self._host()} does not take {name!r}, so it is left out")
                return True
        return False

    async def _fault(self, error: Any) -> Fault:
        status, said = error.status_code, self._clean(error.message)
        detail = f"{error.code or ''} {error.type or ''} {error.message}"
        if status == 402 or (status == 429 and error.code != _TOO_FAST and _NO_MONEY.search(detail)):
            return Fault("quota", f"{self._host()} has no more credit for this key ({said})")
        if status == 429:
            return Fault("busy", f"{self._host()} is busy ({said})", retry_after=_retry_after(error.response.headers))
        if status >= 500 or status == 408 or status in _TURNED_AWAY:
            kind: FaultKind = "connection" if status == 407 else "server"
            wait, billed = _retry_after(error.response.headers), status not in _TURNED_AWAY
            return Fault(kind, f"{self._host()} failed with {status} ({said})", retry_after=wait, billed=billed)
        if status == 413 or (status in (400, 422) and (_TOO_LONG.search(detail) or _FILTERED.search(detail))):
            return Fault("unfit", f"{self._host()} does not accept this request ({said})")
        return Fault("refused", await self._refusal(status, said))

    async def _refusal(self, status: int, said: str) -> str:
        if status in (401, 403):
            return f"{self._host()} refused the key with {status} ({said}): check the key and what it may do"
        if 300 <= status < 400:
            return f"{self._host()} answers with a redirect ({status}), which is not followed: give its real base_url"
        if status == 404:
            return f"{self._host()} has no model {self.model!r} ({said}){await self._offered()}"
        return f"{self._host()} refused the request with {status} ({said})"

    async def _offered(self) -> str:
        try:
            models = [self._clean(str(model.id)) for model in (await self._client.models.list()).data]
        except (self._openai.OpenAIError, Fault, AttributeError, TypeError):
            return ": check the model's name and base_url"
        return f"; it offers {', '.join(models[:20])}" if models else "; it offers none"

    def _host(self) -> str:
        return urlsplit(self.base_url).netloc

    def _clean(self, text: str) -> str:
        """Return what a server said on one short line, without the key and without control characters."""
        line = " ".join(self.redact(text).split())
        return "".join(character if character.isprintable() else "?" for character in line)[:300]


def is_here(base_url: str) -> bool:
    """Tell whether an endpoint is on this machine.

    Raises:
        ConfigError: the URL cannot be used.
    """
    try:
        parts = urlsplit(base_url)
        port_is_fine = parts.port is None or parts.port > 0
    except ValueError:
        parts, port_is_fine = urlsplit(""), False
    if parts.scheme not in ("http", "https") or not parts.hostname or not port_is_fine or parts.query or parts.fragment:
        raise ConfigError(
            f"base_url {base_url!r} is no address of an endpoint: give one like 'http://localhost:8000/v1'"
        )
    if parts.username or parts.password:
        raise ConfigError(
            "base_url holds a user name or password, which would be written down: put the key in the "
            "environment (api_key_env)"
        )
    if parts.hostname == "localhost":
        return True
    try:
        return ip_address(parts.hostname).is_loopback
    except ValueError:
        return False


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that a server asks to wait, from 0 up; a date counts from the server's own clock."""
    given = headers.get("retry-after", "").strip()
    try:
        return max(0.0, float(given)) if given else None
    except ValueError:
        pass
    try:
        until, now = (parsedate_to_datetime(text) for text in (given, headers.get("date", "")))
        return max(0.0, (until - now).total_seconds())
    except (TypeError, ValueError):
        return None
