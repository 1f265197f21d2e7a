"""What an adapter makes of each weight of its base, one module at a time.

The model is built without memory (torch's meta device). To merge a module, its base weights and its part of the adapter
are put in as float32, PEFT merges that one module, and the memory is given back. So PEFT decides what LoRA, rsLoRA and
DoRA mean, and no more than one module is ever held.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig
from peft.tuners.lora import LoraLayer
from peft.utils.other import AuxiliaryTrainingWrapper
from transformers.core_model_loading import revert_weight_conversion

from alpaca_lora.adapters.inspection import build_skeleton, inspect_adapter, read_tensors
from alpaca_lora.errors import AdapterError, NonFiniteAdapterError

_PREFIX = "base_model.model."
_HARMLESS_STARTS = (True, False, "gaussian", "orthogonal", "eva")
"""Starts of an adapter that leave the base alone; the others take theirs out of its weights."""

_UNMERGEABLE = (
    "alora_invocation_tokens",
    "layer_replication",
    "modules_to_save",
    "target_parameters",
    "trainable_token_indices",
)


class Updates:
    """An adapter, ready to be merged module by module.

    Args:
        directory: adapter directory.
        base_dir: directory of the base model.

    Raises:
        AdapterError: the adapter cannot be used (see `inspect_adapter`), or does what no weight of the base can
            express.
    """

    def __init__(self, directory: Path, base_dir: Path) -> None:
        config = inspect_adapter(directory, base_dir)
        self._tensors = read_tensors(directory)
        model: Any = build_skeleton(config, base_dir).get_base_model()
        modules = dict(model.named_modules())
        self._layers: dict[str, Any] = {
            name: module for name, module in modules.items() if isinstance(module, LoraLayer | AuxiliaryTrainingWrapper)
        }
        _refuse_unmergeable(config, directory, model, self._layers)
        self.linear_modules = frozenset(
            name.removesuffix(".base_layer")
            for name, module in modules.items()
            if isinstance(module, torch.nn.Linear)
            and module is not model.get_output_embeddings()
            and "lora_" not in name
        )
        """Names of the linear layers but the output head: what NF4 holds in four bits."""
        state = {
            name.replace(".base_layer.", "."): tensor
            for name, tensor in model.state_dict().items()
            if ".lora_" not in name
        }
        self.base_names = tuple(dict.fromkeys([*stored_names(model, state), *state]))
        """Names of the base's weights as its files may have them: as the model does, or where it joins some, apart."""

    @property
    def modules(self) -> tuple[str, ...]:
        """Names of the modules that the adapter changes, in the order of the model."""
        return tuple(self._layers)

    def merge(self, module: str, weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return the weights of a module with the adapter in them, in float32.

        Args:
            module: one of `modules`.
            weights: all weights of that module in the base, by their last name: `weight` and perhaps `bias`.

        Raises:
            AdapterError: the adapter holds something that PEFT cannot merge.
            NonFiniteAdapterError: the result holds NaN or infinity.
        """
        layer = self._layers[module]
        state = {f"base_layer.{name}": tensor.to(torch.float32, copy=True) for name, tensor in weights.items()}
        start = f"{_PREFIX}{module}."
        for name, tensor in self._tensors.items():
            if name.startswith(start):
                state[_layer_name(name.removeprefix(start))] = tensor.float()
        try:
            layer.load_state_dict(state, assign=True)
            layer.merge()
            merged = {name: tensor.detach() for name, tensor in layer.get_base_layer().state_dict().items()}
        except (NotImplementedError, RuntimeError, ValueError) as error:
            raise AdapterError(f"{module!r} cannot be merged: {error}") from error
        layer.merged_adapters.clear()
        layer.to("meta")
        for name, tensor in merged.items():
            if not torch.isfinite(tensor).all():
                raise NonFiniteAdapterError(f"{module}.{name} holds NaN or infinity once the adapter is merged")
        return merged


def stored_names(model: Any, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return weights of a model under the names that files give them: transformers joins the experts of a mixture.

    Args:
        model: the model, for its kind.
        state: its weights by name, as it has them.
    """
    return dict(revert_weight_conversion(model, dict(state)))


def _layer_name(stored: str) -> str:
    """Return the name that a tensor of the file has inside PEFT's layer; the file leaves out the adapter's name."""
    stem, _, last = stored.rpartition(".")
    if stored == "lora_magnitude_vector":
        return "lora_magnitude_vector.default.weight"
    if stem.startswith("lora_"):
        return f"{stem}.default.{last}"
    return f"{stored}.default" if stored.startswith("lora_") else f"base_layer.{last}"


def _refuse_unmergeable(config: LoraConfig, directory: Path, model: Any, layers: Mapping[str, Any]) -> None:
    found = [f"{name} {getattr(config, name)!r}" for name in _UNMERGEABLE if getattr(config, name)]
    if config.bias == "all":
        found.append("bias 'all'")
    if config.init_lora_weights not in _HARMLESS_STARTS:
        found.append(f"init_lora_weights {config.init_lora_weights!r}, which is taken out of the base")
    ends = (model.get_input_embeddings(), model.get_output_embeddings())
    if getattr(model.config, "tie_word_embeddings", False):
        found += [
            f"{name!r}, one matrix for embedding and output head, of which it changes one"
            for name, layer in layers.items()
            if layer in ends or getattr(layer, "base_layer", None) in ends
        ]
    if found:
        raise AdapterError(
            f"the adapter in {str(directory)!r} cannot be merged into the weights of its base, because of "
            f"{'; '.join(found)}: serve it as an adapter"
        )
