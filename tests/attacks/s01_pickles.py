"""S1: pickles in the place of weights and checkpoints, which run code when they are opened."""

import pickle
import zipfile
from pathlib import Path

from tests.attacks.corpus import Attack, Parts
from tests.attacks.victim import MARKER


class Bomb:
    """Touches the canary when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.code = f"'{MARKER}'; open({str(canary)!r}, 'w').close()"

    def __reduce__(self):
        return exec, (self.code,)


def bare(canary: Path) -> bytes:
    """Return the old form, a bare pickle."""
    return pickle.dumps({"weight": Bomb(canary)})


def write_archive(path: Path, canary: Path) -> None:
    """Write today's form, a zip archive with the pickle in it."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", bare(canary))
        archive.writestr("archive/version", "3\n")


def adapter(directory: Path, parts: Parts) -> Path:
    target = parts.copy("adapter", directory)
    (target / "adapter_model.safetensors").unlink()
    (target / "adapter_model.bin").write_bytes(bare(parts.canary))
    return target


def adapter_beside(directory: Path, parts: Parts) -> Path:
    target = parts.copy("adapter", directory)
    for name in ("adapter_model.bin", "training_args.bin", "optimizer.pt", "rng_state.pth"):
        write_archive(target / name, parts.canary)
    return target


def base(name: str):
    def make(directory: Path, parts: Parts) -> Path:
        target = parts.copy("base", directory)
        (target / "model.safetensors").unlink()
        write_archive(target / name, parts.canary)
        return target

    return make


def named_safetensors(directory: Path, parts: Parts) -> Path:
    target = parts.copy("base", directory)
    write_archive(target / "model.safetensors", parts.canary)
    return target


def checkpoint(*names: str):
    def make(directory: Path, parts: Parts) -> Path:
        target = unfinished(directory, parts)
        for name in names:
            write_archive(target / "checkpoint-1" / name, parts.canary)
        seal(target / "checkpoint-1")
        return target

    return make


def unfinished(directory: Path, parts: Parts) -> Path:
    """Return a copy of the run as it stood after its first step."""
    import shutil

    target = parts.copy("run", directory)
    for name in ("COMPLETE", "report.html", "README.md"):
        (target / name).unlink(missing_ok=True)
    for name in ("adapter", "checkpoint-2"):
        shutil.rmtree(target / name, ignore_errors=True)
    return target


def seal(checkpoint_dir: Path) -> None:
    """Write the manifest anew, as an attacker can, who knows how it is made."""
    import hashlib
    import json

    path = checkpoint_dir / "MANIFEST.json"
    manifest = json.loads(path.read_text())
    for file in checkpoint_dir.iterdir():
        if file.name != path.name and file.is_file():
            content = file.read_bytes()
            entry = manifest["files"].get(file.name) or dict(next(iter(manifest["files"].values())))
            manifest["files"][file.name] = entry | {
                "bytes": len(content),
                "sha256": hashlib.sha256(content).hexdigest(),
            }
    path.write_text(json.dumps(manifest))


def meta(directory: Path, parts: Parts) -> Path:
    target = directory / "artifact"
    target.mkdir()
    write_archive(target / "consolidated.00.pth", parts.canary)
    (target / "params.json").write_text('{"n_layers": 2}')
    (target / "parity.json").write_text('{"format": "meta"}')
    return target


def legacy(directory: Path, parts: Parts) -> Path:
    target = adapter(directory, parts)
    (target / "alpaca_lora.json").unlink()
    return target


ATTACKS = (
    Attack("adapter_model.bin", "adapter", adapter, r"adapter_model\.bin|pickle"),
    Attack("adapter_model.bin of another tool", "adapter", legacy, r"pickle|was not made by|adapter_model\.bin"),
    Attack("pickles beside an adapter", "adapter", adapter_beside, refused=False),
    Attack("pytorch_model.bin", "base", base("pytorch_model.bin"), "can run code|safetensors"),
    Attack("model.ckpt", "base", base("model.ckpt"), "can run code|safetensors"),
    Attack("a pickle named safetensors", "base", named_safetensors, "safetensors"),
    Attack("optimizer.pt of a checkpoint", "run", checkpoint("optimizer.pt"), "checkpoint|adapter"),
    Attack("scheduler.pt of a checkpoint", "run", checkpoint("scheduler.pt"), "checkpoint|adapter"),
    Attack("rng_state.pth of a checkpoint", "run", checkpoint("rng_state.pth"), "checkpoint|adapter"),
    Attack("training_args.bin of a checkpoint", "run", checkpoint("training_args.bin"), refused=False),
    Attack("consolidated.00.pth", "artifact", meta, refused=False),
)
