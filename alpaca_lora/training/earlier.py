"""What the first call decided for the run that a directory holds, which the next one takes as it is.

Settings that were left open depend on the memory that is free, on the length of the run and on the number of processes.
All of these may be others when the same command comes again, and the run is the same one.
"""

from collections.abc import Mapping
from typing import Any

from alpaca_lora.config import FinetuneConfig, KernelSettings
from alpaca_lora.errors import ConfigError
from alpaca_lora.planning import Decisions

_OPEN = (
    "epochs",
    "learning_rate",
    "packing",
    "packed_length",
    "batch_size",
    "micro_batch_size",
    "precision",
    "gradient_checkpointing",
    "eval_steps",
    "save_steps",
)
"""Settings whose None is decided in `planning`; any other None is a value."""


def keep_decided(asked: FinetuneConfig, contract: Mapping[str, Any]) -> Decisions:
    """Fill the gaps of a config with what a run has.

    Args:
        asked: the settings as given.
        contract: the content of run.json.

    Returns:
        The settings, and the reasons that the run gave for those that were taken from it.

    Raises:
        ConfigError: what was given does not go with what the run has.
    """
    try:
        had = {name: contract["config"][name] for name in _OPEN if getattr(asked, name) is None}
        kernels = {name: contract["config"]["kernels"][name] for name in _open_kernels(asked)}
        reasons = [str(reason) for reason in contract.get("decisions", ())]
    except (LookupError, TypeError) as error:
        raise ConfigError(f"run.json lacks a setting ({error!r})") from error
    merged = KernelSettings(**{**dict(asked.kernels), **kernels})
    config = FinetuneConfig(**{**dict(asked), **had, "kernels": merged})
    taken = {*had, *(f"kernels.{name}" for name in kernels)}
    return Decisions(config, tuple(reason for reason in reasons if reason.partition(" ")[0] in taken))


def _open_kernels(asked: FinetuneConfig) -> list[str]:
    layers = asked.gradient_checkpointing is None and asked.kernels.checkpointed_layers is None
    return ["compiled"] * (asked.kernels.compiled is None) + ["checkpointed_layers"] * layers
