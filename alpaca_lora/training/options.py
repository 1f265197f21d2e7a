"""Our settings in the words of the Trainer."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alpaca_lora.config import FinetuneConfig
from alpaca_lora.training import ranks

_OPTIMIZERS = {"adamw": "adamw_torch_fused", "adamw_8bit": "adamw_bnb_8bit", "paged_adamw_8bit": "paged_adamw_8bit"}


@dataclass(frozen=True)
class Plan:
    """What the trainer needs beside the config: everything that depends on the data."""

    total_steps: int
    warmup_steps: int
    eval_steps: int
    save_steps: int


def trainer_options(config: FinetuneConfig, plan: Plan, run_dir: Path, device: str) -> dict[str, Any]:
    """Return the arguments of `SFTConfig` that settings without gaps stand for, `trainer_options` not among them."""
    micro, batch = config.micro_batch_size or 1, config.batch_size or 1
    return {
        "output_dir": str(run_dir),
        "per_device_train_batch_size": micro,
        "gradient_accumulation_steps": batch // micro // ranks.size(),
        "max_steps": plan.total_steps,
        "learning_rate": config.learning_rate,
        "lr_scheduler_type": "constant_with_warmup" if config.lr_schedule == "constant" else config.lr_schedule,
        "warmup_steps": plan.warmup_steps,
        "weight_decay": config.weight_decay,
        "max_grad_norm": config.max_grad_norm,
        "optim": _OPTIMIZERS[config.optimizer],
        "neftune_noise_alpha": config.neftune_alpha,
        "fp16": config.precision == "fp16",
        "bf16": False,
        "use_cpu": device == "cpu",
        "activation_checkpointing": bool(config.gradient_checkpointing),
        "gradient_checkpointing": bool(config.gradient_checkpointing),  # TRL's own default of the old name is True
        "eval_strategy": "no",
        "metric_for_best_model": "loss",
        "greater_is_better": False,
        "save_strategy": "steps",
        "save_steps": plan.save_steps,
        "save_total_limit": None,
        "logging_steps": config.logging_steps,
        "logging_nan_inf_filter": False,
        "report_to": list(config.report_to) or "none",
        "seed": config.seed,
        "data_seed": config.seed,
        "disable_tqdm": True,
        "remove_unused_columns": False,
        "dataloader_pin_memory": device == "cuda",
        "dataset_kwargs": {"skip_prepare_dataset": True},
        "max_length": None,
        "packing": False,
    }
