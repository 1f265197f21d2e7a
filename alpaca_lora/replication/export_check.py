"""Whether an artefact still has the prompt and the weights that it was proved with."""

from dataclasses import fields
from pathlib import Path

from alpaca_lora._files import sha256_of
from alpaca_lora.adapters import prompter_of, read_sidecar
from alpaca_lora.adapters.sidecar import WEIGHTS
from alpaca_lora.errors import RunError
from alpaca_lora.exports import FORMATS, Parity, check_artifact
from alpaca_lora.exports.contract import find_contract
from alpaca_lora.exports.origin import Origin, resolve
from alpaca_lora.exports.parity import REPORT, judge
from alpaca_lora.exports.surfaces import compare_surface
from alpaca_lora.exports.weight_diff import MANIFEST
from alpaca_lora.exports.weights import WeightFiles
from alpaca_lora.models import check_documents, load_tokenizer
from alpaca_lora.replication.findings import Sheet, Unchecked, read_object
from alpaca_lora.replication.run_check import find_base

__all__ = ["check_export", "check_weight_diff"]


def check_export(directory: Path, sheet: Sheet, adapter_dir: Path | None = None) -> None:
    """Check what an artefact says of itself; with its adapter, prove it once more.

    Args:
        directory: of the artefact.
        sheet: takes what is found.
        adapter_dir: the adapter that it was made from; None where nobody knows it.
    """
    parity = sheet.read("parity", lambda: _read_parity(directory), _describe)
    if parity is None:
        sheet.skip(("prompt", "model"), f"{REPORT} cannot be used")
        return
    if sheet.check("prompt", lambda: _check_prompt(directory, parity, adapter_dir)) or not sheet.failed:
        sheet.check("model", lambda: _prove_again(directory, parity, adapter_dir))
    else:
        sheet.skip(("model",), "its prompt has to be mended first")


def check_weight_diff(directory: Path, sheet: Sheet) -> None:
    """Check that a difference has the tensors that its manifest lists."""
    sheet.check("tensors", lambda: _compare_tensors(directory))


def _read_parity(directory: Path) -> Parity:
    document = read_object(directory / REPORT)
    parity = Parity(**{field.name: document[field.name] for field in fields(Parity)})
    if parity.format not in FORMATS:
        raise RunError(f"{REPORT} names the format {parity.format!r}, which this version does not know")
    judge(parity, [])
    return parity


def _describe(parity: Parity) -> str:
    return (
        f"{parity.format} in {parity.dtype} passed: largest logit difference {parity.max_logit_delta:.3g}, KL "
        f"{parity.mean_kl:.3g} over {parity.positions} answer tokens"
    )


def _check_prompt(directory: Path, parity: Parity, adapter_dir: Path | None) -> str:
    """Render every place from which a program takes the prompt, where the prompt of training is known."""
    check_documents(directory)
    surfaces = FORMATS[parity.format].surfaces(directory)
    if not surfaces:
        raise Unchecked(f"the format {parity.format} has no place for a prompt")
    if adapter_dir is not None:
        prompter, tokenizer = prompter_of(adapter_dir, read_sidecar(adapter_dir), None), load_tokenizer(adapter_dir)
    elif parity.format == "hf" and (contract := find_contract(directory)):
        prompter, tokenizer = contract.prompter, load_tokenizer(directory)
    else:
        raise Unchecked("the adapter that it was made from is not known here:  alpaca-lora check-template  compares")
    for surface in surfaces:
        if fault := compare_surface(surface, prompter, tokenizer):
            raise RunError(f"the {surface.name} {fault}; export again")
    return f"{', '.join(surface.name for surface in surfaces)} give the token ids of training"


def _prove_again(directory: Path, parity: Parity, adapter_dir: Path | None) -> str:
    """Compare an artefact with its adapter on its base again, or as far as can be told without them look at it."""
    contract = find_contract(directory) if parity.format == "hf" else None
    if adapter_dir is None:
        return _look_at(directory, parity)
    if contract and contract.adapter_sha256 != (here := sha256_of(adapter_dir / WEIGHTS)):
        raise RunError(f"config.json names the adapter {contract.adapter_sha256[:12]}…, and not {here[:12]}…")
    found = check_artifact(parity.format, directory, _origin(adapter_dir, parity), parity.dtype)
    return f"opened in a clean process: each of {found.tensors} weights, and KL {found.mean_kl:.3g} from the adapter"


def _origin(adapter_dir: Path, parity: Parity) -> Origin:
    sidecar = read_sidecar(adapter_dir)
    if sidecar is None:
        raise Unchecked("the adapter was not made by alpaca-lora, so its base is not known")
    origin = resolve(adapter_dir, base_model=find_base(sidecar.base_model, sidecar.base_fingerprint))
    return origin.held("dequantized" if parity.merged_into == "dequantized" else "original")


def _look_at(directory: Path, parity: Parity) -> str:
    if parity.format not in ("hf", "adapter"):
        raise Unchecked("the adapter that it was made from is not known here, so it was not opened beside it")
    count = len(WeightFiles(directory).shapes)
    return f"the headers of {count} tensors can be read; not compared with the adapter, which is not known here"


def _compare_tensors(directory: Path) -> str:
    manifest = read_object(directory / MANIFEST)
    found = WeightFiles(directory).shapes
    if names := sorted(manifest["tensors"].keys() ^ found.keys()):
        raise RunError(f"{MANIFEST}: {names[0]!r} is in the weights or in the manifest only: copy the difference again")
    for name, digest in manifest["files"].items():
        if sha256_of(directory / Path(name).name) != digest:
            raise RunError(f"{Path(name).name} has changed since it was written: copy the difference again")
    return f"{len(found)} tensors are those of the manifest; export recover checks each against the base"
