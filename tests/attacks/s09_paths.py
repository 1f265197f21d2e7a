"""S9: names inside files that lead out of a directory, and links that do."""

import json
import shutil
from pathlib import Path

from tests.attacks.corpus import Attack, Parts

NAMES = (
    "../x",
    "../../etc/passwd",
    "/etc/passwd",
    "a/../../x",
    "C:\\x",
    "..\\x",
    "\\\\host\\share",
    "//host/x",
    "CON",
    "x\0y",
    "x" * 300,
    ".",
    "",
    "~/x",
    "file:///etc/passwd",
    "\u2024\u2024/x",
)
_SECRET = ".env"


def index(name: str):
    def make(directory: Path, parts: Parts) -> Path:
        target = parts.copy("base", directory)
        document = {"metadata": {"total_size": 1}, "weight_map": {"model.embed_tokens.weight": name}}
        (target / "model.safetensors.index.json").write_text(json.dumps(document))
        (target / "model.safetensors").rename(target / "model-00001-of-00001.safetensors")
        return target

    return make


def tokenizer_file(name: str):
    def make(directory: Path, parts: Parts) -> Path:
        target = parts.copy("base", directory, tokenizer_config={"vocab_file": name, "tokenizer_file": name})
        (target.parent / "x").write_text("secret of another directory")
        return target

    return make


def linked(part: str, name: str):
    """Replace a small file by a link to a secret beside the directory."""

    def make(directory: Path, parts: Parts) -> Path:
        target = parts.copy(part, directory)
        (directory / _SECRET).write_text(json.dumps({"secret": "of another directory"}))
        (target / name).unlink(missing_ok=True)
        (target / name).symlink_to(Path("..") / _SECRET)
        return target

    return make


def difference(name: str):
    def make(directory: Path, parts: Parts) -> Path:
        target = parts.copy("difference", directory)
        manifest = json.loads((target / "weight_diff.json").read_text())
        manifest["files"][name] = "0" * 64
        (target / "weight_diff.json").write_text(json.dumps(manifest))
        return target

    return make


def checkpoint_outside(directory: Path, parts: Parts) -> Path:
    from tests.attacks.s01_pickles import unfinished

    target = unfinished(directory, parts)
    manifest = json.loads((target / "checkpoint-1" / "MANIFEST.json").read_text())
    entry = next(iter(manifest["files"].values()))
    manifest["files"] |= {"../../x": entry, "/etc/passwd": entry}
    (target / "checkpoint-1" / "MANIFEST.json").write_text(json.dumps(manifest))
    return target


def weights_that_lead_home(directory: Path, parts: Parts) -> Path:
    """Lay a link to a secret beside the weights of an adapter; it may pass for weights that lie on another disk."""
    target = parts.copy("adapter", directory)
    (directory / _SECRET).write_text(json.dumps({"secret": "of another directory"}))
    (target / "more.safetensors").symlink_to(Path("..") / _SECRET)
    return target


def run_with_links(directory: Path, parts: Parts) -> Path:
    """Return a run whose files that are appended to lead to files of the victim's."""
    from tests.attacks.s01_pickles import unfinished

    target = unfinished(directory, parts)
    for name in ("metrics.jsonl", "run.json", ".lock", "report.html"):
        outside = directory / f"victim-{name}"
        outside.write_text((target / name).read_text() if (target / name).exists() else "keep me")
        (target / name).unlink(missing_ok=True)
        (target / name).symlink_to(outside)
    precious = directory / "precious"
    precious.mkdir()
    (precious / "photo").write_text("keep me")
    for name in (".staging-x", ".retired-y", "checkpoint-9", "checkpoint-7"):
        (target / name).symlink_to(precious)
    return target


def journal_with_links(directory: Path, parts: Parts) -> Path:
    target = directory / "generation"
    target.mkdir()
    for name in ("journal.jsonl", ".lock", "generated.jsonl"):
        outside = directory / f"victim-{name}"
        outside.write_text("keep me\nand me")
        (target / name).symlink_to(outside)
    (target / "run.json").write_text("{}")
    return target


def curation_with_links(directory: Path, parts: Parts) -> Path:
    target = Path(shutil.copytree(parts.curation, directory / "curation"))
    outside = directory / "victim"
    outside.write_text("keep me")
    for name in ("ledger.jsonl", "report.html"):
        (target / name).unlink()
        (target / name).symlink_to(outside)
    return target


ATTACKS = (
    *(Attack(f"a shard called {name[:20]!r}", "base", index(name), "index.json|weight") for name in NAMES),
    *(
        Attack(f"a vocabulary called {name[:20]!r}", "base", tokenizer_file(name), refused=False)
        for name in ("../x", "/etc/passwd")
    ),
    *(
        Attack(f"{name} of a base that is a link", "base", linked("base", name), name)
        for name in ("config.json", "tokenizer_config.json", "generation_config.json", "extra.json")
    ),
    *(
        Attack(f"{name} of an adapter that is a link", "adapter", linked("adapter", name), name)
        for name in ("alpaca_lora.json", "adapter_config.json", "tokenizer.json")
    ),
    *(
        Attack(f"{name} of a model that is a link", "tuned", linked("merged", name), name)
        for name in ("secrets.json", "tokenizer.model")
    ),
    *(
        Attack(
            f"a file called {name[:20]!r} in a difference",
            "difference",
            difference(name),
            "missing or was damaged|name",
        )
        for name in NAMES
    ),
    Attack("a secret that is linked as weights", "adapter", weights_that_lead_home, refused=False),
    # Training puts the checkpoint into quarantine and begins anew.
    Attack("a file outside a checkpoint", "run", checkpoint_outside, "checkpoint|adapter", passes=("finetune",)),
    Attack("a run of links", "run", run_with_links, refused=False),
    Attack("a generation of links", "generation", journal_with_links, refused=False),
    Attack("a curation of links", "curation", curation_with_links, refused=False),
)
