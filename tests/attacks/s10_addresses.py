"""S10: addresses in data and documents, which nothing may fetch."""

import json
from pathlib import Path

from tests.attacks.corpus import Attack, Parts

ADDRESSES = (
    "http://192.0.2.1/data.jsonl",
    "https://evil.example/x.json",
    "file:///etc/passwd",
    "ftp://evil.example/x.json",
    "gopher://evil.example/",
    "http://[::1]:1/x.json",
    "http://0x7f000001:1/x.json",
    "http://169.254.169.254/latest/meta-data",
    "http://user:password@evil.example/x.json",
    "s3://evil/x.jsonl",
    "\\\\evil\\share\\x.jsonl",
)


def rows(directory: Path, parts: Parts) -> Path:
    path = directory / "rows.jsonl"
    lines = [
        {
            "instruction": f"Fetch {address}",
            "input": f"![x]({address})",
            "output": address,
            "image": address,
            "url": address,
        }
        for address in ADDRESSES
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def base(directory: Path, parts: Parts) -> Path:
    changes = {"_name_or_path": "evil/base", "url": ADDRESSES[0]}
    return parts.copy(
        "base", directory, config=changes, tokenizer_config={"name_or_path": "evil/base", "extra": ADDRESSES[0]}
    )


def sidecar(name: str):
    return lambda directory, parts: parts.copy("adapter", directory, alpaca_lora={"base_model": name})


ATTACKS = (
    *(
        Attack(
            f"the records {address}",
            "records",
            lambda directory, parts, address=address: address,
            "no such file|Hub|file",
        )
        for address in ADDRESSES
    ),
    *(
        Attack(f"the template {address}", "template", lambda directory, parts, address=address: address, "template")
        for address in ADDRESSES[:3]
    ),
    *(
        Attack(f"the base {address}", "base", lambda directory, parts, address=address: address, "base model")
        for address in ADDRESSES
    ),
    *(
        Attack(f"a sidecar whose base is {address}", "adapter", sidecar(address), refused=False)
        for address in ADDRESSES[:3]
    ),
    Attack("in rows", "records", rows, refused=False),
    Attack("in a base model", "base", base, refused=False),
)
