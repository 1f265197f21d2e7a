import math

import pytest
import torch
from torch.nn import functional

from alpaca_lora.models import IGNORED, RowLoss, load_base_model, mean_loss, row_losses, supervised_logits

generator = torch.Generator().manual_seed(0)


def make_row(length, prompt):
    ids = torch.randint(2, 384, (length,), generator=generator).tolist()
    return ids, [IGNORED] * prompt + ids[prompt:]


ROWS = [make_row(*shape) for shape in [(17, 5), (3, 1), (40, 39), (9, 0), (17, 16), (2, 1)]]
"""Of (input_ids, labels): long, short, with one supervised token, without prompt."""


def tensors(row):
    return {"input_ids": torch.tensor([row[0]])}, torch.tensor([row[1]])


def nll(model, inputs, labels):
    return functional.cross_entropy(*supervised_logits(model, inputs, labels), reduction="none")


@pytest.mark.parametrize("row", ROWS[:4], ids=lambda row: f"{len(row[0])}-tokens")
def test_the_loss_is_the_models_own(row, model):
    inputs, labels = tensors(row)
    with torch.no_grad():
        own = model(**inputs, labels=labels).loss
        assert nll(model, inputs, labels).mean().item() == pytest.approx(own.item(), rel=1e-6)


def test_logits_are_those_of_the_supervised_positions_only(model):
    inputs, labels = tensors(ROWS[0])
    with torch.no_grad():
        logits, targets = supervised_logits(model, inputs, labels)
        full = model(**inputs).logits
    assert logits.shape == (12, 384)
    torch.testing.assert_close(logits, full[0, 4:-1], rtol=1e-5, atol=1e-6)
    assert targets.tolist() == ROWS[0][0][5:]


def test_a_model_whose_head_is_not_known_is_asked_for_all_logits(model):
    inputs, labels = tensors(ROWS[0])
    with torch.no_grad():
        known = nll(model, inputs, labels)
        model.config.model_type = "unheard-of"
        torch.testing.assert_close(nll(model, inputs, labels), known, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_sixteen_bits_lose_little_and_the_logits_are_float32(precision, tiny_base, model):
    inputs, labels = tensors(ROWS[0])
    narrow = load_base_model(tiny_base, precision=precision, device="cpu")
    with torch.no_grad():
        logits, _ = supervised_logits(narrow, inputs, labels)
        assert logits.dtype == torch.float32
        torch.testing.assert_close(nll(narrow, inputs, labels), nll(model, inputs, labels), rtol=0.01, atol=0.02)


def test_a_gradient_reaches_the_weights(model):
    model.requires_grad_(True)
    nll(model, *tensors(ROWS[0])).sum().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in model.parameters())
    assert model.model.layers[0].mlp.up_proj.weight.grad.any()


def test_rows_come_back_in_their_order(model):
    alone = [row_losses(model, [row])[0] for row in ROWS]
    assert [loss.tokens for loss in alone] == [12, 2, 1, 8, 1, 1]
    for order in (ROWS, ROWS[::-1]):
        together = row_losses(model, order)
        expected = alone if order is ROWS else alone[::-1]
        assert [loss.tokens for loss in together] == [loss.tokens for loss in expected]
        assert [loss.nll for loss in together] == pytest.approx([loss.nll for loss in expected], rel=1e-6)


@pytest.mark.parametrize("batch_tokens", [1, 20, 60, 10_000])
def test_a_row_does_not_depend_on_what_shares_its_batch(batch_tokens, model):
    alone = [row_losses(model, [row])[0].nll for row in ROWS]
    assert [loss.nll for loss in row_losses(model, ROWS, batch_tokens=batch_tokens)] == pytest.approx(alone, rel=1e-6)


@pytest.mark.parametrize("batch_tokens", [20, 60, 10_000])
def test_no_batch_is_larger_than_asked_unless_one_row_is(batch_tokens, model):
    shapes = []
    model.model.register_forward_pre_hook(
        lambda module, args, kwargs: shapes.append(kwargs["input_ids"].shape), with_kwargs=True
    )
    row_losses(model, ROWS, batch_tokens=batch_tokens)
    assert all(rows * width <= batch_tokens or rows == 1 for rows, width in shapes)
    assert sum(rows for rows, _ in shapes) == len(ROWS)


def test_no_rows_have_no_losses(model):
    assert row_losses(model, []) == []


def test_a_row_without_a_supervised_token_counts_nothing(model):
    ids = ROWS[0][0]
    assert row_losses(model, [(ids, [IGNORED] * len(ids)), ROWS[1]])[0] == RowLoss(nll=0.0, tokens=0)


@pytest.mark.parametrize("training", [True, False])
def test_scoring_is_done_in_evaluation_mode_and_the_mode_put_back(training, model):
    modes = []
    model.model.register_forward_hook(lambda module, *_: modes.append((module.training, torch.is_grad_enabled())))
    model.train(training)
    row_losses(model, ROWS)
    assert set(modes) == {(False, False)}
    assert (model.training, model.model.training) == (training, training)


def test_the_mode_is_put_back_after_a_failure(model):
    model.train()
    with pytest.raises(IndexError):
        row_losses(model, [([9999, 1], [9999, 1])])
    assert model.training


def test_the_mean_weighs_tokens_and_not_rows():
    assert mean_loss([RowLoss(nll=9.0, tokens=9), RowLoss(nll=3.0, tokens=1)]) == 1.2
    assert mean_loss([RowLoss(nll=2.0, tokens=1), RowLoss(nll=0.0, tokens=0)]) == 2.0


def test_the_mean_over_rows_is_the_loss_of_all_their_tokens(model):
    losses = row_losses(model, ROWS)
    with torch.no_grad():
        tokens = torch.cat([nll(model, *tensors(row)) for row in ROWS])
    assert mean_loss(losses) == pytest.approx(tokens.mean().item(), rel=1e-6)


def test_a_uniform_model_loses_the_logarithm_of_its_vocabulary(model):
    torch.nn.init.zeros_(model.lm_head.weight)
    assert mean_loss(row_losses(model, ROWS)) == pytest.approx(math.log(384), rel=1e-6)


PACK = ROWS[0], ROWS[3], ROWS[1]


def pack():
    """The rows of PACK one after the other, position ids beginning anew, and no token predicted across a border."""
    inputs = {
        "input_ids": torch.tensor([[token for ids, _ in PACK for token in ids]]),
        "position_ids": torch.tensor([[position for ids, _ in PACK for position in range(len(ids))]]),
    }
    return inputs, torch.tensor([[token for _, labels in PACK for token in [IGNORED, *labels[1:]]]])


def test_packed_rows_lose_what_they_lose_alone(model):
    with torch.no_grad():
        alone = torch.cat([nll(model, *tensors(row)) for row in PACK])
        torch.testing.assert_close(nll(model, *pack()), alone, rtol=1e-5, atol=1e-6)


def test_without_position_ids_packed_rows_see_each_other(model):
    inputs, labels = pack()
    del inputs["position_ids"]
    first = len(ROWS[0][0]) - 5
    with torch.no_grad():
        alone = torch.cat([nll(model, *tensors(row)) for row in PACK])
        seen = nll(model, inputs, labels)
    torch.testing.assert_close(seen[:first], alone[:first], rtol=1e-5, atol=1e-6)
    assert (seen - alone)[first:].abs().max() > 1e-3
