"""What cannot fit is refused before anything is fetched, and the change in the message is one that fits."""

import ast
import json
import re

import pytest
import torch
from safetensors.torch import save_file

from alpaca_lora import finetune
from alpaca_lora.config import FinetuneConfig, load_config
from alpaca_lora.errors import ConfigError, ModelError
from alpaca_lora.planning import Decisions, Hardware, config_of, estimate, shape_of
from alpaca_lora.training import admission
from alpaca_lora.training.admission import refuse_what_cannot_fit, room_of, settle_for

GIB = 2**30
LAPTOP = Hardware(device="cpu", name="laptop", memory_bytes=16 * GIB, bf16=False, fp16=False, cores=4)


@pytest.fixture
def free(monkeypatch):
    """Set how much memory is free."""
    return lambda gib: monkeypatch.setattr(admission, "free_memory_bytes", lambda hardware: gib * GIB)


@pytest.fixture
def seven_billion(tmp_path):
    """A directory with the config.json of a 7B and no weights."""
    (tmp_path / "base").mkdir()
    (tmp_path / "base/config.json").write_text(json.dumps(config_of("llama-2-7b")), encoding="utf-8")
    return tmp_path / "base"


def test_finetune_refuses_before_it_looks_for_weights_and_its_change_gets_past(seven_billion, tmp_path, free):
    free(12)
    with pytest.raises(
        ConfigError, match=r"needs about \d\d\.\d GiB and 12\.6 GiB are free or this process"
    ) as refused:
        finetune(
            seven_billion, "alpaca-mini", tmp_path / "run", config=FinetuneConfig(precision="fp32"), progress=False
        )
    assert "24.1 GiB are linear layers (in fp32)" in str(refused.value)
    changes = dict(re.findall(r"config\.([\w.]+) ('\w+'|\w+)", str(refused.value).partition("What fits")[2]))
    assert changes["quantization.method"] == "'nf4'"
    values = {name: ast.literal_eval(value) for name, value in changes.items()}
    with pytest.raises(ModelError, match="no weights"):
        finetune(
            seven_billion, "alpaca-mini", tmp_path / "run",
            config=load_config(FinetuneConfig(precision="fp32"), values), progress=False,
        )  # fmt: skip
    assert not (tmp_path / "run").exists()


def test_a_base_that_is_quantised_already_is_refused_as_that_before_it_is_too_large(seven_billion, tmp_path, free):
    free(1)
    config = config_of(seven_billion) | {"quantization_config": {"quant_method": "fp8"}}
    (seven_billion / "config.json").write_text(json.dumps(config), encoding="utf-8")
    save_file({"lm_head.weight": torch.zeros(1)}, seven_billion / "model.safetensors")
    with pytest.raises(ModelError, match=r"has quantization_config \('fp8'\)"):
        finetune(seven_billion, "alpaca-mini", tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


def test_what_this_process_holds_already_is_not_asked_for_again(tiny_base, free):
    asked = FinetuneConfig(precision="fp32", micro_batch_size=8, gradient_checkpointing=False)
    items = {item.name: item.bytes for item in estimate(shape_of(tiny_base), asked, LAPTOP).items}
    beside = sum(items.values()) - items["process"]
    free(beside / GIB)
    refuse_what_cannot_fit(tiny_base, asked, rows=100, hardware=LAPTOP, room_bytes=room_of(LAPTOP))
    free((beside - sum(items.values()) / 8) / GIB)
    with pytest.raises(ConfigError, match="this run needs about"):
        refuse_what_cannot_fit(tiny_base, asked, rows=100, hardware=LAPTOP, room_bytes=room_of(LAPTOP))


def test_what_fits_and_what_no_plan_can_be_made_of_is_let_through(seven_billion, tiny_base, tmp_path):
    refuse_what_cannot_fit(seven_billion, FinetuneConfig(), rows=100, hardware=LAPTOP, room_bytes=64 * GIB)
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}', encoding="utf-8")
    for base in (tiny_base, tmp_path, "smollm2-135m", tmp_path / "nowhere"):
        refuse_what_cannot_fit(base, FinetuneConfig(), rows=100, hardware=LAPTOP, room_bytes=GIB)


def test_where_nothing_fits_the_refusal_says_so(seven_billion):
    with pytest.raises(ConfigError, match="No change of settings makes it fit"):
        refuse_what_cannot_fit(seven_billion, FinetuneConfig(), rows=100, hardware=LAPTOP, room_bytes=2 * GIB)


def test_layers_are_checkpointed_where_the_memory_is_short(seven_billion):
    decided = FinetuneConfig(
        quantization="nf4", precision="fp32", packing=True, packed_length=2048, batch_size=4, micro_batch_size=1,
        gradient_checkpointing=False,
    )  # fmt: skip
    asked = FinetuneConfig(quantization="nf4")
    roomy = settle_for(seven_billion, asked, Decisions(decided, ()), LAPTOP, 64 * GIB)
    tight = settle_for(seven_billion, asked, Decisions(decided, ()), LAPTOP, 12 * GIB)
    assert (roomy.config.gradient_checkpointing, tight.config.gradient_checkpointing) == (False, True)
    assert any(reason.startswith("gradient_checkpointing of ") for reason in tight.reasons)
    assert tight.config.batch_size == decided.batch_size
