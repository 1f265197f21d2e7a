"""Budget, limits and order, on a teacher that is a function: no socket, thousands of calls."""

import asyncio
import random
import time
from collections import deque
from decimal import Decimal

import pytest

from alpaca_lora.errors import ConfigError
from alpaca_lora.selfinstruct.calls import Caller, Limits, Priced, Stop
from alpaca_lora.selfinstruct.ledger import Budget, Ledger
from alpaca_lora.selfinstruct.loops import in_order
from alpaca_lora.teachers import Answer, Fault, Price, Request, Usage

PRICE = Price(Decimal("0.3"), Decimal("1.7"))
pytestmark = pytest.mark.usefixtures("quick_disk")


class Actor:
    """A teacher that answers, fails and charges as a seeded random number says."""

    model, chat, free, notes = "actor", True, False, ()

    def __init__(self, seed=0, rate=0.0):
        self.draw, self.rate = random.Random(seed), rate
        self.bill, self.sent = Usage(0, 0), []

    def most_prompt_tokens(self, request):
        return 100

    def redact(self, text):
        return text

    async def answer(self, request):
        self.sent.append(asyncio.get_running_loop().time())
        for _ in range(self.draw.randrange(4)):
            await asyncio.sleep(0)
        fails, used = self.draw.random() < self.rate, Usage(self.draw.randint(1, 100), self.draw.randint(0, 50))
        billed = not fails or self.draw.random() < 0.5
        if billed:
            self.bill = Usage(
                self.bill.prompt_tokens + used.prompt_tokens, self.bill.completion_tokens + used.completion_tokens
            )
        if fails:
            raise Fault("cut" if billed else "server", "no", billed=billed or self.draw.random() < 0.3)
        usage = None if self.draw.random() < self.rate / 4 else used
        return Answer(text=request.key, finish="stop", usage=usage)

    async def close(self):
        pass


def request(number, **more):
    return Request(key=f"tasks/{number}", prompt="Go.", max_tokens=50, **more)


def session(path, actor, budget, requests, **limits):
    """Ask for some requests in order; return the ledger and why it ended."""

    async def run(ledger):
        caller = Caller(ledger, budget, Limits(**{"pause_seconds": 1e-6, **limits}))

        async def numbers():
            for number in range(requests):
                yield number

        try:
            ask = lambda number: caller.ask(Priced(actor, PRICE), request(number))  # noqa: E731
            return [answer async for _, answer in in_order(numbers(), ask, lambda: 5)], None
        except Stop as stop:
            return [], stop

    with Ledger.open(path) as ledger:
        answers, stop = asyncio.run(run(ledger))
    return ledger, answers, stop


def schedules(tmp_path, count):
    """Run random schedules, each with its own faults, budget and concurrency, in two sessions."""
    for seed in range(count):
        draw = random.Random(seed)
        usd = Decimal(draw.randint(1, 40)) / 10_000
        tokens = draw.choice([None, draw.randint(100, 4000)])
        actor = Actor(seed, draw.choice([0.0, 0.2, 0.4, 0.8]))
        budget, path = Budget(tokens, usd), tmp_path / f"{seed}.jsonl"
        for _ in range(2):
            ledger, answers, stop = session(path, actor, budget, 20, concurrency=draw.randint(1, 8))
            yield ledger, actor, budget, answers, stop


def assert_the_budget_holds(ledger, actor, budget):
    assert budget.admits(ledger.total)
    assert ledger.total.usd >= PRICE.cost(actor.bill)
    assert ledger.total.tokens >= actor.bill.total
    assert ledger.reserved == {}


def test_no_schedule_spends_more_than_its_budget_or_books_less_than_its_bill(tmp_path):
    ends = set()
    for ledger, actor, budget, answers, stop in schedules(tmp_path, 60):
        assert_the_budget_holds(ledger, actor, budget)
        assert all(answer.text.endswith(f"tasks/{number}") for number, answer in enumerate(answers))
        ends.add(stop and stop.status)
    assert ends >= {None, "budget"}


