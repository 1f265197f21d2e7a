from typing import Any

import pytest
import tyro

from alpaca_lora.cli import main
from alpaca_lora.cli.flags import FINETUNE, make_flags, read_config
from alpaca_lora.cli.legacy import translate
from alpaca_lora.config import FinetuneConfig

OLD = [
    *("--base_model", "org/llama", "--data_path", "alpaca.json", "--output_dir", "runs/old"),
    *("--batch_size=64", "--micro_batch_size", "8", "--num_epochs", "3", "--learning_rate", "3e-4"),
    *("--cutoff_len", "512", "--val_set_size", "200", "--lora_r", "8", "--lora_alpha", "16", "--lora_dropout", "0.05"),
    *("--lora_target_modules", "[q_proj,v_proj]", "--train_on_inputs", "--prompt_template_name", "alpaca_short"),
    *("--resume_from_checkpoint", "runs/old/checkpoint-8", "--group_by_length", "--add_eos_token", "False"),
    *("--wandb_project", "mine", "--wandb_run_name=x", "--wandb_watch", "all", "--wandb_log_model", "true"),
]
NEW = [
    *("--base-model", "org/llama", "--data", "alpaca.json", "--output-dir", "runs/old"),
    *("--batch-size", "64", "--micro-batch-size", "8", "--epochs", "3", "--learning-rate", "3e-4"),
    *(
        "--max-length",
        "512",
        "--validation-size",
        "200",
        "--lora.rank",
        "8",
        "--lora.alpha",
        "16",
        "--lora.dropout",
        "0.05",
    ),
    *("--lora.target-modules", "q_proj", "v_proj", "--train-on-prompt", "--template", "alpaca_short"),
    *("--resume", "runs/old/checkpoint-8", "--group-by-length"),
]


def parse(arguments: list[str]) -> tuple[dict[str, Any], FinetuneConfig]:
    kind, defaults = make_flags(FINETUNE)
    flags = tyro.cli(kind, args=arguments, default=defaults)
    return flags, read_config(flags)


def test_an_old_command_line_gives_the_same_run_as_its_translation():
    assert parse(translate(OLD)[0]) == parse(NEW)


def test_every_old_flag_is_announced_once():
    announced = translate(OLD)[1]

    flags = [argument.partition("=")[0] for argument in OLD if argument.startswith("--")]
    assert [sentence.split()[0] for sentence in announced[:-1]] == flags
    assert "--lora_r is now --lora.rank" in announced
    assert "--add_eos_token is ignored: every answer is trained with its end-of-text token" in announced
    assert announced[-1] == "what is not set has today's default; --config alpaca-lora-7b has those of 2023"


def test_a_flag_of_today_is_not_announced():
    assert translate(NEW) == (NEW, [])


def test_whoever_gives_a_config_is_not_told_of_defaults():
    assert translate(["--lora_r", "8", "--config=alpaca-lora-7b"])[1] == ["--lora_r is now --lora.rank"]


@pytest.mark.parametrize(
    ("arguments", "switch"),
    [
        (["--train_on_inputs"], "--train-on-prompt"),
        (["--train_on_inputs", "True"], "--train-on-prompt"),
        (["--train_on_inputs=False"], "--no-train-on-prompt"),
        (["--train_on_inputs", "0"], "--no-train-on-prompt"),
        (["--train-on-inputs"], "--train-on-prompt"),
        (["--notrain_on_inputs"], "--no-train-on-prompt"),
    ],
)
def test_a_switch_is_understood_as_python_fire_understood_it(arguments: list[str], switch: str):
    assert translate([*arguments, "--seed", "1"])[0] == [switch, "--seed", "1"]


@pytest.mark.parametrize("value", ["[q_proj,v_proj]", "['q_proj', 'v_proj']", '["q_proj","v_proj"]', "q_proj,v_proj"])
def test_a_list_is_understood_in_every_form(value: str):
    assert translate(["--lora_target_modules", value])[0] == ["--lora.target-modules", "q_proj", "v_proj"]


def test_an_ignored_flag_takes_only_its_own_value_along():
    assert translate(["--add_eos_token", "--seed", "1"])[0] == ["--seed", "1"]
    assert translate(["--wandb_project", "mine", "--seed", "1"])[0] == ["--seed", "1"]


def test_the_announcements_go_to_stderr(capsys: pytest.CaptureFixture[str]):
    assert main(["finetune", "--num_epochs", "banana", "--config", "auto"]) == 2

    assert capsys.readouterr().err.splitlines() == [
        "note: --num_epochs is now --epochs",
        "error: config.epochs must be a number above 0 and at most 10000, got 'banana' (text)",
    ]
