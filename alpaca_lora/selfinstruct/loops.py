"""Many things at once, used in order; and an event loop where a notebook has one already."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

from alpaca_lora.selfinstruct.calls import Stop

__all__ = ["in_order", "run_in_a_loop"]

T = TypeVar("T")
R = TypeVar("R")


async def in_order(
    items: AsyncIterator[T], work: Callable[[T], Awaitable[R]], window: Callable[[], int]
) -> AsyncGenerator[tuple[T, R], None]:
    """Work on several items at once and yield each with its result, in the order of the items.

    Args:
        items: are taken only as far as the window goes.
        work: what to do with one.
        window: how many may be under way just now, at least 1.

    Yields:
        Item and result. Leaving early waits for what is under way.

    Raises:
        Stop: the items ended in one; everything before it was worked on and yielded.
    """
    pending: deque[tuple[T, asyncio.Future[R]]] = deque()
    end: StopAsyncIteration | Stop | None = None
    try:
        while True:
            while end is None and len(pending) < max(1, window()):
                try:
                    item = await anext(items)
                except (StopAsyncIteration, Stop) as caught:
                    end = caught
                else:
                    pending.append((item, asyncio.ensure_future(work(item))))
            if not pending:
                if isinstance(end, Stop):
                    raise end
                return
            item, task = pending[0]
            result = await task
            pending.popleft()
            yield item, result
    except asyncio.CancelledError:
        for _, task in pending:
            task.cancel()
        raise
    finally:
        await asyncio.gather(*(task for _, task in pending), return_exceptions=True)


def run_in_a_loop(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run to the end, also where a notebook has an event loop of its own; an interrupt cancels the work there too."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work())
    begun: Future[tuple[asyncio.AbstractEventLoop, asyncio.Task[T]]] = Future()

    async def begin() -> T:
        task = asyncio.ensure_future(work())
        begun.set_result((asyncio.get_running_loop(), task))
        return await task

    with ThreadPoolExecutor(1) as pool:
        try:
            return pool.submit(lambda: asyncio.run(begin())).result()
        except BaseException:
            with suppress(RuntimeError, TimeoutError):  # closed, as the work itself failed; or it never began
                loop, task = begun.result(timeout=1)
                loop.call_soon_threadsafe(task.cancel)
            raise
