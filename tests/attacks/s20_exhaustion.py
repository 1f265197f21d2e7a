"""S20: small files that become large, deep or slow when they are read."""

import gzip
import json
from pathlib import Path

from tests.attacks.corpus import Attack, Parts

_ROW = '{"instruction": "a", "output": "b"}\n'
TEXTS = {
    "deep lists": "[" * 10**6,
    "deep objects": '{"a":' * 10**6,
    "a deep row": '{"instruction": "x", "output": ' + "[" * 10**5 + "]" * 10**5 + "}",
    "a long number": '{"instruction": "x", "output": ' + "9" * 10**6 + "}",
    "a long line": '{"instruction": "' + "x" * 20_000_000 + '", "output": "b"}',
    "a long key": '{"' + "x" * 7_000_000 + '": 1}',
    "many keys": "{" + ",".join(f'"{n}":1' for n in range(200_000)) + "}",
    "many faults": "{}\n" * 60_000,
    "many empty objects": "[" + "{}," * 60_000 + "{}]",
    "quotes without end": '"' * 10**6,
    "backslashes": '{"instruction": "' + "\\" * 10**6,
    "one string": '"' + "x" * 10**6,
    "equal rows": _ROW * 20_000,
    "brackets in a string": '{"instruction": "' + "[{" * 10**5 + '", "output": "b"}\n',
}


def text(content: str, name: str = "rows.json"):
    def make(directory: Path, parts: Parts) -> Path:
        path = directory / name
        path.write_text(content)
        return path

    return make


def zipped(directory: Path, parts: Parts) -> Path:
    path = directory / "bomb.jsonl.gz"
    with gzip.open(path, "wb", compresslevel=6) as stream:
        for _ in range(1000):
            stream.write(b"\0" * 2**20)
    return path


def zipped_rows(directory: Path, parts: Parts) -> Path:
    path = directory / "rows.jsonl.gz"
    with gzip.open(path, "wb", compresslevel=6) as stream:
        for _ in range(400):
            stream.write((_ROW * 30_000).encode())
    return path


def parquet(rows: int, size: int):
    def make(directory: Path, parts: Parts) -> Path:
        import pyarrow
        import pyarrow.parquet

        path = directory / "bomb.parquet"
        indices = pyarrow.array([0] * rows, pyarrow.int32())
        column = pyarrow.DictionaryArray.from_arrays(indices, pyarrow.array(["x" * size]))
        columns = dict.fromkeys(("instruction", "input", "output"), column)
        pyarrow.parquet.write_table(pyarrow.table(columns), path, compression="zstd")
        return path

    return make


def nested_parquet(directory: Path, parts: Parts) -> Path:
    import pyarrow
    import pyarrow.parquet

    path = directory / "nested.parquet"
    column = pyarrow.array([[0] * 1_000_000] * 40, pyarrow.list_(pyarrow.int64()))
    pyarrow.parquet.write_table(pyarrow.table({"instruction": column, "output": column}), path, compression="zstd")
    return path


def config(**changes):
    return lambda directory, parts: parts.copy("base", directory, config=changes)


def document(part: str, name: str, content: str):
    return lambda directory, parts: parts.copy(part, directory, **{name: content})


def tokens(directory: Path, parts: Parts) -> Path:
    target = parts.copy("base", directory)
    content = json.loads((target / "tokenizer.json").read_text())
    content["pre_tokenizer"] = {
        "type": "Split",
        "pattern": {"Regex": "(a+)+(b+)+$"},
        "behavior": "Isolated",
        "invert": False,
    }
    (target / "tokenizer.json").write_text(json.dumps(content))
    return target


_DEEP = '{"a":' * 10**5
_NUMBER = '{"format": ' + "9" * 10**5 + "}"
_NOT_BUILT = ("a width without end", "a depth below zero")
"""What only a command that builds the model refuses; a plan passes over it, at no cost."""

_NOT_READ = ("tokenizer", "curation", "run")
"""Documents that some of the commands have no need of."""

ATTACKS = (
    *(
        Attack(name, "records", text(content), refused="equal" not in name and "brackets in" not in name)
        for name, content in TEXTS.items()
    ),
    Attack("a table of one cell", "records", text('instruction,output\n"' + "x" * 20_000_000, "rows.csv")),
    Attack("a gzip bomb", "records", zipped, "unpacks|gz"),
    Attack("a gzip bomb of rows", "records", zipped_rows, "unpacks|gz|suffix|JSON|UTF"),
    Attack("a parquet bomb of rows", "records", parquet(30_000_000, 10), "parquet"),
    Attack("a parquet bomb of text", "records", parquet(20_000, 900_000), "parquet"),
    Attack("a parquet bomb of lists", "records", nested_parquet, "parquet"),
    *(
        Attack(
            f"config.json: {name}",
            "base",
            config(**changes),
            "config.json|this run needs",
            refused=name not in _NOT_BUILT,
        )
        for name, changes in {
            "layers without end": {"num_hidden_layers": 10**7},
            "a width without end": {"hidden_size": 2**30, "num_attention_heads": 2**20},
            "a vocabulary without end": {"vocab_size": 2**40},
            "a depth below zero": {"num_hidden_layers": -1},
            "labels without end": {"num_labels": 10**7},
            "positions without end": {
                "max_position_embeddings": 2**62,
                "rope_scaling": {"type": "dynamic", "factor": 1e30},
            },
        }.items()
    ),
    *(
        Attack(f"{name}.json of {part}: {what}", part, document(part, name, content), refused=name not in _NOT_READ)
        for what, content in (("depth", _DEEP), ("a long number", _NUMBER))
        for part, name in (
            ("base", "config"),
            ("base", "tokenizer_config"),
            ("base", "tokenizer"),
            ("adapter", "adapter_config"),
            ("adapter", "alpaca_lora"),
            ("difference", "weight_diff"),
            ("curation", "curation"),
            ("run", "run"),
        )
    ),
    Attack("settings of a tokenizer that cost", "base", tokens, refused=False),
    Attack("a template of 100 MB", "template", text('{"prompt_input": "' + "x" * 10**8, "evil.json"), "evil.json"),
    Attack("verdicts without end", "verdicts", text("[" * 10**6), ""),
)
