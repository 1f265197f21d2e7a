"""The parity gate: an artefact must compute what the adapter on its base computes.

A clean process puts the adapter on the base, answers eight prompts greedily, and keeps the logits of every answer
token. Another clean process opens the artefact, as a stranger would, and computes the same positions. Their differences
must stay within what the artefact's number format explains; every weight is compared too, since a single skipped layer
can hide behind the rounding of the others.
"""

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from alpaca_lora.adapters.clean_process import run_in_clean_process
from alpaca_lora.errors import ExportError, ParityError
from alpaca_lora.exports.diagnosis import Fault
from alpaca_lora.exports.origin import Origin
from alpaca_lora.models.hardware import main_memory_bytes

__all__ = [
    "LIMITS",
    "REPORT",
    "Limits",
    "Parity",
    "check_artifact",
    "coarser",
    "compare_logits",
    "judge",
    "weigh_bases",
]

REPORT = "parity.json"
"""File beside the artefact that says how it was compared and what was found."""


@dataclass(frozen=True)
class Limits:
    """How far an artefact may be from the adapter on its base."""

    logit_delta: float
    """Largest difference of one logit."""

    mean_kl: float
    """Mean Kullback-Leibler divergence of the next-token distributions, in nats."""

    agreement: float
    """Smallest share of positions where both find the same token likeliest."""


LIMITS: Mapping[str, Limits] = {
    "f32": Limits(logit_delta=1e-3, mean_kl=1e-6, agreement=0.99),
    "f16": Limits(logit_delta=0.5, mean_kl=1e-3, agreement=0.98),
    "bf16": Limits(logit_delta=4.0, mean_kl=2e-2, agreement=0.95),
    "q8_0": Limits(logit_delta=8.0, mean_kl=5e-2, agreement=0.93),
    "q6": Limits(logit_delta=12.0, mean_kl=0.1, agreement=0.85),
    "q5": Limits(logit_delta=16.0, mean_kl=0.3, agreement=0.7),
    "q4": Limits(logit_delta=24.0, mean_kl=1.0, agreement=0.5),
}
"""Limits by the coarser of the artefact's number format and the one that was computed in, from fine to coarse; what
llama.cpp has quantised counts by its bits."""

_CHILD = """
import sys
from alpaca_lora.exports.measuring import main
main(sys.argv[1])
"""


@dataclass(frozen=True)
class Parity:
    """What the gate found."""

    format: str
    """Kind of artefact."""

    dtype: str
    """Its number format."""

    computed_in: str
    """Number format of the comparison: f32, or bf16 where f32 would not fit into memory."""

    merged_into: str
    """Form of the base that it was merged into and compared on: `original` or `dequantized`."""

    prompts: int
    """How many prompts were answered."""

    positions: int
    """How many answer tokens were compared."""

    max_logit_delta: float
    """Largest difference of one logit."""

    mean_kl: float
    """Mean KL divergence from the adapter on its base, in nats per token."""

    max_kl: float
    """Largest KL divergence of one position."""

    agreement: float
    """Share of positions where both find the same token likeliest."""

    tensors: int
    """How many weights were compared."""

    def to_dict(self) -> dict[str, Any]:
        """Return all fields and the limits that they are held to, ready for JSON."""
        return asdict(self) | {"limits": asdict(LIMITS[coarser(self.dtype, self.computed_in)])}


def coarser(first: str, second: str) -> str:
    """Return the key in `LIMITS` of the coarser of two number formats."""
    return max((name if name in LIMITS else name[:2] for name in (first, second)), key=list(LIMITS).index)


def compare_logits(reference_NV: torch.Tensor, found_NV: torch.Tensor) -> dict[str, float]:
    """Return the largest difference, the KL divergences and the agreement of two sets of logits."""
    columns = min(reference_NV.shape[1], found_NV.shape[1])
    reference_NV, found_NV = reference_NV[:, :columns].double(), found_NV[:, :columns].double()
    log_p, log_q = reference_NV.log_softmax(-1), found_NV.log_softmax(-1)
    kl_N = (log_p.exp() * (log_p - log_q)).sum(-1)
    return {
        "max_logit_delta": float((reference_NV - found_NV).abs().max()),
        "mean_kl": float(kl_N.mean()),
        "max_kl": float(kl_N.max()),
        "agreement": float((reference_NV.argmax(-1) == found_NV.argmax(-1)).double().mean()),
    }


