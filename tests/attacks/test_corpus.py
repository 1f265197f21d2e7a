"""Every attack, on the commands that read such a thing.

Here a dozen attacks of each class meet one of them each, in turn. `make attacks` lets every attack meet all, which
takes half an hour.
"""

import os
import re

import pytest

from tests.attacks.corpus import CLASSES, READ_IN_PART, WRITES_INTO_IT, all_attacks, merges, uses

_ATTACKS = list(all_attacks())
_SAMPLE = 12
_EVERY_USE = os.environ.get("ATTACKS") == "all"

_REFUSAL_SECONDS = 5
"""Most processor time of a refusal; what is accepted may work for as long as it needs, within the victim's limits."""

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", CLASSES)
def test_an_attack_is_refused_or_harmless(name, parts, victim, tmp_path, record_property):
    faults, before = [], len(victim.costs)
    attacks = [attack for owner, attack in _ATTACKS if owner == name]
    step = 1 if _EVERY_USE else -(-len(attacks) // _SAMPLE)
    for number, attack in enumerate(attacks[::step]):
        tried = uses(attack) if _EVERY_USE else [uses(attack)[number % len(uses(attack))]]
        for command in tried:
            directory = tmp_path / str(len(list(tmp_path.iterdir())))
            directory.mkdir()
            faults += _try(attack, command, attack.make(directory, parts), directory, parts, victim)
    record_property("attacks", victim.costs[before:])
    assert not faults, "\n".join(faults)
    assert parts.endpoint.trapped == []


_MERGED = [(owner, attack) for owner, attack in _ATTACKS if merges(attack)]


@pytest.mark.parametrize("kind", sorted({attack.kind for _, attack in _MERGED}))
def test_what_is_accepted_stays_harmless_when_it_is_merged_and_exported(kind, parts, victim, tmp_path):
    """Here one attack of each class meets one of the commands, in turn; `make attacks` lets all meet all."""
    attacks = [(owner, attack) for owner, attack in _MERGED if attack.kind == kind]
    first = dict(reversed(attacks))
    chosen = [attack for _, attack in attacks] if _EVERY_USE else [first[owner] for owner in sorted(first)]
    ends, faults = set(), []
    for number, attack in enumerate(chosen):
        commands = merges(attack)
        for command in commands if _EVERY_USE else [commands[number % len(commands)]]:
            directory = tmp_path / str(len(list(tmp_path.iterdir())))
            directory.mkdir()
            outcome, found = _run(attack, command, attack.make(directory, parts), directory, parts, victim)
            ends.add(outcome.code)
            faults += [f"{attack.name} | {command.partition('{')[0]}: {fault}" for fault in found]
    assert not faults, "\n".join(faults)
    # A template that is not that of training is refused, and a run that is not complete.
    assert 0 in ends or kind in ("template", "run")


def test_each_kind_of_thing_is_attacked_and_each_command_meets_an_attack():
    from alpaca_lora.cli.commands import COMMANDS

    met = {command.split()[0] for _, attack in _ATTACKS for command in uses(attack)}
    assert met == set(COMMANDS)
    assert all(any(owner == name for owner, _ in _ATTACKS) for name in CLASSES)


def test_the_documentation_says_how_many_there_are(repository):
    for name in ("docs/explanation/trust.md", "CHANGELOG.md"):
        assert re.search(rf"\b{len(_ATTACKS)} (attacks|hostile files)", (repository / name).read_text(encoding="utf-8"))


def test_each_module_of_attacks_stands_in_the_documentation(repository):
    told = (repository / "docs/explanation/trust.md").read_text(encoding="utf-8")
    assert [name for name in CLASSES if f"{name}.py" not in told] == []


def _run(attack, command, it, directory, parts, victim):
    """Run one command on one attack; return how it ended and what it did that nothing may do."""
    place = {"cwd": it} if attack.kind == "place" else {}
    writable = [it] if attack.kind in WRITES_INTO_IT else []
    outcome = victim.run(parts.fill(command, it), hostile=directory, writable=writable, **place)
    victim.costs.append((outcome.cpu_seconds, outcome.grown_bytes, f"{command.split()[0]}: {attack.name}"))
    faults = list(outcome.hits)
    if parts.canary.exists():
        parts.canary.unlink()
        faults.append("code: the canary was touched")
    return outcome, faults


def _try(attack, command, it, directory, parts, victim):
    """Run one command on one attack and return what is wrong with its end."""
    outcome, faults = _run(attack, command, it, directory, parts, victim)
    must = attack.refused and not command.startswith((*READ_IN_PART, *attack.passes))
    if must and outcome.cpu_seconds > _REFUSAL_SECONDS:
        faults.append(f"limit: it took {outcome.cpu_seconds} s of processor time to refuse it")
    if must and outcome.code not in (2, 3):  # 3: generation stopped at a teacher, and can go on
        faults.append(f"it was not refused: exit code {outcome.code}")
    elif must and not re.search(attack.says, outcome.stdout + outcome.stderr):
        faults.append(f"the message does not hold {attack.says!r}: {outcome.stderr[-400:]}")
    return [f"{attack.name} | {command.partition('{')[0]}: {fault}" for fault in faults]
