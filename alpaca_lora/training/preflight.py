"""Find out before the first step whether the longest batch fits: run it once, forward and backward, and forget it.

Otherwise a run dies when its longest records come, hours later. What runs out of memory here is tried again with a
smaller forward pass, as it is in training.
"""

from typing import Any

from alpaca_lora.models.hardware import free_memory_bytes, kept_random_state
from alpaca_lora.planning import shape_of
from alpaca_lora.planning.fitting import total_of
from alpaca_lora.training.preparation import Preparation
from alpaca_lora.training.trainer import AlpacaTrainer

_TIGHT = 0.5
"""Share of the free memory above which the plan of a run on a CPU is tried out; on CUDA every one is."""


def is_due(run: Preparation) -> bool:
    """Tell whether the forward pass of a run was decided here, and may be too large."""
    if run.asked.micro_batch_size is not None or run.hardware.device == "mps":
        return False
    if run.hardware.device == "cuda":
        return True
    try:
        planned = total_of(shape_of(run.base_dir), run.config, run.hardware)
    except ValueError:  # an architecture that no plan is made for
        return False
    return planned > _TIGHT * free_memory_bytes(run.hardware)


def rehearse(trainer: AlpacaTrainer) -> None:
    """Run the longest micro-batch once, as training runs it; nothing of it stays, and no random number is drawn.

    Args:
        trainer: ready to train.
    """
    rows: Any = trainer.train_dataset
    lengths = rows.data.column("input_ids").combine_chunks().value_lengths().to_pylist()
    longest = sorted(range(len(rows)), key=lambda index: -lengths[index])[: trainer.settings.micro_batch_size or 1]
    batch = trainer._prepare_inputs(trainer.data_collator([rows[index] for index in longest]))
    batch.pop("records", None)
    with kept_random_state(trainer.model.device):
        _as_in_training(trainer)
        try:
            trainer.fast_path.loss(batch, float(sum(lengths)), whole=True).backward()
        finally:
            trainer.model.zero_grad(set_to_none=True)


def _as_in_training(trainer: AlpacaTrainer) -> None:
    """Have layers computed again in the backward pass where training will, which the Trainer only begins in `train`."""
    trainer.model.train()
    if trainer.args.activation_checkpointing:
        given: Any = trainer.args.activation_checkpointing_kwargs or {}
        options = dict(given)
        own = {name: options.pop(name) for name in ("every_n_layers", "offload") if name in options}
        trainer.model.activation_checkpointing_enable(activation_checkpointing_kwargs=options or None, **own)
