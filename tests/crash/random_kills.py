"""Kill runs at random times, resume them, and compare bytes and order of rows with those of a run left alone.

Run:  make crash

Every run is a process of its own, a fork of one that has imported the training stack, and is killed by SIGKILL after a
time drawn from the length of the uninterrupted run.
"""

import argparse
import collections
import random
import shutil
import sys
import time
from pathlib import Path

from tests.crash.faults import fresh, in_child
from tests.crash.runs import MATRIX, base_of, order_of, place, train, warm

SAVE_STEPS = (1, 7)
STEPS = 9


def kill_often(base, name, save_steps, kills, draw):
    """Kill runs of one kind so many times; return how many runs were completed, and the faults that were found."""
    root = place()
    settings = MATRIX[name] | {"save_steps": save_steps, "max_steps": STEPS}
    try:
        began = time.monotonic()
        _, reference = in_child(lambda: train(base, root / "whole", settings, root / "order"))
        seconds = time.monotonic() - began
        if reference is None or reference["code"]:
            return 0, [f"the run itself failed: {reference}"]
        wanted = order_of(root / "order")[0]
        found, completed = [], 0
        while kills:
            place_of_run = fresh(root / "killed")
            kills, end = until_complete(base, place_of_run, settings, kills, seconds, draw)
            steps, unequal = order_of(place_of_run / "order")
            completed += 1
            if end["code"]:
                found.append(f"not resumable: {end['said']}")
            elif end["sha256"] != reference["sha256"]:
                found.append("the adapter has other bytes")
            if not end["code"] and (unequal or steps != wanted):
                found.append(f"the order of rows differs in {sorted(unequal) or 'the whole'}")
        return completed, found
    finally:
        shutil.rmtree(root, ignore_errors=True)


def until_complete(base, directory, settings, kills, seconds, draw):
    """Start and kill one run until it completes; return the kills that are left, and how it ended."""
    while True:
        limit = draw.uniform(0, seconds) if kills else None
        _, end = in_child(lambda: train(base, directory / "run", settings, directory / "order"), limit)
        if end is not None:
            return kills, end
        kills -= 1


def main(arguments=None):
    """Print a line for each kind of run; return 1 if one was lost or differed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", type=Path, help="directory of the base model; none makes a tiny one")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    warm()
    base = base_of(options.base)
    draw = random.Random(options.seed)
    kinds = [(name, save_steps) for name in MATRIX for save_steps in SAVE_STEPS]
    faults = collections.Counter()
    for number, (name, save_steps) in enumerate(kinds):
        kills = options.kills // len(kinds) + (number < options.kills % len(kinds))
        completed, found = kill_often(base, name, save_steps, kills, draw)
        faults.update(found)
        said = "; ".join(found) or "equal bytes, equal order"
        print(f"{name:15} save_steps {save_steps}  {kills:3} kills  {completed:2} runs  {said}", flush=True)
    print(f"{options.kills} kills: {sum(faults.values())} faults", flush=True)
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
