"""What a setting may be, and what is said when it is not. Rows 60 to 79 are those of the catalogue of bad input."""

import ast
import importlib.util
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from alpaca_lora.config import (
    FinetuneConfig,
    KernelSettings,
    LoraSettings,
    QuantizationSettings,
    config_from_dict,
    config_reference,
    load_config,
    sources,
)
from alpaca_lora.config.names import CLASSIC_NAMES, SFT_OPTIONS, owner_of
from alpaca_lora.errors import ConfigError

NAMES = [name for name, *_ in config_reference()]


def refusal(values):
    with pytest.raises(ConfigError) as caught:
        config_from_dict(values)
    return str(caught.value)


def refusal_of_file(tmp_path, text):
    path = tmp_path / "run.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    return str(caught.value).replace(str(path), "run.yaml")


RATE = "LoRA learns at 1e-4 to 1e-3 and diverges above 0.01, so no flag forces more; leave it out to have it decided"
RATE_RANGE = "config.learning_rate must be a number above 0 and at most 0.01"
MODULES = "config.lora.target_modules"

CATALOGUE = [
    ("row 62", {"lora_rnak": 8}, "config.lora_rnak is not a setting; did you mean config.lora.rank?"),
    ("row 62", {"lora": {"rnak": 8}}, "config.lora.rnak is not a setting; did you mean config.lora.rank?"),
    ("row 62", {"rank": 8}, "config.rank is not a setting; did you mean config.lora.rank?"),
    ("row 62", {"lora": {"r": 8}}, "config.lora.r is not a setting; use config.lora.rank"),
    ("row 62", {"lora.rank": 8}, "config.lora.rank is not a setting by this name; write 'rank' inside 'lora'"),
    ("row 62", {"fp16": True}, "config.fp16 is not a setting; use config.precision"),
    ("row 62", {5: 1}, "config.5 is not a setting; remove it (config_reference() lists every setting)"),
    ("row 63", {"packing": "on"}, "config.packing must be true or false, got 'on' (text)"),
    ("row 63", {"packing": 1}, "config.packing must be true or false, got 1"),
    ("row 63", {"save_limit": True}, "config.save_limit must be an integer of at least 1, got True (boolean)"),
    ("row 63", {"epochs": True}, "config.epochs must be a number above 0 and at most 10000, got True (boolean)"),
    ("row 63", {"max_steps": "12:30:45"}, "config.max_steps must be an integer of at least 1, got '12:30:45' (text)"),
    ("row 65", {"learning_rate": math.nan}, f"{RATE_RANGE}, got nan; {RATE}"),
    ("row 65", {"learning_rate": -3e-4}, f"{RATE_RANGE}, got -0.0003; {RATE}"),
    ("row 65", {"learning_rate": 0}, f"{RATE_RANGE}, got 0; {RATE}"),
    ("row 65", {"learning_rate": 1e30}, f"{RATE_RANGE}, got 1e+30; {RATE}"),
    ("row 65", {"learning_rate": 0.02}, f"{RATE_RANGE}, got 0.02; {RATE}"),
    ("row 65", {"learning_rate": "auto"}, f"{RATE_RANGE}, got 'auto' (text); {RATE}"),
    ("row 66", {"lora": {"rank": -1}}, "config.lora.rank must be an integer from 1 to 1024, got -1"),
    ("row 66", {"lora": {"rank": 0}}, "config.lora.rank must be an integer from 1 to 1024, got 0"),
    ("row 66", {"lora": {"rank": 2.5}}, "config.lora.rank must be an integer from 1 to 1024, got 2.5"),
    ("row 66", {"lora": {"rank": "8"}}, "config.lora.rank must be an integer from 1 to 1024, got '8' (text)"),
    ("row 66", {"lora": {"rank": 10**6}}, "config.lora.rank must be an integer from 1 to 1024, got 1000000"),
    ("row 67", {"lora": {"alpha": math.nan}}, "config.lora.alpha must be a number above 0, got nan"),
    ("row 67", {"lora": {"alpha": math.inf}}, "config.lora.alpha must be a number above 0, got inf"),
    ("row 67", {"lora": {"alpha": 0}}, "config.lora.alpha must be a number above 0, got 0"),
    ("row 67", {"lora": {"alpha": -16}}, "config.lora.alpha must be a number above 0, got -16"),
    (
        "row 67",
        {"lora": {"alpha": 1e9}},
        "config.lora.alpha 1e+09 with config.lora.rank 16 scales the update by 6.25e+07; the most is 64, "
        "usual is 1 or 2",
    ),
    ("row 68", {"lora": {"dropout": 1.5}}, "config.lora.dropout must be a number of at least 0 and below 1, got 1.5"),
    ("row 68", {"lora": {"dropout": -0.1}}, "config.lora.dropout must be a number of at least 0 and below 1, got -0.1"),
    (
        "row 68",
        {"lora": {"dropout": math.nan}},
        "config.lora.dropout must be a number of at least 0 and below 1, got nan",
    ),
    (
        "row 70",
        {"lora": {"target_modules": ["q_proj", "lm_head"]}},
        f"{MODULES} cannot be ['q_proj', 'lm_head']: 'lm_head' maps the vocabulary, often as one matrix with its twin, "
        "which a merge would change too",
    ),
    (
        "row 70",
        {"lora": {"target_modules": ["model.embed_tokens", "input_layernorm", "ln_f"]}},
        f"{MODULES} cannot be ['model.embed_tokens', 'input_layernorm', 'ln_f']: 'model.embed_tokens' maps the "
        "vocabulary, often as one matrix with its twin, which a merge would change too; 'input_layernorm' is a norm, "
        "which has no matrix to adapt; 'ln_f' is a norm, which has no matrix to adapt",
    ),
    (
        "row 71",
        {"lora": {"target_modules": ["([a-z]+)+!"]}},
        f"{MODULES} cannot be ['([a-z]+)+!']: '([a-z]+)+!' is no plain name "
        "(letters, digits, '_' and '.'; patterns are not read)",
    ),
    (
        "row 71",
        {"lora": {"target_modules": "([a-z]+)+!"}},
        f"{MODULES} must be 'all-linear' or a list of names such as [q_proj, v_proj], got '([a-z]+)+!' (text)",
    ),
    (
        "row 71",
        {"lora": {"target_modules": []}},
        f"{MODULES} must be 'all-linear' or a list of names such as [q_proj, v_proj], got [] (list)",
    ),
    (
        "row 71",
        {"lora": {"target_modules": ["q_proj", "q_proj"]}},
        f"{MODULES} cannot be ['q_proj', 'q_proj']: one name is listed twice",
    ),
    ("row 72", {"batch_size": 0}, "config.batch_size must be an integer of at least 1, got 0"),
    ("row 72", {"micro_batch_size": 0}, "config.micro_batch_size must be an integer of at least 1, got 0"),
    ("row 72", {"epochs": -1}, "config.epochs must be a number above 0 and at most 10000, got -1"),
    ("row 72", {"epochs": 0}, "config.epochs must be a number above 0 and at most 10000, got 0"),
    ("row 72", {"epochs": 1e308}, "config.epochs must be a number above 0 and at most 10000, got 1e+308"),
    (
        "row 72",
        {"kernels": {"nf4_cache_gib": 1e308}},
        "config.kernels.nf4_cache_gib must be a number from 0 to 10000, got 1e+308",
    ),
    ("row 72", {"max_steps": 0}, "config.max_steps must be an integer of at least 1, got 0"),
    (
        "row 72",
        {"batch_size": 10, "micro_batch_size": 4},
        "config.batch_size 10 is no multiple of config.micro_batch_size 4; a batch of 8 or 12 is",
    ),
    (
        "row 72",
        {"batch_size": 2, "micro_batch_size": 4},
        "config.batch_size 2 is no multiple of config.micro_batch_size 4; a batch of 4 is",
    ),
    (
        "row 72",
        {"gradient_accumulation_steps": 0},
        "config.gradient_accumulation_steps is not a setting; use config.batch_size and config.micro_batch_size",
    ),
    ("row 73", {"max_length": 0}, "config.max_length must be an integer of at least 8, got 0"),
    (
        "row 73",
        {"packed_length": 256},
        "config.packed_length 256 is less than config.max_length 512, and a record is never divided; raise the one or "
        "lower the other",
    ),
    (
        "row 73",
        {"packed_length": 2048, "packing": False},
        "config.packed_length is the length of packed rows, and config.packing is off; leave one of them out",
    ),
    (
        "row 74",
        {"warmup_steps": 100, "max_steps": 43},
        "config.warmup_steps 100 leaves none of config.max_steps 43 at the full learning rate; warm up for fewer",
    ),
    ("row 78", {"precision": "int8"}, "config.precision must be one of 'bf16', 'fp16', 'fp32', got 'int8'"),
    ("row 78", {"quantization": "int8"}, "config.quantization.method must be one of 'none', 'nf4', got 'int8'"),
    (
        "row 78",
        {"lora": {"init": "loftq"}},
        "config.lora.init 'loftq' makes up for the error of 4-bit weights; set config.quantization to 'nf4'",
    ),
    (
        "row 78",
        {"lora": {"init": "pissa"}, "quantization": "nf4"},
        "config.lora.init 'pissa' decomposes base weights that nf4 has rounded; use 'loftq', or no nf4",
    ),
    ("row 79", {"seed": 2**32}, "config.seed must be an integer from 0 to 4294967295, got 4294967296"),
    ("row 79", {"seed": -1}, "config.seed must be an integer from 0 to 4294967295, got -1"),
    ("row 79", {"seed": None}, "config.seed must be an integer from 0 to 4294967295, got null"),
    ("a section", {"lora": 5}, "config.lora must be a mapping of settings, got 5"),
    (
        "a column map",
        {"column_map": {"question": "instruction"}},
        "config.column_map has the fields instruction, input, output as keys, got 'question'; "
        'write it as {"instruction": "question"}',
    ),
    (
        "held out",
        {"validation_size": 2.5},
        "config.validation_size must be a count from 1 up, a share below 1, or 0, got 2.5",
    ),
    (
        "held out",
        {"validation_size": -1},
        "config.validation_size must be a count from 1 up, a share below 1, or 0, got -1",
    ),
    ("held out", {"validation_size": math.inf}, "config.validation_size must be a number, got inf"),
    (
        "held out",
        {"keep_best": True, "validation_size": 0},
        "config.keep_best compares steps on held-out records, and config.validation_size is 0; hold some out",
    ),
    (
        "held out",
        {"early_stopping_patience": 3},
        "config.early_stopping_patience stops after the best step and would ship the last; set keep_best",
    ),
    (
        "held out",
        {"keep_best": True, "eval_steps": 10, "save_steps": 20},
        "config.keep_best ships an evaluated step, so each must be saved: config.eval_steps 10 and "
        "config.save_steps 20 must be equal",
    ),
    (
        "trackers",
        {"report_to": ["neptune"]},
        "config.report_to must be a list of 'wandb', 'tensorboard', 'trackio', got 'neptune'",
    ),
    (
        "trainer options",
        {"trainer_options": {"learning_rate": 1.0, "adam_beta2": 0.95, "save_total_limit": 1}},
        "config.trainer_options must not hold 'learning_rate' (use config.learning_rate), "
        "'save_total_limit' (use config.save_steps and config.save_limit)",
    ),
    (
        "trainer options",
        {"trainer_options": {"adam_beta2": math.nan}},
        "config.trainer_options must hold JSON values, got {'adam_beta2': nan} "
        "(Out of range float values are not JSON compliant)",
    ),
]


