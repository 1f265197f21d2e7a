"""Where a run can die: every operation that changes what is on the disk, counted, and one of them made to fail.

Install it in a process of its own (a fork): it replaces functions of os, torch, safetensors, peft and transformers.
"""

import errno
import functools
import json
import os
import select
import shutil
import signal
import stat
from pathlib import Path

KILLS = ("before", "half", "empty", "zeros", "reorder")
ERRORS = {"ENOSPC": errno.ENOSPC, "EIO": errno.EIO}
MODES = (*KILLS, *(f"{name}-{how}" for name in ERRORS for how in ("once", "persistent")))


class Faults:
    """Counts operations below a directory and makes one of them fail.

    A write is counted twice: when it begins, and, for content that is flushed, at its flush, where the file is still
    there to be torn. `reorder` lets a rename reach the disk and loses whatever was not flushed before it.

    Args:
        root: only operations below it count.
        mode: how the operation fails; None only counts.
        at: its number, from 0.
    """

    def __init__(self, root, mode=None, at=-1):
        self.root, self.mode, self.at = str(Path(root).resolve()), mode, at
        self.count, self.operations, self.inside = 0, [], False
        self.flushed = {}

    def install(self):
        """Replace the functions; there is no way back but the end of the process."""
        import huggingface_hub.repocard
        import peft.config
        import peft.peft_model
        import torch
        import transformers

        import alpaca_lora.adapters.saving
        from alpaca_lora import _files

        for name in ("replace", "rename"):
            self._wrap(os, name, "rename", lambda source, target, **_: target)
        for name in ("unlink", "remove", "rmdir", "mkdir"):
            self._wrap(os, name, "change", lambda path, *_, dir_fd=None, **__: located(path, dir_fd))
        self._wrap(os, "fsync", "flush", lambda descriptor: os.readlink(f"/proc/self/fd/{descriptor}"))
        self._wrap(torch, "save", "write", lambda _, path, *__, **___: path)
        for module, name in ((peft.peft_model, "safe_save_file"), (alpaca_lora.adapters.saving, "save_file")):
            self._wrap(module, name, "write", lambda _, path, *__, **___: path)
        self._wrap(transformers.TrainerState, "save_to_json", "write", lambda _, path: path)
        self._wrap(huggingface_hub.repocard.RepoCard, "save", "write", lambda _, path: path)
        self._wrap(
            peft.config.PeftConfigMixin,
            "save_pretrained",
            "write",
            lambda _, directory, **__: Path(directory) / "adapter_config.json",
        )
        self._wrap(
            transformers.PreTrainedTokenizerFast,
            "save_pretrained",
            "write",
            lambda _, directory, *__, **___: Path(directory) / "tokenizer.json",
        )
        for name in ("append_line", "append_durably"):
            self._wrap(_files, name, "append", lambda stream, _: stream.name)

    def _wrap(self, owner, name, kind, path_of):
        real = getattr(owner, name)

        @functools.wraps(real)
        def counted(*arguments, **options):
            path = os.fspath(path_of(*arguments, **options))
            if self.inside or not os.path.abspath(path).startswith(self.root):
                return real(*arguments, **options)
            self._operation(kind, Path(path), lambda: real(*arguments, **options))
            return None

        setattr(owner, name, counted)

    def _operation(self, kind, path, act):
        number, self.count = self.count, self.count + 1
        self.operations.append((kind, path.name))
        due = number == self.at
        code = ERRORS.get((self.mode or "").partition("-")[0])
        fails = kind in ("write", "append", "flush") or (kind == "rename" and code == errno.EIO)  # not what makes room
        if code and fails and (due or (number > self.at >= 0 and self.mode.endswith("persistent"))):
            raise OSError(code, os.strerror(code))
        if due and (self.mode == "before" or (self.mode in KILLS and kind == "change")):
            kill()
        self.inside = True  # what a writer does inside is its own affair
        try:
            if due and self.mode == "reorder" and kind == "rename":
                act()
                self._lose(path if path.exists() else path.parent)
                kill()
            if due and self.mode in ("half", "empty", "zeros") and kind != "rename":
                begun = path.stat().st_size if kind == "append" else 0
                if kind != "flush":
                    act()
                tear(path, self.mode, begun)
                kill()
            act()
            if kind == "flush" and path.is_file():
                self.flushed[path.stat().st_ino] = state_of(path)
        finally:
            self.inside = False

    def _lose(self, target):
        """Turn what was never flushed into zeros, as after a power cut."""
        for path in [target, *target.rglob("*")] if target.is_dir() else [target]:
            if path.is_file() and self.flushed.get(path.stat().st_ino) != state_of(path):
                tear(path, "zeros")


def state_of(path):
    """What tells whether a file was written since it was flushed."""
    found = path.stat()
    return found.st_size, found.st_mtime_ns


def located(path, descriptor):
    """Return where a path given relative to an open directory is."""
    return path if descriptor is None else Path(os.readlink(f"/proc/self/fd/{descriptor}")) / os.fspath(path)


def tear(path, mode, begun=0):
    """Leave of a file what a crash may leave of what was written to it behind `begun` bytes and not flushed."""
    if not path.exists() or not stat.S_ISREG(path.stat().st_mode):
        return
    old, new = path.read_bytes()[:begun], path.read_bytes()[begun:]
    kept = old + (new[: len(new) // 2] if mode == "half" else b"\0" * len(new) if mode == "zeros" else b"")
    with path.open("r+b") as stream:
        stream.write(kept)
        stream.truncate(len(kept))


def kill():
    """End this process as `kill -9` does."""
    os.kill(os.getpid(), signal.SIGKILL)


def in_child(work, seconds=None):
    """Do some work in a fork, and return its exit code (negative: the signal) and what it returned, as JSON values.

    Args:
        work: returns JSON values.
        seconds: kill the child after this time.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.close(reading)
            os.write(writing, json.dumps(work()).encode())
            code = 0
        finally:
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        ended = select.select([stream], [], [], seconds)[0]
        if not ended:
            os.kill(child, signal.SIGKILL)
        said = stream.read()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return code, json.loads(said) if code == 0 else None


def fresh(directory):
    """Return the directory, emptied."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    return directory
