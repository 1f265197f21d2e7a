"""Calls to teachers within a budget: how many at once, how fast, and how often again.

Requests go out side by side. One that the budget does not admit waits until the calls under way are settled, since
those mostly cost less than was reserved for them; only then is the budget reached.

Waiting is measured by the monotonic clock: a clock that is set back or a night of sleep changes no limit.
"""

import asyncio
import math
import random
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Literal

from alpaca_lora.config.calling import CallSettings
from alpaca_lora.errors import ConfigError, TeacherRefusedError
from alpaca_lora.selfinstruct.ledger import Booking, Budget, Ledger
from alpaca_lora.teachers import Answer, Fault, Price, Request, Teacher, Usage

__all__ = ["Caller", "Limits", "Priced", "Status", "Stop"]

Status = Literal["completed", "budget", "quota", "unavailable", "time", "pilot", "dry"]
"""Why a run ended: enough rows; or a budget, the teacher's credit, silence, time, the pilot, no new rows."""

_LONGEST_WAIT_SECONDS = 120.0
_LONGEST_PAUSE_SECONDS = 60.0
_MOST_TRIES = 20
_PATIENCE = 6
_MINUTE = 60.0
_LARGEST_CONTEXT = 2**24
"""More tokens than any model takes or writes at once."""


class Stop(Exception):
    """The run ends here for now; everything so far is kept."""

    def __init__(self, status: Status, text: str) -> None:
        super().__init__(text)
        self.status: Status = status


