"""What the clean processes of the parity gate do; see `parity`."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import torch
from safetensors.torch import load_file, save_file

from alpaca_lora import _files
from alpaca_lora.adapters import PROBES, load_adapter
from alpaca_lora.adapters.updates import stored_names
from alpaca_lora.exports.diagnosis import compare_tensors
from alpaca_lora.exports.formats import FORMATS
from alpaca_lora.exports.merge import MergedWeights
from alpaca_lora.exports.origin import Into, Origin
from alpaca_lora.exports.parity import compare_logits
from alpaca_lora.exports.weights import DTYPES, load_on_cpu
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


def main(text: str) -> None:
    """Do one job, which `parity` describes as JSON; results go to the files that it names."""
    job = json.loads(text)
    {"reference": _refer, "artifact": _compare, "bases": _weigh_bases}[job["task"]](
        job, Origin.from_json(job["origin"])
    )


def _refer(job: dict[str, Any], origin: Origin) -> None:
    """Compute the logits of the adapter on its base."""
    model = reference_model(origin, job["computed_in"])
    rows, lengths = answer(model, origin)
    width = max(map(len, rows))
    ids_BT = torch.tensor([row + [0] * (width - len(row)) for row in rows])
    tensors = {
        "ids": ids_BT,
        "lengths": torch.tensor([[len(row), prompt] for row, prompt in zip(rows, lengths, strict=True)]),
    }
    save_file(tensors | {"logits": score(model, rows, lengths)}, job["reference"])


def reference_model(origin: Origin, computed_in: str) -> Any:
    """Return the adapter on its base, not merged, the base in the form that the origin names."""
    base = load_on_cpu(origin.base_dir, DTYPES[computed_in])
    if origin.into == "dequantized":
        weights = MergedWeights(origin)
        for name, parameter in base.named_parameters():
            if name in weights.shapes:
                parameter.data.copy_(weights.base(name))
    return load_adapter(base, origin.adapter_dir, origin.base_dir)


def answer(model: Any, origin: Origin) -> tuple[list[list[int]], list[int]]:
    """Answer every prompt greedily; return the ids of prompt and answer, and the length of each prompt."""
    tokenizer = origin.tokenizer()
    stops, pad = stop_ids(tokenizer, model), int(tokenizer.pad_token_id)
    prompts = [encode_prompt(tokenizer, origin.prompter.prompt(record)) for record in PROMPTS]
    width = max(map(len, prompts))
    mask_BT = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in prompts])
    ids_BT = torch.tensor([[pad] * (width - len(row)) + row for row in prompts])
    config = Decoding(max_new_tokens=_NEW_TOKENS).to_generation_config(stops, pad)
    answers = model.generate(input_ids=ids_BT, attention_mask=mask_BT, generation_config=config)[:, width:].tolist()
    return [row + _until(stops, ids) for row, ids in zip(prompts, answers, strict=True)], [len(row) for row in prompts]


def _until(stops: Sequence[int], ids: list[int]) -> list[int]:
    """Return the ids up to the first stop id, that one included."""
    end = next((place for place, token in enumerate(ids) if token in stops), len(ids) - 1)
    return ids[: end + 1]


def score(model: Any, rows: list[list[int]], lengths: list[int]) -> torch.Tensor:
    """Return the float32 logits (N, V) that predict the N answer tokens of all rows."""
    with torch.no_grad():
        parts = [
            model(input_ids=torch.tensor([row]), use_cache=False).logits[0, length - 1 : -1].float()
            for row, length in zip(rows, lengths, strict=True)
        ]
    return torch.cat(parts)


def _weigh_bases(job: dict[str, Any], origin: Origin) -> None:
    """Compare both forms of the base with the one that the adapter was trained on, held in four bits."""
    held = load_base_model(origin.base_dir, precision=origin.precision, quantization=origin.quantization, device="cpu")
    model = load_adapter(held, origin.adapter_dir, origin.base_dir)
    rows, lengths = answer(model, origin)
    trained_NV = score(model, rows, lengths)
    del model, held
    found = {}
    for into in get_args(Into):
        logits_NV = score(reference_model(origin.held(into), job["computed_in"]), rows, lengths)
        found[into] = compare_logits(trained_NV, logits_NV)["mean_kl"]
    _files.write_json(Path(job["found"]), found)


def _compare(job: dict[str, Any], origin: Origin) -> None:
    """Compute the logits of an artefact on the reference's ids, and compare its weights with what they should be."""
    kind = FORMATS[job["format"]]
    model = kind.load(Path(job["artifact"]), DTYPES[job["computed_in"]], origin.base_dir).eval()
    reference = load_file(job["reference"])
    sizes = reference["lengths"].tolist()
    rows = [ids[:size] for ids, (size, _) in zip(reference["ids"].tolist(), sizes, strict=True)]
    save_file({"logits": score(model, rows, [prompt for _, prompt in sizes])}, job["found"])
    weights, state = MergedWeights(origin), model.state_dict()
    if not state.keys() >= set(weights.names):
        state = stored_names(model, state)
    faults = compare_tensors(weights.names, state.get, weights.base, weights.merged, job["rounding"])
    result = {"tensors": len(weights.names), "faults": [vars(fault) for fault in faults]}
    _files.write_json(Path(job["found"]).with_suffix(".json"), result)
