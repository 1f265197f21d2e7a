import inspect
from pathlib import Path
from typing import Any

import pytest
import tyro

from alpaca_lora.cli import main
from alpaca_lora.cli.flags import FINETUNE, make_flags, read_config
from alpaca_lora.config import FinetuneConfig, config_reference, load_config
from alpaca_lora.errors import ConfigError


def parse(*arguments: str) -> dict[str, Any]:
    kind, defaults = make_flags(FINETUNE)
    return tyro.cli(kind, args=arguments, default=defaults)


def test_no_flags_are_the_defaults():
    flags = parse()

    assert (flags["base_model"], flags["data"], flags["output_dir"]) == (
        "smollm2-135m",
        "alpaca-mini",
        "runs/alpaca-mini",
    )
    assert read_config(flags) == FinetuneConfig()


def test_the_defaults_are_those_of_finetune():
    from alpaca_lora.training import finetune

    flags = parse()
    parameters = inspect.signature(finetune).parameters
    for name in ("base_model", "data", "output_dir", "config"):
        assert parameters[name].default == flags[name]


@pytest.mark.parametrize(
    ("arguments", "changed"),
    [
        ("--epochs 2.5", {"epochs": 2.5}),
        ("--max-steps 7 --save-steps 3", {"max_steps": 7, "save_steps": 3}),
        ("--validation-size 100", {"validation_size": 100}),
        ("--validation-size 0.1", {"validation_size": 0.1}),
        ("--quantization nf4", {"quantization": {"method": "nf4"}}),
        (
            "--quantization nf4 --quantization.no-double-quantization",
            {"quantization": {"method": "nf4", "double_quantization": False}},
        ),
        (
            "--max-length 256 --batch-size 8 --micro-batch-size 4",
            {"max_length": 256, "batch_size": 8, "micro_batch_size": 4},
        ),
        ("--learning-rate 1e-4", {"learning_rate": 1e-4}),
        ("--lora.rank 8 --lora.alpha 16", {"lora": {"rank": 8, "alpha": 16}}),
        ("--lora.rslora", {"lora": {"rslora": True}}),
        ("--lora.target-modules q_proj v_proj", {"lora": {"target_modules": ("q_proj", "v_proj")}}),
        ("--lora.target-modules q_proj,v_proj", {"lora": {"target_modules": ("q_proj", "v_proj")}}),
        ("--lora.target-modules all-linear", {}),
        ("--packing", {"packing": True}),
        ("--no-packing", {"packing": False}),
        ("--resume never", {"resume": "never"}),
        ("--resume runs/a/checkpoint-8", {"resume": "runs/a/checkpoint-8"}),
        ("--seed 0", {"seed": 0}),
        ("--template alpaca_legacy", {"template": "alpaca_legacy"}),
        (
            "--map instruction=question --map output=answer",
            {"column_map": {"instruction": "question", "output": "answer"}},
        ),
        ("--report-to wandb tensorboard", {"report_to": ("wandb", "tensorboard")}),
        ("--report-to none", {"report_to": ()}),
        (
            "--trainer-options adam_beta2=0.95 --trainer-options torch_compile=true",
            {"trainer_options": {"adam_beta2": 0.95, "torch_compile": True}},
        ),
        ("--epochs auto --max-steps none", {}),
    ],
)
def test_a_spelling_sets_what_it_says(arguments: str, changed: dict[str, Any]):
    assert read_config(parse(*arguments.split())) == FinetuneConfig(**changed)


def test_a_value_may_follow_an_equals_sign():
    spaced = parse("--lora.rank", "8", "--epochs", "2", "--quantization", "nf4", "--map", "output=answer")
    joined = parse("--lora.rank=8", "--epochs=2", "--quantization=nf4", "--map=output=answer")

    assert joined == spaced


def test_every_setting_has_a_flag_with_its_own_description(capsys: pytest.CaptureFixture[str]):
    assert main(["finetune", "--help"]) == 0

    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    for name, _, _, description in config_reference():
        spelled = {"column_map": "map", "quantization.method": "quantization"}.get(name, name)
        assert f"--{spelled.replace('_', '-')}" in shown
        assert description.replace(" None: ", " auto: ") in shown


def test_flags_win_over_a_preset_and_nothing_else_does():
    config = read_config(
        parse("--config", "alpaca-lora-7b", "--lora.rank", "4", "--no-train-on-prompt", "--epochs", "auto")
    )

    preset = load_config("alpaca-lora-7b")
    changes = {"lora": preset.lora.model_copy(update={"rank": 4}), "train_on_prompt": False, "epochs": None}
    assert config == preset.model_copy(update=changes)


def test_flags_win_over_a_file(tmp_path: Path):
    path = tmp_path / "mine.yaml"
    path.write_text("max_length: 128\nlora:\n  rank: 4\n  dropout: 0.1\n")

    config = read_config(parse("--config", str(path), "--lora.rank", "8"))
    assert (config.max_length, config.lora.rank, config.lora.dropout) == (128, 8, 0.1)


def test_all_faults_come_at_once_in_the_names_of_the_config():
    flags = parse(
        *("--epochs", "banana", "--lora.rank", "0", "--quantization", "int3", "--map", "question"),
        *("--batch-size", "6", "--micro-batch-size", "4", "--max-length", "99.5"),
    )
    with pytest.raises(ConfigError) as caught:
        read_config(flags)

    assert str(caught.value).splitlines() == [
        "--map must be FIELD=COLUMN, got 'question'",
        "config.lora.rank must be an integer from 1 to 1024, got 0",
        "config.quantization.method must be one of 'none', 'nf4', got 'int3'",
        "config.max_length must be an integer of at least 8, got 99.5",
        "config.epochs must be a number above 0 and at most 10000, got 'banana' (text)",
        "config.batch_size 6 is no multiple of config.micro_batch_size 4; a batch of 4 or 8 is",
    ]


def test_a_faulty_option_of_the_trainer_is_named():
    with pytest.raises(ConfigError, match=r"^--trainer-options must be OPTION=VALUE, got 'adam_beta2'$"):
        read_config(parse("--trainer-options", "adam_beta2"))
