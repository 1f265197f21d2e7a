import pytest
import torch

from alpaca_lora.kernels.attention import masked_attention, packed_attention


def parts(count, kv_heads=2, group=3, size=8, dtype=torch.float32, seed=0):
    """Queries, keys and values large enough for sharp attention."""
    torch.manual_seed(seed)
    q = 2 * torch.randn(count, kv_heads, group, size, dtype=dtype)
    return {
        "q": q,
        "k": torch.randn(count, kv_heads, size, dtype=dtype),
        "v": torch.randn(count, kv_heads, size, dtype=dtype),
    }


def over(attend, bounds, scale=0.3):
    return lambda q, k, v: attend(q, k, v, bounds, scale)


def bounds_of(*lengths):
    return [sum(lengths[:index]) for index in range(len(lengths) + 1)]


@pytest.mark.parametrize("bounds", [[0, 6], [0, 1, 2, 6], [0, 3, 6]])
@pytest.mark.parametrize(("kv_heads", "group"), [(1, 1), (2, 2), (1, 3), (3, 1)])
def test_the_gradient_is_that_of_finite_differences(bounds, kv_heads, group):
    leaves = [part.requires_grad_() for part in parts(6, kv_heads, group, 2, torch.float64).values()]
    assert torch.autograd.gradcheck(over(packed_attention, bounds), leaves)


@pytest.mark.parametrize("attend", [packed_attention, masked_attention])
@pytest.mark.parametrize(("kv_heads", "group"), [(1, 1), (2, 3), (1, 4), (4, 1)])
@pytest.mark.parametrize("lengths", [(30,), (1, 12, 1, 7, 20)], ids=str)
def test_float32_agrees_with_the_formula(
    attend, kv_heads, group, lengths, differentiate, relative_error, attend_plainly
):
    bounds = bounds_of(*lengths)
    inputs = parts(bounds[-1], kv_heads, group)
    found = differentiate(over(attend, bounds), **inputs)
    assert relative_error(found, differentiate(over(attend_plainly, bounds), **inputs)) <= 1e-5


def test_a_token_alone_is_its_own_value_whatever_it_asks(differentiate):
    inputs = parts(1)
    found = differentiate(over(packed_attention, [0, 1]), **inputs)
    assert torch.equal(found["out0"].unflatten(1, (2, 3, 8)), inputs["v"][:, :, None].expand(-1, -1, 3, -1))
    torch.testing.assert_close(found["d q"], torch.zeros_like(inputs["q"]), rtol=0, atol=1e-6)
    torch.testing.assert_close(found["d k"], torch.zeros_like(inputs["k"]), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "lengths",
    [(255,), (256,), (257,), (513,), (511, 2), (3, 257, 256, 255), (1023,), (1024,), (1025,), (5, 1100, 9)],
    ids=str,
)
def test_blocks_and_recomputed_records_agree_with_a_mask(lengths, differentiate, relative_error):
    bounds = bounds_of(*lengths)
    inputs = parts(bounds[-1], kv_heads=1, group=2, size=4)
    found = differentiate(over(packed_attention, bounds), **inputs)
    assert relative_error(found, differentiate(over(masked_attention, bounds), **inputs)) <= 1e-5


@pytest.mark.parametrize("lengths", [(40, 3, 21), (300, 20)], ids=str)
def test_bf16_agrees_with_float32(lengths, differentiate, relative_error, attend_plainly, cosine):
    bounds = bounds_of(*lengths)
    narrow = {name: part.bfloat16() for name, part in parts(bounds[-1]).items()}
    found = differentiate(over(packed_attention, bounds), **narrow)
    exact = differentiate(over(attend_plainly, bounds), **{name: part.float() for name, part in narrow.items()})
    assert relative_error(found, exact) <= 1e-2
    assert cosine(found, exact) > 0.999


def changes(attend, bounds, lengths):
    """What of each record's output and gradients changes, when the tokens of the second record do."""
    edges = bounds_of(*lengths)
    results = []
    for seed in (1, 2):
        leaves = parts(edges[-1])
        for name, other in parts(edges[-1], seed=seed).items():
            leaves[name][edges[1] : edges[2]] = other[edges[1] : edges[2]]
        inputs = [leaf.requires_grad_() for leaf in leaves.values()]
        out = attend(*inputs, bounds, 0.3)
        results.append([out, *torch.autograd.grad(out.square().sum(), inputs)])
    return [
        any((one[start:stop] - two[start:stop]).any() for one, two in zip(*results, strict=True))
        for start, stop in zip(edges, edges[1:], strict=False)
    ]


class TestIsolation:
    """Records do not see each other, and the check would notice if they did."""

    lengths = (9, 14, 5, 270)

    @pytest.mark.parametrize("attend", [packed_attention, masked_attention])
    def test_a_record_changes_no_other(self, attend):
        assert changes(attend, bounds_of(*self.lengths), self.lengths) == [False, True, False, False]

    @pytest.mark.parametrize("attend", [packed_attention, masked_attention])
    @pytest.mark.parametrize(
        ("merged", "seen"), [(1, [True, True, False, False]), (2, [False, True, True, False])], ids=["first", "third"]
    )
    def test_two_records_taken_for_one_do(self, attend, merged, seen):
        bounds = bounds_of(*self.lengths)
        del bounds[merged]
        assert changes(attend, bounds, self.lengths) == seen


def test_no_token_sees_a_later_one():
    one, two = parts(300), parts(300)
    for part in two.values():
        part[280:] += 1
    out = [packed_attention(*inputs.values(), [0, 300], 0.3) for inputs in (one, two)]
    assert torch.equal(out[0][:280], out[1][:280])
    assert not torch.equal(out[0][280:], out[1][280:])


def test_a_second_backward_pass_gives_the_same():
    inputs = [part.requires_grad_() for part in parts(1100, 1, 1, 4).values()]
    out = packed_attention(*inputs, [0, 40, 1100], 0.3)
    first = torch.autograd.grad(out, inputs, torch.ones_like(out), retain_graph=True)
    assert all(map(torch.equal, first, torch.autograd.grad(out, inputs, torch.ones_like(out))))


def test_views_of_any_layout_are_taken(differentiate, relative_error, attend_plainly):
    inputs = parts(20)
    strided = {name: part.transpose(0, 1).contiguous().transpose(0, 1) for name, part in inputs.items()}
    found = differentiate(over(packed_attention, [0, 8, 20]), **strided)
    assert relative_error(found, differentiate(over(attend_plainly, [0, 8, 20]), **inputs)) <= 1e-5


@pytest.mark.parametrize(("count", "kept"), [(1000, True), (1100, False)])
def test_the_probabilities_of_short_records_are_kept_and_those_of_long_ones_not(count, kept, kept_numbers):
    inputs = [part.requires_grad_() for part in parts(count, 1, 1, 4).values()]
    numbers = kept_numbers(lambda: packed_attention(*inputs, [0, count], 0.3))
    assert (numbers > count * count / 2) == kept
