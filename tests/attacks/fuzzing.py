"""What is fuzzed: each reader of files or answers, a sound input to start from, and the one error it may raise.

`test_fuzzing.py` runs them with hypothesis. With atheris, which sees which lines an input reaches:

    make fuzz TARGET=records SECONDS=60
"""

import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from alpaca_lora import errors
from alpaca_lora.teachers.protocol import Fault

_ROW = {"instruction": "Say red.", "input": "", "output": "red"}
_TEMPLATE = {
    "description": "",
    "prompt_input": "{instruction}\n{input}\n### Response:",
    "prompt_no_input": "{instruction}\n### Response:",
    "response_split": "### Response:",
}


@dataclass(frozen=True)
class Target:
    """One reader."""

    sound: bytes
    """An input that is accepted."""

    read: Callable[[bytes, Path], object]
    """Reads bytes; the directory is for a file."""

    allowed: type[Exception]
    """The only error that it may raise."""

    def holds(self, content: bytes, directory: Path) -> None:
        """Read an input; every other error than the allowed one goes through."""
        try:
            self.read(content, directory)
        except self.allowed as error:
            if not str(error).strip():
                raise TypeError("an error without a message") from error


def _file(name: str, content: bytes, directory: Path) -> Path:
    path = directory / name
    path.write_bytes(content)
    return path


def _records(suffix: str) -> Callable[[bytes, Path], object]:
    def read(content: bytes, directory: Path) -> object:
        from alpaca_lora.records import read_dataset

        return read_dataset(_file(f"rows{suffix}", content, directory))

    return read


def _template(content: bytes, directory: Path) -> None:
    from alpaca_lora.prompts import Prompter
    from alpaca_lora.prompts.catalog import load_template

    prompter = Prompter(load_template(_file("template.json", content, directory)))
    shown = "{instruction.__class__} {0} {{"
    assert shown in prompter.generate_prompt(shown)


def _settings(content: bytes, directory: Path) -> None:
    from alpaca_lora.config import load_config

    load_config(_file("settings.yaml", content, directory))


def _verdicts(content: bytes, directory: Path) -> object:
    from alpaca_lora.evaluation import load_annotations

    return load_annotations(_file("verdicts.json", content, directory))


def _sidecar(content: bytes, directory: Path) -> object:
    from alpaca_lora.adapters import read_sidecar

    _file("alpaca_lora.json", content, directory)
    return read_sidecar(directory)


def _adapter_config(content: bytes, directory: Path) -> object:
    from alpaca_lora.adapters.peft_config import read_config

    _file("adapter_config.json", content, directory)
    return read_config(directory)


def _documents(content: bytes, directory: Path) -> None:
    from alpaca_lora.models import check_documents

    _file("config.json", content, directory)
    check_documents(directory)


def _header(content: bytes, directory: Path) -> object:
    from alpaca_lora.models import check_header

    return check_header(_file("x.safetensors", content, directory))


def _gguf(content: bytes, directory: Path) -> None:
    from alpaca_lora.exports.gguf_header import check_gguf

    check_gguf(_file("x.gguf", content, directory))


def _curation(content: bytes, directory: Path) -> object:
    from alpaca_lora.curation.ledger import read_measured

    _file("curation.json", b'{"measured": {"rows": 1}}', directory)
    _file("ledger.jsonl", content, directory)
    return read_measured(directory, {"rows": 1})


def _body(content: bytes, directory: Path) -> object:
    from alpaca_lora.teachers.bodies import read_answer

    return read_answer(content, {}, redact=str)


def _answer(content: bytes, directory: Path) -> object:
    from alpaca_lora.selfinstruct.parsing import parse_json, parse_numbered

    text = content.decode("utf-8", "replace")
    return parse_json(text, finish="stop"), parse_numbered(text, first=4, finish="length")


