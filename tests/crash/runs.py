"""Small runs to be killed: ours, and the same training by the stock trainer; both keep a log of the order of rows."""

import atexit
import contextlib
import functools
import gc
import json
import os
import shutil
import tempfile
from hashlib import sha256
from pathlib import Path

from tests.tiny_base import write_tiny_base

WORDS = ("red", "blue", "green", "brown", "white", "black", "gold", "pink", "teal", "grey", "olive")
ROWS = [
    {"instruction": f"Say the word {word}{' once more' * (n % 4)}.", "input": "", "output": f"{word} {word}"}
    for n, word in enumerate(WORDS * 2)
]
SETTINGS = {
    "max_steps": 4,
    "batch_size": 4,
    "micro_batch_size": 2,
    "packing": False,
    "precision": "fp32",
    "learning_rate": 5e-3,
    "validation_size": 0,
    "probe_size": 0,
    "save_steps": 2,
    "save_limit": 2,
    "kernels": {"compiled": False},
    "lora": {"rank": 4, "alpha": 8.0, "dropout": 0.1},
}
MATRIX = {
    "lora": {},
    "qlora": {"quantization": "nf4"},
    "packed": {"packing": True, "packed_length": 128, "max_length": 128, "batch_size": 2, "micro_batch_size": 1},
    "length-grouped": {"group_by_length": True},
    "accumulation-3": {"batch_size": 3, "micro_batch_size": 1},
    "keep-best": {"validation_size": 4, "keep_best": True},  # every evaluated step is saved
}
"""What the random kills run: ways to train in which a resumed run could differ from one that was not interrupted."""


def place():
    """Return a new directory, in memory where the system has such a place: this is about order, not about the disk."""
    shared = Path("/dev/shm")
    return Path(tempfile.mkdtemp(prefix="alpaca-crash-", dir=shared if shared.is_dir() else None))


def base_of(given):
    """Return the base model that was given, or make a tiny one that is there until this process ends."""
    if given is not None:
        return given
    directory = place()
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    write_tiny_base(directory)
    return directory


def warm():
    """Import once what every child needs, so that a fork can begin at once; one thread, since forks have no others.

    What takes long and is not in question is replaced: the health gate, which starts an interpreter and writes nothing,
    the drawing of the picture, though not its writing, and the search for the versions of packages.
    """
    import torch

    import alpaca_lora.cli.failures  # noqa: F401
    from alpaca_lora import _files, _runs
    from alpaca_lora.training import recipe

    torch.set_num_threads(1)
    recipe.check_adapter = lambda *_: ()
    recipe.draw_loss = lambda _, path: _files.write_bytes(path, b"picture" * 100)
    _runs.environment = functools.cache(_runs.environment)
    gc.collect()
    gc.freeze()


def log_order(directory):
    """Write into a new file of a directory which records each forward pass takes, and at which step."""
    from alpaca_lora.training.trainer import AlpacaTrainer

    directory.mkdir(exist_ok=True)
    path = directory / f"{len(list(directory.iterdir())):04}.jsonl"
    real = AlpacaTrainer.training_step

    def logged(self, model, inputs, num_items_in_batch=None):
        with path.open("a") as stream:
            stream.write(json.dumps([self.state.global_step, inputs["records"].flatten().tolist()]) + "\n")
        return real(self, model, inputs, num_items_in_batch)

    AlpacaTrainer.training_step = logged


def order_of(directory):
    """Return the records of each step over all attempts, and the steps whose records were not the same each time.

    A step that a kill cut short agrees with a whole one as far as it went.
    """
    steps, unequal = {}, set()
    for path in sorted(directory.iterdir()):
        passes = {}
        for line in path.read_text().splitlines():
            step, records = json.loads(line)
            passes.setdefault(step, []).append([record for record in records if record >= 0])
        for step, found in passes.items():
            shorter, longer = sorted((steps.get(step, []), found), key=len)
            if shorter != longer[: len(shorter)]:
                unequal.add(step)
            steps[step] = longer
    return steps, unequal


def train(base, directory, settings=None, order=None):
    """Fine-tune, and return the exit code that the command would give; notes are returned too."""
    from alpaca_lora.cli.failures import explain
    from alpaca_lora.config import FinetuneConfig
    from alpaca_lora.training import finetune

    settings = SETTINGS | (settings or {})
    if settings.get("keep_best"):
        settings["eval_steps"] = settings["save_steps"]
    if order:
        log_order(order)
    with Path(os.devnull).open("w") as quiet, contextlib.redirect_stderr(quiet):
        try:
            result = finetune(base, ROWS, directory, config=FinetuneConfig(**settings), progress=False)
        except (Exception, KeyboardInterrupt) as error:
            return {"code": explain(error, "finetune"), "said": f"{type(error).__name__}: {error}"}
    return {"code": 0, "notes": result.notes, "sha256": digest(directory)}


def digest(directory):
    """Return the SHA-256 of a finished run's adapter."""
    return sha256((Path(directory) / "adapter" / "adapter_model.safetensors").read_bytes()).hexdigest()


def train_stock(base, directory, resume):
    """Do the same training with trl's trainer as it comes, resumed as its users resume; return the adapter's digest."""
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer, set_seed
    from transformers.trainer_utils import get_last_checkpoint
    from trl import SFTConfig, SFTTrainer

    torch.set_num_threads(1)
    tokenizer = AutoTokenizer.from_pretrained(base)
    text = [f"{row['instruction']} {row['output']}" for row in ROWS]
    set_seed(42)
    options = {
        "max_steps": SETTINGS["max_steps"],
        "per_device_train_batch_size": SETTINGS["micro_batch_size"],
        "gradient_accumulation_steps": SETTINGS["batch_size"] // SETTINGS["micro_batch_size"],
        "save_steps": SETTINGS["save_steps"],
        "save_total_limit": SETTINGS["save_limit"],
        "learning_rate": SETTINGS["learning_rate"],
    }
    trainer = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32),
        args=SFTConfig(
            str(directory), report_to="none", use_cpu=True, bf16=False, disable_tqdm=True, max_length=128, **options
        ),
        train_dataset=Dataset.from_dict({"text": text}),
        processing_class=tokenizer,
        peft_config=LoraConfig(r=4, lora_alpha=8, lora_dropout=0.1, target_modules="all-linear"),
    )
    found = resume and Path(directory).is_dir() and get_last_checkpoint(str(directory))
    with Path(os.devnull).open("w") as quiet, contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet):
        trainer.train(resume_from_checkpoint=True if found else None)
    state = {name: value for name, value in trainer.model.state_dict().items() if "lora_" in name}
    return sha256(b"".join(state[name].numpy().tobytes() for name in sorted(state))).hexdigest()
