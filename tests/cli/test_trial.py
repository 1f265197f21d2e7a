import pytest

from alpaca_lora.cli import trial

pytest.importorskip("bitsandbytes")


def test_a_4_bit_layer_trains_on_this_device():
    assert trial.nf4_fault() is None


def test_a_layer_without_a_gradient_is_noticed(monkeypatch: pytest.MonkeyPatch):
    def detached(*arguments, **options):
        model = load_base_model(*arguments, **options)
        forward = model.forward
        model.forward = lambda inputs_embeds: forward(inputs_embeds=inputs_embeds * 0)
        return model

    load_base_model = trial.load_base_model
    monkeypatch.setattr(trial, "load_base_model", detached)
    assert trial.nf4_fault() == "a 4-bit layer gets no gradient"
