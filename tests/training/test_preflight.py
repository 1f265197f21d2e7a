"""The longest batch is tried before the first step; where it does not fit, a smaller forward pass learns the same."""

import json

import pytest
import torch

from alpaca_lora import finetune
from alpaca_lora.config import FinetuneConfig
from alpaca_lora.kernels.fast_path import FastPath
from alpaca_lora.training import course, preflight

pytestmark = pytest.mark.usefixtures("warm_gates")

SETTINGS = {
    "precision": "fp32",
    "packing": False,
    "batch_size": 8,
    "epochs": 1,
    "max_steps": 3,
    "max_length": 1024,
    "validation_size": 0,
    "probe_size": 0,
    "learning_rate": 1e-3,
}


@pytest.fixture
def fits(monkeypatch):
    """Let forward passes of more than so many rows run out of memory; note the rows of each."""
    seen, loss = [], FastPath.loss

    def limit(most):
        seen.clear()

        def limited(self, batch, total, **options):
            seen.append(len(batch["input_ids"]))
            if seen[-1] > most:
                raise torch.OutOfMemoryError("a card that is too small")
            return loss(self, batch, total, **options)

        monkeypatch.setattr(FastPath, "loss", limited)
        return seen

    return limit


def losses_of(run):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return [line["loss"] for line in lines if "loss" in line]


def test_out_of_memory_before_the_first_step_halves_the_forward_pass_and_keeps_the_curve(
    tiny_base, tmp_path, monkeypatch, fits
):
    monkeypatch.setattr(preflight, "free_memory_bytes", lambda hardware: 1)
    fits(100)
    finetune(tiny_base, "alpaca-mini", tmp_path / "roomy", config=FinetuneConfig(**SETTINGS), progress=False)
    seen = fits(2)
    tight = finetune(tiny_base, "alpaca-mini", tmp_path / "tight", config=FinetuneConfig(**SETTINGS), progress=False)
    assert seen[:2] == [4, 2]  # the rehearsal, and the one with half of the rows
    assert seen[2:] == [2] * 12  # three steps of eight rows
    assert any("out of memory with micro_batch_size 4: went on from the start with 2" in note for note in tight.notes)
    roomy, tight = losses_of(tmp_path / "roomy"), losses_of(tmp_path / "tight")
    assert len(tight) == 3
    assert tight == pytest.approx(roomy, abs=1e-5)


def test_only_the_rehearsal_shares_nothing_that_records_have_in_common(tiny_base, tmp_path, monkeypatch):
    asked, loss = [], FastPath.loss

    def noted(self, batch, total, *, whole=False):
        asked.append(whole)
        return loss(self, batch, total, whole=whole)

    monkeypatch.setattr(FastPath, "loss", noted)
    monkeypatch.setattr(preflight, "free_memory_bytes", lambda hardware: 1)
    finetune(tiny_base, "alpaca-mini", tmp_path / "run", config=FinetuneConfig(**SETTINGS), progress=False)
    assert asked == [True] + [False] * 6


def test_a_forward_pass_that_was_given_or_is_small_is_not_tried(tiny_base, tmp_path, monkeypatch, fits):
    seen = fits(100)
    finetune(tiny_base, "alpaca-mini", tmp_path / "small", config=FinetuneConfig(**SETTINGS), progress=False)
    assert len(seen) == 6
    monkeypatch.setattr(preflight, "free_memory_bytes", lambda hardware: 1)
    seen.clear()
    given = FinetuneConfig(**SETTINGS, micro_batch_size=4)
    finetune(tiny_base, "alpaca-mini", tmp_path / "given", config=given, progress=False)
    assert len(seen) == 6


class EnoughError(Exception):
    """Ends the run after the rehearsal."""


def test_the_rehearsal_asks_nothing_of_cards_that_the_model_is_not_on(tiny_base, tmp_path, monkeypatch):
    def watched(trainer):
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
        preflight.rehearse(trainer)
        raise EnoughError

    monkeypatch.setattr(preflight, "free_memory_bytes", lambda hardware: 1)
    monkeypatch.setattr(course, "rehearse", watched)
    with pytest.raises(EnoughError):
        finetune(tiny_base, "alpaca-mini", tmp_path / "run", config=FinetuneConfig(**SETTINGS), progress=False)


@pytest.mark.parametrize(
    ("checkpointed", "options", "passes"),
    [(True, {}, 2), (False, {}, 1), (True, {"activation_checkpointing_kwargs": {"every_n_layers": 5}}, 1)],
)
def test_the_rehearsal_computes_layers_again_where_training_does(
    tiny_base, tmp_path, monkeypatch, checkpointed, options, passes
):
    """Without the kernels it is transformers that does, and only in training; a rehearsal of more would not fit."""
    seen = []

    def watched(trainer):
        layer = trainer.model.get_base_model().get_decoder().layers[1].mlp
        with layer.register_forward_pre_hook(lambda *_: seen.append(layer.training)):
            preflight.rehearse(trainer)
        raise EnoughError

    monkeypatch.setattr(preflight, "free_memory_bytes", lambda hardware: 1)
    monkeypatch.setattr(course, "rehearse", watched)
    given = {"kernels": {"enabled": False}, "gradient_checkpointing": checkpointed, "trainer_options": options}
    with pytest.raises(EnoughError):
        finetune(tiny_base, "alpaca-mini", tmp_path / "run", config=FinetuneConfig(**SETTINGS, **given), progress=False)
    assert seen == [True] * passes
