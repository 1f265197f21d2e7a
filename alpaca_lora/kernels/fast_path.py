"""What of a model runs on kernels, what does not and why, and the loss of a batch on the way that results."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.distributed.tensor import DTensor
from torch.nn import functional

from alpaca_lora.config import KernelSettings
from alpaca_lora.kernels.allocator import keep_freed_memory
from alpaca_lora.kernels.cross_entropy import linear_cross_entropy
from alpaca_lora.kernels.decoder import Decoder
from alpaca_lora.kernels.projections import DenseWeights, projection_of
from alpaca_lora.kernels.shared_prefix import share_prefixes, unshared
from alpaca_lora.models import IGNORED, detect_hardware, supervised_logits
from alpaca_lora.planning.kernel_facts import (
    ARCHITECTURES,
    CACHE_SHARE,
    LEAN_LOGITS_BYTES,
    LOGITS_BYTES,
    MAPPED_BYTES,
    ROW_MULTIPLE,
    WIDE,
)

_LEVERS = ("shared_prefixes", "attention", "lora", "loss", "norm", "rope", "swiglu", "compiled")
_PROJECTIONS = {"self_attn": ("q_proj", "k_proj", "v_proj", "o_proj"), "mlp": ("gate_proj", "up_proj", "down_proj")}


@dataclass(slots=True)
class FastPath:
    """The way from a batch to its loss."""

    model: Any
    """A causal language model with adapters."""

    settings: KernelSettings

    decoder: Decoder | None
    """The decoder on kernels; None where all of the model runs as transformers has it."""

    applied: tuple[str, ...]
    """The kernels in use."""

    fallbacks: tuple[str, ...]
    """What is left to transformers and PEFT, and why, one sentence each."""

    @property
    def sentences(self) -> tuple[str, ...]:
        """Return what runs on kernels and what does not, for people."""
        used = (f"kernels: {', '.join(self.applied)}",) if self.applied else ()
        return (*used, *self.fallbacks)

    def loss(
        self, batch: Mapping[str, torch.Tensor], total: torch.Tensor | float, *, whole: bool = False
    ) -> torch.Tensor:
        """Return the negative log-likelihood of a batch's supervised tokens, summed and divided by `total`.

        Args:
            batch: `input_ids`, `labels`, and `position_ids` or `attention_mask`, each (B, T), padded on the right, and
                `real_tokens` (B), as `Collator` makes them.
            total: the supervised tokens of the whole optimizer step.
            whole: share no prefixes, which is what takes the most memory.
        """
        if self.decoder is None:
            inputs = {name: batch[name] for name in batch if name not in ("labels", "real_tokens")}
            logits_NV, targets_N = supervised_logits(self.model, inputs, batch["labels"])
            return functional.cross_entropy(logits_NV, targets_N, reduction="sum") / total
        ids_BT = batch["input_ids"]
        column_T = torch.arange(ids_BT.shape[1], device=ids_BT.device)
        real_BT = column_T < batch["real_tokens"][:, None]
        positions_N = batch.get("position_ids", column_T.expand_as(ids_BT))[real_BT]
        bounds = [*(positions_N == 0).nonzero().flatten().tolist(), len(positions_N)]
        next_N = functional.pad(batch["labels"], (0, 1), value=IGNORED)[:, 1:][real_BT]
        embedded_ND = self.decoder.model.embed_tokens(ids_BT)[real_BT]  # NEFTune's noise depends on the rows' length
        segments = unshared(bounds)
        if "shared_prefixes" in self.applied and not whole:
            segments = share_prefixes(ids_BT[real_BT].tolist(), (next_N != IGNORED).tolist(), bounds)
            places_N = torch.tensor(segments.tokens)
            embedded_ND, positions_N, next_N = embedded_ND[places_N], positions_N[places_N], next_N[places_N]
        padding = -len(positions_N) % ROW_MULTIPLE
        if padding:  # one more record, of which nothing is learned
            embedded_ND = functional.pad(embedded_ND, (0, 0, 0, padding))
            positions_N = torch.cat((positions_N, column_T.new_tensor(range(padding))))
            next_N = functional.pad(next_N, (0, padding), value=IGNORED)
            segments = segments.followed_by(padding)
        wanted_N = next_N != IGNORED
        hidden_ND = self.decoder.hidden_states(embedded_ND, positions_N, segments)
        head = self.model.get_base_model().get_output_embeddings()
        hidden_SD, targets_S = hidden_ND[wanted_N], next_N[wanted_N]
        if self.settings.loss:
            block_bytes = LEAN_LOGITS_BYTES if self.decoder.checkpointed_layers else LOGITS_BYTES
            return linear_cross_entropy(hidden_SD, head.weight, targets_S, total, block_bytes)
        return functional.cross_entropy(head(hidden_SD).float(), targets_S, reduction="sum") / total

    def undo(self) -> None:
        """Free the unpacked weights and, where it was set, give the allocator its first thresholds back.

        The model was never changed. What is left on a CPU with glibc: a threshold set once is no longer adapted to the
        sizes that the process asks for, until it ends.
        """
        if self.decoder is not None:
            self.decoder.weights.clear()
            if self.model.device.type == "cpu":
                keep_freed_memory(False)


def apply(
    model: Any, settings: KernelSettings, *, longest_record: int, checkpointed: bool = False, noisy: bool = False
) -> FastPath:
    """Decide what of a model runs on kernels.

    Args:
        model: a PEFT model with one adapter.
        settings: which kernels may be used.
        longest_record: tokens of the longest record; a model that sees fewer at once is left to transformers.
        checkpointed: compute layers again in the backward pass, to save memory; all, unless settings say how many.
        noisy: training adds noise to the embeddings.

    Returns:
        The fast path, whose `applied` and `fallbacks` say what was decided.
    """
    causal = model.get_base_model()
    obstacle = _obstacle(causal, settings, longest_record) or _stray_parameter(model, causal)
    if obstacle:
        return FastPath(model, settings, None, (), (f"the whole model runs as transformers has it: {obstacle}",))
    weights = DenseWeights(_cache_bytes(causal, settings))
    wanted, layers = settings.checkpointed_layers, causal.config.num_hidden_layers
    layers = (layers if wanted is None else min(wanted, layers)) if checkpointed else 0
    decoder = Decoder(causal.get_decoder(), settings, layers, bool(settings.compiled), weights)
    if model.device.type == "cpu":
        wide = layers and causal.config.hidden_size >= WIDE
        keep_freed_memory(largest=MAPPED_BYTES if wide else 2**30)
    applied = [lever for lever in _LEVERS if getattr(settings, lever) is True]
    fallbacks = [*_left_to_peft(decoder)]
    if settings.shared_prefixes and (reason := _why_unshared(decoder, noisy)):
        applied.remove("shared_prefixes")
        fallbacks.append(f"what records have in common is computed in each: {reason}")
    return FastPath(model, settings, decoder, tuple(applied), tuple(fallbacks))


def _obstacle(causal: Any, settings: KernelSettings, longest_record: int) -> str | None:
    """Return why no kernel can be used, if so."""
    config, head = causal.config, causal.get_output_embeddings()
    if not settings.enabled:
        return "config.kernels.enabled is off"
    if any(isinstance(parameter, DTensor) for parameter in causal.parameters()):
        return "its weights are divided over several processes"
    if config.model_type not in ARCHITECTURES:
        return f"the kernels know {', '.join(ARCHITECTURES)}, and this is {config.model_type}"
    if config.hidden_act != "silu" or config.attention_dropout:
        return f"its activation is {config.hidden_act!r} and its attention dropout {config.attention_dropout}"
    window = getattr(config, "sliding_window", None)
    if window is not None and getattr(config, "use_sliding_window", True) and window < longest_record:
        return f"it attends to {window} tokens, and records have up to {longest_record}"
    if type(head) is not nn.Linear or head.bias is not None:
        return "its output head has a bias or an adapter"
    if causal.device.type not in ("cpu", "cuda"):
        return f"it is on {causal.device.type}"
    if causal.dtype == torch.float16:
        return "it is in fp16, whose gradients have to be scaled"
    return None


def _linear_layers(decoder: Any) -> Iterator[tuple[str, Any]]:
    """Yield name and module of every linear layer that the decoder on kernels runs."""
    for layer in decoder.layers:
        for part, names in _PROJECTIONS.items():
            for name in names:
                yield name, getattr(getattr(layer, part), name)


def _stray_parameter(model: Any, causal: Any) -> str | None:
    """Return what is trained besides adapters of those layers, which would get no gradient."""
    known = {id(parameter) for _, module in _linear_layers(causal.get_decoder()) for parameter in module.parameters()}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and ("lora_" not in name or id(parameter) not in known):
            return f"it trains {name}, which is no adapter of a linear layer"
    return None


def _left_to_peft(decoder: Decoder) -> tuple[str, ...]:
    """Return a sentence for each kind of linear layer that no kernel takes the place of."""
    found = Counter(
        (name, reason)
        for name, module in _linear_layers(decoder.model)
        if isinstance(reason := projection_of(module, decoder.weights), str)
    )
    return tuple(f"{name} of {count} layers runs as PEFT has it: {why}" for (name, why), count in found.items())


def _why_unshared(decoder: Decoder, noisy: bool) -> str | None:
    """Return why each record is computed as a whole, if so."""
    if decoder.model.device.type != "cpu":
        return f"attention on {decoder.model.device.type} takes whole records"
    if noisy:
        return "the noise on its embeddings is drawn for each"
    for _, module in _linear_layers(decoder.model):
        dropouts = getattr(module, "lora_dropout", {})
        if any(isinstance(dropout, nn.Dropout) and dropout.p for dropout in dropouts.values()):
            return "the dropout of its adapters is drawn for each"
    return None


def _cache_bytes(causal: Any, settings: KernelSettings) -> int:
    """Return the memory for unpacked 4-bit weights: enough for all of them or none, unless a number was given."""
    if settings.nf4_cache_gib is not None:
        return int(settings.nf4_cache_gib * 2**30)
    states = [state for parameter in causal.parameters() if (state := getattr(parameter, "quant_state", None))]
    needed = sum(state.shape.numel() * state.dtype.itemsize for state in states)
    room = detect_hardware().memory_bytes * CACHE_SHARE if causal.device.type == "cpu" else 0
    return needed if needed <= room else 0
