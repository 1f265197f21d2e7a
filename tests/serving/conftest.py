"""Adapters of the tiny base model, with random updates, so that they answer but say nothing sensible."""

import asyncio
import os
import queue
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def make_adapter(tiny_base: Path) -> Callable[..., Path]:
    """Write an adapter with a sidecar to a directory: `make_adapter(directory, template="alpaca")`."""

    def make(directory: Path, template: str = "alpaca") -> Path:
        import torch

        from alpaca_lora.adapters import Sidecar, attach_adapter, save_adapter
        from alpaca_lora.config import LoraSettings
        from alpaca_lora.models import fingerprint, load_base_model, load_tokenizer, stop_ids
        from alpaca_lora.prompts import Prompter

        base = load_base_model(tiny_base, precision="fp32", device="cpu")
        tokenizer = load_tokenizer(tiny_base)
        with torch.random.fork_rng():
            torch.manual_seed(1)
            model = attach_adapter(base, LoraSettings(rank=4, alpha=8), base_dir=str(tiny_base))
            for name, parameter in model.named_parameters():
                if ".lora_B." in name:
                    torch.nn.init.normal_(parameter)
        prompter = Prompter(template)
        sidecar = Sidecar(
            base_model=str(tiny_base),
            base_fingerprint=fingerprint(tiny_base),
            template=prompter.template.to_dict(),
            template_sha256=prompter.sha256,
            data_sha256="0" * 64,
            precision="fp32",
            quantization={"method": "none", "double_quantization": True},
            max_length=128,
            stop_ids=stop_ids(tokenizer, base),
            base_losses=(1.0,) * 4,
            losses=(1.0,) * 4,
        )
        save_adapter(model, tokenizer, directory, sidecar=sidecar)
        return directory

    return make


@pytest.fixture(scope="session")
def adapter(make_adapter: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter that was trained, as its sidecar says, with the template `alpaca`."""
    return make_adapter(tmp_path_factory.mktemp("run") / "adapter")


@pytest.fixture
def foreign_adapter(adapter: Path, tmp_path: Path) -> Path:
    """The same adapter as another tool would leave it: without sidecar and without tokenizer."""
    directory = tmp_path / "foreign"
    directory.mkdir()
    for name in ("adapter_model.safetensors", "adapter_config.json"):
        shutil.copy(adapter / name, directory)
    return directory


@pytest.fixture(scope="module")
def assistant(adapter: Path) -> Any:
    """That adapter on its base, ready to answer."""
    from alpaca_lora.serving import load

    return load(adapter, device="cpu")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium without a window."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("there is no Chromium: apt-get install chromium")
    with api.sync_playwright() as playwright:
        arguments = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
        with playwright.chromium.launch(executable_path=chromium, args=arguments) as opened:
            yield opened


@pytest.fixture(scope="module")
def publish() -> Iterator[Callable[..., Any]]:
    """Serve a page for the time of a module: `publish(desk, accounts=None)` returns the website.

    All of gradio is made inside the event loop that runs it; outside of one it would make loops and never close them.
    """
    pytest.importorskip("gradio", reason="the extra ui is not installed")
    from alpaca_lora.serving.page import Page
    from alpaca_lora.serving.website import Website, listen

    running = []

    def start(desk: Any, **options: Any) -> Website:
        made: queue.SimpleQueue[Any] = queue.SimpleQueue()

        async def serve() -> None:
            website = Website(Page(desk, "<b>run</b>", "An adapter"), listen(0), **options)
            server = website.server()
            made.put((website, server))
            with website.socket:
                await server.serve(sockets=[website.socket])

        thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
        thread.start()
        website, server = made.get(timeout=60)
        running.append((server, thread))
        while thread.is_alive() and not server.started:
            time.sleep(0.02)
        return website

    yield start
    for server, thread in running:
        server.should_exit = True
        thread.join(30)
