"""Fine-tuning on TRL's `SFTTrainer`: the only module that imports it.

The trainer gets finished `input_ids` and `labels`, so none of its own templating, tokenising, truncating or packing
runs. Over `SFTTrainer` this subclass changes five things: the loss scores supervised tokens only, adapters stay in
float32, the held-out loss weighs every token alike, checkpoints appear whole or not at all, and a loss that is not
finite ends the run. The forward pass is that of `kernels`, wherever they fit the model.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate.data_loader import SeedableRandomSampler
from torch.utils.data import DataLoader
from transformers import PreTrainedTokenizerBase, PrinterCallback, Trainer, TrainerCallback, TrainerState
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from alpaca_lora import _files
from alpaca_lora.adapters import loraplus_optimizer
from alpaca_lora.config import FinetuneConfig
from alpaca_lora.errors import ConfigError, NonFiniteLossError
from alpaca_lora.kernels import apply
from alpaca_lora.models import mean_loss, row_losses
from alpaca_lora.training import ranks
from alpaca_lora.training.checkpoints import fault_of, rotate, seal
from alpaca_lora.training.dataset import Collator, Rows
from alpaca_lora.training.encoding import EncodedRow
from alpaca_lora.training.sharding import divide_base

_OPTIMIZERS = {"adamw": "adamw_torch_fused", "adamw_8bit": "adamw_bnb_8bit", "paged_adamw_8bit": "paged_adamw_8bit"}


@dataclass(frozen=True)
class Plan:
    """What the trainer needs beside the config: everything that depends on the data."""

    total_steps: int
    warmup_steps: int
    eval_steps: int
    save_steps: int


class AlpacaTrainer(SFTTrainer):
    """`SFTTrainer` on finished rows, with the differences that the module docstring names."""

    model: Any
    loss_is_scaled_for_ga: Any = True

    def __init__(
        self,
        model: Any,
        tokenizer: PreTrainedTokenizerBase,
        rows: Rows,
        heldout: Sequence[EncodedRow],
        *,
        config: FinetuneConfig,
        plan: Plan,
        run_dir: Path,
        callback: TrainerCallback,
    ) -> None:
        self.settings, self.plan, self.run_dir = config, plan, run_dir
        self.staged: Path | None = None
        self.heldout = [(row.input_ids, row.labels) for row in heldout]
        self.real_tokens = torch.zeros((), dtype=torch.long, device=model.device)
        self.masters = {name: p.data for name, p in model.named_parameters() if p.requires_grad}
        super().__init__(
            model=model,
            args=sft_config(config, plan, run_dir, model.device.type),
            train_dataset=rows,
            data_collator=Collator(int(tokenizer.pad_token_id), packed=bool(config.packing)),
            processing_class=tokenizer,
            callbacks=[callback],
        )
        self.remove_callback(PrinterCallback)
        self._restore_masters()
        if ranks.size() > 1:  # no wrapper of torch's: gradients are added up here, once a step
            self.accelerator.prepare_model = partial(self.accelerator.prepare_model, evaluation_mode=True)
        if config.shard_base:
            divide_base(self.model)
        self.model_accepts_loss_kwargs = True
        self.fast_path = apply(
            self.model,
            config.kernels,
            longest_record=config.max_length,
            checkpointed=bool(config.gradient_checkpointing),
        )
        self.step_loss = torch.zeros((), device=model.device)

    def _send_telemetry(self) -> None:
        """Send nothing: TRL reports model type and hardware to the Hub at every start."""

    def _restore_masters(self) -> None:
        """Put the adapters back in float32, which TRL casts to bfloat16 on a quantised base."""
        for name, parameter in self.model.named_parameters():
            if name in self.masters:
                parameter.data = self.masters[name]
        self.masters = {}

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """Return AdamW, with LoRA+'s two learning rates if asked for."""
        if self.optimizer is None and self.settings.loraplus_ratio is not None:
            kind, options = self.get_optimizer_cls_and_kwargs(self.args, self.model)
            options |= {"loraplus_weight_decay": self.settings.weight_decay}
            self.optimizer = loraplus_optimizer(self.model, kind, options, self.settings.loraplus_ratio)
        return super().create_optimizer(model)

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> torch.Tensor:
        """Return the loss per supervised token of the whole optimizer step, this micro-batch's share of it."""
        self.real_tokens += ranks.total(inputs["real_tokens"].sum())
        return self.fast_path.loss(inputs, num_items_in_batch)

    def training_step(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> torch.Tensor:
        """Do one micro-batch, and stop the run if the loss of an optimizer step is not a number.

        Raises:
            NonFiniteLossError: NaN or infinity, before it can reach the weights.
        """
        loss: torch.Tensor = super().training_step(model, inputs, num_items_in_batch)  # type: ignore[no-untyped-call]
        loss = loss * ranks.size()  # each has its share of the step's loss, and the Trainer logs the mean
        self.step_loss += loss
        if not self.accelerator.sync_gradients:
            return loss
        ranks.add_up_gradients(p for p in self.model.parameters() if p.requires_grad)
        total, self.step_loss = self.step_loss.item(), torch.zeros_like(self.step_loss)
        if not math.isfinite(total):
            raise NonFiniteLossError(
                f"the loss is {total} at step {self.state.global_step + 1}: the learning rate "
                f"{self.settings.learning_rate} may be too high for precision {self.settings.precision}. "
                "Checkpoints up to here are finite and unharmed"
            )
        return loss

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Return this process's share of the rows, in the order that a single one would have."""
        if ranks.size() == 1:
            return super().get_train_dataloader()  # type: ignore[no-any-return, no-untyped-call]
        order = self._get_train_sampler()
        if not hasattr(order, "set_epoch"):
            order = SeedableRandomSampler(self.train_dataset, data_seed=self.settings.seed)
        batches = ranks.RankBatches(order, self.settings.micro_batch_size or 1)
        rows = ranks.WithBlank(self.train_dataset, self.data_collator.pad_id)
        return DataLoader(rows, batch_sampler=batches, collate_fn=self.data_collator)

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Score the held-out rows, each token counting once; note the best step and whether to stop early."""
        loss = mean_loss(row_losses(self.model, self.heldout))
        metrics = {"eval_loss": loss}
        self.log(dict(metrics))
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        self.control.should_save |= self.settings.keep_best and self._evaluations_since_best() == 0
        self.control.should_training_stop |= self._out_of_patience()
        return metrics

    def _evaluations_since_best(self) -> int:
        losses = [entry["eval_loss"] for entry in self.state.log_history if "eval_loss" in entry]
        return len(losses) - 1 - losses.index(min(losses)) if losses else 0

    def _out_of_patience(self) -> bool:
        patience = self.settings.early_stopping_patience
        return patience is not None and self._evaluations_since_best() >= patience

    def run(self, checkpoint: Path | None) -> None:
        """Train from a checkpoint or from the start, unless the checkpoint is that of the last step already."""
        if checkpoint is not None:
            self.state = TrainerState.load_from_json(str(checkpoint / "trainer_state.json"))
            if self.state.global_step >= self.plan.total_steps or self._out_of_patience():
                self._load_from_checkpoint(str(checkpoint))
                return
        self.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)

    def load_best(self) -> None:
        """Put the adapter of the best evaluated step back into the model."""
        best = self.run_dir / f"checkpoint-{self.state.best_global_step}"
        self.model.load_adapter(str(best), "default", is_trainable=True)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Write a checkpoint that appears whole or not at all, and rotate the older ones."""
        step = self.state.global_step
        if not all(torch.isfinite(p).all() for p in self.model.parameters() if p.requires_grad):
            raise NonFiniteLossError(f"the adapter holds NaN or infinity after step {step}; lower the learning rate")
        final = self.run_dir / f"checkpoint-{step}"
        if ranks.from_leader(lambda: fault_of(final)):
            with _files.new_directory(final) as staged:
                self._write_checkpoint(model, trial, staged)
                seal(staged, step)
        best = self.state.best_global_step if self.settings.keep_best else None
        rotate(self.run_dir, self.settings.save_limit, best)

    def _get_output_dir(self, trial: Any) -> str:
        """Return where the Trainer writes: the staging directory while a checkpoint is being saved."""
        return str(self.staged or self.run_dir)

    def _write_checkpoint(self, model: Any, trial: Any, staged: Path) -> None:
        self.staged = staged
        try:
            Trainer._save_checkpoint(self, model, trial)
        finally:
            self.staged = None
        written = staged / f"checkpoint-{self.state.global_step}"
        for item in written.iterdir():
            item.rename(staged / item.name)
        written.rmdir()
        ranks.exchange_files(staged, "rng_state_*.pth", _files.write_bytes)


def sft_config(config: FinetuneConfig, plan: Plan, run_dir: Path, device: str) -> SFTConfig:
    """Translate our settings into TRL's and add `trainer_options`, which may not repeat one of them.

    Raises:
        ConfigError: an option that SFTConfig does not know, or refuses.
    """
    micro, batch = config.micro_batch_size or 1, config.batch_size or 1
    options: dict[str, Any] = {
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
    try:
        return SFTConfig(**options, **config.trainer_options)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"config.trainer_options: {error}") from error
