# ruff: noqa: I001, PLC0415  # its settings must stand in the environment, and it must come before what it adapts
"""Unsloth on its CPU backend, by the calls of its notebooks: `FastLanguageModel`, then the `SFTTrainer` that it adapts.

Tried for `tuned`, see benchmarks/README.md.
"""

import os

from probe import TARGETS, Cell, Probe, read_cell

MODES = {
    "defaults": {"use_gradient_checkpointing": "unsloth"},
    "tuned": {"use_gradient_checkpointing": False},
}
LOADING = ("use_gradient_checkpointing",)


def train(cell: Cell, probe: Probe) -> None:
    """Train one epoch and save the adapter."""
    os.environ |= {name: value for name, value in cell.settings.items() if name.isupper()}
    import unsloth
    from datasets import Dataset
    from trainer_probe import TrainerProbe, common_arguments, load_start
    from trl import SFTConfig, SFTTrainer

    loading = {name: cell.settings[name] for name in LOADING}
    model, tokenizer = unsloth.FastLanguageModel.from_pretrained(
        str(cell.base),
        max_seq_length=cell.workload["max_length"],
        dtype=cell.dtype,
        load_in_4bit=cell.quantization == "nf4",
        **loading,
    )
    model = unsloth.FastLanguageModel.get_peft_model(
        model,
        r=cell.recipe["rank"],
        lora_alpha=cell.recipe["alpha"],
        lora_dropout=0,
        bias="none",
        target_modules=list(TARGETS),
        **loading,
    )
    load_start(model, cell.init)
    arguments = common_arguments(cell) | {
        "dataset_kwargs": {"skip_prepare_dataset": True},
        "max_length": cell.workload["max_length"],
        "train_sampling_strategy": "sequential",
    }
    chosen = {name: value for name, value in cell.settings.items() if name.islower() and name not in LOADING}
    trainer = SFTTrainer(
        model=model,
        args=SFTConfig(**(arguments | chosen)),
        train_dataset=Dataset.from_list(cell.rows),
        processing_class=tokenizer,
        callbacks=[TrainerProbe(probe)],
    )
    trainer.train()
    probe.finish()
    model.save_pretrained(str(cell.out / "adapter"))


if __name__ == "__main__":
    _cell = read_cell(MODES)
    train(_cell, Probe(_cell))
