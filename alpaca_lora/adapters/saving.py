"""Write an adapter directory: PEFT's two files, the tokenizer with its chat template, and the sidecar."""

import copy
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel, get_peft_model_state_dict
from safetensors.torch import save_file
from transformers import PreTrainedTokenizerBase

from alpaca_lora import _files
from alpaca_lora.adapters.sidecar import WEIGHTS, Sidecar
from alpaca_lora.models import encode_prompt, prefix_ids
from alpaca_lora.prompts import Prompter

logger = logging.getLogger(__name__)

CONFIG = "adapter_config.json"


def adapter_tensors(model: PeftModel) -> dict[str, torch.Tensor]:
    """Return copies of the adapter's tensors on the CPU, under the names of PEFT's file format."""
    return {name: tensor.detach().cpu().clone() for name, tensor in sorted(get_peft_model_state_dict(model).items())}


def save_adapter(
    model: PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    directory: Path,
    *,
    sidecar: Sidecar,
    initial: Mapping[str, torch.Tensor] | None = None,
) -> None:
    """Write the adapter so that it appears complete or not at all.

    Args:
        model: base and trained adapter.
        tokenizer: the base's tokenizer; saved with a chat template that renders the training prompt.
        directory: where the adapter shall be; an older one is replaced.
        sidecar: what the adapter has to know about its training.
        initial: the tensors that the adapter started from, needed when the start was taken out of the base (PiSSA). The
            adapter is then written as the difference of both, of twice the rank, which fits the unchanged base.
    """
    tensors = adapter_tensors(model)
    config: Any = copy.deepcopy(model.peft_config["default"])
    if initial is not None:
        tensors = _difference(tensors, initial)
        config.r *= 2
        config.lora_alpha *= 2**0.5 if config.use_rslora else 2
    config.init_lora_weights = True
    config.inference_mode = True
    config.base_model_name_or_path = sidecar.base_model
    config.target_modules = sorted(config.target_modules)
    prompter = Prompter(sidecar.prompt_template())
    saved = copy.deepcopy(tokenizer)
    saved.chat_template = trained_chat_template(tokenizer, prompter)
    with _files.new_directory(directory) as staged:
        save_file(tensors, staged / WEIGHTS, metadata={"format": "pt"})
        config.save_pretrained(str(staged))
        saved.save_pretrained(staged)
        sidecar.write(staged)


def trained_chat_template(tokenizer: PreTrainedTokenizerBase, prompter: Prompter) -> str | None:
    """Return the template for transformers' chat functions, or None where it would not give the trained ids.

    A tokenizer that treats the first word of a text apart sees another first word behind a written-out
    beginning-of-text token; then no chat template is better than one that is nearly right.
    """
    chat_template = prompter.chat_template(bos=bool(prefix_ids(tokenizer)))
    messages = [{"role": "user", "content": "Say hello."}]
    chat = tokenizer.apply_chat_template(messages, chat_template=chat_template, tokenize=True, return_dict=False)
    if chat == encode_prompt(tokenizer, prompter.generate_prompt("Say hello.")):
        return chat_template
    logger.warning("no chat template is saved: this tokenizer reads it differently from the prompts of training")
    return None


def _difference(tensors: Mapping[str, torch.Tensor], initial: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return B·A − B₀·A₀ as one pair of matrices: [A; A₀] and [B, −B₀]."""
    joined = {}
    for name, tensor in tensors.items():
        if ".lora_A." in name:
            joined[name] = torch.cat([tensor, initial[name]], dim=0)
        elif ".lora_B." in name:
            joined[name] = torch.cat([tensor, -initial[name]], dim=1)
        else:
            joined[name] = tensor
    return joined
