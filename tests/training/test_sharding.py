import pytest
import torch
from torch import distributed
from torch.distributed.tensor import DTensor

from alpaca_lora.adapters import attach_adapter
from alpaca_lora.config import LoraSettings
from alpaca_lora.models import load_base_model
from alpaca_lora.training.sharding import divide_base


@pytest.fixture
def divided(tiny_base):
    """A base with an adapter, divided over a group of one process."""
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    base = load_base_model(tiny_base, precision="fp32", device="cpu")
    model = attach_adapter(base, LoraSettings(), base_dir=str(tiny_base))
    divide_base(model)
    yield model
    distributed.destroy_process_group()


def whole_weights(layer):
    return {name for name, weight in layer.named_parameters() if not isinstance(weight, DTensor)}


def test_a_layer_is_whole_while_it_works_and_divided_before_and_after(divided):
    layers = divided.get_base_model().get_decoder().layers
    adapters = [{name for name, _ in layer.named_parameters() if "lora_" in name} for layer in layers]
    at_work = []
    for layer in layers:
        layer.mlp.register_forward_hook(lambda *_, layer=layer: at_work.append(whole_weights(layer)))
    assert [whole_weights(layer) for layer in layers] == adapters
    loss = divided(torch.arange(5, 25)[None]).logits.square().mean()
    assert at_work == [{name for name, _ in layer.named_parameters()} for layer in layers]
    assert [whole_weights(layer) for layer in layers] == adapters
    loss.backward()
    assert [whole_weights(layer) for layer in layers] == adapters
