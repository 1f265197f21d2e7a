"""The probe as a callback of transformers' Trainer, and what all tools built on it are given alike."""

from pathlib import Path
from typing import Any

from peft import set_peft_model_state_dict
from probe import Cell, Probe
from safetensors.torch import load_file
from transformers import TrainerCallback


class TrainerProbe(TrainerCallback):
    """Passes on to the probe what the Trainer does."""

    def __init__(self, probe: Probe) -> None:
        self.probe = probe

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Start the clock."""
        self.probe.begin()

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Keep the first gradients, which are clipped by now: their direction is what is compared."""
        if state.global_step == 0:
            parameters = kwargs["model"].named_parameters()
            self.probe.keep_gradients({peft_name(name): p.grad for name, p in parameters if p.requires_grad})

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Take the time."""
        self.probe.end_step()

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Keep the loss of the step."""
        if "loss" in kwargs["logs"]:
            self.probe.losses.append(float(kwargs["logs"]["loss"]))


def peft_name(name: str) -> str:
    """Return a parameter's name without the adapter's own, as it stands in the file."""
    return name.removesuffix(".default.weight").removesuffix(".weight")


def load_start(model: Any, init: Path) -> None:
    """Put the common start into a freshly made adapter."""
    outcome = set_peft_model_state_dict(model, load_file(init / "adapter_model.safetensors"))
    if outcome.unexpected_keys:
        raise KeyError(f"the adapter has no {outcome.unexpected_keys[:3]}")


def common_arguments(cell: Cell) -> dict[str, Any]:
    """Return the arguments of the Trainer that are the same for everybody: the recipe, and a look at every step."""
    micro = 4
    return {
        "output_dir": str(cell.out / "trainer"),
        "per_device_train_batch_size": micro,
        "gradient_accumulation_steps": cell.step_size // micro,
        "num_train_epochs": 1,
        "learning_rate": cell.recipe["learning_rate"],
        "lr_scheduler_type": "constant",
        "weight_decay": 0.0,
        "max_grad_norm": cell.recipe["max_grad_norm"],
        "logging_steps": 1,
        "logging_first_step": True,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": cell.device == "cpu",
        "bf16": cell.precision == "bf16",
        "seed": 0,
    }
