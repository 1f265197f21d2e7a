"""What each subcommand is for, and examples of it, as the help texts show them."""

from typing import NamedTuple

__all__ = ["GUIDE", "Guide"]


class Guide(NamedTuple):
    """What a help text says of a subcommand."""

    summary: str
    examples: tuple[str, ...]


GUIDE = {
    "finetune": Guide(
        "fine-tune a base model on instruction records with LoRA",
        (
            "alpaca-lora finetune",
            "alpaca-lora finetune --data my.jsonl --output-dir runs/mine --epochs 3",
            "alpaca-lora finetune --data my.csv --map instruction=question --map output=answer --dry-run",
            "alpaca-lora finetune --config alpaca-qlora-24gb --base-model huggyllama/llama-7b "
            "--data yahma/alpaca-cleaned --output-dir runs/alpaca-7b",
        ),
    ),
    "chat": Guide(
        "talk to a fine-tuned model, or let it answer once",
        (
            "alpaca-lora chat --adapter runs/alpaca-mini",
            'alpaca-lora chat --adapter runs/alpaca-mini --prompt "Name three primary colours."',
            'alpaca-lora chat --adapter runs/alpaca-mini --prompt "Translate into French." --input "Good morning." '
            "--temperature 0.7 --seed 1",
        ),
    ),
    "generate": Guide(
        "let a teacher model write instruction records, within a budget",
        (
            "alpaca-lora generate --teacher local --num 20 --output-dir runs/gen",
            "alpaca-lora generate --teacher openai --model gpt-5-mini --num 1000 --budget-tokens 2000000 --dry-run",
            "alpaca-lora generate --teacher openai --model qwen3:8b --base-url http://localhost:11434/v1 "
            "--num 500 --budget-tokens 2000000 --output-dir runs/ollama",
            'alpaca-lora generate --teacher openai --model gpt-5-mini --domain "questions of patients about medicines" '
            "--seeds my-seeds.jsonl --num 500 --budget-usd 1 --prices prices.json --output-dir runs/medicines",
        ),
    ),
    "curate": Guide(
        "clean a set of records, and say of each row why it is in or out",
        (
            "alpaca-lora curate my.jsonl --output-dir runs/curated",
            "alpaca-lora curate my.jsonl --output-dir runs/curated --against eval.jsonl --action refusal=drop",
            "alpaca-lora curate my.jsonl --output-dir runs/looser --replay runs/curated --threshold near_duplicate=0.8",
            "alpaca-lora curate --rules",
        ),
    ),
    "evaluate": Guide(
        "compare an adapter with its base, or score stored verdicts, with intervals",
        (
            "alpaca-lora evaluate --adapter runs/alpaca-mini",
            "alpaca-lora evaluate --adapter runs/mine --data my.jsonl --judge local --output-dir runs/judged",
            "alpaca-lora evaluate --adapter runs/mine --judge openai --judge-model gpt-5-mini "
            "--budget-tokens 5000000 --against text_davinci_003.outputs.json --data text_davinci_003.outputs.json "
            "--output-dir runs/alpaca-eval",
            "alpaca-lora evaluate --adapter runs/mine --tasks hellaswag --task-rows 200 --output-dir runs/tasks",
            "alpaca-lora evaluate --annotations annotations.json --json",
            "alpaca-lora evaluate --annotations annotations.json --variants concise.json verbose.json",
        ),
    ),
    "compare": Guide(
        "let a person compare two models blindly",
        (
            "alpaca-lora compare --outputs runs/evaluation/outputs/alpaca-mini.json "
            "--baseline runs/evaluation/outputs/smollm2-135m.json --output-dir runs/blind",
            "alpaca-lora compare --output-dir runs/blind",
            "alpaca-lora compare --output-dir runs/blind --terminal --annotations runs/judge/annotations.json",
        ),
    ),
    "ui": Guide(
        "let a fine-tuned model answer on a web page",
        (
            "alpaca-lora ui --adapter runs/alpaca-mini",
            "alpaca-lora ui --adapter runs/alpaca-mini --port 8080 --accounts accounts.txt",
            "alpaca-lora ui --adapter runs/alpaca-mini --recipe vllm",
        ),
    ),
    "merge": Guide(
        "merge an adapter into its base model",
        (
            "alpaca-lora merge --adapter runs/alpaca-mini --output-dir exports/merged",
            "alpaca-lora merge --adapter runs/alpaca-7b --output-dir exports/alpaca-7b --base auto --dtype f16",
        ),
    ),
    "export": Guide(
        "write a fine-tuned model for another program",
        (
            "alpaca-lora export hf --adapter runs/alpaca-mini --output-dir exports/hf",
            "alpaca-lora export gguf --adapter runs/alpaca-mini --output-dir exports/gguf --dtype q8_0",
            "alpaca-lora export ollama --adapter runs/alpaca-mini --output-dir exports/ollama --dtype q8_0",
            "alpaca-lora export meta --adapter runs/alpaca-mini --output-dir exports/meta --dtype f16",
            "alpaca-lora export adapter --adapter old-lora --base-model huggyllama/llama-7b --template alpaca "
            "--output-dir exports/adapter",
            "alpaca-lora export weight-diff --tuned exports/hf --raw base --output-dir exports/diff",
            "alpaca-lora export recover --diff exports/diff --raw base --output-dir exports/recovered",
        ),
    ),
    "check-template": Guide(
        "compare the prompts of exported artefacts with the training's",
        ("alpaca-lora check-template --adapter runs/alpaca-mini --artifacts exports/hf exports/adapter",),
    ),
    "plan": Guide(
        "tell whether a run will fit a card, and how long it takes",
        (
            "alpaca-lora plan --model llama-2-7b --card 4090 --quantization nf4 --max-length 2048",
            "alpaca-lora plan --model mistral-7b --memory-gb 12 --config alpaca-qlora-24gb",
            "alpaca-lora plan --model meta-llama/Llama-2-7b-hf --card 3090 --lora.rank 64 --json",
        ),
    ),
    "inspect": Guide(
        "show records token by token as they are trained on",
        (
            "alpaca-lora inspect --data my.jsonl",
            "alpaca-lora inspect --data my.jsonl --base-model huggyllama/llama-7b --max-length 256 -n 10",
        ),
    ),
    "replicate": Guide(
        "run a whole recipe, from seed tasks to exports, with one command",
        (
            "alpaca-lora replicate --profile laptop --output-dir runs/laptop",
            "alpaca-lora replicate --profile stanford-2023 --dry-run",
            "alpaca-lora replicate --recipe my.yaml --output-dir runs/mine",
        ),
    ),
    "verify": Guide(
        "tell whether a directory is what it claims to be",
        (
            "alpaca-lora verify runs/alpaca-mini",
            "alpaca-lora verify runs/alpaca-mini --determinism",
            "alpaca-lora verify exports/hf --json",
        ),
    ),
    "doctor": Guide("check whether this machine can fine-tune", ("alpaca-lora doctor", "alpaca-lora doctor --json")),
}