def _sound_header() -> bytes:
    header = json.dumps({"a.weight": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
    return len(header).to_bytes(8, "little") + header + bytes(8)


def _sound_gguf() -> bytes:
    from tests.attacks.s06_gguf import header, pair, tensor

    return header(tensors=1, keys=1) + pair(b"a", 9, b"\4\0\0\0\2" + bytes(15)) + tensor(b"b", (4,)) + bytes(64)


def _sound_sidecar() -> bytes:
    names = ("base_model", "base_fingerprint", "template_sha256", "data_sha256", "weights_sha256")
    document = dict.fromkeys(names, "x") | {"format": 1, "template": {"name": "x", **_TEMPLATE}, "precision": "fp32"}
    document |= {"quantization": {"method": "none"}, "max_length": 8, "stop_ids": [0], "trained": {}}
    return json.dumps(document | {"base_losses": [1.0] * 4, "losses": [1.0] * 4}).encode()


_VERDICT = {
    "instruction": "x",
    "output_1": "a",
    "output_2": "b",
    "generator_1": "m",
    "generator_2": "n",
    "preference": 2,
}
_PEFT = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["q_proj"], "rank_pattern": {}}
_LEDGER = {"row": 1, "findings": [{"rule": "refusal", "score": 1.0, "detail": "x"}], "verified": []}
_COMPLETION = {"choices": [{"message": {"content": "red"}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 1}}

TARGETS = {
    "records": Target(json.dumps(_ROW).encode() + b"\n", _records(".jsonl"), errors.RecordError),
    "array": Target(json.dumps([_ROW, _ROW], indent=1).encode(), _records(".json"), errors.RecordError),
    "table": Target(b'instruction,output\n"a ""b""",c\n', _records(".csv"), errors.RecordError),
    "template": Target(json.dumps(_TEMPLATE).encode(), _template, errors.TemplateError),
    "settings": Target(b"epochs: 2\nlora:\n  rank: 4\n  target_modules: [q_proj]\n", _settings, errors.ConfigError),
    "verdicts": Target(json.dumps([_VERDICT]).encode(), _verdicts, errors.RecordError),
    "sidecar": Target(_sound_sidecar(), _sidecar, errors.AdapterError),
    "adapter-config": Target(json.dumps(_PEFT).encode(), _adapter_config, errors.AdapterError),
    "documents": Target(b'{"model_type": "llama", "sub": [{"auto_map": null}]}', _documents, errors.ModelError),
    "safetensors": Target(_sound_header(), _header, ValueError),
    "gguf": Target(_sound_gguf(), _gguf, errors.ExportError),
    "curation": Target(json.dumps(_LEDGER).encode() + b"\n", _curation, errors.RunError),
    "body": Target(json.dumps(_COMPLETION).encode(), _body, Fault),
    "answer": Target(b'{"tasks": [{"instruction": "a", "input": "", "output": "b"}]}', _answer, AssertionError),
}


def main(name: str, seconds: str) -> None:
    """Fuzz one target with atheris until the time is over or an input breaks it."""
    import atheris

    target = TARGETS[name]
    with tempfile.TemporaryDirectory() as place:
        with atheris.instrument_imports(include=["alpaca_lora"]):
            target.holds(target.sound, Path(place))  # which loads the reader
        corpus = Path(place, "corpus")
        corpus.mkdir()
        (corpus / "sound").write_bytes(target.sound)
        options = [f"-max_total_time={seconds}", "-timeout=2", "-rss_limit_mb=2048", str(corpus)]
        atheris.Setup([sys.argv[0], *options], lambda content: target.holds(content, Path(place)))
        atheris.Fuzz()


if __name__ == "__main__":
    import atheris

    for loaded in [name for name in sys.modules if name.partition(".")[0] == "alpaca_lora"]:
        del sys.modules[loaded]  # to be loaded anew, instrumented
    with atheris.instrument_imports(include=["alpaca_lora"]):
        from tests.attacks import fuzzing
    fuzzing.main(*sys.argv[1:])