@pytest.mark.slow
def test_no_schedule_of_a_thousand_spends_more_than_its_budget(tmp_path):
    for ledger, actor, budget, _, _ in schedules(tmp_path, 1000):
        assert_the_budget_holds(ledger, actor, budget)


def test_a_cap_that_is_forgotten_is_noticed(tmp_path):
    ledger, actor, _ = Ledger(tmp_path), Actor(), None
    ledger.total = Priced(actor, PRICE).booking(Usage(100, 50))
    with pytest.raises(AssertionError):
        assert_the_budget_holds(ledger, actor, Budget(tokens=100))


def test_a_budget_is_reached_only_when_calls_under_way_are_settled(tmp_path):
    # Five reservations of 150 tokens would not fit; one after the other they do, as each call uses fewer.
    actor = Actor()
    ledger, answers, stop = session(tmp_path / "a.jsonl", actor, Budget(tokens=500), 4, concurrency=5)
    assert (stop, len(answers)) == (None, 4)
    assert ledger.total.tokens == actor.bill.total


def test_the_message_of_a_budget_says_what_is_booked_and_what_the_next_would_cost(tmp_path):
    _, _, stop = session(tmp_path / "a.jsonl", Actor(), Budget(tokens=149, usd=Decimal("0.1")), 1)
    assert str(stop) == (
        "$0.0000 of $0.1000 are booked and 0 of 149 tokens are booked, and the next request may cost up to $0.000115"
    )


class Reporting(Actor):
    """A teacher that reports always the same usage."""

    async def answer(self, request):
        self.sent.append(1)
        return Answer(text="", finish="stop", usage=self.usage)


@pytest.mark.catalogue(123)
@pytest.mark.parametrize(
    ("reported", "booked", "estimated"),
    [
        (Usage(90, 20), Usage(90, 20), 0),
        (Usage(100, 50), Usage(100, 50), 0),
        (Usage(300, 4000), Usage(300, 4000), 0),
        (Usage(90, 4000), Usage(90, 4000), 0),
        (Usage(101, 20), Usage(101, 20), 0),
        (Usage(2**24 + 1, 20), Usage(100, 50), 1),
        (Usage(10**12, 10**12), Usage(100, 50), 1),
        (None, Usage(100, 50), 1),
    ],
)
def test_a_reported_usage_is_booked_also_above_the_worst_case_unless_it_cannot_be(
    tmp_path, reported, booked, estimated
):
    actor = Reporting()
    actor.usage = reported
    ledger, _, _ = session(tmp_path / "a.jsonl", actor, Budget(), 1)
    assert (ledger.total, ledger.estimated) == (Priced(actor, PRICE).booking(booked), estimated)


def test_an_answer_that_costs_more_than_was_reserved_for_it_ends_a_budget(tmp_path):
    actor = Reporting()
    actor.usage = Usage(100, 4000)
    ledger, _, stop = session(tmp_path / "a.jsonl", actor, Budget(tokens=1000), 5, concurrency=1)
    assert (stop.status, len(actor.sent), ledger.total.tokens) == ("budget", 1, 4100)


def test_what_is_settled_during_a_wait_for_the_rate_counts_against_the_budget(tmp_path, monkeypatch):
    class Dear(Actor):
        async def answer(self, request):
            self.sent.append(1)
            await asyncio.sleep(0.05)
            return Answer(text="", finish="stop", usage=Usage(100, 4000))

    monkeypatch.setattr("alpaca_lora.selfinstruct.calls._MINUTE", 0.2)
    actor = Dear()
    ledger, _, stop = session(tmp_path / "a.jsonl", actor, Budget(tokens=1000), 2, requests_per_minute=1)
    assert (stop.status, len(actor.sent), ledger.total.tokens) == ("budget", 1, 4100)


