"""The model card of a run in the Hub's format: README.md beside the adapter.

Every number stands beside what it was measured on. Text of models and datasets goes into fences and code spans that it
cannot close, and directories of the user's machine stay out of it.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from string import Template

from alpaca_lora.prompts.pattern import fill, scan
from alpaca_lora.reporting.cautions import list_cautions
from alpaca_lora.reporting.summary import AnswerPair, DataSummary, RunSummary
from alpaca_lora.reporting.wording import (
    change,
    clipped,
    count,
    duration,
    loss_value,
    percent,
    perplexity,
    public_name,
    quantile,
    unmarked,
    visible,
)

__all__ = ["render_card"]

_SHOWN_ANSWERS = 3
_SHOWN_CHARACTERS = 600
_SHORT = 100


def render_card(summary: RunSummary, *, picture: str | None = None) -> str:
    """Render the model card of a run.

    Args:
        summary: the run.
        picture: path of the loss curve as seen from the card, such as `loss.png`; None shows none.
    """
    model, data = public_name(summary.base_model), public_name(summary.data.name)
    page = (files("alpaca_lora.reporting") / "templates" / "card.md").read_text(encoding="utf-8")
    instruction = _example(summary.samples)
    return Template(page).substitute(
        front_matter=_front_matter(summary),
        title=unmarked(f"{model} tuned on {data}"),
        base_model=_code(model),
        data_name=_code(data),
        adapter_parameters=count(summary.adapter_parameters),
        picture=f"![Training and held-out loss over the optimizer steps]({picture})\n\n" if picture else "",
        results=_paragraphs(_results(summary), _bullets(map(unmarked, list_cautions(summary)))),
        example_instruction=_python(instruction),
        example_prompt=_python(fill(scan(summary.prompt_no_input)[0], {"instruction": instruction, "input": ""})),
        imports=_imports(summary),
        base_argument=_base_argument(summary),
        prompts=_prompts(summary),
        data=_data(summary.data),
        training=_training(summary),
        samples=_samples(summary.samples),
    )


def _example(samples: Sequence[AnswerPair]) -> str:
    fitting = (sample.instruction for sample in samples if not sample.input and len(sample.instruction) <= _SHORT)
    return next(fitting, "Name three primary colours.")


def _front_matter(summary: RunSummary) -> str:
    """Write the card's metadata; a JSON string is a YAML string that nothing in it can end."""
    lines = {
        "base_model": summary.base_model_hub_id,
        "library_name": "peft",
        "pipeline_tag": "text-generation",
        "datasets": [summary.data.hub_id] if summary.data.hub_id else None,
        "tags": ["alpaca", "instruction-tuning", "lora"],
    }
    return "\n".join(f"{key}: {json.dumps(value)}" for key, value in lines.items() if value)


def _results(summary: RunSummary) -> str:
    lost, asked = summary.heldout_loss_after is not None, summary.stop_rate_after is not None
    rows = []
    if lost:
        measured = f"{count(summary.heldout_tokens)} tokens in {count(summary.data.heldout_rows)} held-out rows"
        before, after = summary.heldout_loss_before, summary.heldout_loss_after
        rows.append(
            ["Loss, nats per token", loss_value(before), loss_value(after), change(summary.heldout_change), measured]
        )
        rows.append(["Perplexity", perplexity(before), perplexity(after), "", "the same"])
    if asked:
        measured = f"{count(summary.stop_rate_records)} held-out records"
        if (interval := summary.stop_rate_interval) is not None:
            measured += f"; 95 % interval after: {percent(interval[0])} to {percent(interval[1])}"
        rates = percent(summary.stop_rate_before), percent(summary.stop_rate_after)
        rows.append(["Answers that end by themselves", *rates, "", measured])
    if not rows:
        return "Nothing: no rows were held out."
    return _table(["", "Before", "After", "Change", "Measured on"], rows)


def _imports(summary: RunSummary) -> str:
    ours = (
        "from alpaca_lora.models import locate_base_model\n" if "locate_base_model" in _base_argument(summary) else ""
    )
    return f"{ours}from peft import PeftModel\nfrom transformers import AutoModelForCausalLM, AutoTokenizer"


def _base_argument(summary: RunSummary) -> str:
    name = summary.base_model
    if public_name(name) != name:
        return _python(f"path/to/{public_name(name)}")
    return _python(name) if name == summary.base_model_hub_id else f"locate_base_model({_python(name)})"


