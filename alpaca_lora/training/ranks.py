"""Several processes, one run, as torchrun starts them: what they agree on, who takes which rows, who writes.

Each process holds the whole adapter and takes its share of every step's rows; the gradients are added up once a step,
before they are clipped. Rows, order and sums are those of one process with the same batch, so the adapter is the same
too, to the rounding of a sum. The first process writes the run directory; what the others write goes into a directory
that nobody sees and that is deleted. Nothing is started here: torchrun starts, watches and ends the processes.
"""

import contextlib
import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from accelerate.data_loader import SeedableRandomSampler
from torch import distributed
from torch.utils.data import DataLoader, Dataset, Sampler

from alpaca_lora.config import FinetuneConfig
from alpaca_lora.errors import ConfigError, RunError
from alpaca_lora.models import IGNORED

T = TypeVar("T")

_LOST = re.compile(r"gloo|nccl|connection (closed|reset)", re.IGNORECASE)
"""What the exchange says when the other side is gone."""

_PATIENCE = timedelta(hours=2)
"""How long a process waits for the others, as while the first one checks its adapter."""

_SCRATCH = "alpaca-lora-rank-"


def rank() -> int:
    """Return which process this is, from 0; the first one leads."""
    return int(os.environ.get("RANK", "0"))


def size() -> int:
    """Return how many processes train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def join() -> None:
    """Meet the other processes, if there are any; each takes the CUDA device of its place on its machine.

    Raises:
        ConfigError: there are fewer devices than processes.
    """
    if size() == 1 or distributed.is_initialized():
        return
    if torch.cuda.is_available():
        place, devices = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
        here = int(os.environ.get("LOCAL_WORLD_SIZE", place + 1))
        if here > devices:
            raise ConfigError(
                f"{here} processes were started on this machine and {devices} CUDA devices are visible, which is one "
                f"for each at most: start  torchrun --nproc-per-node {devices}  or make more visible"
            )
        torch.cuda.set_device(place)
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    distributed.init_process_group(backend, timeout=_PATIENCE)


def from_leader(make: Callable[[], T]) -> T:
    """Return what the first process makes; where it fails, all do, with its error."""
    if size() == 1:
        return make()
    told: list[Any] = [None, None]
    if rank() == 0:
        try:
            told[0] = make()
        except Exception as error:  # the others would wait for it
            told[1] = error
    distributed.broadcast_object_list(told, src=0)
    if told[1] is not None:
        raise told[1]
    return told[0]  # type: ignore[no-any-return]


def received(kind: type[T]) -> T:
    """Return what the first process makes in its next `from_leader`, an instance of `kind`."""
    return from_leader(cast("Callable[[], T]", kind))  # only the first process calls it


@contextlib.contextmanager
def own_directory(run_dir: Path) -> Iterator[Path]:
    """Yield where this process writes: the run directory for the first one, else a directory that is deleted.

    Raises:
        RunError: another process ended, so that an exchange with it failed.
    """
    try:
        if rank() == 0:
            yield run_dir
            return
        with _scratch() as directory:
            yield directory / "run"
    except RuntimeError as error:
        if size() > 1 and _LOST.search(str(error)):
            raise RunError(
                f"process {rank()} of {size()} lost the others: one of them ended, and says why itself unless it was "
                "killed. The same command goes on from the newest checkpoint"
            ) from error
        raise


@contextlib.contextmanager
def _scratch() -> Iterator[Path]:
    """Lend a directory that is deleted; first delete those of processes that were killed before they could.

    Each process holds a lock on its directory, which the system gives back however the process ends. A directory has
    the name by which it is found only when it is locked.
    """
    for left in Path(tempfile.gettempdir()).glob(f"{_SCRATCH}*"):
        with contextlib.suppress(OSError), _locked(left):  # in use, or another user's
            shutil.rmtree(left)
    made = Path(tempfile.mkdtemp(prefix=f"new-{_SCRATCH}"))
    with _locked(made):
        directory = made.rename(made.with_name(made.name.removeprefix("new-")))
        try:
            yield directory
        finally:
            shutil.rmtree(directory, ignore_errors=True)


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def add_up_gradients(parameters: Iterable[torch.nn.Parameter]) -> None:
    """Replace each gradient by its sum over all processes, in one exchange."""
    if size() == 1:
        return
    grads = [parameter.grad for parameter in parameters if parameter.grad is not None]
    flat = torch.cat([grad.flatten() for grad in grads])
    distributed.all_reduce(flat)
    for grad, total in zip(grads, flat.split([grad.numel() for grad in grads]), strict=True):
        grad.copy_(total.view_as(grad))


def total(value: torch.Tensor) -> torch.Tensor:
    """Return the sum of a number over all processes."""
    if size() > 1:
        distributed.all_reduce(value)
    return value


def joined(values: list[int]) -> list[int]:
    """Return the numbers of all processes, in the order of the processes."""
    if size() == 1:
        return values
    told: list[Any] = [None] * size()
    distributed.all_gather_object(told, values)
    return [value for part in told for value in part]


def least(value: int) -> int:
    """Return the smallest of the numbers that the processes have."""
    if size() == 1:
        return value
    told = torch.tensor(value)
    distributed.all_reduce(told, distributed.ReduceOp.MIN)
    return int(told)


def loudest(signal: int | None) -> int | None:
    """Return the signal that any process got, so that all stop at the same step; None where none did."""
    if size() == 1:
        return signal
    told = torch.tensor(signal or 0)
    distributed.all_reduce(told, distributed.ReduceOp.MAX)
    return int(told) or None


def take_from_leader(parameters: Iterable[torch.nn.Parameter]) -> None:
    """Give every process the values that the first one has."""
    if size() > 1:
        for parameter in parameters:
            distributed.broadcast(parameter.data, src=0)


def exchange_files(directory: Path, pattern: str, write: Callable[[Path, bytes], None]) -> None:
    """Give the first process the files that the others wrote under the same names, as the states of their chance."""
    if size() == 1:
        return
    mine = [(path.name, path.read_bytes()) for path in directory.glob(pattern)]
    gathered: list[Any] | None = [None] * size() if rank() == 0 else None
    distributed.gather_object(mine, gathered, dst=0)
    for name, content in (pair for pairs in (gathered or [])[1:] for pair in pairs):
        write(directory / name, content)


def shared_batch(asked: FinetuneConfig, decided: FinetuneConfig) -> FinetuneConfig:
    """Return the config with a micro-batch that all processes can take alike; the batch of a step stays what it is.

    Args:
        asked: the settings as given: a micro_batch_size in them is not changed.
        decided: the same without gaps.

    Raises:
        ConfigError: the processes cannot share the batch evenly.
    """
    batch, micro = decided.batch_size or 1, decided.micro_batch_size or 1
    if asked.micro_batch_size is None:
        parts = [part for part in range(1, micro + 1) if batch % (part * size()) == 0]
        micro = max(parts, default=micro)
    if batch % (micro * size()):
        raise ConfigError(
            f"config.batch_size {batch} must be a multiple of {micro * size()}: {size()} processes with "
            f"micro_batch_size {micro} each. Give another batch_size or micro_batch_size, or start another number of "
            "processes"
        )
    return decided.model_copy(update={"micro_batch_size": micro})


def share_rows(rows: Any, order: Any, collator: Any, config: FinetuneConfig) -> DataLoader[Any]:
    """Return this process's share of the rows, in the order that a single one would have.

    Args:
        rows: those of all processes.
        order: the Trainer's sampler; one that takes no epoch is replaced as accelerate does in a single process.
        collator: makes a batch, and knows what pads it.
        config: settings without gaps.
    """
    if not hasattr(order, "set_epoch"):
        order = SeedableRandomSampler(rows, data_seed=config.seed)
    batches = RankBatches(order, config.micro_batch_size or 1)
    return DataLoader(WithBlank(rows, collator.pad_id), batch_sampler=batches, collate_fn=collator)


class RankBatches(Sampler[list[int]]):
    """The micro-batches of one process: each takes every so many of those that a single one would have.

    Where the last ones of an epoch are fewer than processes, those left over get a batch of one blank row.

    Args:
        order: yields the rows of an epoch, the same in every process.
        micro_batch_size: rows of a micro-batch.
    """

    BLANK = -1

    def __init__(self, order: Any, micro_batch_size: int) -> None:
        self.order, self.micro_batch_size = order, micro_batch_size
        self.batch_sampler = self  # where the Trainer looks for whom to tell the epoch

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, which decides the order."""
        self.order.set_epoch(epoch)

    def __len__(self) -> int:
        return -(-len(self.order) // (self.micro_batch_size * size()))

    def __iter__(self) -> Iterator[list[int]]:
        rows = list(self.order)
        own = range(rank() * self.micro_batch_size, len(self) * size() * self.micro_batch_size, self._stride)
        yield from (rows[start : start + self.micro_batch_size] or [self.BLANK] for start in own)

    @property
    def _stride(self) -> int:
        return size() * self.micro_batch_size


class WithBlank(Dataset[dict[str, Any]]):
    """Rows, and a blank one of which nothing is learned."""

    def __init__(self, rows: Any, pad_id: int) -> None:
        self.rows, self.pad_id = rows, pad_id

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Sequence[int]]:
        if index != RankBatches.BLANK:
            return self.rows[index]  # type: ignore[no-any-return]
        blank = {"input_ids": [self.pad_id], "labels": [IGNORED], "position_ids": [0], "records": [-1]}
        return {name: blank[name] for name in self.rows.column_names}
