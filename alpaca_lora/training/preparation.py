"""Everything about a run that can be decided, checked and counted before the base model's weights are loaded."""

import contextlib
import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from alpaca_lora._optional import require
from alpaca_lora._paths import expanded
from alpaca_lora._runs import COMPLETE, DEVICE, LIBRARY, check_output_dir, contract_of, environment
from alpaca_lora._version import __version__
from alpaca_lora.config import FinetuneConfig, load_config
from alpaca_lora.errors import ConfigError, EncodingError, RecordError
from alpaca_lora.models import detect_hardware, fingerprint, load_tokenizer, locate_base_model
from alpaca_lora.planning import (
    Decisions,
    Hardware,
    config_of,
    count_steps,
    decide,
    decide_intervals,
    validation_count,
)
from alpaca_lora.prompts import Prompter
from alpaca_lora.records import LoadedRecords, Record, read_dataset
from alpaca_lora.training import ranks
from alpaca_lora.training.admission import refuse_what_cannot_fit, room_of, settle_for
from alpaca_lora.training.dataset import DataReport, Rows, Split, build_dataset, encode_split, report_on, split_records
from alpaca_lora.training.earlier import keep_decided
from alpaca_lora.training.encoding import Rejection
from alpaca_lora.training.options import Plan
from alpaca_lora.training.progress import Progress
from alpaca_lora.training.row_cache import RowCache, default_directory, open_cache
from alpaca_lora.training.rows import EncodedRows
from alpaca_lora.training.sharding import check_sharding
from alpaca_lora.training.trainer import sft_config

Data = str | Path | Iterable[Any]


@dataclass(frozen=True)
class Preparation:
    """A run that is ready to start."""

    base_model: str
    base_dir: Path
    base_fingerprint: str
    hardware: Hardware
    tokenizer: PreTrainedTokenizerBase
    prompter: Prompter
    data: LoadedRecords
    heldout_records: list[Record]
    heldout: EncodedRows
    rows: Rows
    origins: Sequence[str]
    """Where each encoded record of the training rows came from."""

    report: DataReport
    config: FinetuneConfig
    """The settings with everything decided."""

    asked: FinetuneConfig
    """The settings as given."""

    reasons: tuple[str, ...]
    """Why each open setting became what it is."""

    plan: Plan

    notes: tuple[str, ...] = ()
    """What could not be done and did not matter enough to stop, one sentence each."""

    def contract(self) -> dict[str, Any]:
        """Return what decides the result, as JSON values: the content of run.json."""
        template = self.prompter.template
        return {
            "base_model": self.base_model,
            "base_fingerprint": self.base_fingerprint,
            "base_revision": self.base_dir.name if self.base_dir.parent.name == "snapshots" else None,
            "data": {"name": self.data.name, "sha256": self.data.sha256},
            "template": {"name": template.name, "sha256": self.prompter.sha256},
            "rows_sha256": _digest(self.rows),
            "config": self.config.model_dump(mode="json"),
            "total_steps": self.plan.total_steps,
            "processes": ranks.size(),
            "environment": {
                LIBRARY: __version__,
                **environment(),
                DEVICE: f"{self.hardware.device}: {self.hardware.name}",
                "threads": torch.get_num_threads(),  # more of them add up in another order
            },
            "decisions": list(self.reasons),
        }


def prepare(
    base_model: str | Path,
    data: Data,
    output_dir: str | Path,
    config: str | Path | FinetuneConfig | None,
    display: Progress | None = None,
) -> Preparation:
    """Decide, check and count everything that needs no weights.

    Args:
        base_model: the embedded model's name, a directory, or a Hub id.
        data: anything `read_dataset` takes.
        output_dir: where the run shall be; only looked at.
        config: a preset's name, a YAML file, a config, or None for what suits data and hardware.
        display: shows how far the encoding of many records is; None shows nothing.

    Raises:
        AlpacaLoraError: whatever is wrong with model, data, settings or directory.
    """
    asked = load_config(config)
    loaded = read_dataset(data, column_map=asked.column_map or None, allow_empty_output=asked.allow_empty_output)
    split, prompter = split_loaded(loaded, asked), Prompter(asked.template)
    check_output_dir(Path(output_dir), base_dir=_path_of(base_model), data=_path_of(data))
    run_dir, hardware = Path(output_dir).expanduser(), detect_hardware()
    base_dir, tokenizer, room = _locate(base_model, asked, run_dir, len(split.train), hardware)
    cache = open_cache(default_directory(), data_sha256=loaded.sha256, prompter=prompter, tokenizer=tokenizer)
    train, heldout, rejected = _encode(split, prompter, tokenizer, asked, cache, display)
    decisions = ranks.from_leader(lambda: _decide(asked, contract_of(run_dir), base_dir, train, hardware, room))
    rows = build_dataset(train, packed_length=decisions.config.packed_length)
    plan, intervals = _plan(decisions.config, len(rows), evaluated=bool(heldout))
    sft_config(intervals.config, plan, run_dir, hardware.device)
    return Preparation(
        base_model=_name_of(base_model, base_dir),
        base_dir=base_dir,
        base_fingerprint=fingerprint(base_dir),
        hardware=hardware,
        tokenizer=tokenizer,
        prompter=prompter,
        data=loaded,
        heldout_records=split.heldout,
        heldout=heldout,
        rows=rows,
        origins=train.origins,
        report=report_on(read=loaded.count, train=train, heldout=heldout, rejected=rejected, rows=len(rows)),
        config=intervals.config,
        asked=asked,
        reasons=(*decisions.reasons, *intervals.reasons),
        plan=plan,
        notes=tuple(cache.notes) if cache else (),
    )


