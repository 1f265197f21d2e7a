"""Show that no paid answer is lost or paid twice: generation against a faulty server on loopback, killed many times.

    python benchmarks/teacher_faults.py kills      # 2,000 rows, 20 times kill -9, against an uninterrupted run
    python benchmarks/teacher_faults.py faults     # 10,000 requests of which 40 % fail

The server answers by the question alone and keeps a bill of its own. Each line that is printed is a check; one that
does not hold ends the program with 1.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.scripted_teacher import ScriptedTeacher

KEY = "sk-canary-0123456789abcdef"
OUTPUTS = ("records.jsonl", "decisions.jsonl")


def command(server, directory, *options):
    """The command line of one session."""
    start = [sys.executable, "-m", "alpaca_lora", "generate", "--teacher", "openai", "--model", "m", "--quiet"]
    place = ["--base-url", server.url, "--output-dir", str(directory), "--pause-seconds", "0.001"]
    return [*start, *place, "--budget-tokens", str(10**9), "--concurrency", "16", *options]


def environment():
    """The environment of a session, with a key to look for."""
    return {**os.environ, "OPENAI_API_KEY": KEY, "PYTHONPATH": str(Path(__file__).parents[1])}


def finish(server, directory, *options):
    """Run sessions until one is complete."""
    while True:
        done = subprocess.run(command(server, directory, *options), env=environment(), capture_output=True, text=True)
        if done.returncode == 0:
            return
        if done.returncode != 3:
            sys.exit(done.stderr)


def kill_once(server, directory, *options, after_bytes):
    """Begin a session and kill it when its journal has grown by so much; tell whether that was before its end."""
    journal = directory / "journal.jsonl"
    until = (journal.stat().st_size if journal.exists() else 0) + after_bytes
    session = subprocess.Popen(command(server, directory, *options), env=environment(), stderr=subprocess.DEVNULL)
    while session.poll() is None:
        if journal.exists() and journal.stat().st_size >= until:
            session.send_signal(signal.SIGKILL)
            session.wait()
        time.sleep(0.001)
    return session.returncode == -signal.SIGKILL


def events(directory):
    """The events of a journal."""
    lines = (directory / "journal.jsonl").read_text(encoding="utf-8").split("\n")[:-1]
    return [json.loads(line) for line in lines]


def ledger(directory):
    """Tokens settled and in doubt, and how many requests were answered more than once."""
    summary = json.loads((directory / "summary.json").read_text(encoding="utf-8"))
    answered = [event["request"] for event in events(directory) if event["event"] == "answer"]
    return summary["settled"]["tokens"], summary["doubtful"]["tokens"], len(answered) - len(set(answered))


def check(what, holds):
    """Print a check, and end the program if it fails."""
    print(f"{'ok  ' if holds else 'FAIL'} {what}", flush=True)
    if not holds:
        sys.exit(1)


def leaks(directory):
    """The files that hold the key."""
    return [path.name for path in directory.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]


def show_kills(place, rows, kills):
    """Compare a run that is killed with one that is not."""
    draw = random.Random(0)
    with ScriptedTeacher(once=True, latency_seconds=0.02) as server:
        began = time.monotonic()
        finish(server, place / "whole", "--num", str(rows))
        seconds = time.monotonic() - began
    size = (place / "whole" / "journal.jsonl").stat().st_size
    with ScriptedTeacher(once=True, latency_seconds=0.02) as server:
        for _ in range(kills):
            after_bytes = draw.randint(1, size // kills)
            if not kill_once(server, place / "killed", "--num", str(rows), after_bytes=after_bytes):
                sys.exit("a session was complete before it could be killed")
        finish(server, place / "killed", "--num", str(rows))
    settled, doubtful, twice = ledger(place / "killed")
    billed = sum(charge.prompt_tokens + charge.completion_tokens for charge in server.bill)
    interrupted = sum(event["event"] == "doubt" for event in events(place / "killed"))
    for name in OUTPUTS:
        check(f"{name} is the same, byte for byte", all_equal(place, name))
    check(f"{kills} kills left {interrupted} calls in flight; {twice} requests answered twice", twice == 0)
    check(f"ledger {settled:,} + {doubtful:,} in doubt, bill {billed:,} tokens", settled + doubtful >= billed)
    check(f"settled is the bill of every answer that is used: {settled:,} = {billed:,}", settled == billed)
    print(f"     uninterrupted {seconds:.0f} s, {len(server.seen):,} requests were sent in all")


def all_equal(place, name):
    """Whether both runs wrote the same file."""
    return (place / "whole" / name).read_bytes() == (place / "killed" / name).read_bytes()


def show_faults(place, requests):
    """Compare a run at 40 % faults with one without any."""
    options = ("--num", "10000000", "--pilot", str(requests), "--patience", str(requests))
    outputs = []
    for name, rate in (("clean", 0.0), ("faulty", 0.4)):
        with ScriptedTeacher(rate=rate) as server:
            done = subprocess.run(
                command(server, place / name, *options, "--deadline-seconds", "20"),
                env=environment(),
                capture_output=True,
                text=True,
            )
            check(f"{name}: exit code {done.returncode} (3: the pilot of {requests:,} is over)", done.returncode == 3)
            check(f"{name}: the key is in no file and no output", not leaks(place / name) and KEY not in done.stderr)
        settled, doubtful, twice = ledger(place / name)
        billed = sum(charge.prompt_tokens + charge.completion_tokens for charge in server.bill)
        answers = sum(event["event"] == "answer" for event in events(place / name))
        check(f"{name}: {answers:,} answers of {len(server.seen):,} attempts, {twice} twice", answers == requests)
        check(f"{name}: ledger {settled + doubtful:,} >= bill {billed:,} tokens", settled + doubtful >= billed)
        outputs.append([(place / name / output).read_bytes() for output in OUTPUTS])
    check("records and decisions are the same, byte for byte: 0 lost, 0 duplicated", outputs[0] == outputs[1])


def main():
    """Run one of the shows in a directory that is thrown away."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("show", choices=["kills", "faults"])
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--requests", type=int, default=10_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        if options.show == "kills":
            show_kills(Path(directory), options.rows, options.kills)
        else:
            show_faults(Path(directory), options.requests)


if __name__ == "__main__":
    main()
