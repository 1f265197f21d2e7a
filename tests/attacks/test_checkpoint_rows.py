"""Rows 101 to 106 of the catalogue of bad input: what a damaged run is told by the command that goes on with it."""

import fcntl
import json
import shutil

import pytest

from tests.attacks.corpus import USES
from tests.attacks.s01_pickles import seal, unfinished

pytestmark = pytest.mark.slow


@pytest.fixture
def go_on(parts, victim, tmp_path):
    """Damage a run that ended after its first step, and give the command that made it once more: `go_on(damage)`."""

    def run(damage, *options):
        it = unfinished(tmp_path, parts)
        damage(it)
        before = {path.name for path in it.rglob("*.pt")}
        outcome = victim.run([*parts.fill(USES["run"][0], it), *options], hostile=tmp_path / "none", writable=[it])
        assert outcome.hits == []
        assert before <= {path.name for path in it.rglob("*.pt")}, "something was deleted"
        return outcome

    (tmp_path / "none").mkdir()
    return run


@pytest.mark.catalogue(101, 104)
@pytest.mark.parametrize("name", ["optimizer.pt", "scheduler.pt", "adapter_model.safetensors"])
def test_a_named_checkpoint_that_lacks_a_file_is_refused_by_the_file(go_on, tmp_path, name):
    outcome = go_on(
        lambda run: (run / "checkpoint-1" / name).unlink(), "--resume", str(tmp_path / "run" / "checkpoint-1")
    )
    assert outcome.code == 2
    assert f"{name} is missing" in outcome.stderr


@pytest.mark.catalogue(102)
@pytest.mark.parametrize("content", ["", '{"global_step": 1', '{"global_step": NaN}', '{"global_step": 7}'])
def test_a_state_that_was_changed_is_refused(go_on, tmp_path, content):
    outcome = go_on(
        lambda run: (run / "checkpoint-1" / "trainer_state.json").write_text(content),
        "--resume",
        str(tmp_path / "run" / "checkpoint-1"),
    )
    assert outcome.code == 2
    assert "trainer_state.json has changed since it was written" in outcome.stderr


@pytest.mark.catalogue(103)
def test_a_broken_newest_checkpoint_costs_the_steps_since_the_one_before(go_on):
    def damage(run):
        shutil.copytree(run / "checkpoint-1", run / "checkpoint-2")

    outcome = go_on(damage)
    assert outcome.code == 0
    assert "skipped checkpoint-2: its MANIFEST.json says step 1" in outcome.stderr


@pytest.mark.catalogue(105)
def test_a_run_of_other_versions_goes_on_with_a_note(go_on):
    def damage(run):
        document = json.loads((run / "run.json").read_text())
        document["environment"] |= {"alpaca_lora": "0.0.1", "transformers": "4.28"}
        (run / "run.json").write_text(json.dumps(document))

    outcome = go_on(damage)
    assert outcome.code == 0
    assert "made with alpaca_lora 0.0.1, transformers 4.28 and goes on with alpaca_lora" in " ".join(
        outcome.stderr.split()
    )


@pytest.mark.catalogue(106)
def test_a_run_that_another_process_is_writing_is_locked(go_on):
    held = []

    def damage(run):
        held.append((run / ".lock").open("a"))
        fcntl.flock(held[0], fcntl.LOCK_EX)

    outcome = go_on(damage)
    held[0].close()
    assert outcome.code == 2
    assert "is in use by another process" in outcome.stderr


def test_a_checkpoint_that_was_sealed_anew_runs_nothing(go_on, parts):
    from tests.attacks.s01_pickles import write_archive

    def damage(run):
        write_archive(run / "checkpoint-1" / "optimizer.pt", parts.canary)
        seal(run / "checkpoint-1")

    go_on(damage)
    assert not parts.canary.exists()
