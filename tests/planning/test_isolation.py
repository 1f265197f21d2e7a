"""A model of each architecture, tiny and random, that is shown two records in one row."""

import pytest

from alpaca_lora.planning.isolation import KEEPS_RECORDS_APART
from alpaca_lora.planning.kernel_facts import ARCHITECTURES

SIZES = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 6,  # of gemma3_text, every sixth layer attends to all
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 64,
    "sliding_window": 8,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
EXPERTS = {
    "num_experts": 4,
    "num_local_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 16,
    "shared_expert_intermediate_size": 16,
}
CONTAMINATED = ("falcon", "opt")


def leak(model_type: str) -> tuple[float, float]:
    """Return how far the second record's logits move with the first, and how far they are from those it has alone."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from alpaca_lora.models import supervised_logits

    torch.manual_seed(0)
    sizes = SIZES | EXPERTS if "mo" in model_type or model_type == "mixtral" else SIZES
    if model_type == "falcon":  # which takes no size of a head
        sizes = {name: size for name, size in sizes.items() if name != "head_dim"}
    config = AutoConfig.for_model(model_type, **sizes)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa").eval()
    for parameter in model.parameters():
        if parameter.ndim > 1:
            parameter.data.normal_(std=0.2)
    first, other, second = (torch.randint(3, 64, (1, length)) for length in (17, 17, 19))
    places = torch.cat((torch.arange(17), torch.arange(19)))[None]

    @torch.no_grad()
    def logits(before: torch.Tensor) -> torch.Tensor:
        ids = torch.cat((before, second), dim=1)
        inputs = {"input_ids": ids, "position_ids": places[:, -ids.shape[1] :]}
        return supervised_logits(model, inputs, ids)[0][-18:]

    beside, alone = logits(first), logits(first[:, :0])
    return float((beside - logits(other)).abs().max()), float((beside - alone).abs().max())


@pytest.mark.parametrize("model_type", sorted(KEEPS_RECORDS_APART))
def test_a_record_in_a_packed_row_is_as_it_is_alone(model_type):
    moved, apart = leak(model_type)
    assert moved < 1e-4
    assert apart < 1e-4


@pytest.mark.parametrize("model_type", CONTAMINATED)
def test_the_same_look_finds_a_record_that_sees_another(model_type):
    moved, apart = leak(model_type)
    assert model_type not in KEEPS_RECORDS_APART
    assert moved > 0.01
    assert apart > 0.01


def test_whatever_the_kernels_take_may_be_packed():
    assert KEEPS_RECORDS_APART.issuperset(ARCHITECTURES)
