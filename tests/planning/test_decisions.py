"""What an open setting becomes. Each row of a table is a machine or an amount of data that somebody has."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alpaca_lora.config import FinetuneConfig, LoraSettings, load_config
from alpaca_lora.errors import ConfigError
from alpaca_lora.planning import Hardware, available_presets, count_steps, decide, decide_intervals

GIB = 2**30
AMX = Hardware(device="cpu", name="Xeon", memory_bytes=64 * GIB, bf16=True, fp16=False, cores=2)
LAPTOP = Hardware(device="cpu", name="Core i5", memory_bytes=16 * GIB, bf16=False, fp16=False, cores=4)
APPLE = Hardware(device="mps", name="M2", memory_bytes=16 * GIB, bf16=False, fp16=True, cores=8)
TURING = Hardware(device="cuda", name="T4", memory_bytes=15 * GIB, bf16=False, fp16=True, cores=4)
CARD_8GB = Hardware(device="cuda", name="RTX 3070", memory_bytes=8 * GIB, bf16=True, fp16=True, cores=8)
CARD_24GB = Hardware(device="cuda", name="RTX 4090", memory_bytes=24 * GIB, bf16=True, fp16=True, cores=16)
CARD_80GB = Hardware(device="cuda", name="H100", memory_bytes=80 * GIB, bf16=True, fp16=True, cores=16)
MACHINES = [AMX, LAPTOP, APPLE, TURING, CARD_24GB, CARD_80GB]

OPEN = ["epochs", "batch_size", "micro_batch_size", "learning_rate", "packing", "precision", "gradient_checkpointing"]
OPEN_IF_PACKED = [*OPEN, "packed_length"]


@pytest.mark.parametrize(
    ("rows", "epochs", "learning_rate", "packing", "batch_size"),
    [
        (1, 10, 4e-4, False, 1),
        (3, 10, 4e-4, False, 2),
        (10, 10, 4e-4, False, 4),
        (49, 10, 4e-4, False, 4),
        (50, 5, 4e-4, False, 4),
        (153, 5, 4e-4, False, 4),
        (154, 5, 4e-4, True, 1),
        (899, 3, 4e-4, True, 1),
        (2_000, 3, 3e-4, True, 2),
        (9_999, 3, 3e-4, True, 8),
        (20_000, 3, 2e-4, True, 8),
        (51_260, 2, 2e-4, True, 8),
        (500_000, 1, 2e-4, True, 8),
    ],
)
def test_the_number_of_rows_decides_the_schedule(rows, epochs, learning_rate, packing, batch_size):
    decided = decide(FinetuneConfig(), rows=rows, hardware=AMX).config
    assert (decided.epochs, decided.learning_rate) == (epochs, learning_rate)
    assert (decided.packing, decided.batch_size) == (packing, batch_size)


@pytest.mark.parametrize(
    ("rows", "batch_size"), [(100, 4), (899, 16), (2_000, 32), (9_999, 128), (20_000, 128), (51_260, 128)]
)
def test_without_packing_the_batch_grows_to_that_of_the_originals(rows, batch_size):
    assert decide(FinetuneConfig(packing=False), rows=rows, hardware=AMX).config.batch_size == batch_size


@pytest.mark.parametrize(
    ("hardware", "precision", "checkpointing", "packed", "padded"),
    [
        (AMX, "bf16", False, 1, 4),
        (LAPTOP, "fp32", False, 1, 4),
        (APPLE, "fp16", False, 1, 4),
        (TURING, "fp16", True, 1, 4),
        (CARD_24GB, "bf16", True, 2, 8),
        (CARD_80GB, "bf16", True, 8, 32),
    ],
    ids=lambda value: value.name if isinstance(value, Hardware) else None,
)
def test_the_hardware_decides_precision_and_memory(hardware, precision, checkpointing, packed, padded):
    decided = decide(FinetuneConfig(), rows=51_260, hardware=hardware).config
    assert (decided.precision, decided.gradient_checkpointing) == (precision, checkpointing)
    assert (decided.packed_length, decided.micro_batch_size) == (2048, packed)
    assert decide(FinetuneConfig(packing=False), rows=51_260, hardware=hardware).config.micro_batch_size == padded


def test_longer_records_fill_more_rows():
    short = decide(FinetuneConfig(), rows=200, hardware=AMX, mean_tokens=100)
    long = decide(FinetuneConfig(), rows=200, hardware=AMX, mean_tokens=400)
    assert (short.config.packing, long.config.packing) == (False, True)
    assert "packing off: 200 records of about 100 tokens fill only 10 rows of 2048" in short.reasons
    assert "packing on: 200 records of about 400 tokens fill 40 rows of 2048" in long.reasons


class TestPackedLength:
    """How long a row is that holds several records."""

    @pytest.mark.parametrize(
        ("settings", "hardware", "length"),
        [
            ({}, AMX, 2048),
            ({"max_length": 256}, AMX, 2048),
            ({"max_length": 4096}, AMX, 4096),
            ({}, CARD_8GB, 1024),
            ({}, CARD_80GB, 2048),
            ({"packed_length": 700}, CARD_80GB, 700),
        ],
    )
    def test_it_follows_from_the_hardware_and_is_never_below_max_length(self, settings, hardware, length):
        assert decide(FinetuneConfig(**settings), rows=5_000, hardware=hardware).config.packed_length == length

    @pytest.mark.parametrize("settings", [{"batch_size": 8}, {"micro_batch_size": 2}])
    def test_who_gives_a_batch_gets_rows_of_max_length(self, settings):
        decisions = decide(FinetuneConfig(**settings), rows=5_000, hardware=AMX)
        assert decisions.config.packed_length == 512
        assert (
            "packed_length 512: about 3 records a row, since the batch is counted in rows of max_length"
            in decisions.reasons
        )

    @pytest.mark.parametrize("rows", [154, 899, 2_000, 9_999, 51_260])
    def test_it_does_not_change_how_many_records_a_step_has(self, rows):
        long, short = (
            decide(FinetuneConfig(packed_length=length), rows=rows, hardware=AMX).config for length in (2048, 512)
        )
        assert short.batch_size == 4 * long.batch_size

    @pytest.mark.parametrize("length", [512, 1024, 2048, 4096])
    def test_a_step_has_eight_records_or_more(self, length):
        decided = decide(FinetuneConfig(packed_length=length), rows=300, hardware=AMX).config
        assert decided.batch_size * length / 200 >= 8

    def test_it_is_open_without_packing(self):
        assert decide(FinetuneConfig(packing=False), rows=5_000, hardware=AMX).config.packed_length is None

    def test_giving_it_asks_for_packing(self):
        assert decide(FinetuneConfig(packed_length=512), rows=10, hardware=AMX).config.packing

    def test_a_given_batch_that_leaves_few_steps_is_not_packed(self):
        packing = [decide(FinetuneConfig(batch_size=size), rows=899, hardware=AMX).config.packing for size in (16, 128)]
        assert packing == [True, False]

    def test_short_rows_share_a_forward_pass(self):
        assert decide(FinetuneConfig(batch_size=8), rows=5_000, hardware=AMX).config.micro_batch_size == 4


def test_every_decision_is_given_with_its_reason():
    assert decide(FinetuneConfig(), rows=899, hardware=AMX).reasons == (
        "epochs 3: usual for 899 records",
        "learning_rate 0.0004: usual for LoRA with 899 records",
        "packing on: 899 records of about 200 tokens fill 88 rows of 2048",
        "packed_length 2048: about 10 records a row",
        "batch_size 1: 88 rows give 88 steps per epoch of about 10 records",
        "micro_batch_size 1: a forward pass takes up to 1 x 2048 tokens",
        "precision bf16: the fastest that Xeon has",
        "gradient_checkpointing off: memory is not short, and recomputing takes time",
    )


@pytest.mark.parametrize(
    ("given_settings", "decided"),
    [
        ({"batch_size": 6}, (6, 3)),
        ({"batch_size": 7}, (7, 1)),
        ({"micro_batch_size": 3}, (15, 3)),
        ({"micro_batch_size": 64}, (64, 64)),
        ({"batch_size": 8, "micro_batch_size": 8}, (8, 8)),
    ],
)
def test_batch_and_micro_batch_follow_each_other(given_settings, decided):
    config = decide(FinetuneConfig(packing=False, **given_settings), rows=899, hardware=AMX).config
    assert (config.batch_size, config.micro_batch_size) == decided


def test_fewer_epochs_bring_a_smaller_batch():
    batches = [decide(FinetuneConfig(epochs=n), rows=5_000, hardware=AMX).config.batch_size for n in (1, 3)]
    assert batches == [2, 8]


@pytest.mark.catalogue(47)
def test_a_batch_larger_than_the_data_is_kept_and_warned_of():
    decisions = decide(FinetuneConfig(batch_size=128, packing=False), rows=30, hardware=AMX)
    assert decisions.config.batch_size == 128
    assert (
        "warning: batch_size 128 is more than the 30 rows of an epoch; every step is a whole epoch" in decisions.reasons
    )


@pytest.mark.parametrize(
    ("settings", "hardware", "faults"),
    [
        ({"precision": "fp16"}, AMX, ["config.precision 'fp16' does not work on the cpu (Xeon); it has bf16, fp32"]),
        ({"precision": "bf16"}, LAPTOP, ["config.precision 'bf16' does not work on the cpu (Core i5); it has fp32"]),
        ({"precision": "bf16"}, TURING, ["config.precision 'bf16' does not work on the cuda (T4); it has fp16, fp32"]),
        (
            {"optimizer": "paged_adamw_8bit", "lora": LoraSettings(init="loftq"), "quantization": "nf4"},
            LAPTOP,
            [
                "config.optimizer 'paged_adamw_8bit' needs CUDA and this is the cpu (Core i5); use 'adamw'",
                "config.lora.init 'loftq' needs CUDA and this is the cpu (Core i5); use 'default'",
            ],
        ),
        (
            {"optimizer": "adamw_8bit", "precision": "bf16"},
            APPLE,
            [
                "config.precision 'bf16' does not work on the mps (M2); it has fp16, fp32",
                "config.optimizer 'adamw_8bit' needs CUDA and this is the mps (M2); use 'adamw'",
            ],
        ),
    ],
)
@pytest.mark.catalogue(78)
def test_row_78_what_the_device_lacks_is_refused_with_what_it_has(settings, hardware, faults):
    with pytest.raises(ConfigError) as caught:
        decide(FinetuneConfig(**settings), rows=100, hardware=hardware)
    assert str(caught.value).splitlines() == faults


def test_a_processor_is_never_asked_for_fp16_even_when_it_claims_it():
    claiming = Hardware(device="cpu", name="Arm", memory_bytes=GIB, bf16=False, fp16=True, cores=1)
    assert decide(FinetuneConfig(), rows=10, hardware=claiming).config.precision == "fp32"


def test_no_rows_are_refused():
    with pytest.raises(ConfigError, match="no record is left to train on"):
        decide(FinetuneConfig(), rows=0, hardware=AMX)


CONFIGS = st.builds(
    FinetuneConfig,
    max_length=st.integers(8, 4096),
    packing=st.none() | st.booleans(),
    epochs=st.none() | st.floats(0.01, 20),
    max_steps=st.none() | st.integers(1, 1000),
    batch_size=st.none() | st.integers(1, 300),
    learning_rate=st.none() | st.floats(1e-6, 0.01),
    gradient_checkpointing=st.none() | st.booleans(),
)
DATA = {"rows": st.integers(1, 10**6), "hardware": st.sampled_from(MACHINES), "mean_tokens": st.floats(1, 5000)}


@given(config=CONFIGS, micro=st.none() | st.integers(1, 64), **DATA)
def test_whatever_is_given_everything_open_is_decided_and_nothing_else_is_touched(
    config, micro, rows, hardware, mean_tokens
):
    if micro is not None:
        batch = None if config.batch_size is None else micro * config.batch_size
        config = FinetuneConfig(**{**dict(config), "micro_batch_size": micro, "batch_size": batch})
    decisions = decide(config, rows=rows, hardware=hardware, mean_tokens=mean_tokens)
    before, after = dict(config), dict(decisions.config)
    opened = OPEN_IF_PACKED if after["packing"] else OPEN
    assert [name for name in opened if after[name] is None] == []
    assert after["batch_size"] % after["micro_batch_size"] == 0
    changed = {name for name in before if before[name] != after[name]}
    assert {name for name in changed if before[name] is not None} == set()
    explained = {reason.split()[0] for reason in decisions.reasons} - {"warning:"}
    assert explained == changed == {name for name in opened if before[name] is None}


@given(**DATA)
def test_a_decided_batch_is_never_larger_than_the_data(rows, hardware, mean_tokens):
    decided = decide(FinetuneConfig(), rows=rows, hardware=hardware, mean_tokens=mean_tokens).config
    assert decided.batch_size <= rows


@pytest.mark.parametrize("name", available_presets())
def test_every_preset_can_be_decided_on_the_card_that_it_is_for(name):
    decided = decide(load_config(name), rows=49_760, hardware=CARD_24GB).config
    assert decided.precision == "bf16"


def test_the_published_run_of_alpaca_lora_has_its_1167_steps():
    decided = decide(load_config("alpaca-lora-7b"), rows=51_760 - 2_000, hardware=CARD_24GB).config
    assert math.ceil(49_760 / decided.batch_size) * decided.epochs == 1167


@pytest.mark.parametrize(
    ("total_steps", "interval"), [(1, 1), (3, 1), (4, 1), (5, 2), (43, 11), (88, 22), (1_167, 292)]
)
def test_a_run_is_evaluated_and_saved_four_times(total_steps, interval):
    decided = decide_intervals(FinetuneConfig(), total_steps).config
    assert (decided.eval_steps, decided.save_steps) == (interval, interval)
    assert total_steps // interval <= 4


@pytest.mark.parametrize(
    ("settings", "intervals"),
    [
        ({"eval_steps": 10}, (10, 25)),
        ({"save_steps": 10}, (25, 10)),
        ({"eval_steps": 10, "keep_best": True}, (10, 10)),
        ({"save_steps": 10, "keep_best": True}, (10, 10)),
        ({"eval_steps": 7, "save_steps": 9}, (7, 9)),
    ],
)
def test_given_intervals_are_kept_and_those_of_keep_best_are_one(settings, intervals):
    decided = decide_intervals(FinetuneConfig(**settings), 100).config
    assert (decided.eval_steps, decided.save_steps) == intervals


def test_intervals_are_given_with_their_reasons():
    assert decide_intervals(FinetuneConfig(), 88).reasons == (
        "eval_steps 22: 4 evaluations in 88 steps",
        "save_steps 22: 4 checkpoints in 88 steps",
    )


def test_the_last_step_is_evaluated_and_saved_whatever_the_interval():
    assert decide_intervals(FinetuneConfig(), 10).reasons[:2] == (
        "eval_steps 3: 4 evaluations in 10 steps",
        "save_steps 3: 4 checkpoints in 10 steps",
    )


def test_row_74_an_interval_longer_than_the_run_is_warned_of_with_the_arithmetic():
    config = FinetuneConfig(save_steps=500, eval_steps=200, warmup_steps=100)
    assert decide_intervals(config, 60).reasons == (
        "warning: save_steps 500 is more than the 60 steps of the run; only its end is saved",
        "warning: eval_steps 200 is more than the 60 steps of the run; only its end is evaluated",
        "warning: warmup_steps 100 of 60 steps never reach the full learning rate",
    )


def test_an_open_setting_packs_no_records_that_would_see_each_other():
    decisions = decide(FinetuneConfig(), rows=5_000, hardware=AMX, model_type="falcon")
    assert decisions.config == decide(FinetuneConfig(packing=False), rows=5_000, hardware=AMX).config
    reason = "packing off: records in one row are not known to stay apart in a 'falcon' model"
    assert reason in decisions.reasons
    assert decide(FinetuneConfig(), rows=5_000, hardware=AMX, model_type="llama").config.packing


@pytest.mark.parametrize(
    ("settings", "asked"), [({"packing": True}, "packing true"), ({"packed_length": 2048}, "packed_length 2048")]
)
def test_packing_is_refused_where_records_would_see_each_other(settings, asked):
    with pytest.raises(ConfigError) as caught:
        decide(FinetuneConfig(**settings), rows=5_000, hardware=AMX, model_type="falcon")
    assert str(caught.value) == (
        f"config.{asked} puts several records into a row, and a 'falcon' model is not known to keep them from seeing "
        "each other; set config.packing to false, and leave config.packed_length out"
    )
    assert decide(FinetuneConfig(**settings), rows=5_000, hardware=AMX, model_type="qwen3").config.packing


@pytest.mark.parametrize(("total_steps", "warned"), [(29, True), (30, False)])
def test_a_run_too_short_to_learn_is_warned_of(total_steps, warned):
    reasons = decide_intervals(FinetuneConfig(), total_steps).reasons
    assert any(reason.startswith("warning: the run has 29 optimizer steps") for reason in reasons) == warned


@pytest.mark.parametrize(
    ("rows", "settings", "steps"),
    [
        (16, {"epochs": 1.0}, 4),
        (17, {"epochs": 1.0}, 5),
        (17, {"epochs": 2.5}, 13),
        (1, {"epochs": 3.0}, 3),
        (1000, {"epochs": 3.0, "max_steps": 7}, 7),
        (8, {"epochs": 1.0, "max_steps": 7}, 2),
    ],
)
def test_a_last_smaller_batch_of_an_epoch_is_a_step_too(rows, settings, steps):
    assert count_steps(rows, FinetuneConfig(batch_size=4, micro_batch_size=2, **settings)) == steps
