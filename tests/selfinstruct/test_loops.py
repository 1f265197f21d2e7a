import asyncio
import signal
import threading
from contextlib import closing

import pytest

from alpaca_lora.selfinstruct.calls import Stop
from alpaca_lora.selfinstruct.loops import in_order, run_in_a_loop


def test_results_come_in_the_order_of_items_whatever_ends_first():
    async def run():
        async def items():
            for number in range(6):
                yield number

        async def work(number):
            await asyncio.sleep(0.01 * (6 - number))
            return number * number

        return [pair async for pair in in_order(items(), work, lambda: 3)]

    assert asyncio.run(run()) == [(number, number * number) for number in range(6)]


def test_items_that_end_in_a_stop_are_all_worked_on_first():
    async def run():
        async def items():
            yield 1
            yield 2
            raise Stop("budget", "no more")

        async def work(number):
            await asyncio.sleep(0)
            return number

        seen, end = [], None
        try:
            async for _, result in in_order(items(), work, lambda: 5):
                seen.append(result)
        except Stop as stop:
            end = stop.status
        return seen, end

    assert asyncio.run(run()) == ([1, 2], "budget")


@pytest.fixture
def heeded():
    """Let SIGINT interrupt, also where the tests run in the background of a shell, which has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heeded")
def test_an_interrupt_ends_the_work_also_beside_the_loop_of_a_notebook():
    calls, ends = [], []

    async def work():
        await asyncio.sleep(0.05)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        try:
            for number in range(100):
                calls.append(number)
                await asyncio.sleep(0.02)
        except asyncio.CancelledError:
            ends.append("cancelled")
            raise

    async def cell():
        run_in_a_loop(work)

    loop = asyncio.new_event_loop()  # without the handler of asyncio.run, as in a notebook
    with closing(loop), pytest.raises(KeyboardInterrupt):
        loop.run_until_complete(cell())
    assert ends == ["cancelled"]
    assert len(calls) < 100


def test_a_failure_beside_the_loop_of_a_notebook_is_told_as_it_is():
    async def work():
        raise Stop("budget", "no more")

    async def cell():
        run_in_a_loop(work)

    with pytest.raises(Stop, match="no more"):
        asyncio.run(cell())
