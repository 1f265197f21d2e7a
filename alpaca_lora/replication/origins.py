"""Whether what was done before was made from what the stages before it hold now, so that no mix is sealed."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from alpaca_lora._files import sha256_of
from alpaca_lora._runs import contract_of
from alpaca_lora.adapters.sidecar import WEIGHTS
from alpaca_lora.curation.ledger import CONTRACT as CURATION
from alpaca_lora.errors import RunError
from alpaca_lora.exports.parity import REPORT
from alpaca_lora.replication.stages import Work, read_stored

__all__ = ["check_origin"]


def check_origin(work: Work, stage: str) -> None:
    """Refuse to go on with what an earlier session made of other bytes than the stage before has now.

    Raises:
        RunError: it names every directory that has to be deleted, because it was made from those.
    """
    for source, said in _claims(work, stage):
        if isinstance(source, Path) and said not in (None, sha256_of(source) if source.is_file() else ""):
            later = work.recipe.stages[work.recipe.stages.index(stage) :]
            names = [work.directory(name).name for name in later if work.directory(name).exists()]
            raise RunError(
                f"{names[0]} was not made from {source.relative_to(work.root).as_posix()} as it is now: delete "
                f"{' and '.join(names)} in {str(work.root)!r}, and the same command does that again"
            )


def _claims(work: Work, stage: str) -> Iterator[tuple[str | Path, Any]]:
    """Yield what a stage was made from, and the SHA-256 that it says this had then; None where it does not say."""
    weights = work.directory("finetune") / "adapter" / WEIGHTS
    if stage == "curate":
        yield work.collected, _in(read_stored(work.directory(stage) / CURATION), "measured", "data_sha256")
    if stage == "finetune":
        yield work.training_data, _in(contract_of(work.directory(stage)), "data", "sha256")
    if stage == "evaluate":
        tuned = work.directory("finetune").name
        yield weights, _in(contract_of(work.directory(stage)), "models", tuned, "adapter_sha256")
    if stage == "export":
        yield from ((weights, _in(read_stored(place / REPORT), "adapter_sha256")) for place in work.exports)


def _in(document: Any, *names: str) -> Any:
    for name in names:
        document = document.get(name) if isinstance(document, Mapping) else None
    return document
