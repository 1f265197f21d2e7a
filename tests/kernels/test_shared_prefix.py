from contextlib import contextmanager

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from alpaca_lora.kernels.attention import masked_attention, packed_attention
from alpaca_lora.kernels.shared_prefix import share_prefixes, unshared

LONG, OTHER = [*range(100, 130)], [*range(200, 240)]


def lay_out(*records, learned=2):
    """Share what records have in common; what follows the last `learned` tokens of each is learned."""
    bounds = [sum(map(len, records[:index])) for index in range(len(records) + 1)]
    wanted = [place >= len(record) - learned for record in records for place in range(len(record))]
    ids = [token for record in records for token in record]
    return ids, wanted, bounds, share_prefixes(ids, wanted, bounds)


def lengths_of(segments):
    return [stop - start for start, stop in zip(segments.bounds, segments.bounds[1:], strict=False)]


def test_a_beginning_of_two_records_is_computed_once():
    _, _, _, segments = lay_out([*LONG, 1, 2, 3], [*LONG, 4, 5, 6, 7])
    assert lengths_of(segments) == [24, 9, 10]  # 30 tokens, down to a multiple of eight
    assert segments.prefixes == [range(0), range(24), range(24)]
    assert segments.tokens == [*range(33), *range(33 + 24, 67)]


def test_each_template_has_a_beginning_of_its_own_and_a_record_without_company_has_none():
    records = [[*LONG, 1, 2, 3], [*OTHER, 1, 2, 3], [*LONG, 7, 8, 9], [5] * 30, [*OTHER, 3, 2, 1]]
    _, _, _, segments = lay_out(*records)
    assert lengths_of(segments) == [24, 40, 9, 3, 9, 30, 3]
    first, second = range(24), range(24, 64)
    assert segments.prefixes == [range(0), range(0), first, second, first, range(0), second]


@pytest.mark.parametrize("length", [0, 1, 15])
def test_few_tokens_in_common_are_not_shared(length):
    _, _, bounds, segments = lay_out([*LONG[:length], *[1] * 9], [*LONG[:length], *[2] * 9])
    assert segments == unshared(bounds)


def test_what_is_learned_is_not_shared():
    _, _, bounds, segments = lay_out([*LONG], [*LONG], learned=20)
    assert segments == unshared(bounds)
    assert lengths_of(lay_out([*LONG], [*LONG], learned=6)[-1]) == [24, 6, 6]


def test_records_of_which_nothing_is_learned_keep_a_token():
    assert lengths_of(lay_out([*LONG[:17]], [*LONG[:17]], learned=0)[-1]) == [16, 1, 1]


records_of_few_words = st.lists(
    st.builds(
        lambda head, cut, own: [*(LONG, OTHER)[head][:cut], *own],
        st.integers(0, 1),
        st.integers(0, 40),
        st.lists(st.integers(0, 2), min_size=1, max_size=4),
    ),
    min_size=1,
    max_size=8,
)


@given(records_of_few_words, st.integers(0, 5))
def test_every_record_can_be_read_back_and_what_is_learned_stands_once(records, learned):
    ids, wanted, _, segments = lay_out(*records, learned=learned)
    edges = list(zip(segments.bounds, segments.bounds[1:], strict=False))
    read = [
        [ids[segments.tokens[place]] for place in (*prefix, *range(start, stop))]
        for prefix, (start, stop) in zip(segments.prefixes, edges, strict=True)
    ]
    assert read[-len(records) :] == records
    assert sum(wanted[token] for token in segments.tokens) == sum(wanted)
    assert all(prefix.stop <= start for prefix, (start, _) in zip(segments.prefixes, edges, strict=True))


def parts(count, kv_heads=2, group=3, size=8, dtype=torch.float32):
    torch.manual_seed(0)
    keys, values = torch.randn(2, count, kv_heads, size, dtype=dtype)
    return {"q": 2 * torch.randn(count, kv_heads, group, size, dtype=dtype), "k": keys, "v": values}


def over(attend, bounds, prefixes):
    return lambda q, k, v: attend(q, k, v, bounds, 0.3, prefixes)


