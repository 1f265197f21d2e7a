import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from alpaca_lora.adapters import Updates
from alpaca_lora.errors import AdapterError, NonFiniteAdapterError

QUERY = "model.layers.0.self_attn.q_proj"


def edit(adapter, **changes):
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_module_is_merged_in_float32_and_the_next_time_alike(adapter, tiny_base):
    updates = Updates(adapter, tiny_base)
    weight = load_file(tiny_base / "model.safetensors")[f"{QUERY}.weight"].bfloat16()
    before = weight.clone()
    first, second = (updates.merge(QUERY, {"weight": weight})["weight"] for _ in range(2))
    tensors = load_file(adapter / "adapter_model.safetensors")
    a, b = (tensors[f"base_model.model.{QUERY}.lora_{side}.weight"] for side in "AB")
    assert torch.equal(first, weight.float() + b @ a * 2)
    assert torch.equal(first, second)
    assert torch.equal(weight, before)


def test_modules_and_weights_are_named_as_the_base_names_them(adapter, tiny_base):
    updates = Updates(adapter, tiny_base)
    assert updates.modules[0] == QUERY
    assert len(updates.linear_modules) == 14
    assert "lm_head" not in updates.linear_modules
    assert set(updates.base_names) == set(load_file(tiny_base / "model.safetensors"))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"init_lora_weights": "olora"}, "init_lora_weights 'olora', which is taken out of the base"),
        ({"alora_invocation_tokens": [1]}, "alora_invocation_tokens"),
    ],
)
@pytest.mark.catalogue(98)
def test_what_no_weight_can_express_is_refused(adapter, tiny_base, changes, reason):
    edit(adapter, **changes)
    with pytest.raises(AdapterError, match=f"cannot be merged into the weights of its base.*{reason}.*serve it as"):
        Updates(adapter, tiny_base)


def test_too_large_an_update_is_named(adapter, tiny_base):
    path = adapter / "adapter_model.safetensors"
    save_file({name: tensor * 1e30 for name, tensor in load_file(path).items()}, path)
    (adapter / "alpaca_lora.json").unlink()  # which holds the digest of the others
    updates = Updates(adapter, tiny_base)
    weight = load_file(tiny_base / "model.safetensors")[f"{QUERY}.weight"]
    with pytest.raises(NonFiniteAdapterError, match=f"{QUERY}.weight holds NaN or infinity once the adapter is merged"):
        updates.merge(QUERY, {"weight": weight})
