r"""Causal attention over packed records: each sees itself only, because nothing else is ever multiplied.

    s = q k^T / sqrt(d) below the diagonal,   p = softmax(s),   o = p v
    dv = p^T do,   dp = do v^T,   ds = p ∘ (dp − Σ p ∘ dp),   dq = ds k / sqrt(d),   dk = ds^T q / sqrt(d)

A mask over a whole packed row would compute the product of every pair of records and throw it away: for ten records,
nine tenths of the work. On CUDA, torch's variable-length attention leaves it out, in 16 bits and for most sizes of a
head. torch's flash attention for a CPU cannot, and its backward pass is several times slower than the matrix products
in it; so there, and for what CUDA's does not take, the records are taken one by one, in blocks of queries that see only
the keys up to their end, and all query heads that share a key head are one matrix. Probabilities of short records are
kept for the backward pass, those of long ones are computed again.
A record may continue tokens that it shares with others (`shared_prefix`): their keys and values come before its own.

Source: Vaswani et al., arXiv 1706.03762; grouped queries, arXiv 2305.13245.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch.nn import functional

from alpaca_lora.planning.kernel_facts import KEPT_LENGTH, QUERY_BLOCK, RECORD_MULTIPLE, takes_flash


def packed_attention(
    q_NKGd: torch.Tensor,
    k_NKd: torch.Tensor,
    v_NKd: torch.Tensor,
    bounds: Sequence[int],
    scale: float,
    prefixes: Sequence[Sequence[int]] = (),
) -> torch.Tensor:
    """Attend causally within each record.

    Args:
        q_NKGd: queries of N tokens: K key-value heads, G query heads for each, size d.
        k_NKd: keys.
        v_NKd: values.
        bounds: where records begin, ascending from 0, and N at the end.
        scale: factor of the products, usually 1 / sqrt(d).
        prefixes: for each record, the places of the tokens before it that it continues, if any does.

    Returns:
        The attended values (N, K * G * d).
    """
    flash = q_NKGd.device.type == "cuda" and takes_flash(q_NKGd.shape[-1], q_NKGd.element_size())
    if flash and not any(prefixes):
        return _varlen(q_NKGd, k_NKd, v_NKd, bounds, scale)
    prefixes = prefixes or [()] * (len(bounds) - 1)
    records = [(prefix, start, stop) for prefix, (start, stop) in zip(prefixes, pairwise(bounds), strict=True)]
    return _PackedAttention.apply(q_NKGd, k_NKd, v_NKd, records, scale)  # type: ignore[no-any-return, no-untyped-call]


def masked_attention(
    q_NKGd: torch.Tensor,
    k_NKd: torch.Tensor,
    v_NKd: torch.Tensor,
    bounds: Sequence[int],
    scale: float,
    prefixes: Sequence[Sequence[int]] = (),
) -> torch.Tensor:
    """Return the same from torch's attention with a mask over all pairs of tokens: slower, for comparison."""
    lengths = torch.tensor([stop - start for start, stop in pairwise(bounds)])
    record_N = torch.repeat_interleave(torch.arange(len(lengths)), lengths).to(q_NKGd.device)
    mask_NN = (record_N[:, None] == record_N).tril()
    for prefix, (start, stop) in zip(prefixes, pairwise(bounds), strict=bool(prefixes)):
        mask_NN[start:stop, prefix] = True
    out_HNd = functional.scaled_dot_product_attention(
        q_NKGd.flatten(1, 2).transpose(0, 1)[None],
        k_NKd.transpose(0, 1)[None],
        v_NKd.transpose(0, 1)[None],
        attn_mask=mask_NN,
        scale=scale,
        enable_gqa=True,
    )[0]
    return out_HNd.transpose(0, 1).flatten(1)


def _varlen(
    q_NKGd: torch.Tensor, k_NKd: torch.Tensor, v_NKd: torch.Tensor, bounds: Sequence[int], scale: float
) -> torch.Tensor:
    from torch.nn.attention.varlen import varlen_attn  # noqa: PLC0415 - not in every build of torch

    longest = max(stop - start for start, stop in pairwise(bounds))
    starts = torch.tensor(bounds, dtype=torch.int32, device=q_NKGd.device)
    out: torch.Tensor = varlen_attn(  # type: ignore[assignment]
        q_NKGd.flatten(1, 2), k_NKd, v_NKd, starts, starts, longest, longest,
        scale=scale, window_size=(-1, 0), enable_gqa=True,
    )  # fmt: skip
    return out.flatten(1)


