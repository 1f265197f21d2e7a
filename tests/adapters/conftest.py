"""A trained adapter of the tiny base model, made the way `finetune` makes one, and copies of it to damage."""

import functools
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def trained(train: Callable[..., Path], tiny_base: Path) -> Callable[..., Path]:
    """Write an adapter of the tiny base model: `trained(rank=4, rslora=True, ...)`."""
    return functools.partial(train, tiny_base, spread=0.05)


@pytest.fixture(scope="session")
def healthy(trained: Callable[..., Path]) -> Path:
    """An adapter that passes every check; copy it before you damage it."""
    return trained()


@pytest.fixture
def adapter(healthy: Path, tmp_path: Path) -> Path:
    """A copy of the healthy adapter."""
    return Path(shutil.copytree(healthy, tmp_path / "adapter"))
