"""What settings are called elsewhere: in alpaca-lora of 2023, in qlora, and in TRL's SFTConfig."""

_COUNTS = "config.batch_size and config.micro_batch_size"
_HELD_OUT = "config.eval_steps and config.validation_size"
_PRECISION = "config.precision"
_KEEP_BEST = "config.keep_best"
_UPLOAD = "nothing here: upload the finished adapter/ directory"
_ROWS = "nothing here: rows reach the trainer as finished token ids"
_KERNELS = "config.kernels.enabled"
_LOSS = "nothing here: the loss is the mean cross-entropy of the supervised tokens"

SFT_OPTIONS: dict[str, str] = {
    "output_dir": "output_dir of finetune()",
    "per_device_train_batch_size": "config.micro_batch_size",
    "per_device_eval_batch_size": "config.micro_batch_size",
    "gradient_accumulation_steps": _COUNTS,
    "auto_find_batch_size": "config.micro_batch_size",
    "num_train_epochs": "config.epochs",
    "max_steps": "config.max_steps",
    "learning_rate": "config.learning_rate",
    "lr_scheduler_type": "config.lr_schedule",
    "weight_decay": "config.weight_decay",
    "max_grad_norm": "config.max_grad_norm",
    "optim": "config.optimizer",
    "optim_target_modules": "config.lora.target_modules",
    "neftune_noise_alpha": "config.neftune_alpha",
    "gradient_checkpointing": "config.gradient_checkpointing",
    "activation_checkpointing": "config.gradient_checkpointing",
    "load_best_model_at_end": _KEEP_BEST,
    "metric_for_best_model": _KEEP_BEST,
    "greater_is_better": _KEEP_BEST,
    "prediction_loss_only": _HELD_OUT,
    "seed": "config.seed",
    "data_seed": "config.seed",
    "resume_from_checkpoint": "config.resume",
    "ignore_data_skip": "config.resume",
    "report_to": "config.report_to",
    "push_to_hub": _UPLOAD,
    "do_train": "nothing here: finetune() trains",
    "do_eval": "config.validation_size",
    "do_predict": "evaluate()",
    "disable_tqdm": "progress of finetune()",
    "use_cpu": "CUDA_VISIBLE_DEVICES= in the environment",
    "packing": "config.packing",
    "packing_strategy": "config.packing",
    "padding_free": "config.packing",
    "max_length": "config.max_length",
    "truncation_mode": "config.overlong",
    "completion_only_loss": "config.train_on_prompt",
    "assistant_only_loss": "config.train_on_prompt",
    "chat_template_path": "config.template",
    "loss_type": _LOSS,
    "label_smoothing_factor": _LOSS,
    "router_aux_loss_coef": _LOSS,
    "average_tokens_across_devices": _LOSS,
    "use_liger_kernel": _KERNELS,
    "liger_kernel_config": _KERNELS,
    "eos_token": _ROWS,
    "pad_token": _ROWS,
    "shuffle_dataset": _ROWS,
    "remove_unused_columns": _ROWS,
    "label_names": _ROWS,
    "train_sampling_strategy": "config.group_by_length",
    "length_column_name": _ROWS,
    "pad_to_multiple_of": _ROWS,
    "model_init_kwargs": "config.precision and config.quantization",
    "trust_remote_code": "nothing here: code of a model repository is never run",
}
"""Options of SFTConfig that FinetuneConfig decides, and what to set instead."""

_SFT_PREFIXES: dict[str, str] = {
    "bf16": _PRECISION,
    "fp16": _PRECISION,
    "warmup_": "config.warmup_fraction or config.warmup_steps",
    "save_": "config.save_steps and config.save_limit",
    "eval_": _HELD_OUT,
    "logging_": "config.logging_steps",
    "dataloader_": _ROWS,
    "dataset_": _ROWS,
    "hub_": _UPLOAD,
}

CLASSIC_NAMES: dict[str, str] = {
    "base_model": "base_model of finetune()",
    "data": "data of finetune()",
    "data_path": "data of finetune()",
    "preset": "load_config(), or a YAML file",
    "num_epochs": "config.epochs",
    "cutoff_len": "config.max_length",
    "max_seq_length": "config.max_length",
    "val_set_size": "config.validation_size",
    "r": "config.lora.rank",
    "lora_r": "config.lora.rank",
    "lora_alpha": "config.lora.alpha",
    "lora_dropout": "config.lora.dropout",
    "lora_target_modules": "config.lora.target_modules",
    "use_rslora": "config.lora.rslora",
    "use_dora": "config.lora.dora",
    "init_lora_weights": "config.lora.init",
    "train_on_inputs": "config.train_on_prompt",
    "prompt_template_name": "config.template",
    "warmup_ratio": "config.warmup_fraction",
    "lr": "config.learning_rate",
    "load_in_4bit": "config.quantization: nf4",
    "load_in_8bit": "config.quantization: nf4",
    "bits": "config.quantization: nf4",
    "double_quant": "config.quantization.double_quantization",
    "wandb_project": "config.report_to and WANDB_PROJECT in the environment",
}
"""Settings of earlier programs, and what they are called here."""

REASONS: dict[tuple[str, ...], str] = {
    (
        "learning_rate",
    ): "LoRA learns at 1e-4 to 1e-3 and diverges above 0.01, so no flag forces more; leave it out to have it decided",
}
"""What to know, beside the range, about a setting that was refused."""


def owner_of(option: str) -> str | None:
    """Return what to set instead of an option of SFTConfig, or None where FinetuneConfig leaves it free."""
    if option in SFT_OPTIONS:
        return SFT_OPTIONS[option]
    return next((owner for prefix, owner in _SFT_PREFIXES.items() if option.startswith(prefix)), None)
