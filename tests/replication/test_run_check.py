"""A run ended as it says, and its adapter still computes what it did."""

import json
import re
import shutil

import pytest

from alpaca_lora._files import sha256_of
from alpaca_lora._seals import seal

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("warm_gates")]

CHECKS = dict.fromkeys(
    ("files", "contract", "end", "metrics", "report", "checkpoints", "sidecar", "data", "adapter"), "passed"
)
PICKLE = b"cposix\nsystem\n(S'touch %s'\ntR."


@pytest.fixture
def run(replicated, copy_of):
    return copy_of(replicated / "3-finetune")


@pytest.mark.parametrize(
    ("file", "change", "check", "said"),
    [
        ("status.json", lambda it: it.update(status="running"), "end", "the run is not complete"),
        (
            "COMPLETE",
            lambda it: it.update(steps=3),
            "end",
            "COMPLETE does not agree with run.json: steps 3 instead of 4",
        ),
        ("COMPLETE", lambda it: it.pop("samples"), "end", "is damaged"),
        ("COMPLETE", lambda it: it.update(tokens_trained=1), "metrics", "metrics.jsonl does not agree with COMPLETE"),
        ("COMPLETE", lambda it: it.update(heldout_loss_after=0.1), "report", "report.html is not what COMPLETE"),
        (
            "metrics.jsonl",
            lambda rows: rows.remove(_last(rows)),
            "metrics",
            "metrics.jsonl does not agree with COMPLETE",
        ),
        ("run.json", lambda it: it.update(total_steps=5), "end", "instead of 5"),
        ("run.json", lambda it: it.pop("config"), "contract", "run.json has no config"),
        ("run.json", lambda it: it.update(run_id="x"), "checkpoints", "checkpoint-2: it belongs to another run"),
        ("run.json", lambda it: it.update(base_fingerprint="0" * 64), "sidecar", "base_fingerprint"),
        ("checkpoint-4/MANIFEST.json", lambda it: it.update(step=5), "checkpoints", "checkpoint-4: its MANIFEST.json"),
        ("adapter/alpaca_lora.json", lambda it: it.update(data_sha256="0"), "sidecar", "data_sha256"),
        ("adapter/alpaca_lora.json", lambda it: it["template"].update(prompt_no_input="x"), "sidecar", "template"),
        (
            "adapter/alpaca_lora.json",
            lambda it: it["trained"].update(heldout_loss_after=0.1),
            "sidecar",
            "heldout_loss",
        ),
    ],
)
def test_what_does_not_agree_is_found_although_it_is_sealed(run, found_in, rewrite, file, change, check, said):
    path = run / file
    if path.name == "COMPLETE":
        document = json.loads(path.read_text(encoding="utf-8"))
        change(document)
        path.write_text(json.dumps(document), encoding="utf-8")
    else:
        rewrite(path, change)
    seal(run)
    found = found_in(run)
    assert (found.failure.check, bool(re.search(said, found.failure.found))) == (check, True), found.failure
    assert found.outcomes["adapter"] == "not checked"


def test_an_adapter_that_computes_something_else_fails_its_gate(run, found_in, rewrite):
    from safetensors.torch import load_file, save_file

    weights = run / "adapter/adapter_model.safetensors"
    save_file({name: 3 * tensor for name, tensor in load_file(weights).items()}, weights, metadata={"format": "pt"})
    rewrite(run / "adapter/alpaca_lora.json", lambda it: it.update(weights_sha256=sha256_of(weights)))
    seal(run)
    found = found_in(run)
    assert (found.failure.check, found.outcomes["sidecar"]) == ("adapter", "passed")
    assert "the files do not hold what was trained" in found.failure.found


def test_without_base_data_and_checkpoints_nothing_is_claimed_of_them(run, found_in, rewrite):
    contract = json.loads((run / "run.json").read_text(encoding="utf-8"))
    for name in ("run.json", "COMPLETE", "adapter/alpaca_lora.json"):
        text = (run / name).read_text(encoding="utf-8").replace(contract["base_model"], "/gone")
        (run / name).write_text(text.replace(contract["data"]["name"], "/gone.jsonl"), encoding="utf-8")
    rewrite(run / "run.json", lambda it: it["environment"].update(alpaca_lora="0.0.1"))
    for path in run.glob("checkpoint-*"):
        shutil.rmtree(path)
    seal(run)
    found = found_in(run)
    unchecked = dict.fromkeys(("report", "checkpoints", "data", "adapter"), "not checked")
    assert (found.outcomes, found.result.passed) == (CHECKS | unchecked, True)
    assert "not on this machine" in found.said["adapter"]


def test_an_adapter_alone_may_be_verified_and_a_pickle_in_its_place_is_not_opened(run, found_in, rewrite, tmp_path):
    (run / "adapter/adapter_model.safetensors").unlink()
    (run / "adapter/adapter_model.bin").write_bytes(PICKLE % str(tmp_path / "executed").encode())
    found = found_in(run / "adapter")
    assert (found.result.kind, found.outcomes) == ("adapter", {"adapter": "failed"})
    assert "is a pickle" in found.failure.found
    assert not (tmp_path / "executed").exists()
    rewrite(run / "adapter/alpaca_lora.json", lambda it: it.update(base_model="/gone"))
    assert found_in(run / "adapter").outcomes == {"adapter": "not checked"}


def test_pickles_of_a_checkpoint_are_not_opened(run, found_in, rewrite, tmp_path):
    bomb = run / "checkpoint-4/optimizer.pt"
    bomb.write_bytes(PICKLE % str(tmp_path / "executed").encode())
    (run / "adapter/adapter_model.bin").write_bytes(bomb.read_bytes())
    entry = {"bytes": bomb.stat().st_size, "sha256": sha256_of(bomb)}
    rewrite(run / "checkpoint-4/MANIFEST.json", lambda it: it["files"].update({"optimizer.pt": entry}))
    assert found_in(run).failure.check == "files"
    seal(run)
    assert found_in(run).outcomes == CHECKS
    assert not (tmp_path / "executed").exists()


def test_deleted_checkpoints_are_no_fault_and_damaged_ones_are(run, found_in):
    shutil.rmtree(run / "checkpoint-2")
    (run / "checkpoint-4/optimizer.pt").unlink()
    assert found_in(run).failure.found.startswith("checkpoint-4/optimizer.pt is missing")


def _last(rows):
    return [row for row in rows if "tokens" in row][-1]
