"""What the clean processes of the parity gate do; see `parity`."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from alpaca_lora import _files
from alpaca_lora.adapters import PROBES, load_adapter
from alpaca_lora.exports.diagnosis import compare_tensors
from alpaca_lora.exports.formats import FORMATS
from alpaca_lora.exports.merge import MergedWeights
from alpaca_lora.exports.origin import Origin
from alpaca_lora.exports.weights import DTYPES
from alpaca_lora.models import Decoding, encode_prompt, load_base_model, stop_ids
from alpaca_lora.records import Record

__all__ = ["PROMPTS", "answer", "main", "reference_model", "score"]

PROMPTS = (
    *PROBES,
    Record("Give three tips for sleeping well.", "", ""),
    Record("Translate the sentence into French.", "Good morning, my friend.", ""),
    Record("Write a short poem about the sea.", "", ""),
    Record("Sort the numbers from small to large.", "9, 4, 7, 1", ""),
)
"""What the parity gate asks; outputs are not looked at."""

_NEW_TOKENS = 24
_PRECISIONS: dict[str, Any] = {"f32": "fp32", "bf16": "bf16"}


def main(text: str) -> None:
    """Do one job of the gate: compute the reference, or compare an artefact with it.

    Args:
        text: the job as JSON; one with the key `artifact` compares.
    """
    job = json.loads(text)
    origin = Origin.from_json(job["origin"])
    if "artifact" in job:
        _compare(job, origin)
        return
    model = reference_model(origin, job["computed_in"])
    rows, lengths = answer(model, origin)
    width = max(map(len, rows))
    ids_BT = torch.tensor([row + [0] * (width - len(row)) for row in rows])
    tensors = {"ids": ids_BT, "lengths": torch.tensor([[len(row), prompt] for row, prompt in zip(rows, lengths, strict=True)])}
    save_file(tensors | {"logits": score(model, rows, lengths)}, job["reference"])


def reference_model(origin: Origin, computed_in: str) -> Any:
    """Return the adapter on its base, not merged, the base in the form that the origin names."""
    base = load_base_model(origin.base_dir, precision=_PRECISIONS[computed_in], device="cpu")
    if origin.into == "dequantized":
        weights = MergedWeights(origin)
        for name, parameter in base.named_parameters():
            if name in weights.shapes:
                parameter.data.copy_(weights.base(name))
    return load_adapter(base, origin.adapter_dir, origin.base_dir)


def answer(model: Any, origin: Origin) -> tuple[list[list[int]], list[int]]:
    """Answer every prompt greedily; return the ids of prompt and answer, and the length of each prompt."""
    tokenizer = origin.tokenizer()
    stops = stop_ids(tokenizer, model)
    config = Decoding(max_new_tokens=_NEW_TOKENS).to_generation_config(stops, int(tokenizer.pad_token_id))
    rows, lengths = [], []
    for record in PROMPTS:
        prompt = encode_prompt(tokenizer, origin.prompter.prompt(record))
        ids_BT = torch.tensor([prompt])
        output = model.generate(
            input_ids=ids_BT, attention_mask=torch.ones_like(ids_BT), generation_config=config
        )
        rows.append(output[0].tolist())
        lengths.append(len(prompt))
    return rows, lengths


def score(model: Any, rows: list[list[int]], lengths: list[int]) -> torch.Tensor:
    """Return the float32 logits (N, V) that predict the N answer tokens of all rows."""
    with torch.no_grad():
        parts = [
            model(input_ids=torch.tensor([row]), use_cache=False).logits[0, length - 1 : -1].float()
            for row, length in zip(rows, lengths, strict=True)
        ]
    return torch.cat(parts)


def _compare(job: dict[str, Any], origin: Origin) -> None:
    kind = FORMATS[job["format"]]
    model = kind.load(Path(job["artifact"]), DTYPES[job["computed_in"]], origin.base_dir).eval()
    reference = load_file(job["reference"])
    sizes = reference["lengths"].tolist()
    rows = [ids[:size] for ids, (size, _) in zip(reference["ids"].tolist(), sizes, strict=True)]
    save_file({"logits": score(model, rows, [prompt for _, prompt in sizes])}, job["found"])
    weights, state = MergedWeights(origin), model.state_dict()
    names = [name for name in weights.names if name in weights.loaded]
    faults = compare_tensors(names, state.get, weights.base, weights.merged, job["rounding"])
    result = {"tensors": len(names), "faults": [vars(fault) for fault in faults]}
    _files.write_json(Path(job["found"]).with_suffix(".json"), result)