def _digest(rows: Rows) -> str:
    """Return a digest of the ids and labels in their order: of all that data, split, template and tokenizer make."""
    digest = hashlib.sha256()
    for name in ("input_ids", "labels"):
        column = rows.data.column(name).combine_chunks()
        digest.update(column.offsets.to_numpy().tobytes())
        digest.update(column.values.to_numpy().tobytes())
    return digest.hexdigest()


def _decide(
    asked: FinetuneConfig,
    began: Mapping[str, Any] | None,
    base_dir: Path,
    train: EncodedRows,
    hardware: Hardware,
    room_bytes: int,
) -> Decisions:
    """Fill in what depends on the rows, the device, the model's shape, and the number of processes.

    Where the directory holds a run, what was left open is what that run has. What does not go together with it is
    decided anew, and the contract says what differs.
    """
    check_sharding(asked)
    kind = str(config_of(base_dir).get("model_type"))

    def fill(given: Decisions, hardware: Hardware) -> Decisions:
        tokens = float(train.lengths.mean())
        decided = decide(given.config, rows=len(train), hardware=hardware, mean_tokens=tokens, model_type=kind)
        settled = settle_for(base_dir, given.config, decided, hardware, room_bytes)
        return Decisions(ranks.shared_batch(asked, settled.config), (*given.reasons, *settled.reasons))

    if began is not None:
        closed = replace(hardware, compiler=False)  # an open `compiled` of a run is its decision to do without
        with contextlib.suppress(ConfigError):
            return fill(keep_decided(asked, began), closed)
    return fill(Decisions(asked, ()), hardware)


def _path_of(source: Any) -> Path | None:
    path = expanded(source) if isinstance(source, str | Path) else None
    return path if path and path.exists() else None


def _encode(
    split: Split,
    prompter: Prompter,
    tokenizer: PreTrainedTokenizerBase,
    config: FinetuneConfig,
    cache: RowCache | None,
    display: Progress | None,
) -> tuple[EncodedRows, EncodedRows, list[Rejection]]:
    """Return the rows to train on, the rows to score, and what is neither."""
    train, rejected = encode_split(split.train, prompter, tokenizer, config, cache=cache, display=display)
    heldout, unscored = encode_split(split.heldout, prompter, tokenizer, config, cache=cache, scored=True)
    if config.keep_best and not heldout:
        raise EncodingError(f"config.keep_best: no held-out record fits config.max_length {config.max_length}")
    return train, heldout, [*rejected, *unscored, *split.aside]


def split_loaded(loaded: LoadedRecords, config: FinetuneConfig) -> Split:
    """Divide a dataset as a run with these settings does.

    Raises:
        RecordError: no record is left to train on.
    """
    count = validation_count(config, len(loaded.records), len(loaded.heldout))
    fixed = loaded.heldout if config.validation_size is None else ()
    split = split_records(loaded.records, fixed, count, config.seed)
    if config.validation_size is not None:
        why = f"held out by the data, and config.validation_size {config.validation_size} takes others"
        split.aside.extend(Rejection(record.origin, why, 0) for record in loaded.heldout)
    if not split.train:
        raise RecordError(f"{loaded.name}: no record is left to train on after holding out {len(split.heldout)}")
    return split


def _plan(config: FinetuneConfig, rows: int, *, evaluated: bool) -> tuple[Plan, Decisions]:
    total_steps = count_steps(rows, config)
    intervals = decide_intervals(config, total_steps)
    plan = Plan(
        total_steps=total_steps,
        warmup_steps=_warmup(config, total_steps),
        eval_steps=int(intervals.config.eval_steps or 0) if evaluated else 0,
        save_steps=int(intervals.config.save_steps or total_steps),
    )
    return plan, intervals


def _warmup(config: FinetuneConfig, total_steps: int) -> int:
    wanted = config.warmup_steps if config.warmup_steps is not None else math.ceil(total_steps * config.warmup_fraction)
    return min(wanted, total_steps - 1)


def _name_of(base_model: str | Path, base_dir: Path) -> str:
    return str(base_dir) if _path_of(base_model) else str(base_model)


def _locate(
    base_model: str | Path, config: FinetuneConfig, run_dir: Path, rows: int, hardware: Hardware
) -> tuple[Path, PreTrainedTokenizerBase, int]:
    """Return where the base model is, its tokenizer, and the free memory, once these settings are known to train it."""
    _refuse_several_devices()
    room = room_of(hardware)
    if not (run_dir / COMPLETE).exists():
        refuse_what_cannot_fit(base_model, config, rows=rows, hardware=hardware, room_bytes=room)
    base_dir = locate_base_model(base_model, unquantised=True)
    if config.quantization.method == "nf4" or config.optimizer != "adamw":
        require("bitsandbytes", extra="quant")
    for tracker in config.report_to:
        require(tracker, extra="track")
    positions = config_of(base_dir).get("max_position_embeddings")
    if isinstance(positions, int) and config.max_length > positions:
        raise ConfigError(
            f"config.max_length must be at most {positions}, the positions of this model, got {config.max_length}"
        )
    return base_dir, load_tokenizer(base_dir), room


def _refuse_several_devices() -> None:
    if torch.cuda.device_count() > 1 and ranks.size() == 1:
        raise ConfigError(
            f"{torch.cuda.device_count()} CUDA devices are visible and one is used: "
            "choose it with CUDA_VISIBLE_DEVICES=0, or start a process for each with torchrun"
        )
