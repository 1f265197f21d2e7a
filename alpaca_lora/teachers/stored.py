"""A teacher that is not there: what it answered stands in a journal, and it answers nothing else."""

from collections.abc import Mapping, Sequence
from typing import Any

from alpaca_lora.teachers.protocol import Answer, Fault, Request

__all__ = ["StoredTeacher"]


class StoredTeacher:
    """Stands in for the teacher of a stored run, so that its decisions can be made again without a call.

    Args:
        described: what the teacher said of itself, from the run's contract.
        notes: what the run said that it could not be asked for.
    """

    free = True

    def __init__(self, described: Mapping[str, Any], notes: Sequence[str] = ()) -> None:
        self._described = dict(described)
        self.model, self.chat, self.notes = str(described["model"]), bool(described.get("chat", False)), tuple(notes)

    def describe(self) -> Mapping[str, Any]:
        """Return what the teacher said of itself."""
        return self._described

    def most_prompt_tokens(self, request: Request) -> int:
        """Return nothing, as nothing is asked."""
        return 0

    def redact(self, text: str) -> str:
        """Return the text, as there is no key."""
        return text

    async def answer(self, request: Request) -> Answer:
        """End the run, in the way of a teacher that has no more to give.

        Raises:
            Fault: always.
        """
        raise Fault("quota", f"the journal has no answer to {request.key}")

    async def close(self) -> None:
        """Do nothing."""
