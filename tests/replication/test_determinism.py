"""A run that is trained again gives the same bytes; what does not is told from what could not be told."""

import pytest

from alpaca_lora._files import sha256_of
from alpaca_lora._seals import seal

pytestmark = pytest.mark.slow


@pytest.fixture
def run(replicated, copy_of):
    return copy_of(replicated / "3-finetune")


def test_a_run_repeats_itself_byte_for_byte_and_leaves_nothing_behind(run, found_in):
    beside = set(run.parent.iterdir())
    found = found_in(run, determinism=True)
    assert found.outcomes["determinism"] == "passed"
    assert "adapter/adapter_model.safetensors is the same, byte for byte" in found.said["determinism"]
    assert set(run.parent.iterdir()) == beside


def test_an_adapter_that_the_contract_does_not_give_is_found(run, found_in, rewrite):
    from safetensors.torch import load_file, save_file

    weights = run / "adapter/adapter_model.safetensors"
    save_file({name: t * (1 + 1e-6) for name, t in load_file(weights).items()}, weights, metadata={"format": "pt"})
    rewrite(run / "adapter/alpaca_lora.json", lambda it: it.update(weights_sha256=sha256_of(weights)))
    seal(run)
    found = found_in(run, determinism=True)
    assert (found.outcomes["adapter"], found.failure.check) == ("passed", "determinism")
    assert "every logged loss is the same, so the file was changed afterwards" in found.failure.found
    rewrite(run / "run.json", lambda it: it["environment"].update(torch="1.0"))
    seal(run)
    elsewhere = found_in(run, determinism=True)
    assert elsewhere.outcomes["determinism"] == "passed"
    assert "0.05 allowed); bytes differ: torch" in elsewhere.said["determinism"]


def test_without_its_data_nothing_is_claimed(run, found_in, rewrite):
    rewrite(run / "run.json", lambda it: it["data"].update(name="/gone.jsonl"))
    (run / "COMPLETE").write_text((run / "COMPLETE").read_text(encoding="utf-8").replace("x", "x"))
    seal(run)
    found = found_in(run, determinism=True)
    assert found.outcomes["determinism"] == "not checked"
