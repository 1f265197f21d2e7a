"""The presets hold the numbers that were published, and say where they do not."""

import re

import pytest

from alpaca_lora.config import FinetuneConfig, config_from_dict, load_config
from alpaca_lora.errors import ConfigError
from alpaca_lora.planning import available_presets, plan, preset

PUBLISHED = {
    "alpaca-lora-7b": {
        "lora": {"rank": 8, "alpha": 16, "dropout": 0.05, "target_modules": ["q_proj", "v_proj"]},
        "template": "alpaca",
        "max_length": 256,
        "train_on_prompt": True,
        "validation_size": 2000,
        "epochs": 3,
        "batch_size": 128,
        "micro_batch_size": 4,
        "learning_rate": 3e-4,
        "lr_schedule": "linear",
        "warmup_steps": 100,
        "weight_decay": 0,
        "max_grad_norm": 1,
        "optimizer": "adamw",
        "eval_steps": 200,
        "save_steps": 200,
        "save_limit": 3,
        "keep_best": True,
        "logging_steps": 10,
        "seed": 42,
    },
    "stanford-7b": {
        "template": "alpaca_legacy",
        "max_length": 512,
        "train_on_prompt": False,
        "validation_size": 0,
        "epochs": 3,
        "batch_size": 128,
        "micro_batch_size": 4,
        "learning_rate": 2e-5,
        "lr_schedule": "cosine",
        "warmup_fraction": 0.03,
        "weight_decay": 0,
        "precision": "bf16",
        "save_limit": 1,
        "logging_steps": 1,
    },
    "alpaca-qlora-24gb": {
        "lora": {"dropout": 0, "target_modules": "all-linear"},
        "quantization": {"method": "nf4", "double_quantization": True},
        "batch_size": 16,
        "learning_rate": 2e-4,
        "warmup_fraction": 0.03,
        "max_grad_norm": 0.3,
        "weight_decay": 0,
        "train_on_prompt": False,
    },
}

DEVIATIONS = {
    "alpaca-lora-7b": ["8 bits", "end-of-text token", "256 tokens is dropped", "shuffled", "safetensors", "compile"],
    "stanford-7b": ["rank 64", "2e-5 is kept", "save_steps of 2000", "padding token", "end-of-text", "512 tokens are"],
    "alpaca-qlora-24gb": [
        "Rank 16",
        "cosine",
        "share a row",
        "share 1024",
        "16 rows",
        "Epochs",
        "unpaged",
        "recomputed",
    ],
    "alpaca-lora-24gb-bf16": [],
    "alpaca-qlora-8gb": [],
    "alpaca-qlora-12gb": [],
    "alpaca-qlora-16gb": [],
    "auto": [],
    "laptop-cpu": [],
}


def flat(values, above=""):
    rows = {}
    for name, value in values.items():
        rows |= (
            flat(value, f"{above}{name}.")
            if isinstance(value, dict) and name != "column_map"
            else {above + name: value}
        )
    return rows


def test_the_presets_are_these():
    assert available_presets() == tuple(sorted(DEVIATIONS))


@pytest.mark.parametrize("name", [name for name in available_presets() if name.endswith(("gb", "gb-bf16"))])
def test_a_preset_for_a_size_of_card_fits_a_7b_into_it(name):
    gib = float(re.search(r"(\d+)gb", name)[1])
    made = plan("llama-2-7b", name, memory_gb=gib)
    assert made.fits
    assert made.total_bytes < 0.95 * made.memory_bytes


@pytest.mark.parametrize("name", available_presets())
def test_a_preset_loads_by_name_wherever_a_config_is_taken(name):
    loaded = preset(name)
    assert loaded.name == name
    assert load_config(name) == loaded.config
    assert config_from_dict(loaded.config.model_dump(mode="json")) == loaded.config


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_preset_has_the_published_numbers(name):
    values = flat(preset(name).config.model_dump(mode="json"))
    published = flat(PUBLISHED[name])
    assert {setting: values[setting] for setting in published} == published


@pytest.mark.parametrize("name", available_presets())
def test_a_preset_names_its_deviations_in_sentences(name):
    deviations = preset(name).deviations
    assert len(deviations) == len(DEVIATIONS[name])
    assert [word for word, sentence in zip(DEVIATIONS[name], deviations, strict=True) if word not in sentence] == []
    assert [sentence for sentence in deviations if not re.fullmatch(r"[A-Z].+\.", sentence)] == []


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_recipe_is_linked_at_a_commit(name):
    assert re.fullmatch(r"https://github\.com/[\w-]+/[\w-]+/blob/[0-9a-f]{40}/\S+", preset(name).source)


def test_auto_is_the_default_config():
    assert preset("auto").config == FinetuneConfig()


def test_an_unknown_preset_is_answered_with_the_closest():
    with pytest.raises(ConfigError) as caught:
        preset("stanford")
    assert str(caught.value) == (
        "unknown preset 'stanford'; did you mean 'stanford-7b'? presets: alpaca-lora-24gb-bf16, alpaca-lora-7b, "
        "alpaca-qlora-12gb, alpaca-qlora-16gb, alpaca-qlora-24gb, alpaca-qlora-8gb, auto, laptop-cpu, stanford-7b"
    )