def test_no_budget_in_dollars_holds_over_calls_without_a_price(tmp_path):
    async def ask(ledger, price, budget):
        await Caller(ledger, budget, Limits()).ask(Priced(Actor(), price), request(0))

    path = tmp_path / "a.jsonl"
    with Ledger.open(path) as ledger:
        asyncio.run(ask(ledger, None, Budget(tokens=10**6)))
        used = ledger.total.tokens
    with (
        Ledger.open(path) as ledger,
        pytest.raises(ConfigError, match=f"used {used} tokens without a price, so budget_usd cannot hold"),
    ):
        asyncio.run(ask(ledger, PRICE, Budget(usd=Decimal(1))))
    with Ledger.open(path) as ledger:
        asyncio.run(ask(ledger, PRICE, Budget(tokens=10**6)))
        assert ledger.total.unpriced == used


@pytest.mark.catalogue(124)
def test_a_request_that_was_answered_is_never_asked_again(tmp_path):
    actor = Actor()
    for _ in range(3):
        session(tmp_path / "a.jsonl", actor, Budget(), 10)
    assert len(actor.sent) == 10


@pytest.mark.catalogue(113)
def test_a_request_that_is_too_long_is_made_smaller_once_and_then_skipped(tmp_path):
    class Short(Actor):
        async def answer(self, request):
            self.sent.append(request.max_tokens)
            if request.max_tokens > self.most:
                raise Fault("unfit", "maximum context length")
            return Answer(text="", finish="stop", usage=None)

    async def ask(ledger, actor):
        caller = Caller(ledger, Budget(), Limits())
        smaller = Request(key="tasks/0", prompt="Go.", max_tokens=25)
        return await caller.ask(Priced(actor, None), request(0), smaller)

    for name, most, sent, skipped in (("a", 25, [50, 25], {}), ("b", 10, [50, 25], {"tasks/0": "unfit"})):
        actor = Short()
        actor.most = most
        with Ledger.open(tmp_path / f"{name}.jsonl") as ledger:
            answer = asyncio.run(ask(ledger, actor))
        assert (actor.sent, ledger.skipped, answer is None) == (sent, skipped, bool(skipped))


@pytest.mark.catalogue(110)
def test_a_wait_that_a_teacher_asks_for_is_kept_but_never_longer_than_two_minutes(tmp_path, monkeypatch):
    waits = []

    async def sleep(self, seconds):
        waits.append(seconds)

    class Busy(Actor):
        async def answer(self, request):
            self.sent.append(1)
            if len(self.sent) <= 2:
                raise Fault("busy", "slow", retry_after=(7, 10**9)[len(self.sent) - 1])
            return await super().answer(request)

    monkeypatch.setattr(Caller, "_sleep", sleep)
    session(tmp_path / "a.jsonl", Busy(), Budget(), 1)
    assert 7 <= waits[0] <= 7.7
    assert 120 <= waits[1] <= 132


@pytest.mark.catalogue(112)
def test_a_teacher_that_stays_silent_ends_the_run_and_the_same_run_goes_on_later(tmp_path):
    dead = Actor(rate=1.0)
    ledger, _, stop = session(tmp_path / "a.jsonl", dead, Budget(), 10, concurrency=2)
    assert stop.status == "unavailable"
    assert str(stop).endswith("12 attempts in a row had no answer")
    assert 12 <= len(dead.sent) <= 13  # the thirteenth was under way
    _, answers, stop = session(tmp_path / "a.jsonl", Actor(), Budget(), 10)
    assert (stop, len(answers)) == (None, 10)


class Mute(Actor):
    """A teacher that does not answer some requests."""

    def __init__(self, *mute):
        super().__init__()
        self.mute = mute

    async def answer(self, request):
        if request.key.rpartition("/")[2] in self.mute:
            self.sent.append(request.key)
            raise Fault("server", "502", billed=False)
        return await super().answer(request)


