"""Axolotl: a config like its LoRA examples, on rows that are tokenised already; the probe comes in as a plugin.

Its fused LoRA kernels switch themselves on and ask for CUDA, so they are off. It averages micro-batches whatever their
tokens, so a step is one micro-batch here: only then is its loss the one that the others have. Its `bf16: auto` asks for
a GPU and takes float16 otherwise; `bf16: true` is refused without one, so `tuned` computes in float32.
"""

import json
from pathlib import Path
from typing import Any

from axolotl.cli.config import load_cfg
from axolotl.common.datasets import load_datasets
from axolotl.integrations.base import BasePlugin
from axolotl.train import train as run_training
from probe import Cell, Probe, read_cell
from trainer_probe import TrainerProbe

ANY = {
    "lora_mlp_kernel": False,
    "lora_qkv_kernel": False,
    "lora_o_kernel": False,
    "micro_batch_size": 8,
    "gradient_accumulation_steps": 1,
}
MODES: dict[str, dict[str, Any]] = {
    "defaults": ANY | {"gradient_checkpointing": True},
    "tuned": ANY | {"gradient_checkpointing": False, "bf16": False, "fp16": False},
}
PROBES: list[Probe] = []


class ProbePlugin(BasePlugin):
    """Adds the probe to the trainer that Axolotl makes."""

    def add_callbacks_post_trainer(self, cfg: Any, trainer: Any) -> list[Any]:
        """Return the callback."""
        return [Finisher(PROBES[0])]


class Finisher(TrainerProbe):
    """The probe, which also writes the result: Axolotl saves the adapter right after training."""

    def on_train_end(self, *_: Any, **__: Any) -> None:
        """Write the result."""
        self.probe.finish()


def configure(cell: Cell) -> Path:
    """Write rows and config, and return the config's path."""
    rows = cell.out / "rows.jsonl"
    lines = [json.dumps(row | {"attention_mask": [1] * len(row["input_ids"])}) for row in cell.rows]
    rows.write_text("\n".join(lines), encoding="utf-8")
    config = {
        "base_model": str(cell.base),
        "adapter": "lora",
        "lora_model_dir": str(cell.init),
        "lora_r": cell.recipe["rank"],
        "lora_alpha": cell.recipe["alpha"],
        "lora_dropout": 0.0,
        "lora_target_linear": True,
        "datasets": [{"path": str(rows), "ds_type": "json", "type": None}],
        "dataset_prepared_path": str(cell.out / "prepared"),
        "shuffle_merged_datasets": False,
        "curriculum_sampling": True,
        "val_set_size": 0,
        "sequence_len": cell.workload["max_length"],
        "num_epochs": 1,
        "optimizer": "adamw_torch_fused",
        "lr_scheduler": "constant",
        "learning_rate": cell.recipe["learning_rate"],
        "max_grad_norm": cell.recipe["max_grad_norm"],
        "weight_decay": 0.0,
        "bf16": "auto",
        "logging_steps": 1,
        "save_strategy": "no",
        "output_dir": str(cell.out / "adapter"),
        "plugins": ["train_axolotl.ProbePlugin"],
    }
    path = cell.out / "config.yaml"
    path.write_text(json.dumps(config | cell.settings), encoding="utf-8")  # JSON is YAML too
    return path


def train(cell: Cell, probe: Probe) -> None:
    """Train one epoch; Axolotl saves the adapter itself."""
    PROBES.append(probe)
    cfg = load_cfg(str(configure(cell)))
    run_training(cfg=cfg, dataset_meta=load_datasets(cfg=cfg))


if __name__ == "__main__":
    import train_axolotl  # the plugin is found under this name, and must see the same probe

    _cell = read_cell(MODES)
    train_axolotl.train(_cell, Probe(_cell))