class _PackedAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        q_NKGd: torch.Tensor,
        k_NKd: torch.Tensor,
        v_NKd: torch.Tensor,
        records: Sequence[tuple[Sequence[int], int, int]],
        scale: float,
    ) -> torch.Tensor:
        out_NKGd = torch.empty_like(q_NKGd, memory_format=torch.contiguous_format)
        future_QQ, saved = _future(q_NKGd, q_NKGd.shape[2]), []
        for prefix, start, stop in records:
            P, padded = len(prefix), _padded(stop - start)
            k_KLd = _by_head(_after(k_NKd, prefix, start, stop) * scale, P + padded)
            v_KLd = _by_head(_after(v_NKd, prefix, start, stop), P + padded)
            for first, end in _blocks(padded):
                own = slice(start + first, min(start + end, stop))
                q_KQd = _by_head(q_NKGd[own], end - first)
                p_KQL = _probabilities(q_KQd, k_KLd[:, : P + end], end - first, future_QQ)
                out_NKGd[own] = _by_token(torch.bmm(p_KQL, v_KLd[:, : P + end]), end - first)[: stop - start - first]
                saved += [q_KQd, p_KQL if P + padded <= KEPT_LENGTH else None]
            saved += [k_KLd, v_KLd]
        ctx.records, ctx.scale = records, scale
        ctx.save_for_backward(*saved)
        return out_NKGd.flatten(1)

    @staticmethod
    def backward(ctx: Any, do: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        saved = list(ctx.saved_tensors)
        K, _, d = saved[-1].shape
        do_NKGd, future_QQ = do.unflatten(1, (K, -1, d)), _future(do, do.shape[1] // (K * d))
        dq_NKGd = torch.empty_like(do_NKGd, memory_format=torch.contiguous_format)
        wide = torch.promote_types(do.dtype, torch.float32)  # a thousand records may add to those of their prefix
        dk_NKd, dv_NKd = do.new_zeros(2, len(do), K, d, dtype=wide)
        for prefix, start, stop in reversed(ctx.records):
            v_KLd, k_KLd, P = saved.pop(), saved.pop(), len(prefix)
            dk_KLd, dv_KLd = [], []
            for first, end in reversed([*_blocks(_padded(stop - start))]):
                own = slice(start + first, min(start + end, stop))
                p_KQL, q_KQd, do_KQd = saved.pop(), saved.pop(), _by_head(do_NKGd[own], end - first)
                if p_KQL is None:
                    p_KQL = _probabilities(q_KQd, k_KLd[:, : P + end], end - first, future_QQ)
                dv_KLd.append(torch.bmm(p_KQL.transpose(1, 2), do_KQd))
                dp_KQL = torch.bmm(do_KQd, v_KLd[:, : P + end].transpose(1, 2))
                ds_KQL = torch._softmax_backward_data(dp_KQL, p_KQL, -1, p_KQL.dtype)
                dq_KQd = torch.bmm(ds_KQL, k_KLd[:, : P + end])
                dq_NKGd[own] = _by_token(dq_KQd, end - first)[: stop - start - first]
                dk_KLd.append(torch.bmm(ds_KQL.transpose(1, 2), q_KQd))
            for d_NKd, parts in ((dk_NKd, dk_KLd), (dv_NKd, dv_KLd)):
                d_LKd = _sum_of_parts(parts).transpose(0, 1)
                if prefix:
                    d_NKd[prefix] += d_LKd[:P]
                d_NKd[start:stop] += d_LKd[P : P + stop - start]
        return dq_NKGd, dk_NKd.mul_(ctx.scale).to(do.dtype), dv_NKd.to(do.dtype), None, None


def _after(x_NKd: torch.Tensor, prefix: Sequence[int], start: int, stop: int) -> torch.Tensor:
    """Return the rows of a prefix and those of the record after it."""
    own = x_NKd[start:stop]
    return torch.cat((x_NKd[prefix], own)) if prefix else own


def _sum_of_parts(parts: Sequence[torch.Tensor]) -> torch.Tensor:
    """Add parts (K, l, d) of falling length l to the first rows of the longest."""
    total, *shorter = parts
    for part in shorter:
        total[:, : part.shape[1]].add_(part)
    return total


def _padded(length: int) -> int:
    return -(-length // RECORD_MULTIPLE) * RECORD_MULTIPLE


def _by_head(x: torch.Tensor, rows: int) -> torch.Tensor:
    """Return (L, K, d) or (L, K, G, d) as (K, rows, d) or (K, rows * G, d), zero after L, each head's rows together."""
    by_head = x.new_empty(x.shape[1], rows, *x.shape[2:])
    by_head[:, : len(x)] = x.transpose(0, 1)
    by_head[:, len(x) :] = 0
    return by_head.view(x.shape[1], -1, x.shape[-1])


def _by_token(x_KQd: torch.Tensor, queries: int) -> torch.Tensor:
    """Return (K, Q * G, d) as (Q, K, G, d)."""
    x_KQGd: torch.Tensor = x_KQd.unflatten(1, (queries, -1))
    return x_KQGd.transpose(0, 1)


def _probabilities(q_KQd: torch.Tensor, k_KLd: torch.Tensor, queries: int, future_QQ: torch.Tensor) -> torch.Tensor:
    """Return p (K, Q * G, L) of the last Q of L tokens over all of them; the keys are scaled."""
    s_KQL = torch.bmm(q_KQd, k_KLd.transpose(1, 2))
    rows = s_KQL.shape[1]
    s_KQL[..., -queries:].add_(future_QQ[:rows, :queries])
    return s_KQL.softmax(dim=-1)


def _future(like: torch.Tensor, heads: int) -> torch.Tensor:
    """Return what is added to a block's products with its own keys: −inf above the diagonal, for each query's heads."""
    future_QQ: torch.Tensor = like.new_full((QUERY_BLOCK, QUERY_BLOCK), -math.inf).triu_(1)
    return future_QQ.repeat_interleave(heads, dim=0)


def _blocks(length: int) -> Iterator[tuple[int, int]]:
    """Yield where each block of a record's queries begins and ends."""
    parts, steps = -(-length // QUERY_BLOCK), length // RECORD_MULTIPLE
    return pairwise(steps * part // parts * RECORD_MULTIPLE for part in range(parts + 1))
