"""LitGPT: its LoRA model under Fabric, its head in chunks and its chunked loss, in a loop like that of `finetune_lora`.

Its own loop takes the mean of a micro-batch and cannot clip; here each micro-batch is weighted by its share of the
step's supervised tokens and the gradient is clipped, as everywhere else. That costs no time worth mentioning.

Tried for `tuned`, see benchmarks/README.md.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning
import torch
from litgpt.data.base import get_sft_collate_fn
from litgpt.lora import GPT, Config, mark_only_lora_as_trainable
from litgpt.scripts.convert_hf_checkpoint import convert_hf_checkpoint
from litgpt.utils import chunked_cross_entropy, get_default_supported_precision, instantiate_torch_optimizer
from probe import Cell, Probe, read_cell
from safetensors.torch import load_file, save_file

MODES = {
    "defaults": {"precision": None, "micro_batch_size": 4},
    "tuned": {"precision": None, "micro_batch_size": 4},
}
ARCHITECTURE = "SmolLM2-135M-Instruct"
QKV = ("q_proj", "k_proj", "v_proj")
LINEAR = {
    "self_attn.o_proj": "attn.proj",
    "mlp.gate_proj": "mlp.fc_1",
    "mlp.up_proj": "mlp.fc_2",
    "mlp.down_proj": "mlp.proj",
}


def converted(cell: Cell) -> Path:
    """Return the directory of the base model in the tool's own format, which is made once."""
    directory = cell.out.parent / "litgpt-base"
    if not (directory / "lit_model.pth").is_file():
        directory.mkdir(exist_ok=True)
        for file in cell.base.iterdir():
            (directory / file.name).unlink(missing_ok=True)
            (directory / file.name).symlink_to(file)
        convert_hf_checkpoint(directory, model_name=ARCHITECTURE)
    return directory


def joined(start: dict[str, torch.Tensor], layers: int) -> dict[str, torch.Tensor]:
    """Translate an adapter from PEFT's names, one matrix each, to the tool's, where q, k and v are one."""
    state = {}
    for layer in range(layers):
        theirs, ours = f"base_model.model.model.layers.{layer}", f"transformer.h.{layer}"
        for part in ("lora_A", "lora_B"):
            tensors = [start[f"{theirs}.self_attn.{name}.{part}.weight"] for name in QKV]
            state[f"{ours}.attn.qkv.{part}"] = torch.cat(tensors)
            for name, own in LINEAR.items():
                state[f"{ours}.{own}.{part}"] = start[f"{theirs}.{name}.{part}.weight"]
    return state


def split(state: dict[str, torch.Tensor], config: Config) -> dict[str, torch.Tensor]:
    """Translate back: adapters, or their gradients, under PEFT's names."""
    sizes = [config.n_head * config.head_size, *[config.n_query_groups * config.head_size] * 2]
    found = {}
    for layer in range(config.n_layer):
        theirs, ours = f"base_model.model.model.layers.{layer}", f"transformer.h.{layer}"
        for part in ("lora_A", "lora_B"):
            whole = state[f"{ours}.attn.qkv.{part}"]
            for name, tensor in zip(QKV, whole.chunk(3) if part == "lora_A" else whole.split(sizes), strict=True):
                found[f"{theirs}.self_attn.{name}.{part}"] = tensor
            for name, own in LINEAR.items():
                found[f"{theirs}.{name}.{part}"] = state[f"{ours}.{own}.{part}"]
    return found


def micro_batches(cell: Cell) -> Iterator[list[dict[str, torch.Tensor]]]:
    """Yield the padded micro-batches of each step."""
    micro = cell.settings["micro_batch_size"]
    collate = get_sft_collate_fn()
    counts = {"token_counts": {"raw": 0, "raw_plus_prompt_template": 0}}  # what its collator asks for
    for step in cell.workload["steps"]:
        rows = [{key: torch.tensor(value) for key, value in row.items()} | counts for row in step]
        yield [collate(rows[start : start + micro]) for start in range(0, len(rows), micro)]


def adapter(model: Any) -> dict[str, torch.nn.Parameter]:
    """Return the trainable parameters by name."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def train(cell: Cell, probe: Probe) -> None:
    """Train one epoch and save the adapter under PEFT's names."""
    directory = converted(cell)
    options = dict.fromkeys(("lora_query", "lora_key", "lora_value", "lora_projection", "lora_mlp"), True)
    config = Config.from_file(
        directory / "model_config.yaml", lora_r=cell.recipe["rank"], lora_alpha=cell.recipe["alpha"], **options
    )
    usual = get_default_supported_precision(training=True) if cell.precision == "bf16" else "32-true"
    precision = cell.settings["precision"] or usual
    fabric = lightning.Fabric(accelerator="cpu", devices=1, precision=precision)
    with fabric.init_module(empty_init=False):
        model = GPT(config)
    mark_only_lora_as_trainable(model)
    optimizer_options = {"lr": cell.recipe["learning_rate"], "weight_decay": 0.0}
    optimizer_spec = {"class_path": "torch.optim.AdamW", "init_args": optimizer_options}
    weights = torch.load(directory / "lit_model.pth", mmap=True)
    start = load_file(cell.init / "adapter_model.safetensors")
    model.load_state_dict(weights | joined(start, config.n_layer), strict=True)
    model.max_seq_length = cell.workload["max_length"]
    wrapped = fabric.setup_module(model)
    optimizer = fabric.setup_optimizers(instantiate_torch_optimizer(optimizer_spec, wrapped.parameters()))
    probe.begin()
    for batches in micro_batches(cell):
        probe.losses.append(take_step(cell, probe, fabric, wrapped, optimizer, batches))
        probe.end_step()
    probe.finish()
    (cell.out / "adapter").mkdir(exist_ok=True)
    tensors = {f"{name}.weight": t.detach().float().contiguous() for name, t in split(adapter(model), config).items()}
    save_file(tensors, cell.out / "adapter" / "adapter_model.safetensors")
    peft_config = (cell.init / "adapter_config.json").read_text(encoding="utf-8")
    (cell.out / "adapter" / "adapter_config.json").write_text(peft_config, encoding="utf-8")


def take_step(
    cell: Cell, probe: Probe, fabric: Any, model: Any, optimizer: Any, batches: list[dict[str, torch.Tensor]]
) -> float:
    """Take one optimizer step and return its loss per supervised token."""
    counts = [int((batch["labels"][:, 1:] != -100).sum()) for batch in batches]
    total = torch.zeros(())
    for index, (batch, count) in enumerate(zip(batches, counts, strict=True)):
        with fabric.no_backward_sync(model, enabled=index + 1 < len(batches)):
            logits = model(batch["input_ids"], lm_head_chunk_size=128)
            logits[-1] = logits[-1][..., :-1, :]
            loss = chunked_cross_entropy(logits, batch["labels"][..., 1:]) * (count / sum(counts))
            fabric.backward(loss)
        total += loss.detach()
    if not probe.ends:
        gradients = {name: parameter.grad for name, parameter in adapter(model.module).items()}
        probe.keep_gradients(split(gradients, model.config))
    fabric.clip_gradients(model, optimizer, max_norm=cell.recipe["max_grad_norm"])
    optimizer.step()
    optimizer.zero_grad()
    return float(total)


if __name__ == "__main__":
    _cell = read_cell(MODES)
    train(_cell, Probe(_cell))
