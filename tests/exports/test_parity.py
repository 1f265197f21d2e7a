import json
import math
import shutil
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from alpaca_lora.errors import ParityError
from alpaca_lora.exports import measuring
from alpaca_lora.exports.diagnosis import Fault
from alpaca_lora.exports.hf import write_merged
from alpaca_lora.exports.origin import resolve
from alpaca_lora.exports.parity import LIMITS, Parity, coarser, compare_logits, judge


@pytest.fixture(scope="module")
def reference(adapter, tmp_path_factory):
    """The job that the gate gives its first process, done."""
    scratch = tmp_path_factory.mktemp("parity")
    job = {
        "task": "reference",
        "origin": resolve(adapter).to_json(),
        "computed_in": "f32",
        "reference": str(scratch / "reference.safetensors"),
    }
    measuring.main(json.dumps(job))
    return job


@pytest.fixture(scope="module")
def merged(adapter, tmp_path_factory):
    """A true merged model; copy it before you damage it."""
    directory = tmp_path_factory.mktemp("merged")
    write_merged(resolve(adapter), directory, "f32")
    return directory


@pytest.fixture
def gate(reference, tmp_path):
    """What the gate says of a merged directory, without the two processes around it."""

    def decide(directory):
        found = tmp_path / "found.safetensors"
        job = {"task": "artifact", "format": "hf", "artifact": str(directory), "rounding": "f32", "found": str(found)}
        measuring.main(json.dumps(reference | job))
        seen = json.loads(found.with_suffix(".json").read_text())
        logits = load_file(reference["reference"])["logits"]
        parity = Parity(
            format="hf",
            dtype="f32",
            computed_in="f32",
            merged_into="original",
            prompts=8,
            positions=len(logits),
            tensors=seen["tensors"],
            **compare_logits(logits, load_file(found)["logits"]),
        )
        judge(parity, [Fault(**fault) for fault in seen["faults"]])
        return parity

    return decide


def damage(merged, target, change):
    """A copy of a merged model whose weights went through `change`."""
    shutil.copytree(merged, target)
    weights = load_file(target / "model.safetensors")
    change(weights)
    save_file(
        {name: tensor.contiguous() for name, tensor in weights.items()}, target / "model.safetensors", {"format": "pt"}
    )
    return target


def test_a_true_artefact_passes(gate, merged):
    parity = gate(merged)
    assert parity.max_logit_delta < 1e-5
    assert parity.mean_kl < 1e-9
    assert parity.agreement == 1
    assert parity.tensors == 21
    assert parity.positions >= 8


def test_a_skipped_layer_is_caught(gate, merged, base, tmp_path):
    stored = load_file(base / "model.safetensors")
    skipped = {name: tensor for name, tensor in stored.items() if ".layers.1." in name}
    with pytest.raises(ParityError, match=r"7 of 21 weights differ, first 'model.layers.1.self_attn.q_proj") as caught:
        gate(damage(merged, tmp_path / "skipped", lambda weights: weights.update(skipped)))
    assert caught.value.code == "not-merged"


def test_permuted_heads_are_caught(gate, merged, tmp_path):
    name = "model.layers.0.self_attn.q_proj.weight"

    def swap(weights):
        heads = weights[name].view(4, 16, 64)
        weights[name] = heads[[1, 0, 2, 3]].reshape(64, 64)

    with pytest.raises(ParityError, match="1 of 21 weights differ") as caught:
        gate(damage(merged, tmp_path / "permuted", swap))
    assert (caught.value.code, caught.value.tensor) == ("permuted", name)


def test_a_wrong_alpha_is_caught(gate, adapter, tmp_path):
    other = shutil.copytree(adapter, tmp_path / "adapter")
    config = json.loads((other / "adapter_config.json").read_text())
    (other / "adapter_config.json").write_text(json.dumps(config | {"lora_alpha": 12}))
    (tmp_path / "merged").mkdir()
    write_merged(resolve(other), tmp_path / "merged", "f32")
    with pytest.raises(ParityError, match="14 of 21 weights differ.*the adapter is in it 1.5 times") as caught:
        gate(tmp_path / "merged")
    assert caught.value.code == "wrong-scale"


