"""Negative log-likelihood of supervised tokens, for training, held-out loss and probes alike.

Only positions that carry a label reach the output head: scoring prompts and padding over a vocabulary of 49,152 would
cost more than the rest of a small model. Float32 adapters on a 16-bit base compute in the base's format (autocast),
which on a CPU is worth a factor of two; their weights and gradients stay float32.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

IGNORED = -100
"""Label of a token that is not learned."""

_PLAIN_HEADS = frozenset({"llama", "mistral", "qwen2", "qwen3", "smollm3", "olmo2", "phi3"})


@dataclass(frozen=True, slots=True)
class RowLoss:
    """Summed negative log-likelihood of one row's supervised tokens."""

    nll: float
    """Sum over the tokens, in nats."""

    tokens: int
    """How many tokens are supervised."""

    greedy: bool = False
    """Whether each of them is the likeliest one where it stands."""


def supervised_logits(
    model: Any, inputs: Mapping[str, torch.Tensor], labels_BT: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the float32 logits (N, V) that predict the N supervised tokens, and their ids (N).

    Args:
        model: a causal language model, with or without adapters.
        inputs: `input_ids`, and `attention_mask` or `position_ids`, each (B, T).
        labels_BT: ids to predict, -100 where nothing is; a row's first token is never predicted.
    """
    causal = model.get_base_model() if hasattr(model, "get_base_model") else model
    dtype = causal.get_input_embeddings().weight.dtype
    wanted_BT = labels_BT[:, 1:] != IGNORED
    with torch.autocast(labels_BT.device.type, dtype=dtype, enabled=dtype != torch.float32):
        if causal.config.model_type in _PLAIN_HEADS:
            hidden_BTD = causal.get_decoder()(**inputs, use_cache=False).last_hidden_state
            logits_NV = causal.get_output_embeddings()(hidden_BTD[:, :-1][wanted_BT])
        else:
            logits_NV = causal(**inputs, use_cache=False).logits[:, :-1][wanted_BT]
    return logits_NV.float(), labels_BT[:, 1:][wanted_BT]


def row_losses(
    model: Any,
    rows: Sequence[tuple[Sequence[int], Sequence[int]]],
    *,
    batch_tokens: int = 2048,
) -> list[RowLoss]:
    """Score rows of (input_ids, labels) without gradients, in evaluation mode.

    Args:
        model: a causal language model, with or without adapters; its training mode is put back afterwards.
        rows: any lengths; rows of like length share a batch.
        batch_tokens: most positions in one batch, padding included.

    Returns:
        One loss per row, in the order of the rows.
    """
    training = model.training
    model.eval()
    losses: dict[int, RowLoss] = {}
    try:
        with torch.no_grad():
            for batch in _batches([len(ids) for ids, _ in rows], batch_tokens):
                for index, loss in zip(batch, _score(model, [rows[index] for index in batch]), strict=True):
                    losses[index] = loss
    finally:
        model.train(training)
    return [losses[index] for index in range(len(rows))]


def next_token_shares(model: Any, ids: Sequence[int], tokens: Sequence[int]) -> list[float]:
    """Return how likely each of some tokens is to come next, as shares of their sum; no gradients, evaluation mode."""
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            ids_BT = torch.tensor([[*ids, tokens[0]]], device=model.device)
            labels_BT = torch.full_like(ids_BT, IGNORED)
            labels_BT[0, -1] = tokens[0]
            logits_NV, _ = supervised_logits(model, {"input_ids": ids_BT}, labels_BT)
            shares: list[float] = logits_NV[0, list(tokens)].double().softmax(dim=0).tolist()
            return shares
    finally:
        model.train(training)


def mean_loss(losses: Sequence[RowLoss]) -> float:
    """Return the loss per supervised token over all rows, each token counting once."""
    return sum(loss.nll for loss in losses) / sum(loss.tokens for loss in losses)


def _score(model: Any, rows: list[tuple[Sequence[int], Sequence[int]]]) -> list[RowLoss]:
    width = max(len(ids) for ids, _ in rows)
    device = model.device
    ids_BT = torch.tensor([[*ids, *[0] * (width - len(ids))] for ids, _ in rows], device=device)
    labels_BT = torch.tensor([[*labels, *[IGNORED] * (width - len(labels))] for _, labels in rows], device=device)
    mask_BT = torch.tensor([[1] * len(ids) + [0] * (width - len(ids)) for ids, _ in rows], device=device)
    logits_NV, targets_N = supervised_logits(model, {"input_ids": ids_BT, "attention_mask": mask_BT}, labels_BT)
    nll_N = functional.cross_entropy(logits_NV, targets_N, reduction="none").double()
    likeliest_N = logits_NV.argmax(dim=-1) == targets_N
    counts = (labels_BT[:, 1:] != IGNORED).sum(dim=1).tolist()
    parts = zip(nll_N.split(counts), likeliest_N.split(counts), strict=True)
    return [RowLoss(float(nll.sum()), len(nll), len(nll) > 0 and bool(likeliest.all())) for nll, likeliest in parts]


def _batches(lengths: list[int], batch_tokens: int) -> list[list[int]]:
    batches: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda index: lengths[index]):
        if batches and (len(batches[-1]) + 1) * lengths[index] <= batch_tokens:
            batches[-1].append(index)
        else:
            batches.append([index])
    return batches
