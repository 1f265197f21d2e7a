"""S21: files of other users of the machine: in the place of ours, or readable where ours should not be."""

import os
from pathlib import Path

from tests.attacks.corpus import Attack, Parts
from tests.attacks.s13_web_page import accounts


def fifo(name: str):
    """Return a file that nobody ever writes to, on which a reader would wait for ever."""

    def make(directory: Path, parts: Parts) -> Path:
        os.mkfifo(directory / name)
        return directory / name

    return make


def device(directory: Path, parts: Parts) -> Path:
    (directory / "endless.jsonl").symlink_to("/dev/zero")
    return directory / "endless.jsonl"


def loop(directory: Path, parts: Parts) -> Path:
    (directory / "loop.jsonl").symlink_to("loop.jsonl")
    return directory / "loop.jsonl"


def locked(directory: Path, parts: Parts) -> Path:
    target = directory / "generation"
    target.mkdir()
    os.mkfifo(target / "journal.jsonl")
    return target


ATTACKS = (
    Attack("accounts that others can write", "accounts", accounts("me:password-of-mine\n", 0o666), "chmod 600"),
    Attack("records that never come", "records", fifo("never.jsonl")),
    Attack("settings that never come", "settings", fifo("never.yaml")),
    Attack("a template that never comes", "template", fifo("never.json")),
    Attack("records without end", "records", device),
    Attack("records that are a loop", "records", loop),
    Attack("a journal that never comes", "generation", locked),
)