@pytest.mark.parametrize(("values", "fault"), [pytest.param(values, fault, id=row) for row, values, fault in CATALOGUE])
def test_a_setting_that_cannot_work_is_refused_with_value_range_and_remedy(values, fault):
    assert refusal(values) == fault


@pytest.mark.catalogue(60)
def test_row_60_a_learning_rate_without_a_dot_is_a_number(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("learning_rate: 2e-4\n", encoding="utf-8")
    assert load_config(path).learning_rate == 2e-4


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        pytest.param(
            "seed: 1\nseed: 2\n",
            "run.yaml:2: seed is set again: line 1 sets it already; keep one",
            id="row 61",
        ),
        pytest.param(
            "epochs: 1\nlora:\n  rnak: 8\n",
            "run.yaml:3: config.lora.rnak is not a setting; did you mean config.lora.rank?",
            id="row 62",
        ),
        pytest.param("packing: no\n", "run.yaml:1: config.packing must be true or false, got 'no' (text)", id="row 63"),
        pytest.param(
            "lora: !!python/object:alpaca_lora.config.LoraSettings {}\n",
            "run.yaml:1: a value of type 'python/object:alpaca_lora.config.LoraSettings' is refused: "
            "quote it if it is text",
            id="row 64",
        ),
        pytest.param("learning_rate: .inf\n", f"run.yaml:1: {RATE_RANGE}, got inf; {RATE}", id="row 65"),
        pytest.param(
            "keep_best: true\nvalidation_size: 0\n",
            "run.yaml:1: config.keep_best compares steps on held-out records, and config.validation_size is 0; "
            "hold some out",
            id="two settings",
        ),
        pytest.param(
            "epochs: 1\npreset: alpaca-lora-7\n",
            "run.yaml:2: unknown preset 'alpaca-lora-7'; did you mean 'alpaca-lora-7b'? presets: "
            "alpaca-lora-24gb-bf16, alpaca-lora-7b, alpaca-qlora-12gb, alpaca-qlora-16gb, alpaca-qlora-24gb, "
            "alpaca-qlora-8gb, auto, laptop-cpu, stanford-7b",
            id="a preset",
        ),
    ],
)
def test_a_fault_in_a_file_is_named_with_its_line(tmp_path, text, fault):
    assert refusal_of_file(tmp_path, text) == fault


