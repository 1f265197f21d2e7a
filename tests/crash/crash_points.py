"""Make a run fail at every operation that changes the disk, in every way, and compare the bytes the next one ends in.

Run:  make crash

The loop is SQLite's: count the operations of a whole run, then make each of them fail in turn and resume in a fresh
process. One process imports the training stack, and every attempt is a fork of it.
"""

import argparse
import collections
import json
import shutil
import sys
from pathlib import Path

from tests.crash.faults import KILLS, MODES, Faults, fresh, in_child
from tests.crash.runs import base_of, place, train, train_stock, warm

DECOYS = {"checkpoint-final/precious.txt": "mine", "checkpoint-backup-of-monday/a.bin": "also mine"}


def attempt(work, root, mode=None, at=-1):
    """Do some work in a fork with one fault, and return its exit code, what it says, and the operations it counted."""

    def faulted():
        faults = Faults(root, mode, at)
        faults.install()
        return {"result": work(), "operations": faults.operations}

    code, said = in_child(faulted)
    return code, (said or {}).get("result"), (said or {}).get("operations", [])


def decoys(run):
    """Put directories of a user beside the checkpoints."""
    for name, text in DECOYS.items():
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_text(text)


def applies(mode, kind):
    """Tell whether a way of failing says something new at an operation of a kind."""
    if mode in ("half", "empty", "zeros"):
        return kind in ("write", "append", "flush")
    if mode == "reorder":
        return kind == "rename"
    return mode in KILLS or kind in ("write", "append", "flush", "rename")


def ours(base, every, modes=MODES):
    """Enumerate our run; return the points that were tried and the faults that were found."""
    root = place()
    try:
        run = root / "run"
        code, reference, operations = attempt(lambda: train(base, run), root)
        if code or reference["code"]:
            raise SystemExit(f"the reference run failed: {reference}")
        points = [(at, mode) for at, (kind, _) in enumerate(operations) for mode in modes if applies(mode, kind)][
            ::every
        ]
        found, tried = [], []
        for at, mode in points:
            if len(tried) % 100 == 0:
                print(f"{len(tried)} of {len(points)} points, {len(found)} failed", flush=True)
            tried.append((at, mode))
            fault = resumed(base, fresh(root), reference["sha256"], mode, at)
            if fault:
                found.append(f"{mode} at operation {at} ({' of '.join(operations[at])}): {fault}")
                print(f"FAILED {found[-1]}", flush=True)
        return points, found
    finally:
        shutil.rmtree(root, ignore_errors=True)


def resumed(base, root, wanted, mode, at, work=train):
    """Fail once, resume once, and return what was wrong, or None."""
    run = root / "run"
    code, first, _ = attempt(lambda: work(base, run), root, mode, at)
    if mode in KILLS and code != -9:
        return f"the run was to be killed and ended with {code}"
    if mode not in KILLS and (code or first["code"] not in (0, 4)):
        return f"an error of the disk ended with {first['code'] if first else code}: {first and first['said']}"
    if run.is_dir() and (run / "run.json").exists():
        decoys(run)
    _, second, _ = attempt(lambda: work(base, run), root)
    if second is None or second["code"]:
        return f"the next run failed: {second and second['said']}"
    if second["sha256"] != wanted:
        return "the adapter has other bytes"
    if any(path.name.startswith((".staging", ".retired")) for path in run.iterdir()):
        return "something was left over"
    if any((run / name).exists() and (run / name).read_text() != text for name, text in DECOYS.items()):
        return "a file of the user was touched"
    return None


def stock(base, every):
    """Do the same to trl's trainer as it comes; return how many points there are, and how its next runs ended."""
    root = place()
    ends = collections.Counter()
    try:
        run = root / "run"
        _, reference, operations = attempt(lambda: train_stock(base, run, resume=False), root)
        modes = ("before", "half")
        points = [(at, mode) for at, (kind, _) in enumerate(operations) for mode in modes if kind == "write"][::every]
        for at, mode in points:
            run = fresh(root) / "run"
            attempt(lambda run=run: train_stock(base, run, resume=False), root, mode, at)

            def again(run=run):
                try:
                    return train_stock(base, run, resume=True)
                except Exception as error:
                    return f"refused: {type(error).__name__}"

            _, end, _ = attempt(again, root)
            ends["equal" if end == reference else str(end) if str(end).startswith("refused") else "other bytes"] += 1
        return len(points), ends
    finally:
        shutil.rmtree(root, ignore_errors=True)


def main(arguments=None):
    """Print a line for each mode, and for the stock trainer; return 1 if a point of ours failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", type=Path, help="directory of the base model; none makes a tiny one")
    parser.add_argument("--every", type=int, default=1, help="try only every n-th point")
    parser.add_argument("--modes", default=",".join(MODES), help="comma-separated")
    parser.add_argument("--stock", action="store_true", help="try the stock trainer too")
    options = parser.parse_args(arguments)
    warm()
    base = base_of(options.base)
    points, found = ours(base, options.every, tuple(options.modes.split(",")))
    failed = collections.Counter(fault.partition(" ")[0] for fault in found)
    for mode, count in collections.Counter(mode for _, mode in points).items():
        print(f"{mode:18} {count - failed[mode]} of {count} resumed to the reference bytes")
    print(f"{'alpaca-lora':18} {len(points) - len(found)} of {len(points)}", flush=True)
    if options.stock:
        count, ends = stock(base, options.every)
        print(f"{'SFTTrainer':18} {ends['equal']} of {count}  {json.dumps(dict(ends))}", flush=True)
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
