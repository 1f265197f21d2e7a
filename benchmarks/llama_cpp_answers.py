"""Does llama.cpp give the answers that the adapter on its base gives here?

    alpaca-lora finetune --max-steps 5 --probe-size 2 --validation-size 8 --output-dir runs/five-steps
    npm install --ignore-scripts --prefix /tmp/llama node-llama-cpp
    python benchmarks/llama_cpp_answers.py --adapter runs/five-steps --node /tmp/llama

Exports the adapter in the number formats named, asks llama.cpp (the binary in the npm package, on the processor) the
same eight prompts as transformers, greedily, and prints two shares of equal tokens: of the answers as llama.cpp gives
them, where one token that differs may change all that follow, and of the next tokens after our own answer so far.
"""

import argparse
import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import torch

from alpaca_lora.adapters import load_adapter
from alpaca_lora.exports import export
from alpaca_lora.exports.gguf_reading import find_gguf
from alpaca_lora.exports.measuring import PROMPTS
from alpaca_lora.exports.origin import Origin, resolve
from alpaca_lora.models import Decoding, encode_prompt, load_base_model, stop_ids

ASK = Path(__file__).parents[1] / "tests" / "exports" / "llama_cpp.mjs"
NEW_TOKENS = 48


def our_answers(origin: Origin) -> tuple[list[list[int]], list[int]]:
    """Return the greedy answer to each prompt of the adapter on its base, in float32, and the ids that end one."""
    tokenizer = origin.tokenizer()
    base = load_base_model(origin.base_dir, precision="fp32", device="cpu")
    model: Any = load_adapter(base, origin.adapter_dir, origin.base_dir)
    stops = stop_ids(tokenizer, model)
    config = Decoding(max_new_tokens=NEW_TOKENS).to_generation_config(stops, int(tokenizer.pad_token_id))
    answers = []
    for record in PROMPTS:
        ids_BT = torch.tensor([encode_prompt(tokenizer, origin.prompter.prompt(record))])
        row = model.generate(input_ids=ids_BT, generation_config=config)[0, ids_BT.shape[1] :].tolist()
        end = next((place for place, token in enumerate(row) if token in stops), len(row))
        answers.append(row[:end])
    return answers, list(stops)


def their_answers(node: Path, model: Path, origin: Origin, forced: list[list[int]]) -> list[dict[str, Any]]:
    """Return what llama.cpp reads, computes and answers for each prompt."""
    with tempfile.TemporaryDirectory() as folder:
        request, answers = Path(folder, "request.json"), Path(folder, "answers.json")
        prompts = [origin.prompter.prompt(record) for record in PROMPTS]
        job = {"model": str(model), "prompts": prompts, "forced": forced, "maxTokens": NEW_TOKENS}
        request.write_text(json.dumps(job), encoding="utf-8")
        subprocess.run(["node", str(ASK), str(node), str(request), str(answers)], check=True)
        found: list[dict[str, Any]] = json.loads(answers.read_text(encoding="utf-8"))
        return found


def main() -> None:
    """Export, ask and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--adapter", required=True)
    parser.add_argument("--node", type=Path, required=True, help="directory with node_modules/node-llama-cpp")
    parser.add_argument("--dtypes", default="f16,q8_0")
    options = parser.parse_args()
    origin = resolve(options.adapter)
    ours, stops = our_answers(origin)
    ids = [encode_prompt(origin.tokenizer(), origin.prompter.prompt(record)) for record in PROMPTS]
    print("format  prompt ids  same answers  tokens of the answers  next tokens")
    for dtype in options.dtypes.split(","):
        with tempfile.TemporaryDirectory() as folder:
            directory = export("gguf", options.adapter, Path(folder, "gguf"), dtype=dtype).directory
            found = their_answers(options.node.resolve(), find_gguf(directory), origin, ours)
        free = [sum(map(int.__eq__, a, b["tokens"])) for a, b in zip(ours, found, strict=True)]
        longest = [max(len(a), len(b["tokens"])) for a, b in zip(ours, found, strict=True)]
        ends = [a if len(a) == NEW_TOKENS else [*a, stops[0]] for a in ours]
        following = [sum(map(int.__eq__, a, b["next"])) for a, b in zip(ends, found, strict=True)]
        print(
            f"{dtype:6}  {sum(a == b['ids'] for a, b in zip(ids, found, strict=True))} of {len(ids)}      "
            f"{sum(a == b['tokens'] for a, b in zip(ours, found, strict=True))} of {len(ours)}        "
            f"{sum(free)} of {sum(longest)} ({sum(free) / sum(longest):.1%})  "
            f"{sum(following)} of {sum(map(len, ends))} ({sum(following) / sum(map(len, ends)):.1%})"
        )


if __name__ == "__main__":
    main()