def test_all_faults_are_named_at_once_also_those_between_settings():
    values = {
        "lora": {"rank": "8"},
        "epochs": -1,
        "nonsense": 1,
        "keep_best": True,
        "validation_size": 0,
        "batch_size": 10,
        "micro_batch_size": 4,
    }
    assert refusal(values).splitlines() == [
        "config.lora.rank must be an integer from 1 to 1024, got '8' (text)",
        "config.epochs must be a number above 0 and at most 10000, got -1",
        "config.nonsense is not a setting; remove it (config_reference() lists every setting)",
        "config.batch_size 10 is no multiple of config.micro_batch_size 4; a batch of 8 or 12 is",
        "config.keep_best compares steps on held-out records, and config.validation_size is 0; hold some out",
    ]


def test_a_faulty_setting_is_not_compared_with_others():
    assert refusal({"keep_best": "yes", "early_stopping_patience": 3}) == (
        "config.keep_best must be true or false, got 'yes' (text)"
    )


def test_a_config_must_be_a_mapping():
    with pytest.raises(ConfigError, match=r"a config must be a mapping of settings, got \[1\]"):
        config_from_dict([1])


@pytest.mark.parametrize(
    ("make", "fault"),
    [
        (lambda: FinetuneConfig(epochs=-1), "config.epochs must be a number above 0 and at most 10000, got -1"),
        (lambda: FinetuneConfig(lora={"rank": 0}), "config.lora.rank must be an integer from 1 to 1024, got 0"),
        (lambda: LoraSettings(rank=0), "config.lora.rank must be an integer from 1 to 1024, got 0"),
        (
            lambda: QuantizationSettings(method="int4"),
            "config.quantization.method must be one of 'none', 'nf4', got 'int4'",
        ),
        (lambda: FinetuneConfig(epoch=3), "config.epoch is not a setting; did you mean config.epochs?"),
    ],
)
def test_python_code_gets_the_same_error(make, fault):
    with pytest.raises(ConfigError) as caught:
        make()
    assert str(caught.value) == fault