def test_a_wrong_base_is_caught(gate, adapter, make_base, tmp_path):
    other = shutil.copytree(adapter, tmp_path / "adapter")
    (other / "alpaca_lora.json").unlink()  # with it the base would be refused before anything is merged
    (tmp_path / "merged").mkdir()
    write_merged(resolve(other, base_model=make_base(seed=5), template="alpaca"), tmp_path / "merged", "f32")
    with pytest.raises(ParityError, match="first 'model.embed_tokens.weight'") as caught:
        gate(tmp_path / "merged")
    assert caught.value.code == "wrong-base"


def test_right_weights_in_a_wrong_configuration_are_caught(gate, merged, tmp_path):
    other = shutil.copytree(merged, tmp_path / "merged")
    config = json.loads((other / "config.json").read_text())
    config["rope_parameters"]["rope_theta"] = 500.0
    (other / "config.json").write_text(json.dumps(config))
    with pytest.raises(ParityError, match="although every weight is right") as caught:
        gate(other)
    assert (caught.value.code, caught.value.tensor) == ("logits", None)


@pytest.mark.parametrize(
    ("dtype", "advice"),
    [("f32", None), ("f16", "--dtype f32"), ("bf16", "--dtype f16 or f32"), ("q8_0", "--dtype f16")],
)
def test_where_rounding_may_be_the_cause_a_finer_format_is_named(dtype, advice):
    found = {"max_logit_delta": 0.5, "mean_kl": 0.01, "max_kl": 0.1, "agreement": 0.4}
    parity = Parity("hf", dtype, "f32", "original", prompts=8, positions=113, tensors=7, **found)
    with pytest.raises(
        ParityError, match=f"every weight is right: in {dtype}, .*40.0% of the greedy tokens agree"
    ) as caught:
        judge(parity, [])
    assert ("--dtype" in str(caught.value)) == (advice is not None)
    assert (advice or "") in str(caught.value)
    assert caught.value.shortfall in str(caught.value)


def test_only_limits_that_are_not_held_are_named():
    found = {"max_logit_delta": 4.0, "mean_kl": 0.019, "max_kl": 0.1, "agreement": 0.92}
    parity = Parity("hf", "bf16", "f32", "original", prompts=8, positions=113, tensors=7, **found)
    with pytest.raises(ParityError) as caught:
        judge(parity, [])
    assert caught.value.shortfall == "92.0% of the greedy tokens agree and 95% are wanted"
    with pytest.raises(ParityError) as caught:
        judge(replace(parity, max_logit_delta=math.nan, mean_kl=0.03, agreement=0.95), [])
    assert caught.value.shortfall == "a logit differs by nan and 4 is allowed, KL is 0.03 and 0.02 is allowed"


def test_logits_are_compared_as_distributions():
    reference = torch.tensor([[0.0, 1.0, 2.0], [3.0, 0.0, 0.0]])
    shifted = compare_logits(reference, reference + 5)
    assert shifted == {
        "max_logit_delta": 5.0,
        "mean_kl": pytest.approx(0, abs=1e-12),
        "max_kl": pytest.approx(0, abs=1e-12),
        "agreement": 1.0,
    }
    found = compare_logits(torch.tensor([[0.0, 0.0]]), torch.log(torch.tensor([[0.25, 0.75]])))
    assert found["mean_kl"] == pytest.approx(0.5 * math.log(4 / 3), abs=1e-6)
    assert found["agreement"] == 0


def test_the_coarser_format_decides():
    assert [coarser("f32", "bf16"), coarser("q8_0", "f32"), coarser("f16", "f32")] == ["bf16", "q8_0", "f16"]
    limits = [LIMITS[name] for name in ("f32", "f16", "bf16", "q8_0")]
    assert limits == sorted(limits, key=lambda limit: (limit.mean_kl, limit.logit_delta, -limit.agreement))
