"""Divide the frozen base over the processes of a run (FSDP2), for more memory beside it while training.

Each process has loaded the whole base by then, and the saved adapter is checked on the whole of it again: one card must
hold the weights. What is gained is room for activations, gradients and the optimizer.

Only the base is divided, layer by layer. Adapters are whole in every process, so gradients, checkpoints, saving and
resuming are those of any other run. A layer is gathered when it is called as a module, which the kernels do not do: a
divided model runs as transformers has it.
"""

from typing import TYPE_CHECKING, Any

from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from alpaca_lora.config import FinetuneConfig
from alpaca_lora.errors import ConfigError
from alpaca_lora.training import ranks

if TYPE_CHECKING:
    import torch


def check_sharding(config: FinetuneConfig) -> None:
    """Refuse a base that cannot be divided.

    Raises:
        ConfigError: there is one process, or the base is held in 4 bits.
    """
    if config.shard_base and ranks.size() == 1:
        raise ConfigError("config.shard_base divides the base over processes, and this is one: start it with torchrun")
    if config.shard_base and config.quantization.method != "none":
        raise ConfigError(
            f"config.shard_base divides an unquantised base, and config.quantization is "
            f"{config.quantization.method!r}; leave one of them out"
        )


def divide_base(model: Any) -> None:
    """Leave of each decoder layer's frozen weights this process's part, also between its forward and backward pass.

    To FSDP each layer is a model of its own, whose weights it would keep whole until the backward pass.
    """
    mesh = init_device_mesh(model.device.type, (ranks.size(),))
    trained: set[torch.nn.Parameter] = {parameter for parameter in model.parameters() if parameter.requires_grad}
    for layer in model.get_base_model().get_decoder().layers:
        fully_shard(layer, mesh=mesh, reshard_after_forward=True, ignored_params=trained)
