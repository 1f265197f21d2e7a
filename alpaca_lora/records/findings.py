"""What the reader collects while it goes on: faults, which refuse the file, and notes, which do not."""

from collections.abc import Sequence

from alpaca_lora.errors import RecordError

__all__ = ["Findings", "fault_error", "first_line"]

_SHOWN = 20


class Findings:
    """Faults and notes of one file, or of one iterable in memory."""

    def __init__(self, name: str | None = None) -> None:
        """Start empty.

        Args:
            name: file name that starts each fault; None for rows in memory, which are counted instead.
        """
        self.name = name
        self.notes: list[str] = []
        self._faults: list[tuple[int, str]] = []

    @property
    def faults(self) -> list[str]:
        """Every fault, in line order."""
        return [text for _, text in sorted(self._faults, key=lambda fault: fault[0])]

    @property
    def fault_count(self) -> int:
        """How many faults there are, without sorting them, which a check of every row cannot afford."""
        return len(self._faults)

    def place(self, line: int) -> str:
        """Return where a row is: `data.jsonl:7` or `record 7`."""
        return f"record {line}" if self.name is None else f"{self.name}:{line}"

    def fault(self, line: int, text: str, *, column: int | None = None) -> None:
        """Add a fault.

        Args:
            line: line of the file, or number of the row, from 1; 0 is the whole source.
            text: what is wrong and what to do.
            column: character of the line, from 1, where it is known.
        """
        where = self.place(line) if line else self.name or "records"
        self._faults.append((line, f"{where}{'' if column is None else f':{column}'}: {text}"))

    def note(self, text: str) -> None:
        """Add something worth knowing."""
        self.notes.append(text if self.name is None else f"{self.name}: {text}")


def fault_error(what: str, faults: Sequence[str]) -> RecordError:
    """Return the error that holds all faults and shows the first twenty with their count.

    Args:
        what: what could not be done, as `cannot read data.jsonl`.
        faults: one line each, at least one.
    """
    count = f"{len(faults):,} faults" if len(faults) > 1 else "1 fault"
    lines = [f"{what}: {count}", *faults[:_SHOWN]]
    if len(faults) > _SHOWN:
        lines.append(f"and {len(faults) - _SHOWN:,} more; all of them are in .faults")
    error = RecordError("\n  ".join(lines))
    error.faults = tuple(faults)
    return error


def first_line(error: BaseException) -> str:
    """Return what a foreign error says on its first line, to be quoted in a fault."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0].rstrip(".:") if lines else type(error).__name__
