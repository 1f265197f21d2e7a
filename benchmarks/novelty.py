"""Does the novelty index decide as rouge_score does, and how long does it take for 52,002 instructions?

Run:  pip install rouge-score                    (the reference; nothing else here needs it)
      python benchmarks/novelty.py [DIR]         (a quarter of an hour, nearly all of it rouge_score's; needs the
                                                 published data in DIR, by default ../shared/data)
      python benchmarks/novelty.py --curve [DIR] (the index's own times: two minutes)

Two sets of 52,002 texts are drawn from the published files with a fixed seed. `different`: sentences of 4 to 150 words
from all their fields, no two alike letter for letter; nearly all are new, so the index grows to its full size. `drawn`:
instructions with a number at their end, as many as there are records to draw; four of five are found to be old. What is
decided both ways are sentences and edited ones, many of them close to the threshold. The index's times are measured by
rouge_score's words and by the tokens of any script that `curate` and the profile `modern` compare by.
Times are seconds of the processor in this one process, since what runs beside it stretches the clock.
"""

import random
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any

from alpaca_lora.records import load_records
from alpaca_lora.selfinstruct.novelty import THRESHOLD, NoveltyIndex, rouge_l, words
from alpaca_lora.selfinstruct.tokens import tokens

Score = Callable[[Sequence[str], Sequence[str]], Any]

COUNT, SEED = 52_002, 0
SIZES = (5_000, 10_000, 20_000, COUNT)
STREAM, STANFORD, PAIRS = 5_000, 2_000, 10**6
FILES = (
    "alpaca_en_999.json",
    "gsm8k_alpaca_7473.json",
    "gpteacher_roleplay_3146.json",
    "stanford_seed_tasks_175.jsonl",
)


def draw(directory: Path) -> dict[str, list[str]]:
    """Return both sets, the same ones each time."""
    records = [record for name in FILES for record in load_records(directory / name, allow_empty_output=True)]
    texts = (text for r in records for text in (r.instruction, r.input, r.output))
    sentences = (sentence for text in texts for sentence in re.split(r"(?<=[.!?])\s+|\n+", text))
    different = list(dict.fromkeys(s for s in sentences if 4 <= len(s.split()) <= 150))
    rng = random.Random(SEED)
    rng.shuffle(different)
    drawn = [f"{r.instruction} ({number})" for number, r in enumerate(rng.choices(records, k=COUNT), start=1)]
    return {"different": different[:COUNT], "drawn": drawn}


def measure_curve(name: str, texts: list[str], split: Callable[[str], list[str]]) -> None:
    """Print how long the index takes for the first 5,000, 10,000 … texts."""
    index, began = NoveltyIndex(split=split), time.process_time()
    for number, text in enumerate(texts, start=1):
        index.admit(text)
        if number in SIZES:
            seconds = time.process_time() - began
            print(f"{name:10} {split.__name__:6} {number:7,} texts {len(index):7,} kept {seconds:8.2f} s", flush=True)


def edited(rng: random.Random, text: str) -> str:
    """Return a text with some words dropped, doubled or moved, so that its score lies near the threshold."""
    left = text.split()
    for _ in range(rng.randint(1, max(1, len(left) // 2))):
        place = rng.randrange(len(left))
        word = left.pop(place)
        if rng.random() < 0.5 or not left:
            left.insert(rng.randrange(len(left) + 1), word)
    return " ".join(left)


def pairs(texts: list[str]) -> Iterator[tuple[str, str]]:
    """Yield a text with its edited self, and two texts, in turn."""
    rng = random.Random(SEED)
    while True:
        text, other = rng.choice(texts), rng.choice(texts)
        yield text, edited(rng, text)
        yield text, other


def compare_pairs(texts: list[str], score: Score) -> None:
    """Compare the decision and the score of each pair with rouge_score's."""
    same = above = 0
    for first, second in islice(pairs(texts), PAIRS):
        expected = score(words(first), words(second)).fmeasure
        match = NoveltyIndex([second]).nearest(first)
        alike = (match.score if match else None) == (expected if expected > THRESHOLD else None)
        same += alike and rouge_l(words(first), words(second)) == expected
        above += expected > THRESHOLD
    print(f"{same:,} of {PAIRS:,} pairs decided and scored alike; {above:,} are above {THRESHOLD}", flush=True)


def compare_stream(name: str, texts: list[str], score: Score) -> None:
    """Decide a stream both ways, and print how long Stanford's method took for it."""
    index, kept, same, began = NoveltyIndex(), [], 0, time.process_time()
    for text in texts:
        tokens = words(text)
        old = max((score(tokens, other).fmeasure for other in kept), default=0) > THRESHOLD
        if not old:
            kept.append(tokens)
        same += old == (index.admit(text) is not None)
    seconds = time.process_time() - began
    print(f"{name:10} {len(texts):7,} texts {len(kept):7,} kept {seconds:8.2f} s comparing with all", flush=True)
    print(f"{name:10} {same:7,} decided alike", flush=True)


def main() -> None:
    """Measure the index, then compare it with rouge_score."""
    curve_only = "--curve" in sys.argv
    named = [argument for argument in sys.argv[1:] if argument != "--curve"]
    sets = draw(Path(named[0] if named else Path(__file__).parents[2] / "shared" / "data"))
    for name, texts in sets.items():
        for split in (words, tokens):
            measure_curve(name, texts, split)
    if not curve_only:
        score = import_module("rouge_score.rouge_scorer")._score_lcs
        different, rng = sets["different"], random.Random(SEED)
        compare_pairs(different, score)
        compare_stream("different", different[:STANFORD], score)
        mixed = different[: STREAM // 2]
        mixed += [edited(rng, text) for text in mixed]
        rng.shuffle(mixed)
        compare_stream("mixed", mixed, score)


if __name__ == "__main__":
    main()
