"""What every test may ask for: an offline process, a fresh interpreter, a tiny base model, the published data."""

import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import settings

from tests import warm
from tests.shares import in_shares
from tests.tiny_base import write_tiny_base

REPOSITORY = Path(__file__).parents[1]
CATALOGUE_ROWS = set(range(1, 131))
"""Files of records (1 to 48), templates (49 to 59), settings (60 to 82), models, adapters and checkpoints (83 to 108),
and answers of teachers (109 to 130)."""

for variable in ("HF_HUB_OFFLINE", "HF_HUB_DISABLE_TELEMETRY", "DO_NOT_TRACK"):
    os.environ.setdefault(variable, "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
PROCESSES = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
if PROCESSES > 1:  # each with the threads of all would wait for the others
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // PROCESSES)))

settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
settings.load_profile("repeatable")


def _is_slow(item: pytest.Item) -> bool:
    return item.get_closest_marker("slow") is not None


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let several processes begin with the slow tests."""
    if PROCESSES > 1:
        items[:] = in_shares(items, PROCESSES, is_slow=_is_slow, file_of=lambda item: item.path)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many rows of the catalogue of bad input have been shown; `make test` shows all that exist by now."""
    rows = {row for report in terminalreporter.getreports("passed") for row in getattr(report, "rows", ())}
    if rows:
        missing = sorted(CATALOGUE_ROWS - rows)
        said = f"; not shown: {', '.join(map(str, missing))}" if 0 < len(missing) <= 10 else ""
        terminalreporter.write_line(f"catalogue of bad input: {len(rows)} of {len(CATALOGUE_ROWS)} rows{said}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note which rows a test shows: those of its marks, and the one that its parameters are named after."""
    report = yield
    named = re.search(r"\[row (\d+)", item.name)
    report.rows = {row for mark in item.iter_markers("catalogue") for row in mark.args} | (
        {int(named[1])} if named else set()
    )
    return report


@pytest.fixture(autouse=True)
def loopback_only(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail a test that connects to another machine, unless it is marked `network`."""
    if request.node.get_closest_marker("network"):
        return
    for name in ("connect", "connect_ex"):
        connect = getattr(socket.socket, name)

        def guarded(self, address, connect=connect):
            if isinstance(address, tuple) and address[0] not in {"127.0.0.1", "::1", "localhost"}:
                pytest.fail(f"a test tried to connect to {address[0]!r}")
            return connect(self, address)

        monkeypatch.setattr(socket.socket, name, guarded)


@pytest.fixture(autouse=True)
def one_thread(request: pytest.FixtureRequest) -> Iterator[None]:
    """Compute in one thread unless the embedded model is at work: on tensors this small, threads mostly wait."""
    torch = sys.modules.get("torch")
    if torch is None or request.node.get_closest_marker("slow"):
        yield
        return
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def run_python() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a new interpreter that imports this checkout: `run_python("-c", code, ...)`.

    Options of `subprocess.run` may follow; `path` replaces the checkout on the import path.
    """

    def run(*arguments: str | Path, path: Path = REPOSITORY, **options) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": str(path)}
        command = [sys.executable, *map(str, arguments)]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, **options)

    return run


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of two layers with random weights and a byte-level tokenizer, as a local model directory.

    The tokenizer adds no token of its own; `<|endoftext|>` ends a text and `<|pad|>` pads it.
    """
    directory = tmp_path_factory.mktemp("tiny-base")
    write_tiny_base(directory)
    return directory


@pytest.fixture(scope="session")
def train(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Write an adapter with random updates and a true sidecar: `train(base_dir, rank=4, dora=True)`.

    `spread` is the standard deviation of the updates.
    """
    import torch

    from alpaca_lora.adapters import Sidecar, adapter_tensors, attach_adapter, probe_losses, save_adapter
    from alpaca_lora.config import LoraSettings, QuantizationSettings
    from alpaca_lora.models import fingerprint, load_base_model, load_tokenizer, stop_ids
    from alpaca_lora.prompts import Prompter

    def make(
        base_dir: Path, *, quantization: str = "none", template: str = "alpaca", spread: float = 0.1, **settings: Any
    ) -> Path:
        tokenizer, prompter = load_tokenizer(base_dir), Prompter(template)
        held = QuantizationSettings(method=quantization)
        base = load_base_model(base_dir, precision="fp32", quantization=held, device="cpu")
        before = probe_losses(base, tokenizer, prompter)
        lora = LoraSettings(**{"rank": 4, "alpha": 8.0, "target_modules": "all-linear", **settings})
        with torch.random.fork_rng():
            torch.manual_seed(7)
            model = attach_adapter(base, lora, base_dir=str(base_dir))
            initial = adapter_tensors(model) if lora.init == "pissa" else None
            for name, parameter in model.named_parameters():
                if parameter.requires_grad and "lora_" in name:
                    parameter.data += spread * torch.randn_like(parameter)
        sidecar = Sidecar(
            base_model=str(base_dir),
            base_fingerprint=fingerprint(base_dir),
            template=prompter.template.to_dict(),
            template_sha256=prompter.sha256,
            data_sha256="0" * 64,
            precision="fp32",
            quantization=held.model_dump(),
            max_length=128,
            stop_ids=stop_ids(tokenizer, base),
            base_losses=before,
            losses=probe_losses(model, tokenizer, prompter),
        )
        directory = tmp_path_factory.mktemp("run") / "adapter"
        save_adapter(model, tokenizer, directory, sidecar=sidecar, initial=initial)
        return directory

    return make


@pytest.fixture
def warm_gates(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the clean processes of the gates begin at once, for tests of what is done before and after a gate."""
    from alpaca_lora.adapters import clean_process

    monkeypatch.setattr(clean_process, "subprocess", SimpleNamespace(run=warm.run))


@pytest.fixture(scope="session")
def reference_data() -> Path:
    """The published data next to the checkout, for tests marked `reference`."""
    directory = REPOSITORY.parent / "shared" / "data"
    if not directory.is_dir():
        pytest.skip("../shared/data, the published data, is not next to this checkout")
    return directory
