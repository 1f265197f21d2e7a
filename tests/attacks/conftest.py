"""The victim of the attacks, and healthy parts of each kind."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.attacks.corpus import USES, Parts
from tests.attacks.endpoint import HostileEndpoint
from tests.attacks.victim import Victim

ROWS = [
    {"instruction": f"Say the word {word}.", "input": "", "output": f"{word} {word}"}
    for word in ("red", "blue", "green", "brown", "white", "black")
]


@pytest.fixture(scope="session")
def victim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victim]:
    """A warm process that runs commands, watched."""
    with Victim(tmp_path_factory.mktemp("victim")) as started:
        yield started


@pytest.fixture(scope="session")
def parts(tiny_base: Path, train, victim: Victim, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parts]:
    """Healthy parts, those that a command makes made by the command, under watch."""
    from alpaca_lora.exports.hf import write_merged
    from alpaca_lora.exports.origin import resolve
    from alpaca_lora.exports.weight_diff import make_weight_diff

    place = tmp_path_factory.mktemp("parts")
    adapter = train(tiny_base, spread=0.05)
    merged = place / "merged"
    merged.mkdir()
    write_merged(resolve(adapter), merged, None)
    (merged / "parity.json").write_text(json.dumps({"format": "hf"}))
    make_weight_diff(merged, tiny_base, place / "difference")
    (place / "nothing").mkdir()
    records, verdicts = place / "records.jsonl", place / "verdicts.json"
    records.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    verdicts.write_text(json.dumps([_verdict(number) for number in range(6)]))
    endpoint = HostileEndpoint()
    made = Parts(
        base=tiny_base,
        adapter=adapter,
        merged=merged,
        difference=place / "difference",
        run=place / "run",
        records=records,
        verdicts=verdicts,
        curation=place / "curation",
        canary=place / "canary",
        endpoint=endpoint,
    )
    for command in ("curate {records} --output-dir {it}", USES["run"][0]):
        it = place / ("curation" if command.startswith("curate") else "run")
        outcome = victim.run(made.fill(command, it), hostile=place / "nothing", writable=[it])
        assert not outcome.code, outcome.stderr
        assert not outcome.hits, "\n".join(outcome.hits)
    yield made
    endpoint.close()


def _verdict(number: int) -> dict[str, object]:
    return {
        "instruction": f"Say {number}.",
        "output_1": "one" * number,
        "generator_1": "a",
        "output_2": "two",
        "generator_2": "b",
        "annotator": "judge",
        "preference": 1 + number % 2,
    }


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what the attacks cost, at most."""
    reports = [report for end in ("passed", "failed") for report in terminalreporter.getreports(end)]
    costs = [
        cost for report in reports for name, tried in report.user_properties if name == "attacks" for cost in tried
    ]
    if costs:
        terminalreporter.write_line(f"attacks: {len(costs)} tried; {_most(costs)}")


def _most(costs: list[tuple[float, int, str]]) -> str:
    """Return the most that one took, of time and of memory beyond what was loaded before."""
    seconds, _, slowest = max(costs)
    grown = max(cost[1] for cost in costs)
    return f"at most {seconds:.1f} s of processor time ({slowest}) and {grown / 1e6:.0f} MB"