@pytest.mark.parametrize(
    "values",
    [
        {"lora": {"rank": 1024, "alpha": 64 * 1024}},
        {"lora": {"rank": 1, "dropout": 0}},
        {"learning_rate": 0.01},
        {"seed": 2**32 - 1},
        {"max_length": 8},
        {"validation_size": 0.5},
        {"batch_size": 8, "micro_batch_size": 4},
        {"lora": {"target_modules": ["model.layers.0.self_attn.q_proj", "v_proj"]}},
        {"keep_best": True, "eval_steps": 10, "save_steps": 10, "early_stopping_patience": 2},
        {"lora": {"init": "loftq"}, "quantization": "nf4"},
        {"trainer_options": {"adam_beta2": 0.95, "torch_empty_cache_steps": 2}},
        {"epochs": 10_000, "kernels": {"nf4_cache_gib": 10_000}},
    ],
)
def test_a_value_at_the_edge_of_its_range_is_taken(values):
    assert config_from_dict(values).model_dump(exclude_unset=True) != {}


def test_a_setting_cannot_be_changed_afterwards():
    with pytest.raises(ValidationError, match="frozen"):
        FinetuneConfig().seed = 7


@pytest.mark.parametrize("method", ["none", "nf4"])
def test_quantization_may_be_written_as_the_name_of_its_method(method):
    assert config_from_dict({"quantization": method}).quantization == QuantizationSettings(method=method)


