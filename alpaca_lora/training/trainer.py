"""Fine-tuning on TRL's `SFTTrainer`: the only module that imports it.

The trainer gets finished `input_ids` and `labels`, so none of its own templating, tokenising, truncating or packing
runs. Over `SFTTrainer` this subclass changes six things: the loss scores supervised tokens only, adapters stay in
float32, the held-out loss weighs every token alike, rows may be grouped by length in an order that the seed decides,
checkpoints appear whole or not at all, and a loss or gradient that is not finite ends the run. The forward pass is that
of `kernels`, wherever they fit the model.
"""

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader
from transformers import PreTrainedTokenizerBase, PrinterCallback, Trainer, TrainerCallback, TrainerState
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from alpaca_lora import _files
from alpaca_lora.adapters import loraplus_optimizer
from alpaca_lora.config import FinetuneConfig
from alpaca_lora.errors import ConfigError, NonFiniteLossError, RunError
from alpaca_lora.kernels import apply
from alpaca_lora.planning import checkpoint_bytes
from alpaca_lora.training import ranks
from alpaca_lora.training.answers import heldout_loss
from alpaca_lora.training.checkpoints import STATE, fault_of, make_room, rotate, rotate_if_full, size_of, write_manifest
from alpaca_lora.training.dataset import Collator, LengthGroups, Rows
from alpaca_lora.training.encoding import EncodedRow
from alpaca_lora.training.guards import Watchdog, refuse_non_finite
from alpaca_lora.training.options import Plan, trainer_options
from alpaca_lora.training.sharding import divide_base

