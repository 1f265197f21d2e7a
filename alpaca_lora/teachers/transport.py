"""The way to an endpoint: no redirect, no proxy from the environment, no compression, no answer without end.

A teacher never needs a redirect, and following one hands the key to another server. Compressed bodies are refused
because a few bytes can unpack into all memory.
"""

from types import ModuleType
from typing import Any

from alpaca_lora.teachers.protocol import Fault

__all__ = ["BODY_BYTES", "make_http_client"]

BODY_BYTES = 8 * 2**20
"""Longest body of any response."""


class _Capped:
    """A transport that reads each body to its end, but not beyond the limit."""

    def __init__(self, httpx2: ModuleType, inner: Any) -> None:
        self._httpx2 = httpx2
        self._inner = inner

    async def __aenter__(self) -> "_Capped":
        await self._inner.__aenter__()
        return self

    async def __aexit__(self, *details: Any) -> None:
        await self._inner.__aexit__(*details)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._inner.aclose()

    async def handle_async_request(self, request: Any) -> Any:
        """Send one request and return its whole response."""
        response = await self._inner.handle_async_request(request)
        try:
            encoding = response.headers.get("content-encoding", "identity").lower()
            if encoding != "identity":
                raise Fault("garbage", f"the answer is compressed ({encoding!r}) although plain was asked", billed=True)
            body = bytearray()
            async for piece in response.stream:
                body += piece
                if len(body) > BODY_BYTES:
                    raise Fault("garbage", f"the answer is longer than {BODY_BYTES:,} bytes", billed=True)
        finally:
            await response.aclose()
        return self._httpx2.Response(
            response.status_code,
            headers=[(name, value) for name, value in response.headers.items() if name != "transfer-encoding"],
            content=bytes(body),
            request=request,
        )


def make_http_client(httpx2: ModuleType, *, timeout_seconds: float, connections: int, proxy: str | None) -> Any:
    """Return an asynchronous client for one endpoint.

    Args:
        httpx2: the module, which only the extra `teacher` brings.
        timeout_seconds: longest silence; the caller sets a deadline for the whole besides.
        connections: how many are kept open at most.
        proxy: URL of a proxy; None asks the endpoint directly, whatever the environment says.
    """
    limits = httpx2.Limits(max_connections=connections, max_keepalive_connections=connections)
    inner = httpx2.AsyncHTTPTransport(limits=limits, proxy=proxy, trust_env=False)
    return httpx2.AsyncClient(
        transport=_Capped(httpx2, inner),
        follow_redirects=False,
        trust_env=False,
        timeout=timeout_seconds,
        headers={"accept-encoding": "identity"},
    )
