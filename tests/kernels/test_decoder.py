import pytest
import torch

from alpaca_lora.config import KernelSettings
from alpaca_lora.kernels.decoder import Decoder
from alpaca_lora.kernels.shared_prefix import unshared

LENGTHS = (9, 1, 14, 6)
LEVERS = ("attention", "lora", "norm", "rope", "swiglu")


@pytest.fixture(scope="module")
def model(make_model):
    return make_model(attention_bias=True, num_hidden_layers=3)


@pytest.fixture(scope="module")
def row(make_batch):
    """One packed row: ids, positions and bounds."""
    batch = make_batch([LENGTHS])
    bounds = [sum(LENGTHS[:index]) for index in range(len(LENGTHS) + 1)]
    return batch["input_ids"][0], batch["position_ids"][0], bounds


@pytest.fixture
def weighting():
    torch.manual_seed(2)
    return torch.randn(sum(LENGTHS), 32)


def decoder(model, layers=0, **settings):
    return Decoder(model.get_base_model().get_decoder(), KernelSettings(**settings), layers)


def hidden_states(decoder, ids, positions, bounds):
    return decoder.hidden_states(decoder.model.embed_tokens(ids), positions, unshared(bounds))


@pytest.fixture
def expected(model, row, weighting, learn):
    """Last hidden states by transformers and PEFT, and the gradients of a weighted sum of them."""
    ids, positions, _ = row
    hidden = (
        model.get_base_model()
        .get_decoder()(input_ids=ids[None], position_ids=positions[None], use_cache=False)
        .last_hidden_state[0]
    )
    return {"hidden": hidden.detach(), **learn(model, (hidden * weighting).sum())}


@pytest.mark.parametrize("layers", [0, 1, 2, 3])
def test_hidden_states_and_gradients_are_those_of_transformers(
    layers, model, row, weighting, expected, learn, relative_error
):
    hidden = hidden_states(decoder(model, layers), *row)
    assert relative_error({"hidden": hidden, **learn(model, (hidden * weighting).sum())}, expected) <= 1e-5


@pytest.mark.parametrize("lever", LEVERS)
def test_each_lever_alone_gives_the_same(lever, model, row, weighting, expected, learn, relative_error):
    settings = dict.fromkeys(LEVERS, False) | {lever: True}
    hidden = hidden_states(decoder(model, **settings), *row)
    assert relative_error({"hidden": hidden, **learn(model, (hidden * weighting).sum())}, expected) <= 1e-5


def test_checkpointed_layers_keep_less(model, row, kept_numbers):
    kept = [kept_numbers(lambda layers=layers: hidden_states(decoder(model, layers), *row)) for layers in range(4)]
    assert kept == sorted(kept, reverse=True)
    assert kept[3] < kept[0] / 2


def test_checkpointed_layers_draw_the_same_dropout_again(make_model, row, weighting, learn, relative_error):
    model = make_model(lora={"lora_dropout": 0.3})
    found = []
    for layers in (0, 2):
        torch.manual_seed(4)
        found.append(learn(model, (hidden_states(decoder(model, layers), *row) * weighting).sum()))
    assert relative_error(found[1], found[0]) <= 1e-5


def touched(model, row, bounds):
    """Which records' hidden states change when the tokens of the third record do."""
    ids, positions, edges = row
    other = ids.clone()
    other[edges[2] : edges[3]] = (other[edges[2] : edges[3]] + 40) % 96
    with torch.no_grad():
        one, two = (hidden_states(decoder(model), part, positions, bounds) for part in (ids, other))
    return [
        not torch.equal(one[edges[part] : edges[part + 1]], two[edges[part] : edges[part + 1]]) for part in range(4)
    ]


class TestIsolation:
    """Packed records do not see each other, and the check would notice if they did."""

    def test_a_record_changes_no_other(self, model, row):
        assert touched(model, row, row[2]) == [False, False, True, False]

    def test_a_record_taken_for_a_part_of_the_next_changes_it(self, model, row):
        assert touched(model, row, [bound for bound in row[2] if bound != row[2][3]]) == [False, False, True, True]


def test_a_record_alone_is_as_in_its_row(model, row, relative_error):
    ids, positions, bounds = row
    with torch.no_grad():
        together = hidden_states(decoder(model), *row)
        for start, stop in zip(bounds, bounds[1:], strict=False):
            alone = hidden_states(decoder(model), ids[start:stop], positions[start:stop], [0, stop - start])
            assert relative_error(together[start:stop], alone) <= 1e-5


def test_evaluation_mode_switches_dropout_off(make_model, row):
    model = make_model(lora={"lora_dropout": 0.5})
    trained = [hidden_states(decoder(model), *row) for _ in range(2)]
    model.eval()
    scored = [hidden_states(decoder(model), *row) for _ in range(2)]
    assert not torch.equal(*trained)
    assert torch.equal(*scored)
