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
        clock = Clock()
        reference = clock.run(lambda: train(base, root / "whole", settings, root / "order"), None)
        if reference is None or reference["code"]:
            return 0, [f"the run itself failed: {reference}"]
        wanted = order_of(root / "order")[0]
        found, completed = [], 0
        while kills:
            again = fresh(root / "killed")
            end = None
            while end is None:  # killed: the next one goes on
                limit = draw.uniform(0, clock.seconds) if kills else None
                end = clock.run(lambda: train(base, again / "run", settings, again / "order"), limit)  # noqa: B023
                kills -= end is None
            steps, unequal = order_of(again / "order")
            completed += 1
            if end["code"]:
                found.append(f"not resumable: {end['said']}")
            elif end["sha256"] != reference["sha256"]:
                found.append("the adapter has other bytes")
            elif unequal or steps != wanted:
                found.append(f"the order of rows differs in {sorted(unequal) or 'the whole'}")
        return completed, found
    finally:
        shutil.rmtree(root, ignore_errors=True)


class Clock:
    """Runs work in forks and knows how long the last one took that was not killed, whatever else the machine does."""

    def __init__(self):
        self.seconds = None

    def run(self, work, limit):
        """Do some work, killed after `limit` seconds; return what it returned, or None if it was killed."""
        began = time.monotonic()
        end = in_child(work, limit)[1]
        if end is not None:
            self.seconds = time.monotonic() - began
        return end


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
