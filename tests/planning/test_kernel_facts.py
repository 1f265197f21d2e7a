"""A fact of the kernels stands once: a plan that had its own copy would be wrong as soon as a kernel is tuned."""

import pytest

from alpaca_lora.planning import activations, kernel_facts, memory
from alpaca_lora.planning.kernel_facts import takes_flash


@pytest.mark.parametrize("name", ["CACHE_SHARE", "KEPT_LENGTH", "LEAN_LOGITS_BYTES", "LOGITS_BYTES", "QUERY_BLOCK"])
def test_plan_and_kernels_read_the_same_number(name):
    from alpaca_lora.kernels import attention, fast_path

    readers = [module for module in (activations, memory, attention, fast_path) if hasattr(module, name)]
    assert len(readers) == 2
    assert all(getattr(module, name) is getattr(kernel_facts, name) for module in readers)


@pytest.mark.parametrize(("head_size", "width_bytes"), [(64, 4), (64, 8), (100, 2), (4, 2), (264, 2)])
def test_flash_attention_takes_numbers_of_16_bits_in_heads_of_whole_eights_up_to_256(head_size, width_bytes):
    assert not takes_flash(head_size, width_bytes)
    assert all(takes_flash(size, 2) for size in (8, 64, 104, 256))
