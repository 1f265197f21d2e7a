"""A person compares two models without knowing which is which, as Stanford did, and learns it at the end.

What the rater sees, `comparison.json`, holds the answers as left and right and nothing of whose they are. That is in
the key, with a random number, and only the SHA-256 of the key is in the rater's file: it gives nothing away, and the
key cannot be changed once the votes are known. How many comparisons there will be is fixed before the first one. Until
all are done nothing here opens the key, so nobody can stop when the figures look well. Each vote is on the disk before
the next pair is shown.
"""

import hashlib
import json
import random
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Literal

from alpaca_lora import _files
from alpaca_lora.errors import ConfigError, RunError
from alpaca_lora.evaluation.annotations import ModelOutput
from alpaca_lora.evaluation.verdicts import pair_outputs

__all__ = ["BlindComparison", "Key", "Pair", "Vote", "seal_comparison"]

COMPARISON, KEY, VOTES, RESULT = "comparison.json", "key.json", "votes.jsonl", "result.json"
_USUAL_NUM = 100
_FORMAT = "alpaca-lora blind comparison 1"

Vote = Literal["left", "right", "tie"]
_VOTES = ("left", "right", "tie")


@dataclass(frozen=True, slots=True)
class Pair:
    """What the rater is shown."""

    instruction: str
    left: str
    right: str


