"""Verification from the command line: one line for each check, and one error that names the first thing that failed."""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import tyro

from alpaca_lora.reporting.wording import count, visible

if TYPE_CHECKING:
    from alpaca_lora.replication.findings import VerificationResult

__all__ = ["VerifyOptions", "verify_directory"]

_FAILED = 2
_MARKS = {"passed": "ok", "failed": "FAILED", "not checked": "-"}


@dataclass(frozen=True, kw_only=True)
class VerifyOptions:
    """The flags of `verify`."""

    directory: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="DIR")] = "runs/alpaca-mini"
    """Directory of a run, generation, curation, evaluation, export or replication, or an adapter."""

    determinism: tyro.conf.FlagCreatePairsOff[bool] = False
    """Train a run again, beside it, and compare the bytes of the adapter; takes as long as the run did."""

    json: tyro.conf.FlagCreatePairsOff[bool] = False
    """Print the findings as one JSON object."""

    quiet: tyro.conf.FlagCreatePairsOff[bool] = False
    """Show no progress."""


def verify_directory(options: VerifyOptions) -> int:
    """Check the directory, print what was found, and return 0 if no check failed, else 2."""
    from alpaca_lora.replication.verification import verify

    result = verify(options.directory, determinism=options.determinism, progress=not options.quiet)
    print(json.dumps(result.to_json(), indent=2) if options.json else "\n".join(map(visible, _render(result))))
    if (failure := result.failure) is None:
        return 0
    sys.stdout.flush()
    print(visible(f"error: {failure.part}: {failure.check}: {failure.found}"), file=sys.stderr)
    return _FAILED


def _render(result: "VerificationResult") -> Iterator[str]:
    width = max(len(finding.check) for finding in result.findings)
    part = result.findings[0].part
    yield f"{part}, {'an' if result.kind[0] in 'ae' else 'a'} {result.kind}"
    for finding in result.findings:
        if finding.part != part:
            part = finding.part
            yield f"\n{part}"
        said = f"not checked: {finding.found}" if finding.outcome == "not checked" else finding.found
        yield f"{_MARKS[finding.outcome]:<6}  {finding.check:<{width}}  {said}"
    outcomes = [finding.outcome for finding in result.findings]
    numbers = f"{count(outcomes.count('passed'))} checks passed"
    for outcome in ("failed", "not checked"):
        if outcome in outcomes:
            numbers += f", {count(outcomes.count(outcome))} {outcome}"
    yield f"\n{numbers}"