def _prompts(summary: RunSummary) -> str:
    patterns = {"With an input": summary.prompt_input, "Without an input": summary.prompt_no_input}
    fences = (
        f"{title}, {'with' if pattern.endswith(chr(10)) else 'without'} a line end after the last line:\n\n"
        f"{_fence(pattern.removesuffix(chr(10)))}"
        for title, pattern in patterns.items()
        if pattern
    )
    introduction = f"The {_code(public_name(summary.template))} template; the braces are where the record goes."
    if any(brace in pattern for pattern in patterns.values() for brace in ("{{", "}}")):
        introduction += " A doubled brace stands for a single one."
    return _paragraphs(introduction, *fences)


def _data(data: DataSummary) -> str:
    name = (
        f"[{data.hub_id}](https://huggingface.co/datasets/{data.hub_id})"
        if data.hub_id
        else _code(public_name(data.name))
    )
    rows = [
        ["Data", name],
        ["SHA-256 of the source", _code(data.sha256)],
        ["Rows trained on", count(data.trained_rows)],
        ["Rows held out", count(data.heldout_rows)],
        *([f"Rows dropped: {unmarked(reason)}", count(number)] for reason, number in data.dropped_by_reason.items()),
    ]
    if data.shortened:
        rows.append(["Rows shortened", count(len(data.shortened))])
    if data.length_quantiles:
        lengths = (f"{quantile(share)} {count(tokens)}" for share, tokens in sorted(data.length_quantiles.items()))
        rows.append(["Tokens in a row", ", ".join(lengths)])
    return _paragraphs(_table(["", ""], rows), _bullets(map(unmarked, data.notes)))


def _training(summary: RunSummary) -> str:
    story = (
        f"{count(summary.steps)} of {count(summary.total_steps)} optimizer steps over {count(summary.tokens_trained)} "
        f"tokens in {duration(summary.seconds)}{f' on {unmarked(summary.hardware)}' if summary.hardware else ''}. "
        "Only settings that decide the result are listed; run.json has them all with the versions."
    )
    settings = [[_code(name), _code(_setting(value))] for name, value in _settings(summary.config).items()]
    versions = ", ".join(f"{unmarked(name)} {unmarked(version)}" for name, version in summary.versions.items())
    return _paragraphs(story, _table(["Setting", "Value"], settings), f"Made with {versions}." if versions else "")


def _settings(config: Mapping[str, object]) -> dict[str, object]:
    """Drop what says nothing about the result: settings that are off, and those of logging and saving."""
    silent = {"resume", "report_to", "logging_steps", "save_steps", "save_limit"}
    return {name: value for name, value in config.items() if value not in (None, {}, (), []) and name not in silent}


def _setting(value: object) -> str:
    return public_name(value) if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _samples(samples: Sequence[AnswerPair]) -> str:
    if not samples:
        return ""
    parts = [f"## Answers before and after\n\nThe first {len(samples[:_SHOWN_ANSWERS])} of the held-out records.\n\n"]
    for sample in samples[:_SHOWN_ANSWERS]:
        asked = f"{sample.instruction}\n\n{sample.input}".strip()
        for title, text in (("Instruction", asked), ("Before", sample.before), ("After", sample.after)):
            parts.append(f"**{title}**\n\n{_fence(clipped(text, _SHOWN_CHARACTERS))}\n\n")
    return "".join(parts)


def _paragraphs(*blocks: str) -> str:
    return "\n\n".join(filter(None, blocks))


def _python(text: str) -> str:
    """Write a Python string literal that is this very text; what a terminal or a page would act on is escaped."""
    literal = json.dumps(text, ensure_ascii=False)  # its escapes are a subset of Python's
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in literal)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _bullets(items: Iterable[str]) -> str:
    return "\n".join(f"- {item}" for item in items)


def _code(text: str) -> str:
    line = " ".join(visible(text).split()).replace("|", "\\|")
    ticks = "`" * (_longest_run(line) + 1)
    pad = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{ticks}{pad}{line or ' '}{pad}{ticks}"


def _fence(text: str) -> str:
    ticks = "`" * max(3, _longest_run(text) + 1)
    return f"{ticks}text\n{visible(text)}\n{ticks}"


def _longest_run(text: str) -> int:
    return max((len(run) for run in re.findall("`+", text)), default=0)
