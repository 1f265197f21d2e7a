"""Adapters: attach a fresh one, save it, check its health, load it again."""

from alpaca_lora.adapters.attach import attach_adapter, loraplus_optimizer, target_names
from alpaca_lora.adapters.health import check_adapter
from alpaca_lora.adapters.inspection import inspect_adapter
from alpaca_lora.adapters.loading import (
    TrainedAdapter,
    find_adapter,
    find_trained,
    load_adapter,
    prompter_of,
)
from alpaca_lora.adapters.probes import PROBES, probe_losses
from alpaca_lora.adapters.saving import adapter_tensors, save_adapter, trained_chat_template
from alpaca_lora.adapters.sidecar import Sidecar, read_sidecar
from alpaca_lora.adapters.updates import Updates

__all__ = [
    "PROBES",
    "Sidecar",
    "TrainedAdapter",
    "Updates",
    "adapter_tensors",
    "attach_adapter",
    "check_adapter",
    "find_adapter",
    "find_trained",
    "inspect_adapter",
    "load_adapter",
    "loraplus_optimizer",
    "probe_losses",
    "prompter_of",
    "read_sidecar",
    "save_adapter",
    "target_names",
    "trained_chat_template",
]
