"""What a teacher is: something that answers one request, once, and says what it used.

A teacher makes a single attempt. Whether to ask again, how long to wait and what it may cost is decided by whoever
holds the budget, from the `Fault` that the attempt ended in.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

__all__ = ["Answer", "Fault", "FaultKind", "Finish", "Request", "Teacher", "Usage"]

Finish = Literal["stop", "length", "filter", "refusal", "tool_calls"]

FaultKind = Literal["refused", "quota", "unfit", "busy", "server", "connection", "timeout", "cut", "garbage"]
"""`refused` and `quota` end the run, `unfit` means that this request cannot be served; the others may go away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One question to a teacher. Everything in it is decided before it is sent, so it can be asked again."""

    key: str
    """Names the request within its run, as `tasks/17`."""

    prompt: str
    opening: str = ""
    """How the answer begins. A completion model goes on from it; a chat model reads it at the end of the prompt."""

    max_tokens: int
    """Longest answer in tokens."""

    temperature: float = 1.0
    top_p: float = 1.0
    stop: tuple[str, ...] = ()
    """Texts that end the answer; they are no part of it."""

    seed: int = 0
    """For teachers that can repeat a drawn answer."""

    schema: Mapping[str, Any] | None = None
    """JSON schema that the answer should follow; a teacher that offers no such thing leaves it out."""

    choices: tuple[str, ...] = ()
    """Texts of which the answer should begin with one. A teacher that knows how likely its words are answers with a
    JSON object of the choices' probabilities, which sum to 1; another leaves this out and writes."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a request used, in tokens, as the teacher reports it."""

    prompt_tokens: int
    completion_tokens: int

    @property
    def total(self) -> int:
        """Return prompt and completion together."""
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a teacher answered."""

    text: str
    """Empty where the teacher declined."""

    finish: Finish
    """Why it ends: by itself, cut at max_tokens, or withheld."""

    usage: Usage | None
    """None where the teacher reports nothing that can be believed."""

    once: bool = False
    """Whether the teacher says that it bills all attempts of one request only once."""


class Fault(Exception):
    """An attempt that gave no answer.

    Attributes:
        kind: what sort of fault it was.
        retry_after: seconds that the teacher asks to wait; None where it says nothing.
        billed: whether the attempt may cost something all the same: True after anything that left the teacher's side
            unknown, as a connection that was cut in the middle of the answer.
    """

    def __init__(self, kind: FaultKind, text: str, *, retry_after: float | None = None, billed: bool = False) -> None:
        super().__init__(text)
        self.kind: FaultKind = kind
        self.retry_after = retry_after
        self.billed = billed


class Teacher(Protocol):
    """A model that writes tasks, answers them, or judges them."""

    @property
    def notes(self) -> Sequence[str]:
        """Return what it could not be asked for, one sentence each."""

    @property
    def model(self) -> str:
        """Return the model's name, under which prices are looked up."""

    @property
    def chat(self) -> bool:
        """Return whether it answers a message; if not, it goes on with a text."""

    @property
    def free(self) -> bool:
        """Return whether it costs nothing, so that no budget is needed."""

    def describe(self) -> Mapping[str, Any]:
        """Return what decides its answers, as JSON values, without anything secret."""

    def most_prompt_tokens(self, request: Request) -> int:
        """Return a number of tokens that the prompt cannot exceed."""

    def redact(self, text: str) -> str:
        """Return a text without the teacher's key, however it is written."""

    async def answer(self, request: Request) -> Answer:
        """Ask once.

        Raises:
            Fault: there is no answer.
        """

    async def close(self) -> None:
        """Give back connections and memory."""
