"""Graphics cards by name: how much memory a program sees on them, and how fast they multiply by their data sheet."""

import difflib
import re
from typing import NamedTuple

from alpaca_lora.errors import ConfigError
from alpaca_lora.planning.decisions import Hardware

__all__ = ["CARDS", "Card", "card_named", "hardware_with"]


class Card(NamedTuple):
    """What a data sheet says."""

    memory_mib: int
    """As the driver reports it, less than on the box where the card corrects errors."""

    teraflops: float
    """Dense products of 16-bit numbers added up in 32 bits, without sparsity."""

    bf16: bool = True


CARDS = {
    "T4": Card(15360, 65.0, bf16=False),
    "A10G": Card(23028, 70.0),
    "L4": Card(23034, 121.0),
    "3090": Card(24576, 71.2),
    "4090": Card(24564, 165.2),
    "A100-40GB": Card(40960, 312.0),
    "A100": Card(81920, 312.0),
    "H100": Card(81559, 989.0),
}
"""By the name that people use; the two sizes of the A100 differ in memory alone."""

_MAKERS_WORDS = re.compile("NVIDIA|GEFORCE|TESLA|RTX")


def card_named(name: str | int) -> Card:
    """Return a card, whatever the case of its name and with or without the words that its maker puts before it.

    Raises:
        ConfigError: no card has this name.
    """
    wanted = _MAKERS_WORDS.sub("", str(name).upper()).strip(" -_")
    known = {card.upper(): card for card in CARDS}
    if wanted not in known:
        close = difflib.get_close_matches(wanted, known, n=1)
        meant = f"; did you mean {known[close[0]]!r}?" if close else "."
        raise ConfigError(
            f"unknown card {name!r}{meant} Known: {', '.join(CARDS)}. For another give its memory (memory_gb)"
        )
    return CARDS[known[wanted]]


def hardware_with(card: str | int | None, memory_gb: float | None) -> Hardware:
    """Return the device that a card, or an amount of memory in GiB, stands for.

    Raises:
        ConfigError: the card is not known, or the memory is not more than 0 and at most 10,000.
    """
    if memory_gb is not None and not 0 < memory_gb <= 10_000:
        raise ConfigError(f"memory_gb must be above 0 and at most 10000 (GiB), got {memory_gb}")
    found = card_named(card) if card else Card(24576, 0.0)
    memory = found.memory_mib << 20 if memory_gb is None else int(memory_gb * 2**30)
    name = card_name(card) if card else f"a card with {memory / 2**30:g} GiB"
    return Hardware(device="cuda", name=name, memory_bytes=memory, bf16=found.bf16, fp16=True, cores=1)


def card_name(name: str | int) -> str:
    """Return a card's name as the table has it."""
    return next(known for known, card in CARDS.items() if card is card_named(name))