CONFIGS = st.builds(
    FinetuneConfig,
    lora=st.builds(
        LoraSettings,
        rank=st.integers(1, 1024),
        alpha=st.floats(0.1, 64),
        target_modules=st.just("all-linear")
        | st.lists(st.sampled_from(["q_proj", "k_proj", "v_proj"]), min_size=1, unique=True),
        init=st.sampled_from(["default", "loftq"]),
    ),
    quantization=st.builds(QuantizationSettings, method=st.just("nf4"), double_quantization=st.booleans()),
    column_map=st.dictionaries(st.sampled_from(["instruction", "input", "output"]), st.text()),
    validation_size=st.none() | st.integers(0, 5000) | st.floats(0.001, 0.999),
    epochs=st.none() | st.floats(0.01, 100),
    batch_size=st.none() | st.integers(1, 256),
    learning_rate=st.none() | st.floats(1e-8, 0.01),
    packing=st.none() | st.booleans(),
    report_to=st.lists(st.sampled_from(["wandb", "tensorboard"]), unique=True),
    trainer_options=st.dictionaries(st.sampled_from(["adam_beta1", "ddp_timeout"]), st.floats(0, 1)),
    seed=st.integers(0, 2**32 - 1),
)


@given(CONFIGS)
def test_a_config_comes_back_from_the_json_that_describes_it(config):
    assert config_from_dict(config.model_dump(mode="json")) == config


@given(
    st.dictionaries(
        st.sampled_from(NAMES) | st.text(), st.none() | st.booleans() | st.floats() | st.text() | st.binary()
    )
)
def test_whatever_the_values_a_config_is_made_or_refused_in_our_words(values):
    try:
        config = config_from_dict(values)
    except ConfigError as error:
        faults = str(error).splitlines()
    else:
        faults = []
        assert config_from_dict(config.model_dump(mode="json")) == config
    assert [fault for fault in faults if "pydantic" in fault or "Input should" in fault] == []


