"""A run that is trained again gives the same bytes; what does not is told from what could not be told."""

import json
import re

import pytest

from alpaca_lora.replication.determinism import train_again
from alpaca_lora.replication.findings import Sheet
from alpaca_lora.training.progress import Progress

CHECKS = ("files", "contract", "end", "metrics", "report", "checkpoints", "sidecar", "data", "adapter")
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("warm_gates")]


@pytest.fixture
def run(replicated, copy_of):
    return copy_of(replicated / "3-finetune")


def test_a_run_repeats_itself_byte_for_byte_and_leaves_nothing_behind(run, found_in):
    beside = set(run.parent.iterdir())
    found = found_in(run, determinism=True)
    assert (found.result.kind, set(found.outcomes.values())) == ("run", {"passed"})
    assert list(found.outcomes) == [*CHECKS, "determinism"]
    assert "passes its health gate on its base" in found.said["adapter"]
    assert "adapter/adapter_model.safetensors is the same, byte for byte" in found.said["determinism"]
    assert set(run.parent.iterdir()) == beside


def test_an_adapter_that_the_contract_does_not_give_is_found(run, rewrite):
    from safetensors.torch import load_file, save_file

    weights = run / "adapter/adapter_model.safetensors"
    save_file({name: t * (1 + 1e-6) for name, t in load_file(weights).items()}, weights, metadata={"format": "pt"})
    here = trained_again(run)
    assert here.outcome == "failed"
    assert "every logged loss is the same, so the file was changed afterwards" in here.found
    rewrite(run / "run.json", lambda it: it["environment"].update(torch="1.0"))
    rewrite(run / "adapter/alpaca_lora.json", lambda it: it.update(losses=[loss + 0.04 for loss in it["losses"]]))
    elsewhere = trained_again(run)
    assert elsewhere.outcome == "passed"
    assert re.search(r"losses within 0\.04\d* nats per token \(0\.05 allowed\); bytes differ: torch", elsewhere.found)


def test_a_run_that_went_on_elsewhere_need_only_come_near(run, rewrite):
    from safetensors.torch import load_file, save_file

    weights = run / "adapter/adapter_model.safetensors"
    save_file({name: t * (1 + 1e-6) for name, t in load_file(weights).items()}, weights, metadata={"format": "pt"})
    contract = json.loads((run / "run.json").read_text(encoding="utf-8"))
    session = contract["environment"] | {"threads": contract["environment"]["threads"] + 1, "processes": 1}
    rewrite(run / "run.json", lambda it: it.update(resumed_with=[session]))
    found = trained_again(run)
    assert (found.outcome, "bytes differ: threads " in found.found) == ("passed", True)


def test_without_its_data_nothing_is_claimed(run, rewrite):
    rewrite(run / "run.json", lambda it: it["data"].update(name="/gone.jsonl"))
    assert (trained_again(run).outcome, trained_again(run).found) == (
        "not checked",
        "'/gone.jsonl' is no file of this machine",
    )


@pytest.mark.parametrize("settings", [{"precision": "fp16"}, {"optimizer": "adamw_8bit"}])
def test_what_this_machine_cannot_train_is_no_fault_of_the_run(run, rewrite, settings):
    rewrite(run / "run.json", lambda it: it["config"].update(settings))
    assert (trained_again(run).outcome, trained_again(run).found[:29]) == (
        "not checked",
        "this machine cannot train it:",
    )


def test_settings_that_cannot_be_are_a_fault_of_the_run_that_this_version_made(run, rewrite):
    rewrite(run / "run.json", lambda it: it["config"].update(epochs=-1))
    found = trained_again(run)
    assert found.outcome == "failed"
    assert "run.json has settings that" in found.found
    assert "config.epochs must be a number above 0" in found.found
    rewrite(run / "run.json", lambda it: it["environment"].update(alpaca_lora="0.0.1"))
    assert (trained_again(run).outcome, trained_again(run).found[:26]) == ("not checked", "made by alpaca-lora 0.0.1,")


def test_the_file_of_the_template_may_be_gone(run, rewrite):
    rewrite(run / "run.json", lambda it: it["config"].update(template="/gone/alpaca.json"))
    assert trained_again(run).outcome == "passed"


def trained_again(run):
    sheet = Sheet("run", Progress(enabled=False))
    train_again(run, sheet)
    return sheet.findings[0]


def test_the_base_that_is_here_is_trained_whatever_the_run_called_it(run, rewrite):
    rewrite(run / "run.json", lambda it: it.update(base_model="nobody/has-this"))
    assert trained_again(run).outcome == "passed"