def check_artifact(format_name: str, directory: Path, origin: Origin, dtype: str) -> Parity:
    """Open an artefact in a clean process and compare it with the adapter on its base.

    Args:
        format_name: kind of artefact, a name of `formats.FORMATS`.
        directory: the artefact.
        origin: what it was made from.
        dtype: its number format.

    Returns:
        What was measured.

    Raises:
        ParityError: the artefact does not open, or differs by more than the number format explains; see `judge`.
        ExportError: the adapter on its base cannot be computed.
    """
    with tempfile.TemporaryDirectory(prefix="alpaca-lora-parity-") as scratch:
        computed_in = _affordable(origin.base_dir)
        job: dict[str, Any] = {
            "task": "reference",
            "origin": origin.to_json(),
            "computed_in": computed_in,
            "reference": f"{scratch}/reference.safetensors",
        }
        _run(job, "the adapter on its base")
        job |= {
            "task": "artifact",
            "format": format_name,
            "artifact": str(directory),
            "rounding": coarser(dtype, computed_in),
            "found": f"{scratch}/found.safetensors",
        }
        try:
            _run(job, f"the {format_name} artefact")
        except ExportError as error:
            raise ParityError(str(error), code="unreadable", tensor=None) from error
        reference, found = load_file(job["reference"]), load_file(job["found"])
        seen = json.loads(Path(scratch, "found.json").read_text(encoding="utf-8"))
    parity = Parity(
        format=format_name,
        dtype=dtype,
        computed_in=computed_in,
        merged_into=origin.into,
        prompts=int(reference["lengths"].shape[0]),
        positions=int(reference["logits"].shape[0]),
        tensors=seen["tensors"],
        **compare_logits(reference["logits"], found["logits"]),
    )
    judge(parity, [Fault(**fault) for fault in seen["faults"]])
    return parity


def weigh_bases(origin: Origin) -> dict[str, float]:
    """Measure in a clean process how far a QLoRA adapter moves when its base changes.

    Returns:
        For each form of the base, the mean KL divergence in nats per token from the model as it was trained.

    Raises:
        ExportError: one of the models cannot be opened.
    """
    with tempfile.TemporaryDirectory(prefix="alpaca-lora-bases-") as scratch:
        path = Path(scratch, "found.json")
        job: dict[str, Any] = {
            "task": "bases",
            "origin": origin.to_json(),
            "computed_in": _affordable(origin.base_dir),
            "found": str(path),
        }
        _run(job, "the adapter on its base")
        found: dict[str, float] = json.loads(path.read_text(encoding="utf-8"))
    return found


def judge(parity: Parity, faults: Sequence[Fault]) -> None:
    """Refuse an artefact whose weights or logits differ by more than its number format explains.

    Raises:
        ParityError: it does; the error has the kind of fault and the first tensor that differs.
    """
    what = f"the {parity.format} artefact is not what the adapter on its base computes"
    if faults:
        first = faults[0]
        figures = (
            f"largest logit difference {parity.max_logit_delta:.3g}, KL {parity.mean_kl:.3g}, "
            f"agreement {parity.agreement:.1%}"
        )
        raise ParityError(
            f"[{first.code}] {what}: {len(faults)} of {parity.tensors} weights differ, first {first.tensor!r}: "
            f"{first.sentence} ({figures})",
            code=first.code,
            tensor=first.tensor,
        )
    if shortfall := _shortfall(parity):
        finer = {"f32": "", "f16": "f32"}.get(parity.dtype, "f16 or f32")
        advice = f". If rounding undoes some of the training, a finer format keeps it: --dtype {finer}" if finer else ""
        raise ParityError(
            f"[logits] {what}, although every weight is right: in {parity.dtype}, {shortfall}{advice}",
            code="logits",
            tensor=None,
            shortfall=shortfall,
        )


def _shortfall(parity: Parity) -> str:
    """Return which limits of its number format the logits of an artefact are beyond; empty where they are within."""
    limits = LIMITS[coarser(parity.dtype, parity.computed_in)]
    wanted = (
        (
            parity.max_logit_delta <= limits.logit_delta,
            f"a logit differs by {parity.max_logit_delta:.3g} and {limits.logit_delta:g} is allowed",
        ),
        (parity.mean_kl <= limits.mean_kl, f"KL is {parity.mean_kl:.3g} and {limits.mean_kl:g} is allowed"),
        (
            parity.agreement >= limits.agreement,
            f"{parity.agreement:.1%} of the greedy tokens agree and {limits.agreement:.0%} are wanted",
        ),
    )
    return ", ".join(words for held, words in wanted if not held)


def _affordable(base_dir: Path) -> str:
    """Return f32 if this machine's memory holds the model so, else bf16."""
    stored = sum(path.stat().st_size for path in base_dir.glob("*.safetensors"))
    return "f32" if 3 * stored <= main_memory_bytes() else "bf16"


def _run(job: Mapping[str, Any], what: str) -> None:
    """Do a job in a clean process.

    Raises:
        ExportError: the process failed; its last line tells why.
    """
    run_in_clean_process(
        _CHILD, json.dumps(job), failed=lambda last: ExportError(f"{what} does not open in a clean process: {last}")
    )
