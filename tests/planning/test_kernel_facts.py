"""A fact of the kernels stands once: a plan that had its own copy would be wrong as soon as a kernel is tuned."""

import pytest

from alpaca_lora.planning import activations, kernel_facts, memory


@pytest.mark.parametrize("name", ["CACHE_SHARE", "KEPT_LENGTH", "LEAN_LOGITS_BYTES", "LOGITS_BYTES", "QUERY_BLOCK"])
def test_plan_and_kernels_read_the_same_number(name):
    from alpaca_lora.kernels import attention, fast_path

    readers = [module for module in (activations, memory, attention, fast_path) if hasattr(module, name)]
    assert len(readers) == 2
    assert all(getattr(module, name) is getattr(kernel_facts, name) for module in readers)
