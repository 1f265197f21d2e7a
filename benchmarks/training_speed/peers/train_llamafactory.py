# ruff: noqa: I001, PLC0415  # what stands in for torchaudio comes first
"""LLaMA-Factory: `run_exp` with the arguments of its example YAML files, on a dataset that is tokenised already.

Its import asks for torchaudio, which has no build for a CPU-only torch 2.13; it is needed for sound files only, so an
empty module stands in for it.

Tried for `tuned`, see benchmarks/README.md.
"""

import importlib.machinery
import json
import sys
import types
from pathlib import Path

from probe import Cell, Probe, read_cell

MODES = {
    "defaults": {},
    "tuned": {
        "disable_gradient_checkpointing": True,
        "neat_packing": True,
        "per_device_train_batch_size": 1,
        "gradient_accumulation_steps": 1,
    },
}


def stand_in(name: str) -> None:
    """Let an import of a module succeed that nothing here uses."""
    module = types.ModuleType(name)
    module.__spec__ = importlib.machinery.ModuleSpec(name, None)
    sys.modules[name] = module


def base_of(cell: Cell) -> Path:
    """Return the base model; in float32 one whose config.json says so, as the tool has no other word for it."""
    if cell.precision == "bf16":
        return cell.base
    directory = cell.out / "base"
    directory.mkdir(exist_ok=True)
    for file in cell.base.iterdir():
        (directory / file.name).symlink_to(file)
    config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    (directory / "config.json").unlink()
    (directory / "config.json").write_text(json.dumps(config | {"dtype": "float32"}), encoding="utf-8")
    return directory


def write_dataset(cell: Cell, path: Path) -> None:
    """Save the rows as the tool saves its own tokenised data: one record a row, or one step a row when packed."""
    from datasets import Dataset, DatasetDict

    empty = {"images": None, "videos": None, "audios": None}
    if cell.settings.get("neat_packing"):
        rows = [join(step) | empty for step in cell.workload["steps"]]
    else:
        rows = [row | {"attention_mask": [1] * len(row["input_ids"])} | empty for row in cell.rows]
    DatasetDict({"train": Dataset.from_list(rows)}).save_to_disk(str(path))


def join(step: list[dict[str, list[int]]]) -> dict[str, list[int]]:
    """Return the records of a step as one packed row, whose mask numbers the records from 1.

    It is filled up to a multiple of 8, as its collator does with everything but the positions.
    """
    gap = -sum(len(row["input_ids"]) for row in step) % 8
    return {
        "input_ids": [token for row in step for token in row["input_ids"]] + [0] * gap,
        "labels": [label for row in step for label in row["labels"]] + [-100] * gap,
        "attention_mask": [number for number, row in enumerate(step, 1) for _ in row["input_ids"]] + [0] * gap,
        "position_ids": [position for row in step for position in range(len(row["input_ids"]))] + [0] * gap,
    }


def train(cell: Cell, probe: Probe) -> None:
    """Train one epoch; the tool saves the adapter itself."""
    stand_in("torchaudio")
    from llamafactory.train.tuner import run_exp
    from trainer_probe import TrainerProbe, common_arguments

    class Finisher(TrainerProbe):
        def on_train_end(self, *_: object, **__: object) -> None:
            self.probe.finish()

    write_dataset(cell, cell.out / "tokenised")
    arguments = common_arguments(cell) | {
        "output_dir": str(cell.out / "adapter"),
        "overwrite_output_dir": True,
        "stage": "sft",
        "do_train": True,
        "model_name_or_path": str(base_of(cell)),
        "adapter_name_or_path": str(cell.init),
        "finetuning_type": "lora",
        "lora_rank": cell.recipe["rank"],
        "lora_alpha": cell.recipe["alpha"],
        "lora_target": "all",
        "template": "alpaca",
        "dataset": "workload",  # must be named, and is then not read
        "tokenized_path": str(cell.out / "tokenised"),
        "cutoff_len": cell.workload["max_length"],
        "disable_shuffling": True,
    }
    run_exp(arguments | cell.settings, callbacks=[Finisher(probe)])


if __name__ == "__main__":
    _cell = read_cell(MODES)
    train(_cell, Probe(_cell))