class TestAttention:
    """A record that continues others' tokens sees them and its own."""

    def test_the_gradient_is_that_of_finite_differences(self):
        leaves = [part.requires_grad_() for part in parts(9, 2, 2, 2, torch.float64).values()]
        prefixes = [range(0), range(0), range(2), range(2, 5), range(2)]
        assert torch.autograd.gradcheck(over(packed_attention, [0, 2, 5, 6, 8, 9], prefixes), leaves)

    @pytest.mark.parametrize("attend", [packed_attention, masked_attention])
    @pytest.mark.parametrize("lengths", [(24, 5, 40), (16, 1, 300), (8, 1030, 2), (1000, 20, 30)], ids=str)
    def test_float32_agrees_with_the_formula(self, attend, lengths, differentiate, relative_error, attend_plainly):
        bounds = [0, lengths[0], sum(lengths[:2]), sum(lengths), sum(lengths) + 7]
        prefixes = [range(0), range(lengths[0]), range(lengths[0]), range(0)]
        found, expected = (
            differentiate(over(function, bounds, prefixes), **parts(bounds[-1], 1, 2, 4))
            for function in (attend, attend_plainly)
        )
        assert relative_error(found, expected) <= 1e-5

    def test_bf16_agrees_with_float32(self, differentiate, relative_error, attend_plainly, cosine):
        bounds = [0, 24, *range(64, 424, 40)]
        prefixes = [range(0), *[range(24)] * 9]
        narrow = {name: part.bfloat16() for name, part in parts(bounds[-1]).items()}
        found = differentiate(over(packed_attention, bounds, prefixes), **narrow)
        wide = {name: part.float() for name, part in narrow.items()}
        exact = differentiate(over(attend_plainly, bounds, prefixes), **wide)
        assert relative_error(found, exact) <= 1e-2
        assert cosine(found, exact) > 0.999


@pytest.fixture
def computed():
    """Return how many tokens pass through the layers: `with computed(model) as tokens: ...; tokens()`."""

    @contextmanager
    def count(model):
        seen = []
        rotary = model.get_base_model().get_decoder().rotary_emb
        handle = rotary.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[1].numel()))
        yield lambda: sum(seen)
        handle.remove()

    return count


TOTAL = 11.0
ALIKE = ([[30, 41], [25, 60]], 21)
"""Lengths of records, and how many tokens all of them begin with."""


class TestWholeModel:
    """What a model learns is what transformers and PEFT learn of whole records."""

    @pytest.fixture
    def batch(self, make_batch):
        rows, alike = ALIKE
        return make_batch(rows, alike=alike)

    @pytest.mark.parametrize("checkpointed", [False, True])
    @pytest.mark.parametrize("architecture", ["llama", "mistral", "qwen2"])
    def test_float32_agrees(
        self, architecture, checkpointed, make_model, batch, fast, learn, stock_loss, relative_error, computed
    ):
        model = make_model(architecture)
        expected = learn(model, stock_loss(model, batch, TOTAL))
        path = fast(model, checkpointed=checkpointed)
        with computed(model) as tokens:
            found = learn(model, path.loss(batch, TOTAL))
        assert tokens() == 156 - 3 * 16 + 20  # padded to 128
        assert relative_error(found, expected) <= 1e-5

    @pytest.mark.parametrize("setting", [{"shared_prefixes": False}, {"attention": False}], ids=str)
    def test_it_agrees_without_either_lever(self, setting, make_model, batch, fast, learn, stock_loss, relative_error):
        model = make_model("qwen2")
        expected = learn(model, stock_loss(model, batch, TOTAL))
        assert relative_error(learn(model, fast(model, **setting).loss(batch, TOTAL)), expected) <= 1e-5

    def test_rows_without_packing_share_too(self, make_model, make_batch, fast, learn, stock_loss, relative_error):
        model, batch = make_model(), make_batch([[30], [41], [25]], packed=False, alike=21)
        expected = learn(model, stock_loss(model, batch, TOTAL))
        assert relative_error(learn(model, fast(model).loss(batch, TOTAL)), expected) <= 1e-5

    def test_a_record_that_differs_in_one_token_is_not_taken_for_the_others(
        self, make_model, batch, fast, learn, stock_loss, relative_error
    ):
        model = make_model("qwen2")
        alike = learn(model, fast(model).loss(batch, TOTAL))
        batch["input_ids"][0, 3] = 1 + batch["input_ids"][0, 3] % 90
        found = learn(model, fast(model).loss(batch, TOTAL))
        assert relative_error(found, learn(model, stock_loss(model, batch, TOTAL))) <= 1e-5
        assert relative_error(found, alike) > 1e-2


class TestWhatIsDrawnForEachRecord:
    """Dropout and noise differ from record to record, so nothing is shared."""

    def test_dropout_is_said(self, make_model, fast):
        path = fast(make_model(lora={"lora_dropout": 0.1}))
        assert "shared_prefixes" not in path.applied
        reason = "the dropout of its adapters is drawn for each"
        assert path.fallbacks == (f"what records have in common is computed in each: {reason}",)

    def test_noise_on_embeddings(self, make_model, make_batch, fast, computed):
        from transformers.integrations.neftune import activate_neftune, deactivate_neftune

        model, batch = make_model(), make_batch(ALIKE[0], alike=ALIKE[1])
        path = fast(model)
        handle = activate_neftune(model, 5.0)
        with computed(model) as tokens:
            path.loss(batch, TOTAL)
        assert tokens() == 192  # 156, padded
        deactivate_neftune(model, handle)
        with computed(model) as tokens:
            path.loss(batch, TOTAL)
        assert tokens() == 128