_MOST_SKIPPED = 20
"""Steps in a row that fp16's scaler may skip before it is no longer looking for its scale."""


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
        run_id: str,
        origins: Sequence[str],
        callbacks: Sequence[TrainerCallback],
    ) -> None:
        self.settings, self.plan, self.run_dir, self.run_id, self.origins = config, plan, run_dir, run_id, origins
        self.step_records: list[torch.Tensor] = []
        self.skipped_steps = 0
        self.watchdog = Watchdog(int(model.config.get_text_config().vocab_size))
        self.staged: Path | None = None
        self.written: set[Path] = set()
        self.heldout = heldout
        self.real_tokens = torch.zeros((), dtype=torch.long, device=model.device)
        self.masters = {name: p.data for name, p in model.named_parameters() if p.requires_grad}
        self.checkpoint_bytes = checkpoint_bytes(sum(p.numel() for p in self.masters.values()), config)
        super().__init__(
            model=model,
            args=sft_config(config, plan, run_dir, model.device.type),
            train_dataset=rows,
            data_collator=Collator(int(tokenizer.pad_token_id), packed=bool(config.packing)),
            processing_class=tokenizer,
            callbacks=list(callbacks),
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
            noisy=config.neftune_alpha is not None,
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

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        """Load both, and give the next step the rate that this run has there: that of a shorter one may have ended."""
        super()._load_optimizer_and_scheduler(checkpoint)
        optimizer: Any = self.optimizer
        curve: Any = self.lr_scheduler
        for group, first, share in zip(optimizer.param_groups, curve.base_lrs, curve.lr_lambdas, strict=True):
            group["lr"] = first * share(curve.last_epoch)

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
            DivergenceError: the loss rose far above where it began, and stays there.
        """
        self.step_records.append(inputs.pop("records"))
        loss: torch.Tensor = super().training_step(model, inputs, num_items_in_batch)  # type: ignore[no-untyped-call]
        self.step_loss += loss
        loss = loss * ranks.size()  # each has its share of the step's loss, and the Trainer logs the mean
        if not self.accelerator.sync_gradients:
            return loss
        ranks.add_up_gradients(p for p in self.model.parameters() if p.requires_grad)
        total, self.step_loss = ranks.total(self.step_loss).item(), torch.zeros_like(self.step_loss)
        if not math.isfinite(total):
            self._refuse(f"loss is {total}")
        self.watchdog.see(total, self.state.global_step + 1)
        return loss

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        """Return the norm of a step's gradient, and stop the run if it is not a number.

        Raises:
            NonFiniteLossError: NaN or infinity, before it can reach the weights; with fp16, too often in a row.
        """
        norm = super()._get_grad_norm(model, grad_norm)  # type: ignore[no-untyped-call]
        self.skipped_steps = 0 if math.isfinite(float(norm)) else self.skipped_steps + 1
        if self.skipped_steps > (_MOST_SKIPPED if self.args.fp16 else 0):
            self._refuse(f"gradient is {float(norm)}")
        self.step_records = []
        return norm

    def _refuse(self, what: str) -> None:
        mine = [index for batch in self.step_records for index in batch.flatten().tolist() if index >= 0]
        refuse_non_finite(
            self.run_dir,
            self.model,
            what,
            step=self.state.global_step + 1,
            learning_rate=float(self._get_learning_rate()),
            records=[self.origins[index] for index in ranks.joined(mine)],
        )

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        """Return the sampler that decides the order of the rows."""
        if self.settings.group_by_length:
            return LengthGroups(self.train_dataset, int(self.settings.batch_size or 1), self.settings.seed)
        return super()._get_train_sampler(train_dataset)

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Return this process's share of the rows, in the order that a single one would have."""
        if ranks.size() == 1:
            return super().get_train_dataloader()
        return ranks.share_rows(self.train_dataset, self._get_train_sampler(), self.data_collator, self.settings)

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Score the held-out rows, each token counting once; note the best step and whether to stop early."""
        metrics = {"eval_loss": heldout_loss(self.model, self.heldout)}
        self.log(dict(metrics))
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
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
            self.state = TrainerState.load_from_json(str(checkpoint / STATE))
            if self.settings.keep_best and self.state.best_global_step:
                ranks.from_leader(self._best_checkpoint)  # one that is damaged is found before anything is trained
            if self.state.global_step >= self.plan.total_steps or self._out_of_patience():
                self._load_from_checkpoint(str(checkpoint))
                return
        self.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)

    def load_best(self) -> None:
        """Put the adapter of the best evaluated step back into the model."""
        self.model.load_adapter(str(self._best_checkpoint()), "default", is_trainable=True)

    def _best_checkpoint(self) -> Path:
        """Return the checkpoint of the best evaluated step.

        Raises:
            RunError: it does not agree with its manifest.
        """
        best = self.run_dir / f"checkpoint-{self.state.best_global_step}"
        if fault := fault_of(best, self.run_id):
            raise RunError(f"{best.name}, the best step, cannot be used: {fault}; train anew in another output_dir")
        return best

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Write a checkpoint that appears whole or not at all, and rotate the older ones; one that verifies is kept.

        Raises:
            DiskFullError: there is no room for it; older checkpoints are unharmed.
            NonFiniteLossError: the adapter is not finite.
        """
        step = self.state.global_step
        if not all(torch.isfinite(p).all() for p in self.model.parameters() if p.requires_grad):
            raise NonFiniteLossError(f"the adapter holds NaN or infinity after step {step}; lower the learning rate")
        best = self.state.best_global_step if self.settings.keep_best else None
        if ranks.from_leader(lambda: make_room(self.run_dir, step, self.run_id)):
            rotate_if_full(self.run_dir, self.checkpoint_bytes, best, self.run_id)
            final = self.run_dir / f"checkpoint-{step}"
            with _files.new_directory(final) as staged:
                self._write_checkpoint(model, trial, staged)
                if ranks.rank() == 0:
                    write_manifest(staged, step, self.run_id, ranks.size())
            self.checkpoint_bytes = size_of(final)
            self.written.add(final)
        rotate(self.run_dir, self.settings.save_limit, best, self.run_id)

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
    try:
        return SFTConfig(**trainer_options(config, plan, run_dir, device), **config.trainer_options)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"config.trainer_options: {error}") from error