@dataclass(frozen=True, slots=True)
class Priced:
    """A teacher and what its tokens cost; None where only tokens are capped."""

    teacher: Teacher
    price: Price | None

    def worst(self, request: Request) -> Usage:
        """Return what a request uses at most."""
        return Usage(self.teacher.most_prompt_tokens(request), request.max_tokens)

    def booking(self, usage: Usage) -> Booking:
        """Return what a usage costs."""
        if self.price is None:
            return Booking(usage.total, unpriced=usage.total)
        return Booking(usage.total, self.price.cost(usage))


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How fast and how long teachers are asked; None sets no limit."""

    concurrency: int = 8
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    seconds: float | None = None
    pause_seconds: float = 0.5
    """Wait before the second try; it doubles with every further one."""

    @classmethod
    def of(cls, settings: CallSettings) -> "Limits":
        """Return the limits that settings give."""
        return cls(
            concurrency=settings.concurrency,
            requests_per_minute=settings.requests_per_minute,
            tokens_per_minute=settings.tokens_per_minute,
            seconds=settings.max_seconds,
            pause_seconds=settings.pause_seconds,
        )


class Caller:
    """Asks teachers, and books every attempt before it is made.

    Raises:
        ConfigError: the budget is in dollars, and the ledger holds calls whose price was not known.
    """

    def __init__(self, ledger: Ledger, budget: Budget, limits: Limits) -> None:
        if budget.usd is not None and ledger.total.unpriced:
            raise ConfigError(
                f"earlier sessions of this run used {ledger.total.unpriced:,} tokens without a price, so budget_usd "
                "cannot hold: leave it out, keep budget_tokens"
            )
        self.ledger, self.budget, self.limits = ledger, budget, limits
        self._slots = asyncio.Semaphore(limits.concurrency)
        self._turn = asyncio.Lock()
        self._settled, self._halted = asyncio.Event(), asyncio.Event()
        self._end: BaseException | None = None
        self._failures = 0
        self._sent: deque[tuple[float, int]] = deque()
        self._ends = asyncio.get_running_loop().time() + (math.inf if limits.seconds is None else limits.seconds)

    def halt(self, end: BaseException) -> None:
        """Let calls under way finish, and begin no other: whoever wants to is answered with `end`."""
        self._end = self._end or end
        self._halted.set()
        self._settled.set()

    async def ask(self, priced: Priced, request: Request, smaller: Request | None = None) -> Answer | None:
        """Return the answer to a request, from the journal if it is there.

        Args:
            priced: whom to ask.
            request: what to ask.
            smaller: what to ask instead, under the same key, if the teacher finds the request too long.

        Returns:
            The answer, or None if the request was given up.

        Raises:
            Stop: no further call can be made.
            TeacherRefusedError: the teacher will not answer at all.
        """
        key, tries = request.key, 0
        while key not in self.ledger.answers and key not in self.ledger.skipped:
            try:
                async with self._slots:
                    await self._attempt(priced, request)
            except Fault as fault:
                tries += 1
                if fault.kind == "unfit" and smaller is not None:
                    request, smaller = smaller, None
                elif fault.kind == "unfit" or (tries >= _MOST_TRIES and not self._silent(key, tries)):
                    self.ledger.skip(key, fault.kind)
                else:
                    await self._recover(fault, tries)
            except OSError as error:
                self.halt(error)
                raise
        return self.ledger.answers.get(key)

    async def _attempt(self, priced: Priced, request: Request) -> None:
        worst = priced.worst(request)
        attempt = await self._reserve(request.key, priced.booking(worst))
        try:
            answer = await priced.teacher.answer(replace(request, key=f"{self.ledger.run}/{request.key}"))
        except Fault as fault:
            text = priced.teacher.redact(str(fault))
            (self.ledger.doubt if fault.billed else self.ledger.release)(attempt, fault.kind, text)
            raise
        except BaseException:
            self.ledger.doubt(attempt, "interrupted")
            raise
        finally:
            self._settled.set()
        used = _billable(answer.usage, worst)
        self.ledger.settle(attempt, priced.booking(used), answer, estimated=used != answer.usage)
        self._failures = 0

    async def _reserve(self, key: str, booking: Booking) -> int:
        async with self._turn:  # first come, first served: requests reserve in their order
            while not self._end:  # after every wait from the beginning, since calls under way are settled meanwhile
                if not self.budget.admits(self.ledger.total + booking):
                    if not self.ledger.reserved:
                        self.halt(Stop("budget", self._over(booking)))
                        break
                    self._settled.clear()
                    await self._settled.wait()
                elif (pause := self._pause(booking.tokens)) > 0:
                    await self._sleep(pause)
                else:
                    break
            self._check_time()
            if self._end:
                raise self._end
            if self.limits.requests_per_minute is not None or self.limits.tokens_per_minute is not None:
                self._sent.append((asyncio.get_running_loop().time(), booking.tokens))
            return self.ledger.reserve(key, booking)

    def _pause(self, tokens: int) -> float:
        """Return the seconds to wait until the window of a minute has room for another request."""
        now, most = asyncio.get_running_loop().time(), self.limits
        while self._sent and now - self._sent[0][0] > _MINUTE:
            self._sent.popleft()
        requests, used = len(self._sent), sum(number for _, number in self._sent)
        full = most.requests_per_minute is not None and requests >= most.requests_per_minute
        full |= most.tokens_per_minute is not None and requests > 0 and used + tokens > most.tokens_per_minute
        return self._sent[0][0] + _MINUTE - now + 0.001 if full else 0.0

    async def _recover(self, fault: Fault, tries: int) -> None:
        """Wait for a fault to go away, or end the run."""
        if fault.kind == "refused":
            self.halt(TeacherRefusedError(str(fault)))
        elif fault.kind == "quota":
            self.halt(Stop("quota", str(fault)))
        self._failures += 1
        if tries >= _MOST_TRIES or self._failures >= _PATIENCE * self.limits.concurrency:
            self.halt(Stop("unavailable", f"{fault}; {self._failures} attempts in a row had no answer"))
        if self._end:
            raise self._end
        pause = min(self.limits.pause_seconds * 2 ** (tries - 1), _LONGEST_PAUSE_SECONDS) * random.uniform(0.5, 1)
        if fault.retry_after is not None:
            pause = min(fault.retry_after, _LONGEST_WAIT_SECONDS) * random.uniform(1, 1.1)
        await self._sleep(pause)

    def _silent(self, key: str, tries: int) -> bool:
        """Tell whether nobody was answered since a request was first tried, so that it is not to blame.

        A request that outlives two sessions in this way is given up all the same.
        """
        return self._failures >= tries - 1 and self.ledger.fruitless[key] < 2 * _MOST_TRIES

    async def _sleep(self, seconds: float) -> None:
        """Wait, but no longer than the run may take; after that nothing more is sent."""
        left = self._seconds_left()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._halted.wait(), min(seconds, left))
        self._check_time(left - seconds)

    def _seconds_left(self) -> float:
        return self._ends - asyncio.get_running_loop().time()

    def _check_time(self, left: float = math.inf) -> None:
        if min(left, self._seconds_left()) <= 0:
            self.halt(Stop("time", f"the time of {self.limits.seconds:g} s is over"))

    def _over(self, booking: Booking) -> str:
        booked, caps = self.ledger.total, []
        if self.budget.usd is not None:
            caps.append(f"${_plain(booked.usd)} of ${_plain(self.budget.usd)} are booked")
        if self.budget.tokens is not None:
            caps.append(f"{booked.tokens:,} of {self.budget.tokens:,} tokens are booked")
        most = f"{booking.tokens:,} tokens" if self.budget.usd is None else f"${_plain(booking.usd)}"
        return f"{' and '.join(caps)}, and the next request may cost up to {most}"


def _billable(reported: Usage | None, worst: Usage) -> Usage:
    """Return the usage to book for an answer: the reported one, or the worst case where none can be believed.

    More than the worst case is believed too, since an endpoint may bill what cannot be seen from here: a prompt of its
    own, thoughts that `max_tokens` does not end. That may lift the sum above the budget, which then admits no other
    call. Only what is above any model's context is a slip or a lie, so no answer can book more than that.
    """
    if reported is None or max(reported.prompt_tokens, reported.completion_tokens) > _LARGEST_CONTEXT:
        return worst
    return reported


def _plain(amount: Decimal) -> str:
    """Return an amount of money with four places at least, without an exponent."""
    return f"{amount.normalize():f}" if amount.normalize().as_tuple().exponent < -4 else f"{amount:.4f}"  # type: ignore[operator]
