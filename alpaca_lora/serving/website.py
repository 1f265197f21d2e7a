"""Serve the page to this machine, and to nobody else unless asked to.

gradio is more than this page needs: it stores uploads, serves files, fetches addresses for a browser and keeps a
history. So a guard before it lets through what the page itself asks for and no other page, only under the names of this
machine, and tells browsers to take nothing from any other address. gradio's own `launch` is not used, since a dozen
environment variables can make it listen elsewhere, share the page or serve directories.
"""

import re
import secrets
import socket
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from alpaca_lora._optional import require
from alpaca_lora.errors import ConfigError

__all__ = ["Accounts", "Servable", "Website", "listen", "read_accounts"]

Accounts = Sequence[tuple[str, str]]
"""Names and passwords of those who may open the page."""

HOST = "127.0.0.1"
_SHORTEST_PASSWORD = 8
_OWN_NAMES = ("127.0.0.1", "localhost")
_PATHS = re.compile(
    r"/(login|logout|config|theme\.css|favicon\.ico|robots\.txt|manifest\.json|(static|assets|svelte)/.+)?"
    r"|/gradio_api/(info|startup-events|app_id|login_check|user|token|cancel|reset|queue/(join|data)|heartbeat/\w+"
    r"|(call|run|api)/\w+(/\w+)?)/?"
)
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; object-src 'none'; base-uri 'self'; form-action 'self'; "
    "frame-ancestors 'none'"
)
_HEADERS = {"content-security-policy": _POLICY, "referrer-policy": "no-referrer", "x-content-type-options": "nosniff"}

_Scope = MutableMapping[str, Any]
_Call = Callable[..., Awaitable[Any]]


class Servable(Protocol):
    """A page, as `Page` and `RatingPage` are."""

    blocks: Any
    look: dict[str, Any]


def listen(port: int) -> socket.socket:
    """Return a socket of this machine's own address that browsers can connect to from now on.

    Args:
        port: TCP port; 0 takes a free one.

    Raises:
        ConfigError: there is no such port, it is in use, or it may not be used.
    """
    if not 0 <= port <= 65535:
        raise ConfigError(f"port must be from 0 (a free one) to 65535, got {port}")
    try:
        return socket.create_server((HOST, port))
    except OSError as error:
        raise ConfigError(f"port {port} of {HOST} cannot be used ({error}): give another one") from error


class Website:
    """A page at an address of this machine.

    Args:
        page: what is served.
        listening: the socket where it is asked for, from `listen`.
        accounts: who may open the page; None lets everybody in who can reach this machine's own address.

    Attributes:
        socket: where it listens.
        port: the port of that.
        url: the address of the page.

    Raises:
        MissingDependencyError: gradio is not installed.
    """

    def __init__(self, page: Servable, listening: socket.socket, *, accounts: Accounts | None = None) -> None:
        gradio, fastapi = require("gradio", extra="ui"), require("fastapi", extra="ui")
        self._uvicorn = require("uvicorn", extra="ui")
        self.socket = listening
        self.port: int = listening.getsockname()[1]
        self.url = f"http://{HOST}:{self.port}"
        self._names: tuple[str, ...] = _OWN_NAMES
        self._accounts = accounts
        app = gradio.mount_gradio_app(
            fastapi.FastAPI(openapi_url=None),
            page.blocks,
            path="/",
            server_name=HOST,
            server_port=self.port,
            footer_links=[],
            run_history=False,
            auth=list(accounts) if accounts else None,
            root_path="",
            show_error=False,
            ssr_mode=False,
            enable_monitoring=False,
            pwa=False,
            mcp_server=False,
            **page.look,
        )
        self.app = _guard(app, lambda: self._names)

    def share(self) -> str:
        """Make the page reachable from everywhere, through a tunnel of gradio's makers, and return its address.

        Raises:
            ConfigError: there are no accounts, or the tunnel cannot be made.
        """
        if not self._accounts:
            raise ConfigError("a page is only shared with those who log in: give accounts")
        tunnel = require("gradio.networking", extra="ui").setup_tunnel
        try:
            address: str = tunnel(HOST, self.port, secrets.token_urlsafe(32), None, None)
        except Exception as error:  # the tunnel's program is downloaded: there is no end of what can go wrong
            raise ConfigError(f"no share link could be made ({error}); the page works without") from error
        self._names = (*_OWN_NAMES, re.sub(r"^https?://([^/:]+).*", r"\1", address))
        return address

    def serve(self) -> None:
        """Answer until the process is interrupted."""
        self.server().run(sockets=[self.socket])

    def server(self) -> Any:
        """Return a `uvicorn.Server` for the page, which can also be run in a thread and told to end."""
        config = self._uvicorn.Config(
            self.app, log_level="critical", access_log=False, timeout_graceful_shutdown=1, proxy_headers=False
        )
        return self._uvicorn.Server(config)


def read_accounts(path: Path) -> list[tuple[str, str]]:
    """Read who may open the page: a line `name:password` for each.

    Raises:
        ConfigError: others can read the file; or lines that are none, all at once. Passwords are not repeated.
    """
    try:
        if path.stat().st_mode & 0o077:
            raise ConfigError(
                f"accounts in {str(path)!r} can be read or changed by other users of this machine: "
                f"run  chmod 600 {path}"
            )
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"accounts in {str(path)!r} cannot be read ({error})") from error
    accounts, faults = [], []
    for number, line in enumerate(lines, 1):
        name, colon, password = line.partition(":")
        if not line.strip():
            continue
        if not (name.strip() and colon):
            faults.append(f"{path}:{number} must be name:password")
        elif len(password) < _SHORTEST_PASSWORD:
            faults.append(f"{path}:{number} must have a password of at least {_SHORTEST_PASSWORD} characters")
        accounts.append((name.strip(), password))
    if not accounts:
        faults.append(f"{path} must have a line name:password for each who may open the page, but it is empty")
    if faults:
        raise ConfigError("\n".join(faults))
    return accounts


def _guard(app: _Call, names: Callable[[], Sequence[str]]) -> _Call:
    """Return an app that passes on what the page asks for; all else gets 404, or 421 by its host, 403 by its origin."""

    async def guarded(scope: _Scope, receive: _Call, send: _Call) -> None:
        async def send_with_policy(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                ours = [(name.encode(), value.encode()) for name, value in _HEADERS.items()]
                message["headers"] = [*message.get("headers", ()), *ours]
            await send(message)

        if scope["type"] == "lifespan":
            await app(scope, receive, send)
            return
        status = _status(scope, names())
        if status == 200:
            await app(scope, receive, send_with_policy)
            return
        await send_with_policy({"type": "http.response.start", "status": status, "headers": []})
        await send_with_policy({"type": "http.response.body", "body": b""})

    return guarded


def _status(scope: _Scope, names: Sequence[str]) -> int:
    given = [(name, value.decode("latin-1")) for name, value in scope.get("headers", ())]
    hosts = [value for name, value in given if name == b"host"]
    if scope["type"] != "http" or not _PATHS.fullmatch(scope["path"]):
        return 404
    host = hosts[0] if len(hosts) == 1 else ""
    if host not in names and host.rpartition(":")[0] not in names:
        return 421
    shared = (name for name in names if name not in _OWN_NAMES)
    own = (host, *shared)  # with its port: a page at another one of this machine is foreign, and so is a "null" origin
    origins = (value.rpartition("://")[2] for name, value in given if name == b"origin")
    return 200 if all(origin in own for origin in origins) else 403
