import shlex

import pytest

from alpaca_lora.cli.commands import _parse, finetune
from alpaca_lora.cli.flags import FINETUNE, make_flags, read_config
from alpaca_lora.config import FinetuneConfig, LoraSettings
from alpaca_lora.training.preparation import prepare
from alpaca_lora.training.results import summarise


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"lora": LoraSettings(rank=4, rslora=True, target_modules=("q_proj", "v_proj")), "epochs": 2.0},
        {"packing": False, "validation_size": 10, "trainer_options": {"adam_beta2": 0.95}},
    ],
    ids=str,
)
def test_the_same_again_is_a_command_that_asks_for_the_same(settings, tiny_base, tmp_path):
    config = FinetuneConfig(max_length=1024, **settings)
    run = prepare(tiny_base, "alpaca-mini", tmp_path / "a run", config)
    done = {"steps": 1, "last": {}, "parameters": 1, "losses": (None, None), "answers": ((), ())}
    program, command, *words = shlex.split(summarise(run, tmp_path / "a run", **done).command)
    flags = _parse(finetune, words, *make_flags(FINETUNE))
    assert (program, command) == ("alpaca-lora", "finetune")
    assert read_config(flags) == config
    assert words.count("--max-length") == 1
    assert "--seed" not in words
    places = (flags["base_model"], flags["data"], flags["output_dir"])
    assert places == (run.base_model, "alpaca-mini", str(tmp_path / "a run"))