@pytest.mark.catalogue(112)
def test_an_outage_that_meets_one_request_alone_ends_the_run_and_gives_nothing_up(tmp_path):
    ledger, _, stop = session(tmp_path / "a.jsonl", Mute("0"), Budget(), 1, concurrency=8)
    assert (stop.status, ledger.skipped) == ("unavailable", {})
    ledger, answers, stop = session(tmp_path / "a.jsonl", Actor(), Budget(), 1)
    assert (stop, len(answers), ledger.skipped) == (None, 1, {})


@pytest.mark.parametrize(("requests", "sessions"), [(60, 1), (1, 2)])
def test_a_request_that_is_itself_to_blame_is_given_up(tmp_path, requests, sessions):
    for number in range(1, sessions + 1):
        actor = Mute("0")
        ledger, _, stop = session(tmp_path / "a.jsonl", actor, Budget(), requests, concurrency=8)
        assert (ledger.skipped, stop is None) == (({"tasks/0": "server"}, True) if number == sessions else ({}, False))
    assert len(actor.sent) >= 20


def test_no_minute_holds_more_requests_or_tokens_than_it_may(tmp_path, monkeypatch):
    class Window(deque):
        """Keeps when each request was let through, which a busy machine sends later."""

        def append(self, sent):
            through.append(sent[0])
            super().append(sent)

    monkeypatch.setattr("alpaca_lora.selfinstruct.calls._MINUTE", 0.2)
    monkeypatch.setattr("alpaca_lora.selfinstruct.calls.deque", Window)
    for name, limit in (("a", {"requests_per_minute": 3}), ("b", {"tokens_per_minute": 450})):
        actor, through = Actor(), []
        session(tmp_path / f"{name}.jsonl", actor, Budget(), 8, concurrency=8, **limit)
        assert (len(actor.sent), len(through)) == (8, 8)
        assert min(later - earlier for earlier, later in zip(through, through[3:], strict=False)) >= 0.2


@pytest.mark.catalogue(126)
def test_after_the_time_nothing_more_is_sent(tmp_path):
    actor = Actor()
    _, _, stop = session(tmp_path / "a.jsonl", actor, Budget(), 5, seconds=1e-9)
    assert (stop.status, actor.sent) == ("time", [])


@pytest.mark.catalogue(126)
@pytest.mark.parametrize(
    ("requests", "retry_after", "limits"),
    [(2, None, {"requests_per_minute": 1}), (2, None, {"tokens_per_minute": 150}), (1, 100, {})],
)
def test_no_wait_outlasts_the_time_and_nothing_is_sent_after_it(tmp_path, monkeypatch, requests, retry_after, limits):
    waits, wait_for = [], asyncio.wait_for

    async def shortened(awaited, seconds):
        waits.append(seconds)
        return await wait_for(awaited, min(seconds, 0.1))

    class Slow(Actor):
        async def answer(self, request):
            if retry_after is not None:
                self.sent.append(1)
                raise Fault("busy", "slow", retry_after=retry_after)
            return await super().answer(request)

    monkeypatch.setattr("alpaca_lora.selfinstruct.calls._MINUTE", 2)
    monkeypatch.setattr(asyncio, "wait_for", shortened)
    actor = Slow()
    _, _, stop = session(tmp_path / "a.jsonl", actor, Budget(), requests, concurrency=1, seconds=1, **limits)
    assert (stop.status, len(actor.sent)) == ("time", 1)
    assert waits
    assert max(waits) <= 1


@pytest.mark.catalogue(129)
def test_a_clock_that_jumps_changes_nothing(tmp_path, monkeypatch):
    draw = random.Random(0)
    monkeypatch.setattr(time, "time", lambda: draw.uniform(-(10**9), 10**9))
    _, answers, stop = session(tmp_path / "a.jsonl", Actor(rate=0.3), Budget(), 10, seconds=60, requests_per_minute=100)
    assert (stop, len(answers)) == (None, 10)
