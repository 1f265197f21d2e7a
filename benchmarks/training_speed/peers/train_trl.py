"""Raw TRL: `SFTTrainer` on a model that was loaded by the caller, with a LoRA config and ids that are ready.

Tried for `tuned`, see benchmarks/README.md: checkpointing off, padding-free rows of a whole step, no autocast. On a GPU
`tuned` is its Liger kernels.
"""

from datasets import Dataset
from peft import LoraConfig
from probe import TARGETS, Cell, Probe, read_cell
from trainer_probe import TrainerProbe, common_arguments, load_start
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig
from trl import SFTConfig, SFTTrainer

MODES = {
    "defaults": {},
    "tuned": {
        "gradient_checkpointing": False,
        "padding_free": True,
        "per_device_train_batch_size": 8,
        "gradient_accumulation_steps": 1,
    },
}
ON_CUDA = {"defaults": {}, "tuned": {"use_liger_kernel": True}}


def quantized(cell: Cell) -> BitsAndBytesConfig | None:
    """Return how the linear layers are held; None as they are."""
    if cell.quantization == "none":
        return None
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=cell.dtype,
    )


def train(cell: Cell, probe: Probe) -> None:
    """Train one epoch and save the adapter."""
    arguments = common_arguments(cell) | {
        "max_length": None,
        "dataset_kwargs": {"skip_prepare_dataset": True},
        "train_sampling_strategy": "sequential",
    }
    trainer = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(
            cell.base, dtype=cell.dtype, quantization_config=quantized(cell), device_map={"": cell.device}
        ),
        args=SFTConfig(**(arguments | cell.settings)),
        train_dataset=Dataset.from_list(cell.rows),
        processing_class=AutoTokenizer.from_pretrained(cell.base),
        peft_config=LoraConfig(
            r=cell.recipe["rank"],
            lora_alpha=cell.recipe["alpha"],
            target_modules=list(TARGETS),
            task_type="CAUSAL_LM",
        ),
        callbacks=[TrainerProbe(probe)],
    )
    load_start(trainer.model, cell.init)
    trainer.train()
    probe.finish()
    trainer.model.save_pretrained(cell.out / "adapter")


if __name__ == "__main__":
    _cell = read_cell(MODES, ON_CUDA)
    train(_cell, Probe(_cell))
