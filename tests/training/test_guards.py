import builtins
import math
import os
import signal
import threading

import pytest

from alpaca_lora.errors import DivergenceError
from alpaca_lora.training.guards import Interruption, Watchdog

VOCABULARY = 1000
LIMIT = math.log(VOCABULARY) + 3


class TestWatchdog:
    """A loss that left for good, and the noise that is none."""

    def feed(self, losses):
        watchdog = Watchdog(VOCABULARY)
        for step, loss in enumerate(losses, start=1):
            watchdog.see(loss, step)

    def test_ten_steps_far_above_the_beginning_are_the_end(self):
        with pytest.raises(DivergenceError, match=r"the loss is 12\.00 at step 20 and was above 9\.91 for 10 steps"):
            self.feed([2.0] * 10 + [12.0] * 10)

    @pytest.mark.parametrize(
        "losses",
        [
            [2.0] * 10 + [12.0] * 9,
            ([2.0] * 10 + [12.0] * 9 + [2.0]) * 3,
            [2.0] * 10 + [LIMIT - 0.01] * 50,
            [12.0] * 60,
            [4.0] * 10 + [11.9] * 30,
        ],
        ids=["nine", "coming back", "like guessing", "always so", "less than three times"],
    )
    def test_anything_less_is_not(self, losses):
        self.feed(losses)


class TestInterruption:
    """Signals are kept for the next step, and belong to whoever had them before."""

    @pytest.fixture
    def heard(self):
        """The signals that reached the handlers from before, which are put back at the end."""
        heard = []
        before = {number: signal.signal(number, lambda n, _: heard.append(n)) for number in (2, 15)}
        yield heard
        for number, handler in before.items():
            signal.signal(number, handler)

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_one_is_kept_and_handed_on_afterwards(self, heard, number):
        interruption = Interruption()
        with interruption.armed():
            os.kill(os.getpid(), number)
            assert (interruption.received, heard) == (number, [])
        interruption.deliver()
        assert heard == [number]

    def test_the_second_is_obeyed_at_once(self, heard):
        with Interruption().armed():
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGINT)
            assert heard == [signal.SIGINT]

    def test_handlers_are_put_back(self, heard):
        before = [signal.getsignal(number) for number in (2, 15)]
        with Interruption().armed():
            assert signal.getsignal(15) != before[1]
        assert [signal.getsignal(number) for number in (2, 15)] == before

    def test_a_signal_that_is_ignored_stays_ignored(self, heard):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        with Interruption().armed():
            assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN

    def test_nothing_is_installed_in_a_notebook(self, heard, monkeypatch):
        before = signal.getsignal(15)
        monkeypatch.setattr(builtins, "get_ipython", object, raising=False)
        with Interruption().armed():
            assert signal.getsignal(15) == before

    def test_nothing_is_installed_in_another_thread(self, heard):
        before, seen = signal.getsignal(15), []

        def work():
            with Interruption().armed():
                seen.append(signal.getsignal(15))

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert seen == [before]

    def test_without_a_signal_nothing_is_handed_on(self, heard):
        Interruption().deliver()
        assert heard == []
