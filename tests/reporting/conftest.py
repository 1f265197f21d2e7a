"""A run as its trainer would describe it, and text that a report must survive."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from alpaca_lora.reporting.summary import AnswerPair, DataSummary, ListedRow, RunSummary

NASTY = {
    "markup": "</pre><script>alert('x')</script><img src=http://evil.example/x onerror=alert(1)>&amp;\"'",
    "escapes": "\x1b[31mred\x1b[0m \x1b]0;title\x07 \x1b]8;;http://evil.example\x1b\\link \x9b2J \x07\x00\x7f",
    "emoji": "👩‍👩‍👧 family, 🦙 alpaca",
    "right to left": "ترجم \u202eevil\u202c \u2066x\u2069",
    "markdown": "```\n# not a heading\n````\n| a | b |\n![x](http://evil.example/x.png)",
    "yaml": "---\nlicense: none\n...\n",
    "long": "word " * 2000,
    "one word": "a" * 10_000,
    "half a character": "\ud83e and \udd99",
    "dollars": "$style ${title} $$",
    "nothing": "",
}


@pytest.fixture(params=NASTY.values(), ids=NASTY.keys())
def nasty(request: pytest.FixtureRequest) -> str:
    """Text that a model or a dataset may well contain."""
    return request.param


@pytest.fixture
def summary() -> RunSummary:
    """A run that completed."""
    data = DataSummary(
        name="alpaca-mini",
        sha256="ab" * 32,
        trained_rows=380,
        heldout_rows=40,
        dropped=(
            ListedRow("alpaca-mini.jsonl:7", "longer than max_length", 812),
            ListedRow("alpaca-mini.jsonl:9", "empty output"),
            ListedRow("alpaca-mini.jsonl:30", "longer than max_length", 777),
        ),
        notes=("column 'response' was read as 'output'",),
        length_quantiles={0.0: 31, 0.5: 96, 0.9: 210, 1.0: 503},
    )
    return RunSummary(
        base_model="smollm2-135m",
        base_model_hub_id="HuggingFaceTB/SmolLM2-135M-Instruct",
        data=data,
        output_dir="runs/alpaca-mini",
        status="completed",
        steps=240,
        total_steps=240,
        seconds=412.7,
        tokens_trained=491_520,
        adapter_parameters=4_884_480,
        config={"lora.rank": 16, "learning_rate": 0.0002, "packing": False, "max_steps": None},
        decisions=("epochs: 3, because the data has fewer than 1,000 rows",),
        versions={"torch": "2.13.0"},
        hardware="cpu, 2 cores",
        command="alpaca-lora finetune --data alpaca-mini",
        prompt_input="### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:\n",
        prompt_no_input="### Instruction:\n{instruction}\n\n### Response:\n",
        heldout_loss_before=2.0,
        heldout_loss_after=1.5,
        heldout_tokens=3187,
        stop_rate_before=1 / 16,
        stop_rate_after=15 / 16,
        stop_rate_records=16,
        samples=(
            AnswerPair(
                instruction="Name two primary colours.",
                reference="Red and blue.",
                before="Name two primary colours. Name two",
                after="Red and yellow.",
                before_stopped=False,
                after_stopped=True,
            ),
        ),
    )


@pytest.fixture
def metrics() -> list[dict[str, float]]:
    """The lines of its metrics.jsonl."""
    lines: list[dict[str, float]] = [{"step": 0, "heldout_loss": 2.0}]
    for step in range(1, 241):
        numbers = {"loss": 1.4 + 1 / step, "learning_rate": 2e-4, "tokens_per_second": 1240.0, "memory_bytes": 2.1e9}
        lines.append({"step": step, **numbers})
    return [*lines, {"step": 120, "heldout_loss": 1.6}, {"step": 240, "heldout_loss": 1.5}]


@pytest.fixture
def written_by() -> Callable[[RunSummary, str], RunSummary]:
    """Put a text into every place of a summary where a model, a dataset or a user may have written it."""

    def write(summary: RunSummary, text: str) -> RunSummary:
        row = ListedRow(text, text, 1)
        return replace(
            summary,
            base_model=text,
            data=replace(summary.data, name=text, sha256=text, dropped=(row,), shortened=(row,), notes=(text,)),
            output_dir=text,
            config={text: text},
            decisions=(text,),
            versions={text: text},
            hardware=text,
            command=text,
            template=text,
            prompt_input=text,
            prompt_no_input=text,
            samples=(
                AnswerPair(
                    instruction=text,
                    input=text,
                    reference=text,
                    before=text,
                    after=text,
                    before_stopped=True,
                    after_stopped=False,
                ),
            ),
        )

    return write


@pytest.fixture
def without_heldout(summary: RunSummary) -> RunSummary:
    """The same run with nothing held out."""
    return replace(
        summary,
        data=replace(summary.data, heldout_rows=0),
        heldout_loss_before=None,
        heldout_loss_after=None,
        heldout_tokens=0,
        stop_rate_before=None,
        stop_rate_after=None,
        stop_rate_records=0,
        samples=(),
    )
