"""Whatever happens to a directory of checkpoints: the newest sound one is chosen, and nothing of the user is lost."""

import json
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import Phase, settings, strategies
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from alpaca_lora import _files
from alpaca_lora.training import checkpoints
from alpaca_lora.training.checkpoints import (
    choose_checkpoint,
    fault_of,
    list_checkpoints,
    make_room,
    rotate,
    write_manifest,
)

FILES = ("adapter_config.json", "adapter_model.safetensors", "optimizer.pt", "rng_state.pth", "scheduler.pt")
RUN, KEEP = "a" * 32, 2


class Checkpoints(RuleBasedStateMachine):
    """Saves, crashes, damage, directories of the user, a move, and resuming, beside a model of what must hold."""

    @initialize()
    def begin(self):
        self.root = Path(tempfile.mkdtemp(prefix="alpaca-machine-"))
        self.run = self.root / "run"
        self.run.mkdir()
        (self.run / "run.json").write_text(json.dumps({"run_id": RUN}))
        self.sound, self.mine, self.damaged = set(), {}, 0

    def write(self, directory, step, run_id=RUN):
        for name in (*FILES, "trainer_state.json"):
            (directory / name).write_text(json.dumps({"step": step, "name": name}))
        write_manifest(directory, step, run_id)

    @rule(step=strategies.integers(1, 6))
    def save(self, step):
        if make_room(self.run, step, RUN):
            with _files.new_directory(self.run / f"checkpoint-{step}") as staged:
                self.write(staged, step)
        self.mine = {name: text for name, text in self.mine.items() if name != f"checkpoint-{step}"} | {
            f"quarantine/{name}": text for name, text in self.mine.items() if name == f"checkpoint-{step}"
        }
        self.sound.add(step)
        rotate(self.run, KEEP, None, RUN)
        ours = sorted(int(p.name.partition("-")[2]) for p in list_checkpoints(self.run) if fault_of(p, RUN) is None)
        assert len(ours) <= KEEP
        self.sound &= set(ours)

    @rule(step=strategies.integers(1, 6))
    def crash_while_saving(self, step):
        staged = self.run / f".staging-{step}"
        if not staged.exists():
            staged.mkdir()
            (staged / "optimizer.pt").write_text("half")

    @rule(data=strategies.data(), how=strategies.sampled_from(["flip", "cut", "zero", "drop"]))
    def damage(self, data, how):
        if not self.sound:
            return
        step = data.draw(strategies.sampled_from(sorted(self.sound)))
        name = data.draw(strategies.sampled_from([*FILES, "trainer_state.json", "MANIFEST.json"]))
        path = self.run / f"checkpoint-{step}" / name
        content = path.read_bytes()
        if how == "drop":
            path.unlink()
        else:
            flipped = bytes([content[0] ^ 1]) + content[1:]
            path.write_bytes({"flip": flipped, "cut": content[:-1], "zero": b"\0" * len(content)}[how])
        self.sound.discard(step)

    @rule(step=strategies.integers(1, 6), kind=strategies.sampled_from(["own", "foreign"]))
    def put_something_of_the_user_there(self, step, kind):
        path = self.run / f"checkpoint-{step}"
        if path.exists() or f"quarantine/{path.name}" in self.mine:
            return
        path.mkdir()
        if kind == "foreign":
            self.write(path, step, "b" * 32)
        (path / "precious.txt").write_text(f"mine {kind}")
        self.mine[path.name] = f"mine {kind}"

    @rule()
    def move_the_run(self):
        target = self.run.with_name("moved" if self.run.name == "run" else "run")
        self.run.rename(target)
        self.run = target

    @rule()
    def resume(self):
        _files.sweep_staging(self.run)
        choice = choose_checkpoint(self.run, "auto")
        assert (choice.checkpoint and choice.checkpoint.name) == (
            f"checkpoint-{max(self.sound)}" if self.sound else None
        )
        assert not list(self.run.glob(".staging-*"))

    @invariant()
    def what_the_user_put_there_survives(self):
        for name, text in getattr(self, "mine", {}).items():
            place = self.run / name
            found = [place, *place.parent.glob(f"{place.name}-*")]
            assert text in [(path / "precious.txt").read_text() for path in found if (path / "precious.txt").exists()]

    def teardown(self):
        if hasattr(self, "root"):
            shutil.rmtree(self.root)


TestCheckpoints = Checkpoints.TestCase
TestCheckpoints.settings = settings(max_examples=25, stateful_step_count=15)


def test_a_rotation_that_takes_what_is_not_ours_is_found(monkeypatch):
    monkeypatch.setattr(checkpoints, "_belongs", lambda *_: True)
    with pytest.raises((AssertionError, FileNotFoundError)):
        run_state_machine_as_test(Checkpoints, settings=settings(TestCheckpoints.settings, phases=[Phase.generate]))
