"""The forward pass of a Llama-type model with LoRA over packed records, written out once, with the kernels in it.

Nothing is patched: embeddings, norms, projections and adapters are read from the model as transformers and PEFT built
it, so that evaluation, generation, saving and resuming are untouched. What a kernel cannot take the place of (a DoRA
layer, say) is called as the module that it is.

Tokens of all rows of a batch are one list without padding, (N, D), in `Segments`.
"""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch.nn import functional
from torch.utils.checkpoint import checkpoint
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

from alpaca_lora.config import KernelSettings
from alpaca_lora.kernels import fused
from alpaca_lora.kernels.attention import masked_attention, packed_attention
from alpaca_lora.kernels.lora_linear import lora_linear
from alpaca_lora.kernels.projections import DenseWeights, projection_of
from alpaca_lora.kernels.rms_norm import rms_norm
from alpaca_lora.kernels.rope import rope
from alpaca_lora.kernels.shared_prefix import Segments
from alpaca_lora.kernels.swiglu import swiglu


@dataclass(slots=True)
class Decoder:
    """The decoder layers of a model, run with kernels."""

    model: Any
    """The base model's decoder: `embed_tokens`, `layers`, `norm`, `rotary_emb`."""

    settings: KernelSettings

    checkpointed_layers: int = 0
    """How many layers, from the first, are computed again in the backward pass."""

    compiled: bool = False
    """Whether elementwise kernels are those of `fused`."""

    weights: DenseWeights = field(default_factory=DenseWeights)

    def hidden_states(self, embedded_ND: torch.Tensor, positions_N: torch.Tensor, segments: Segments) -> torch.Tensor:
        """Return the last hidden states (N, D), normalised.

        Args:
            embedded_ND: embedded tokens, in the order of the segments.
            positions_N: their positions in their records.
            segments: where records begin and end, and what they continue.
        """
        hidden_ND = embedded_ND.detach()
        cos_Nd, sin_Nd = (part[0] for part in self.model.rotary_emb(hidden_ND[None], positions_N[None]))
        delta_ND = torch.zeros_like(hidden_ND)
        for index, layer in enumerate(self.model.layers):
            inputs = (layer, hidden_ND, delta_ND, cos_Nd, sin_Nd, segments)
            if index < self.checkpointed_layers:
                hidden_ND, delta_ND = checkpoint(self._layer, *inputs, use_reentrant=False)
            else:
                hidden_ND, delta_ND = self._layer(*inputs)
        return self._add_norm(self.model.norm, hidden_ND, delta_ND)[1]

    def _layer(
        self,
        layer: Any,
        hidden_ND: torch.Tensor,
        delta_ND: torch.Tensor,
        cos_Nd: torch.Tensor,
        sin_Nd: torch.Tensor,
        segments: Segments,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the residual stream, and what is still to be added to it: the next norm does that on the way."""
        attention, mlp = layer.self_attn, layer.mlp
        hidden_ND, x_ND = self._add_norm(layer.input_layernorm, hidden_ND, delta_ND)
        q, k, v = (
            part.unflatten(1, (-1, attention.head_dim))
            for part in self._linear(x_ND, attention.q_proj, attention.k_proj, attention.v_proj)
        )
        if not self.settings.rope:
            q, k = apply_rotary_pos_emb(q, k, cos_Nd, sin_Nd)
        else:
            rotate = fused.rope if self.compiled else rope
            q, k = rotate(q, cos_Nd, sin_Nd), rotate(k, cos_Nd, sin_Nd)
        attend = packed_attention if self.settings.attention else masked_attention
        q = q.unflatten(1, (k.shape[1], -1))
        x_ND = attend(q, k, v, segments.bounds, attention.scaling, segments.prefixes)
        delta_ND = self._linear(x_ND, attention.o_proj)[0]
        hidden_ND, x_ND = self._add_norm(layer.post_attention_layernorm, hidden_ND, delta_ND)
        gate_NI, up_NI = self._linear(x_ND, mlp.gate_proj, mlp.up_proj)
        if not self.settings.swiglu:
            x_NI = functional.silu(gate_NI) * up_NI
        else:
            x_NI = fused.swiglu(gate_NI, up_NI) if self.compiled else swiglu(gate_NI, up_NI)
        return hidden_ND, self._linear(x_NI, mlp.down_proj)[0]

    def _linear(self, x_ND: torch.Tensor, *modules: Any) -> tuple[torch.Tensor, ...]:
        projections = [projection_of(module, self.weights) for module in modules]
        usable = [projection for projection in projections if not isinstance(projection, str)]
        if self.settings.lora and len(usable) == len(modules):
            return lora_linear(x_ND, usable, training=modules[0].training)
        with torch.autocast(x_ND.device.type, dtype=x_ND.dtype, enabled=x_ND.dtype in (torch.bfloat16, torch.float16)):
            return tuple(module(x_ND) for module in modules)

    def _add_norm(
        self, module: Any, hidden_ND: torch.Tensor, delta_ND: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the sum, and the sum normalised."""
        if self.settings.norm and self.compiled:
            return fused.add_rms_norm(hidden_ND, delta_ND, module.weight, module.variance_epsilon)
        hidden_ND = hidden_ND + delta_ND
        if self.settings.norm:
            return hidden_ND, rms_norm(hidden_ND, module.weight, module.variance_epsilon)
        return hidden_ND, module(hidden_ND)
