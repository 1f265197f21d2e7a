"""What is printed as a command is what the command line reads: shown to its own parser."""

import shlex

import pytest

from alpaca_lora.cli.commands import _parse, finetune
from alpaca_lora.cli.flags import FINETUNE, make_flags, read_config
from alpaca_lora.config import FinetuneConfig, LoraSettings, load_config
from alpaca_lora.config.spelling import as_flags, given_settings
from alpaca_lora.planning import available_presets

GIVEN = [
    {},
    {"epochs": 2.5, "learning_rate": 1e-5, "max_steps": 7, "warmup_fraction": 0.0, "resume": "never"},
    {"packing": False, "keep_best": True, "gradient_checkpointing": True, "train_on_prompt": True},
    {"packing": None, "batch_size": None, "validation_size": 0, "seed": 0},
    {"validation_size": 0.1, "template": "my templates/it's.json", "overlong": "truncate_output"},
    {"lora": {"rank": 4, "rslora": False, "dora": True, "target_modules": ["q_proj", "v_proj"]}},
    {"quantization": {"method": "nf4", "double_quantization": False}, "kernels": {"lora": False, "compiled": False}},
    {"column_map": {"instruction": "the question", "output": "a=b"}, "report_to": ["wandb", "tensorboard"]},
    {"column_map": {}, "trainer_options": {}, "report_to": []},
    {
        "trainer_options": {
            "adam_beta2": 0.95,
            "run_name": "7",
            "torch_compile": True,
            "lr_scheduler_kwargs": {"a": [1]},
        }
    },
]


def read(words: list[str]) -> FinetuneConfig:
    return read_config(_parse(finetune, words, *make_flags(FINETUNE)))


@pytest.mark.parametrize("values", GIVEN, ids=lambda values: " ".join(values) or "nothing")
def test_the_flags_of_a_config_give_it_back(values):
    config = load_config(None, values)
    assert read(shlex.split(as_flags(given_settings(config)))) == config


@pytest.mark.parametrize("name", available_presets())
def test_the_flags_of_a_preset_give_it_back(name):
    config = load_config(name)
    assert read(shlex.split(as_flags(given_settings(config)))) == config


def test_every_setting_can_be_typed():
    config = FinetuneConfig.model_validate(FinetuneConfig().model_dump(mode="json"))
    assert len(given_settings(config)) > 35
    assert read(shlex.split(as_flags(given_settings(config)))) == config


def test_only_what_was_given_is_spelled():
    assert given_settings(FinetuneConfig(lora=LoraSettings(rank=8))) == {"lora.rank": 8}
    assert as_flags(given_settings(FinetuneConfig())) == ""


def test_changes_are_written_as_they_are_typed():
    changes = {"quantization.method": "nf4", "gradient_checkpointing": True, "kernels.lora": False, "batch_size": None}
    assert as_flags(changes) == "--quantization nf4 --gradient-checkpointing --kernels.no-lora --batch-size auto"
