from contextlib import contextmanager

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from alpaca_lora.config import KernelSettings
from alpaca_lora.kernels import apply
from alpaca_lora.kernels.attention import masked_attention, packed_attention
from alpaca_lora.kernels.shared_prefix import share_prefixes, unshared

LONG, OTHER = [*range(100, 130)], [*range(200, 240)]


def lay_out(*records, learned=2):
    """Share what records have in common: ids, what is learned (of each record the last `learned`), bounds, segments."""
    bounds = [sum(map(len, records[:index])) for index in range(len(records) + 1)]
    wanted = [place >= len(record) - learned for record in records for place in range(len(record))]
    ids = [token for record in records for token in record]
    return ids, wanted, bounds, share_prefixes(ids, wanted, bounds)


def lengths_of(segments):
    return [stop - start for start, stop in zip(segments.bounds, segments.bounds[1:], strict=False)]


def test_a_beginning_of_two_records_is_computed_once():
    _, _, _, segments = lay_out([*LONG, 1, 2, 3], [*LONG, 4, 5, 6, 7])
    assert lengths_of(segments) == [24, 9, 10]  # 30 tokens, down to a multiple of eight
    assert segments.prefixes == [[], [*range(24)], [*range(24)]]
    assert segments.tokens == [*range(33), *range(33 + 24, 67)]


def test_each_template_has_a_beginning_of_its_own_and_a_record_without_company_has_none():
    records = [[*LONG, 1, 2, 3], [*OTHER, 1, 2, 3], [*LONG, 7, 8, 9], [5] * 30, [*OTHER, 3, 2, 1]]
    _, _, _, segments = lay_out(*records)
    assert lengths_of(segments) == [24, 40, 9, 3, 9, 30, 3]
    first, second = [*range(24)], [*range(24, 64)]
    assert segments.prefixes == [[], [], first, second, first, [], second]


def test_beginnings_within_beginnings():
    book, other = [*LONG[:20], *OTHER], [*LONG[:20], *OTHER[::-1]]
    records = [[*LONG[:20], 9, 9], [*book, 1], [*other, 1], [*book, 2], [*other, 2]]
    *_, segments = lay_out(*records, learned=1)
    preamble, first, second = [*range(16)], [*range(16, 56)], [*range(56, 96)]
    assert lengths_of(segments) == [16, 40, 40, 6, 5, 5, 5, 5]
    longer = [[*preamble, *first], [*preamble, *second]]
    assert segments.prefixes == [[], preamble, preamble, preamble, *longer, *longer]


def test_a_record_that_shares_little_costs_the_others_nothing():
    records = [[*LONG, *OTHER, number] for number in range(20)]
    alone, beside = (lay_out(*some, learned=0)[-1] for some in (records, [*records, [*LONG, 5]]))
    assert len(beside.tokens) == len(alone.tokens) + 31 - 24


@pytest.mark.parametrize("length", [0, 1, 15])
def test_few_tokens_in_common_are_not_shared(length):
    _, _, bounds, segments = lay_out([*LONG[:length], *[1] * 9], [*LONG[:length], *[2] * 9])
    assert lengths_of(segments) == lengths_of(unshared(bounds))


def test_what_is_learned_is_not_shared():
    _, _, bounds, segments = lay_out([*LONG], [*LONG], learned=20)
    assert lengths_of(segments) == lengths_of(unshared(bounds))
    assert lengths_of(lay_out([*LONG], [*LONG], learned=6)[-1]) == [24, 6, 6]


def test_records_of_which_nothing_is_learned_keep_a_token():
    assert lengths_of(lay_out([*LONG[:17]], [*LONG[:17]], learned=0)[-1]) == [16, 1, 1]


records_of_few_words = st.lists(
    st.builds(
        lambda cut, head, then, own: [*LONG[:cut], *(LONG, OTHER)[head][:then], *own],
        st.integers(0, 30),
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
    assert all(place < start for prefix, (start, _) in zip(segments.prefixes, edges, strict=True) for place in prefix)
    assert len(segments.tokens) == segments.bounds[-1] <= len(ids)


def parts(count, kv_heads=2, group=3, size=8, dtype=torch.float32):
    torch.manual_seed(0)
    keys, values = torch.randn(2, count, kv_heads, size, dtype=dtype)
    return {"q": 2 * torch.randn(count, kv_heads, group, size, dtype=dtype), "k": keys, "v": values}


def over(attend, bounds, prefixes):
    return lambda q, k, v: attend(q, k, v, bounds, 0.3, prefixes)


def gradients_of_the_sum(function, inputs):
    """Gradients that do not cancel out over records, by name; those of `k` do."""
    leaves = [part.requires_grad_() for part in inputs.values()]
    found = dict(zip(inputs, torch.autograd.grad(function(*leaves).sum(), leaves), strict=True))
    return {name: found[name] for name in ("q", "v")}


class TestAttention:
    """A record that continues others' tokens sees them and its own."""

    def test_the_gradient_is_that_of_finite_differences(self):
        leaves = [part.requires_grad_() for part in parts(9, 2, 2, 2, torch.float64).values()]
        prefixes = [[], [], [0, 1], [2, 3, 4], [0, 1, 4]]
        assert torch.autograd.gradcheck(over(packed_attention, [0, 2, 5, 6, 8, 9], prefixes), leaves)

    @pytest.mark.parametrize("attend", [packed_attention, masked_attention])
    @pytest.mark.parametrize("lengths", [(24, 5, 40), (16, 1, 300), (8, 1030, 2), (1000, 20, 30)], ids=str)
    def test_float32_agrees_with_the_formula(self, attend, lengths, differentiate, relative_error, attend_plainly):
        bounds = [0, lengths[0], sum(lengths[:2]), sum(lengths), sum(lengths) + 7]
        shared = [*range(lengths[0])]
        prefixes = [[], shared, [*shared, lengths[0]], []]
        found, expected = (
            differentiate(over(function, bounds, prefixes), **parts(bounds[-1], 1, 2, 4))
            for function in (attend, attend_plainly)
        )
        assert relative_error(found, expected) <= 1e-5

    @pytest.mark.parametrize("count", [9, 300])
    def test_bf16_agrees_with_float32_however_many_share(self, count, relative_error, attend_plainly):
        bounds = [0, *range(24, 24 + 10 * (count + 1), 10)]
        prefixes = [[], *[[*range(24)]] * count]
        narrow = {name: part.bfloat16() for name, part in parts(bounds[-1]).items()}
        found, exact = (
            gradients_of_the_sum(
                over(attend, bounds, prefixes), {name: part.to(dtype) for name, part in narrow.items()}
            )
            for attend, dtype in ((packed_attention, torch.bfloat16), (attend_plainly, torch.float32))
        )
        assert relative_error(found, exact) <= 1e-2
        assert relative_error(found["v"][:24], exact["v"][:24]) <= 1e-2


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

    def test_noise_is_said(self, make_model):
        path = apply(make_model(), KernelSettings(), longest_record=64, noisy=True)
        assert "shared_prefixes" not in path.applied
        reason = "the noise on its embeddings is drawn for each"
        assert path.fallbacks == (f"what records have in common is computed in each: {reason}",)

    def test_a_caller_may_ask_for_whole_records(self, make_model, make_batch, fast, computed):
        model = make_model()
        with computed(model) as tokens:
            fast(model).loss(make_batch(ALIKE[0], alike=ALIKE[1]), TOTAL, whole=True)
        assert tokens() == 192  # 156, padded