@dataclass(frozen=True, slots=True)
class Key:
    """What the rater must not know."""

    nonce: str
    """Random, so that nobody can find the rest by trying."""

    model: str
    baseline: str
    model_left: tuple[bool, ...]
    """For each pair, whether the model's answer is the left one."""

    pairs_sha256: str

    @property
    def commitment(self) -> str:
        """Return the SHA-256 that the rater's file holds."""
        return _sha256(self.to_json())

    def to_json(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        return {name: getattr(self, name) for name in self.__slots__} | {"model_left": list(self.model_left)}


def seal_comparison(
    outputs: Sequence[ModelOutput],
    baseline: Sequence[ModelOutput],
    directory: str | Path,
    *,
    num: int | None = None,
    seed: int = 42,
) -> None:
    """Write the rater's file and the key of a new comparison; one of the same answers that is there already stays.

    Args:
        outputs: answers of the model.
        baseline: answers of the baseline, one to each of the model's instructions.
        directory: where; new, empty, or that of this very comparison.
        num: comparisons to make, fixed for good; None takes 100, or as many rows as there are whose answers differ.
        seed: decides which rows are compared and in which order. The sides are drawn from the system's random numbers.

    Raises:
        ConfigError: answers that cannot be paired, or fewer than `num` rows on which the two answers differ.
        RunError: the directory holds something else.
    """
    path = Path(directory)
    sides = [[[item.instruction, item.output] for item in side] for side in (outputs, baseline)]
    different = [item for item in pair_outputs(outputs, baseline) if not item.identical]
    num = min(_USUAL_NUM, len(different)) if num is None else num
    drawn_from = _sha256([num, seed, *sides])
    if (path / COMPARISON).is_file():
        if _read_comparison(path).drawn_from != drawn_from:
            raise RunError(
                f"{str(path)!r} holds another comparison, of other answers, num or seed: give a new directory"
            )
        return
    if path.exists() and (not path.is_dir() or any(item.name != ".lock" for item in path.iterdir())):
        raise RunError(f"{str(path)!r} is not empty and holds no comparison: give a new directory")
    if not different:
        raise ConfigError("both sides gave the same answer to every instruction: there is nothing to compare")
    if not 1 <= num <= len(different):
        raise ConfigError(f"num must be from 1 to {len(different):,}, the rows whose answers differ, got {num!r}")
    drawn = random.Random(seed).sample(different, num)
    model_left = tuple(bool(secrets.randbits(1)) for _ in drawn)
    pairs = []
    for item, turned in zip(drawn, model_left, strict=True):
        texts = (item.baseline.output, item.output.output)
        left, right = reversed(texts) if turned else texts
        pairs.append({"instruction": item.output.instruction, "left": left, "right": right})
    key = Key(secrets.token_hex(32), outputs[0].generator, baseline[0].generator, model_left, _sha256(pairs))
    sealed = {"format": _FORMAT, "commitment": key.commitment, "drawn_from": drawn_from, "pairs": pairs}
    with _files.new_directory(path) as staged:
        _files.write_json(staged / KEY, key.to_json(), private=True)
        _files.write_json(staged / COMPARISON, sealed)


@dataclass
class BlindComparison:
    """A comparison under way; `open` reads it, `vote` adds to it, `unseal` ends it."""

    directory: Path
    pairs: list[Pair]
    commitment: str
    drawn_from: str
    """SHA-256 of what it was sealed from."""

    pairs_sha256: str
    votes: list[Vote] = field(default_factory=list)
    _stream: IO[str] | None = None

    @classmethod
    @contextmanager
    def open(cls, directory: str | Path) -> Iterator["BlindComparison"]:
        """Read a comparison with its votes so far; hold the lock of its directory meanwhile.

        Raises:
            ConfigError: there is none.
            RunError: it is in use, or a file of it is damaged.
        """
        path = Path(directory)
        if not (path / COMPARISON).is_file():
            raise ConfigError(f"{str(path)!r} holds no {COMPARISON}: begin one with two files of answers")
        with _files.lock(path):
            comparison = _read_comparison(path)
            with _files.open_journal(path / VOTES) as comparison._stream:
                comparison._read_votes()
                yield comparison

    @property
    def complete(self) -> bool:
        """Return whether every pair has a vote."""
        return len(self.votes) == len(self.pairs)

    def vote(self, number: int, vote: str) -> bool:
        """Write down the vote on the pair that is due, and return whether it was that pair.

        Args:
            number: the pair that the rater saw, from 0; a vote on another one than is due, as from a second window, is
                not taken.
            vote: `left`, `right` or `tie`.

        Raises:
            ConfigError: there is no such vote.
        """
        if vote not in _VOTES:
            raise ConfigError(f"a vote must be one of {', '.join(_VOTES)}, got {vote!r}")
        if number != len(self.votes) or self.complete or self._stream is None:
            return False
        _files.append_durably(self._stream, json.dumps({"pair": number, "vote": vote}) + "\n")
        self.votes.append(vote)  # type: ignore[arg-type]
        return True

    def unseal(self, key: Path | None = None) -> Key:
        """Open the key, once every pair has its vote.

        Args:
            key: where it is; None: beside the rater's file.

        Raises:
            ConfigError: there is no key.
            RunError: pairs without a vote are left, or key and pairs are not those that were sealed.
        """
        if not self.complete:
            raise RunError(
                f"the key stays sealed: {len(self.votes):,} of {len(self.pairs):,} comparisons are done, and it opens "
                "after the last one"
            )
        path = self.directory / KEY if key is None else key
        try:
            said = json.loads(path.read_text(encoding="utf-8"))
            opened = Key(**said | {"model_left": tuple(said["model_left"])})
        except OSError as error:
            raise ConfigError(f"key {str(path)!r} cannot be read ({error.strerror}): say where it is") from error
        except (LookupError, TypeError, ValueError) as error:
            raise RunError(f"{str(path)!r} is no key of a comparison ({error})") from error
        if opened.commitment != self.commitment or opened.pairs_sha256 != self.pairs_sha256:
            raise RunError(
                f"{str(path)!r} is not the key that {COMPARISON} was sealed with, or one of the two was changed since: "
                "the comparison proves nothing; restore both from a copy"
            )
        return opened

    def save(self, result: Mapping[str, Any]) -> None:
        """Write what came out, with the SHA-256 of the votes that it came from."""
        votes = _files.sha256_of(self.directory / VOTES)
        sealed = {"commitment": self.commitment, "votes_sha256": votes}
        _files.write_json(self.directory / RESULT, {**result, **sealed})

    def _read_votes(self) -> None:
        path = self.directory / VOTES
        for number, line in enumerate(path.read_text("utf-8", errors="replace").splitlines()):
            try:
                said = json.loads(line)
                if said["pair"] != number or said["vote"] not in _VOTES or number >= len(self.pairs):
                    raise ValueError(f"a vote on pair {number} is expected")
            except (LookupError, TypeError, ValueError) as error:
                raise RunError(f"{str(path)!r}:{number + 1}: no vote ({error}): restore it from a copy") from error
            self.votes.append(said["vote"])


def _read_comparison(directory: Path) -> BlindComparison:
    path = directory / COMPARISON
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        if said["format"] != _FORMAT:
            raise ValueError(f"format {said['format']!r}")
        pairs = [Pair(**{name: str(pair[name]) for name in Pair.__slots__}) for pair in said["pairs"]]
        bound = str(said["commitment"]), str(said["drawn_from"])
        return BlindComparison(directory, pairs, *bound, _sha256(said["pairs"]))
    except (LookupError, TypeError, ValueError) as error:
        raise RunError(f"{str(path)!r} is no blind comparison that this version reads ({error})") from error


def _sha256(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8")).hexdigest()
