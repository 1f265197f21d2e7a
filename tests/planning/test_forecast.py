"""What `plan` says, and that the change which it proposes holds."""

import pytest

from alpaca_lora.config import FinetuneConfig
from alpaca_lora.errors import ConfigError
from alpaca_lora.planning import Hardware, available_shapes, estimate, plan, shape_of
from alpaca_lora.planning.cards import CARDS, card_named
from alpaca_lora.planning.forecast import flops_per_token

GIB = 2**30


@pytest.mark.parametrize("name", available_shapes())
@pytest.mark.parametrize("quantization", ["none", "nf4"])
def test_open_settings_are_chosen_so_that_they_fit_or_it_says_so(name, quantization):
    made = plan(name, card="4090", overrides={"quantization.method": quantization})
    assert made.fits is (made.total_bytes <= CARDS["4090"].memory_mib << 20)
    assert made.fits
    assert made.total_bytes == sum(item.bytes for item in made.items)
    assert made.fix is None


@pytest.mark.parametrize(
    ("name", "card", "overrides"),
    [
        ("llama-2-7b", "T4", {}),
        ("llama-3-8b", "T4", {"quantization.method": "nf4", "gradient_checkpointing": False}),
        ("llama-2-7b", "4090", {"gradient_checkpointing": False, "packing": False, "micro_batch_size": 32}),
        ("llama-2-7b", "4090", {"max_length": 4096, "packing": False, "batch_size": 8, "micro_batch_size": 8}),
    ],
)
def test_the_cheapest_change_fits_when_it_is_applied_and_keeps_the_batch(name, card, overrides):
    made = plan(name, card=card, overrides=overrides)
    assert not made.fits
    assert made.fix is not None
    changed = plan(name, card=card, overrides={**overrides, **made.fix.changes})
    assert changed.fits
    assert changed.total_bytes == made.fix.total_bytes
    before, after = made.config, changed.config
    rows = (before.packed_length or before.max_length) // (after.packed_length or after.max_length)
    assert after.batch_size == before.batch_size * rows


def test_where_nothing_fits_there_is_no_change_to_propose():
    made = plan("llama-2-7b", memory_gb=2)
    assert (made.fits, made.fix) == (False, None)


@pytest.mark.parametrize(("precision", "fits"), [("bf16", False), ("fp16", True)])
def test_only_cards_that_take_the_settings_as_they_are_fit(precision, fits):
    made = plan("smollm2-135m", card="L4", overrides={"precision": precision, "micro_batch_size": 1})
    assert ("T4" in made.fitting_cards()) is fits


def test_a_larger_card_gets_a_faster_plan():
    small, large = (
        plan("llama-2-7b", memory_gb=memory, overrides={"quantization.method": "nf4"}) for memory in (8, 48)
    )
    assert small.fits
    assert large.fits
    assert flops_per_token(large.shape, large.config) < flops_per_token(small.shape, small.config)


def test_the_time_follows_from_the_rate_and_says_from_which():
    sheet, given = plan("llama-2-7b", card="3090"), plan("llama-2-7b", card="3090", teraflops=35.6)
    assert sheet.seconds == pytest.approx(given.seconds / 2)
    assert (sheet.given_rate, given.given_rate) == (False, True)
    assert plan("llama-2-7b", memory_gb=24).seconds is None


def test_a_token_of_a_7b_takes_four_products_of_its_weights_and_six_when_checkpointed():
    shape = shape_of("llama-2-7b")
    plain, again = (
        flops_per_token(shape, FinetuneConfig(gradient_checkpointing=value, max_length=8, train_on_prompt=True))
        for value in (False, True)
    )
    weights = shape.linear_parameters + shape.vocabulary * shape.width
    assert plain == pytest.approx(4 * weights, rel=0.01)
    assert again / plain == pytest.approx(1.49, abs=0.01)  # research/performance.md §4.1


@pytest.mark.parametrize(
    ("overrides", "steps", "epochs"),
    [
        ({"packing": False}, 9, 3.0),  # three batches of 4, 4 and 1 records, three times
        ({"packing": False, "epochs": 0.5}, 2, 0.5),
        ({"packing": False, "max_steps": 2}, 2, 8 / 9),
        ({"packing": True, "packed_length": 1024}, 3, 3.0),  # 1845 tokens fill two rows, the second in part
    ],
)
def test_a_plan_has_the_steps_and_the_tokens_of_training(overrides, steps, epochs):
    fixed = {"batch_size": 4, "micro_batch_size": 1, "epochs": 3.0, "max_length": 512}
    made = plan("smollm2-135m", card="4090", records=9, overrides=fixed | overrides)
    assert made.steps == steps
    assert made.tokens == pytest.approx(epochs * 9 * 205)


def test_a_machine_without_a_card_is_planned_with_the_memory_that_is_free():
    laptop = Hardware(device="cpu", name="laptop", memory_bytes=16 * GIB, bf16=False, fp16=False, cores=4)
    asked = FinetuneConfig(quantization="nf4", max_length=256)
    assert estimate(shape_of("llama-2-7b"), asked, laptop, room_bytes=12 * GIB).fits
    assert not estimate(shape_of("llama-2-7b"), FinetuneConfig(), laptop, room_bytes=12 * GIB).fits


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"card": "4091"}, "unknown card '4091'; did you mean '4090'"),
        ({"memory_gb": 0}, "memory_gb must be above 0"),
        ({"records": 0}, "records must be at least 1, got 0"),
        ({"teraflops": -1}, "teraflops must be above 0, got -1"),
    ],
)
def test_what_cannot_be_planned_is_refused(arguments, said):
    with pytest.raises(ConfigError, match=said):
        plan("llama-2-7b", **arguments)


def test_cards_go_by_the_names_that_people_use():
    assert card_named("RTX 4090") == card_named("rtx-4090") == card_named(4090) == CARDS["4090"]
    assert card_named("NVIDIA GeForce RTX 4090") == CARDS["4090"]
    assert card_named("Tesla T4") == CARDS["T4"]
    assert card_named("a100") == CARDS["A100"]
