"""An artefact says how it was proved; with its adapter it is proved again."""

import re
import shutil

import pytest

from alpaca_lora._seals import seal
from alpaca_lora.exports import make_weight_diff, recover_weights
from alpaca_lora.replication.export_check import check_export
from alpaca_lora.replication.findings import Sheet
from alpaca_lora.training.progress import Progress

pytestmark = pytest.mark.slow

CHECKS = dict.fromkeys(("files", "parity", "prompt", "model"), "passed")


@pytest.fixture
def merged(replicated, copy_of):
    return copy_of(replicated / "5-export/hf")


def test_an_export_is_what_it_was_proved_to_be(merged, found_in):
    found = found_in(merged)
    assert (found.result.kind, found.outcomes) == ("export", CHECKS)
    assert "not compared with the adapter" in found.said["model"]


@pytest.mark.parametrize(
    ("file", "change", "check", "said"),
    [
        (
            "parity.json",
            lambda it: it.update(max_logit_delta=9.0),
            "parity",
            "not what the adapter on its base computes",
        ),
        ("parity.json", lambda it: it.update(format="zip"), "parity", "names the format 'zip'"),
        ("parity.json", lambda it: it.pop("agreement"), "parity", "damaged"),
        (
            "config.json",
            lambda it: it["alpaca_lora"]["template"].update(prompt_no_input="{instruction}\n### Response:\n"),
            "prompt",
            "it was edited",
        ),
    ],
)
def test_what_was_edited_is_found_although_it_is_sealed(merged, found_in, rewrite, file, change, check, said):
    rewrite(merged / file, change)
    seal(merged)
    failure = found_in(merged).failure
    assert (failure.check, bool(re.search(said, failure.found))) == (check, True), failure


def test_another_chat_template_is_found(merged, found_in):
    template = merged / "chat_template.jinja"
    template.write_text(template.read_text(encoding="utf-8").replace("### Response:", "### Answer:"), encoding="utf-8")
    seal(merged)
    assert "the tokenizer's chat template gives token" in found_in(merged).failure.found


def test_weights_that_were_cut_are_found(merged, found_in):
    weights = merged / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-9])
    seal(merged)
    assert "model.safetensors" in found_in(merged).failure.found


def test_of_another_format_is_said_what_cannot_be_told(merged, found_in, rewrite):
    rewrite(merged / "parity.json", lambda it: it.update(format="meta"))
    seal(merged)
    found = found_in(merged)
    assert found.outcomes == CHECKS | {"prompt": "not checked", "model": "not checked"}
    assert "the adapter that it was made from is not known here" in found.said["model"]


def test_a_difference_of_weights_has_the_tensors_of_its_manifest(merged, tiny_base, found_in, tmp_path):
    shutil.copytree(tiny_base, tmp_path / "raw")
    difference = make_weight_diff(merged, tmp_path / "raw", tmp_path / "difference")
    found = found_in(difference)
    assert (found.result.kind, found.outcomes) == ("weight difference", {"files": "passed", "tensors": "passed"})
    (difference / "config.json").write_text("{}")
    seal(difference)
    assert found_in(difference).failure.found.startswith("config.json has changed")


def test_an_export_that_was_recovered_from_a_difference_is_one_again(merged, tiny_base, found_in, tmp_path):
    raw = shutil.copytree(tiny_base, tmp_path / "raw")
    recovered = recover_weights(make_weight_diff(merged, raw, tmp_path / "difference"), raw, tmp_path / "recovered")
    found = found_in(recovered)
    assert (found.result.kind, found.outcomes) == ("export", CHECKS)


def test_without_the_base_the_prompt_is_compared_and_the_weights_are_not(merged, replicated, rewrite, tmp_path):
    adapter = shutil.copytree(replicated / "3-finetune/adapter", tmp_path / "adapter")
    rewrite(adapter / "alpaca_lora.json", lambda it: it.update(base_model="nobody/has-this"))
    sheet = Sheet("export", Progress(enabled=False))
    check_export(merged, sheet, adapter)
    assert [finding.outcome for finding in sheet.findings] == ["passed", "passed", "not checked"]
    assert "the base model is not on this machine" in sheet.findings[-1].found