def test_nothing_to_load_gives_the_defaults():
    assert load_config(None) == load_config() == FinetuneConfig()


def test_a_config_is_loaded_as_it_is():
    config = FinetuneConfig(seed=7, validation_size=0.5)
    assert load_config(config) is config
    assert load_config(config, {"epochs": 2}).model_fields_set == config.model_fields_set | {"epochs"}


def test_a_file_starts_from_the_preset_that_it_names(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("preset: alpaca-qlora-24gb\nlora: {rank: 64}\nquantization: none\nseed: 7\n", encoding="utf-8")
    preset, config = load_config("alpaca-qlora-24gb"), load_config(str(path))
    assert config.lora == LoraSettings(**{**dict(preset.lora), "rank": 64})
    assert config.quantization == QuantizationSettings(method="none")
    assert (config.seed, config.learning_rate) == (7, preset.learning_rate)


def test_overrides_win_over_the_source(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("epochs: 3\nlora: {rank: 4, alpha: 8}\n", encoding="utf-8")
    config = load_config(path, {"lora.rank": 8, "epochs": 1, "quantization": "nf4"})
    assert (config.lora.rank, config.lora.alpha, config.epochs) == (8, 8, 1)
    assert config.quantization.method == "nf4"


def test_overrides_of_a_section_leave_its_other_settings():
    kernels = load_config(
        load_config(None, {"kernels.lora": False}), {"kernels.loss": False, "kernels.rope": False}
    ).kernels
    assert kernels == KernelSettings(lora=False, loss=False, rope=False)
    assert {name.partition(".")[0] for name in NAMES if "." in name} == {*sources._SECTIONS}


@pytest.mark.parametrize("turned", [False, True])
def test_single_settings_win_over_a_section_that_is_given_as_an_object(turned):
    given = {"lora": LoraSettings(rank=8), "lora.alpha": 16}
    config = load_config("alpaca-qlora-24gb", dict(reversed(given.items())) if turned else given)
    assert config.lora == LoraSettings(rank=8, alpha=16)
    assert config.lora.model_fields_set == {"rank", "alpha"}
    whole = load_config("alpaca-qlora-24gb", {"quantization": QuantizationSettings()})
    assert whole.quantization.method == "none"


def test_an_override_can_mend_what_the_file_got_wrong(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("early_stopping_patience: 3\n", encoding="utf-8")
    assert load_config(path, {"keep_best": True}).early_stopping_patience == 3


def test_a_faulty_override_is_not_blamed_on_the_file(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("epochs: 3\nseed: -1\n", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_config(path, {"epochs": -1})
    assert str(caught.value).splitlines() == [
        "config.epochs must be a number above 0 and at most 10000, got -1",
        f"{path}:2: config.seed must be an integer from 0 to 4294967295, got -1",
    ]


@pytest.mark.parametrize("start", ["", "preset: alpaca-lora-7b\n"])
@pytest.mark.parametrize("overrides", [{}, {"epochs": 1}, {"lora.rank": 8}], ids=str)
def test_text_in_the_place_of_a_section_is_refused_as_what_stands_there(tmp_path, start, overrides):
    path = tmp_path / "run.yaml"
    path.write_text(f"{start}lora: all-linear\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"config\.lora must be a mapping of settings, got 'all-linear' \(text\)"):
        load_config(path, overrides)


def test_an_unknown_override_is_refused():
    with pytest.raises(ConfigError, match=r"^config\.lora\.rnak is not a setting; did you mean config\.lora\.rank\?$"):
        load_config(None, {"lora.rnak": 8})


def test_a_source_that_is_neither_preset_nor_file_is_refused_with_the_closest_preset(tmp_path):
    with pytest.raises(ConfigError) as caught:
        load_config("alpca-qlora-24gb")
    assert str(caught.value) == (
        "'alpca-qlora-24gb' is neither a preset nor a file; did you mean 'alpaca-qlora-24gb'? presets: "
        "alpaca-lora-24gb-bf16, alpaca-lora-7b, alpaca-qlora-12gb, alpaca-qlora-16gb, alpaca-qlora-24gb, "
        "alpaca-qlora-8gb, auto, laptop-cpu, stanford-7b; the path of a YAML file also works"
    )
    with pytest.raises(ConfigError, match=r"got \{'epochs': 1\}: settings go into FinetuneConfig"):
        load_config({"epochs": 1})
    with pytest.raises(ConfigError, match="is neither a preset nor a file"):
        load_config(tmp_path)


@pytest.mark.parametrize(("classic", "new"), CLASSIC_NAMES.items())
def test_a_name_of_an_earlier_program_is_answered_with_the_new_one(classic, new):
    assert refusal({classic: 1}) == f"config.{classic} is not a setting; use {new}"


@pytest.mark.parametrize("phrase", sorted({*CLASSIC_NAMES.values(), *SFT_OPTIONS.values()}))
def test_every_name_that_an_answer_mentions_exists(phrase):
    mentioned = [word.rstrip(":,") for word in phrase.split() if word.startswith("config.")]
    sections = {"lora", "quantization"}
    assert {name.removeprefix("config.") for name in mentioned} <= {*NAMES, *sections}


def fields_of_sft_config():
    """The options of SFTConfig and its bases, read from their source: importing trl takes ten seconds."""
    places = {
        "trl": ["trainer/sft_config.py", "trainer/base_config.py"],
        "transformers": ["training_args.py"],
    }
    fields = set()
    for package, files in places.items():
        folder = Path(importlib.util.find_spec(package).origin).parent
        for file in files:
            tree = ast.parse((folder / file).read_text(encoding="utf-8"))
            classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
            fields |= {item.target.id for node in classes for item in node.body if isinstance(item, ast.AnnAssign)}
    return fields


def test_every_owned_option_is_one_of_sft_config():
    fields = fields_of_sft_config()
    assert {"learning_rate", "packing", "adam_beta2"} <= fields
    assert set(SFT_OPTIONS) - fields == set()


@pytest.mark.parametrize("option", ["adam_beta1", "adam_epsilon", "lr_scheduler_kwargs", "torch_empty_cache_steps"])
def test_an_option_without_a_setting_of_ours_stays_free(option):
    assert owner_of(option) is None
    assert option in fields_of_sft_config()


@pytest.mark.parametrize(
    "option",
    [
        *("average_tokens_across_devices", "router_aux_loss_coef", "use_liger_kernel", "liger_kernel_config"),
        *("dataloader_num_workers", "dataloader_drop_last", "dataloader_pin_memory", "pad_to_multiple_of"),
    ],
)
def test_an_option_that_our_loss_and_rows_would_not_heed_is_refused(option):
    assert option in fields_of_sft_config()
    with pytest.raises(ConfigError, match=f"must not hold '{option}'"):
        FinetuneConfig(trainer_options={option: 1})


def test_the_reference_lists_every_setting_with_what_it_allows():
    rows = {name: row for name, *row in config_reference()}
    sections = (LoraSettings, QuantizationSettings, KernelSettings)
    fields = [len(settings.model_fields) for settings in (FinetuneConfig, *sections)]
    assert len(rows) == sum(fields) - len(sections)
    assert rows["lora.rank"] == ["an integer from 1 to 1024", "16", "Width of the two matrices, 1 to 1024."]
    assert rows["validation_size"][:2] == ["a number", "null"]
    assert rows["report_to"][0] == "a list of 'wandb', 'tensorboard', 'trackio'"


@pytest.mark.parametrize("name", NAMES)
def test_every_setting_is_described_in_a_sentence(name):
    description = next(row[3] for row in config_reference() if row[0] == name)
    assert description[0] in f"`{description[0].upper()}"
    assert description.endswith(".")
