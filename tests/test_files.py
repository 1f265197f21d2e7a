"""Failures here are real: the kernel stops a writer at a size limit, or kills it."""

import json
import os
import signal
import subprocess
import sys

import pytest

from alpaca_lora import _files
from alpaca_lora.errors import RunError

LIMITED = """
import resource, signal, sys
from pathlib import Path
from alpaca_lora import _files
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
signal.signal(signal.SIGXFSZ, getattr(signal, sys.argv[2]))
_files.write_bytes(Path(sys.argv[1]), b"n" * 100_000)
"""

UNFINISHED_DIRECTORY = """
import sys, time
from pathlib import Path
from alpaca_lora import _files
with _files.new_directory(Path(sys.argv[1])) as staged:
    _files.write_text(staged / "weights", "new")
    print("half-way", flush=True)
    time.sleep(300)
"""

SWEPT_WHILE_MADE = """
import sys
from pathlib import Path
from alpaca_lora import _files
real = _files._locked
def late(directory, flags=0):  # somebody sweeps between the making of the directory and its lock
    _files._locked = real
    _files.sweep_abandoned(Path(sys.argv[1]))
    return real(directory, flags)
_files._locked = late
with _files.scratch_directory(Path(sys.argv[1])) as staged:
    (staged / "file").write_text("there")
    print((staged / "file").read_text())
"""

HOLDER = """
import sys, time
from pathlib import Path
from alpaca_lora import _files
with _files.lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(300)
"""

TAKER = """
import sys
from pathlib import Path
from alpaca_lora import _files, errors
try:
    with _files.lock(Path(sys.argv[1])):
        print("taken")
except errors.RunError as error:
    print(error)
"""


@pytest.fixture
def start(repository):
    """Start an interpreter on some code and return it once it has said its first line; it is killed at the end."""
    processes = []

    def begin(code, *arguments):
        command = [sys.executable, "-c", code, *map(str, arguments)]
        process = subprocess.Popen(command, cwd=repository, stdout=subprocess.PIPE, text=True)
        processes.append(process)
        assert process.stdout.readline() != ""
        return process

    yield begin
    for process in processes:
        with process:
            process.kill()


def tree(directory):
    """Everything under a directory, with the content of its files."""
    return {
        path.relative_to(directory).as_posix(): path.read_text(encoding="utf-8") if path.is_file() else None
        for path in directory.rglob("*")
    }


def staged_leftovers(directory):
    return [path.name for path in directory.iterdir() if path.name.startswith(".staging-")]


def test_a_file_is_written_with_its_directories_and_nothing_else(tmp_path):
    _files.write_text(tmp_path / "a" / "b.txt", "Käse\r\n")
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b.txt"]
    assert (tmp_path / "a" / "b.txt").read_bytes() == b"K\xc3\xa4se\r\n"


def test_a_file_gets_the_rights_that_the_umask_leaves(tmp_path, run_python):
    code = "import os, sys, pathlib; from alpaca_lora import _files; os.umask(0o027)"
    code += "; _files.write_text(pathlib.Path(sys.argv[1]) / 'a', ''); print(os.umask(0) == 0o027)"
    assert run_python("-c", code, tmp_path).stdout == "True\n"
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640


def test_json_is_strict_and_keeps_the_order_and_the_letters(tmp_path):
    _files.write_json(tmp_path / "a.json", {"z": "é", "a": [1]})
    assert (tmp_path / "a.json").read_text(encoding="utf-8") == '{\n  "z": "é",\n  "a": [\n    1\n  ]\n}\n'
    with pytest.raises(ValueError, match="not JSON compliant"):
        _files.write_json(tmp_path / "a.json", float("nan"))
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"z": "é", "a": [1]}


def test_a_write_that_fails_midway_keeps_the_old_content_and_leaves_nothing(tmp_path, run_python):
    target = tmp_path / "adapter.bin"
    target.write_text("old", encoding="utf-8")
    done = run_python("-c", LIMITED, target, "SIG_IGN")
    assert "File too large" in done.stderr
    assert tree(tmp_path) == {"adapter.bin": "old"}


def test_a_writer_killed_midway_keeps_the_old_content_and_is_swept_up(tmp_path, run_python):
    target = tmp_path / "adapter.bin"
    target.write_text("old", encoding="utf-8")
    assert run_python("-c", LIMITED, target, "SIG_DFL").returncode == -signal.SIGXFSZ
    assert target.read_text(encoding="utf-8") == "old"
    (leftover,) = staged_leftovers(tmp_path)
    assert (tmp_path / leftover).stat().st_size == 1000
    _files.sweep_staging(tmp_path)
    assert tree(tmp_path) == {"adapter.bin": "old"}


@pytest.mark.parametrize("before", [{}, {"weights": "old", "stale": "old"}], ids=["new", "replaced"])
def test_a_new_directory_appears_complete_and_only_at_the_end(tmp_path, before):
    target = tmp_path / "checkpoint-8"
    for name, content in before.items():
        _files.write_text(target / name, content)
    with _files.new_directory(target) as staged:
        _files.write_text(staged / "weights", "new")
        _files.write_text(staged / "deep" / "state", "new")
        assert (tree(target) if target.exists() else {}) == before
    assert tree(target) == {"weights": "new", "deep": None, "deep/state": "new"}
    assert staged_leftovers(tmp_path) == []


@pytest.mark.parametrize("error", [RuntimeError("wrong shape"), KeyboardInterrupt()], ids=repr)
def test_a_new_directory_whose_writer_raises_does_not_appear(tmp_path, error):
    def build():
        with _files.new_directory(tmp_path / "checkpoint-8") as staged:
            _files.write_text(staged / "weights", "new")
            raise error

    with pytest.raises(type(error)):
        build()
    assert tree(tmp_path) == {}


def test_a_directory_whose_writer_is_killed_keeps_its_old_content(tmp_path, start):
    target = tmp_path / "adapter"
    _files.write_text(target / "weights", "old")
    writer = start(UNFINISHED_DIRECTORY, target)
    writer.kill()
    assert writer.wait() == -signal.SIGKILL
    assert tree(target) == {"weights": "old"}
    assert len(staged_leftovers(tmp_path)) == 1
    _files.sweep_staging(tmp_path)
    assert tree(tmp_path) == {"adapter": None, "adapter/weights": "old"}


@pytest.mark.parametrize(
    ("found", "kept"),
    [
        ("", ""),
        ('{"step": 1}\n', '{"step": 1}\n'),
        ('{"step": 1}\n{"st', '{"step": 1}\n'),
        ('{"step": 1}\n{"step": 2}', '{"step": 1}\n'),
        ('{"st', ""),
    ],
)
def test_a_journal_goes_on_after_its_last_whole_line(tmp_path, found, kept):
    path = tmp_path / "metrics.jsonl"
    path.write_text(found, encoding="utf-8")
    with _files.open_journal(path) as stream:
        _files.append_line(stream, {"step": 3, "note": "é"})
    assert path.read_text(encoding="utf-8") == kept + '{"step": 3, "note": "é"}\n'


def test_a_journal_line_can_be_read_before_the_journal_is_closed(tmp_path):
    with _files.open_journal(tmp_path / "run" / "metrics.jsonl") as stream:
        _files.append_line(stream, {"step": 1})
        assert (tmp_path / "run" / "metrics.jsonl").read_text(encoding="utf-8") == '{"step": 1}\n'


def test_a_journal_refuses_a_loss_that_is_not_a_number(tmp_path):
    with (
        _files.open_journal(tmp_path / "metrics.jsonl") as stream,
        pytest.raises(ValueError, match="not JSON compliant"),
    ):
        _files.append_line(stream, {"loss": float("nan")})
    assert (tmp_path / "metrics.jsonl").read_text(encoding="utf-8") == ""


def test_a_lock_keeps_other_processes_out_until_it_is_given_back(tmp_path, run_python):
    with _files.lock(tmp_path / "run"):
        refused = run_python("-c", TAKER, tmp_path / "run").stdout
    assert refused == f"{str(tmp_path / 'run')!r} is in use by another process; wait for it or choose another\n"
    assert run_python("-c", TAKER, tmp_path / "run").stdout == "taken\n"


def test_a_lock_is_not_given_twice_in_one_process(tmp_path):
    with _files.lock(tmp_path), pytest.raises(RunError, match="in use"), _files.lock(tmp_path):
        pass


def test_a_killed_process_gives_its_lock_back(tmp_path, start):
    holder = start(HOLDER, tmp_path)
    with pytest.raises(RunError), _files.lock(tmp_path):
        pass
    holder.kill()
    holder.wait()
    with _files.lock(tmp_path):
        assert (tmp_path / ".lock").exists()


@pytest.mark.parametrize("replaced", [False, True])
@pytest.mark.parametrize(
    "restore", [lambda path: _files.put_back(path), lambda path: _files.sweep_staging(path.parent)]
)
def test_what_a_killed_writer_was_replacing_is_restored_unless_it_was_replaced(tmp_path, replaced, restore):
    _files.write_text(tmp_path / ".retired-adapter" / "weights", "old")
    if replaced:
        _files.write_text(tmp_path / "adapter" / "weights", "new")
    restore(tmp_path / "adapter")
    assert (tmp_path / "adapter" / "weights").read_text() == ("new" if replaced else "old")


def test_sweeping_leaves_everything_but_what_writers_left(tmp_path):
    for name in (".staging-a/weights", ".staging-b", ".lock", "checkpoint-8/weights"):
        _files.write_text(tmp_path / name, "")
    _files.sweep_staging(tmp_path)
    assert tree(tmp_path) == {".lock": "", "checkpoint-8": None, "checkpoint-8/weights": ""}


@pytest.mark.parametrize("sweep", ["sweep_staging", "sweep_abandoned"])
def test_what_a_living_process_fills_is_not_swept_and_what_a_killed_one_left_is(tmp_path, start, sweep):
    writer = start(UNFINISHED_DIRECTORY, tmp_path / "hf")
    (staged,) = staged_leftovers(tmp_path)
    getattr(_files, sweep)(tmp_path)
    assert (tmp_path / staged / "weights").read_text() == "new"
    writer.kill()
    writer.wait()
    getattr(_files, sweep)(tmp_path)
    assert tree(tmp_path) == {}


def test_beside_others_only_directories_of_ours_are_swept(tmp_path):
    kept = [".staging-notes/text", f".staging-{'a' * 16}", ".retired-adapter/weights", "checkpoint-8/weights"]
    for name in (*kept, f".staging-{'b' * 16}/weights"):
        _files.write_text(tmp_path / name, "")
    _files.sweep_abandoned(tmp_path)
    assert {name for name, text in tree(tmp_path).items() if text is not None} == set(kept)


def test_a_directory_that_is_swept_before_it_is_locked_is_made_again(tmp_path, run_python):
    done = run_python("-c", SWEPT_WHILE_MADE, tmp_path)
    assert (done.stdout, done.stderr) == ("there\n", "")
    assert tree(tmp_path) == {}


def test_the_name_of_a_file_that_is_no_utf_8_comes_back_from_json(tmp_path):
    name = os.fsdecode(b"caf\xe9")
    _files.write_json(tmp_path / "a.json", {name: "\u00e9"})
    assert json.loads((tmp_path / "a.json").read_bytes()) == {name: "\u00e9"}


def test_a_checksum_is_that_of_the_bytes(tmp_path):
    path = tmp_path / "abc"
    path.write_bytes(b"abc")
    assert _files.sha256_of(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_the_first_of_two_that_build_the_same_directory_wins(tmp_path):
    with _files.new_directory(tmp_path / "cache", replace=False) as late:
        (late / "file").write_text("late")
        with _files.new_directory(tmp_path / "cache", replace=False) as early:
            (early / "file").write_text("early")
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]
    assert (tmp_path / "cache" / "file").read_text() == "early"
    (tmp_path / "taken").write_text("by a file")
    with (
        pytest.raises(NotADirectoryError),
        _files.new_directory(tmp_path / "taken", replace=False) as staged,
    ):
        (staged / "file").write_text("")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "taken"]


def test_a_link_stays_and_what_it_leads_to_is_made(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere" / "deep")
    for content in ("old", "new"):
        with _files.new_directory(tmp_path / "link") as staged:
            (staged / "file").write_text(content)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "elsewhere" / "deep" / "file").read_text() == "new"
    assert sorted(item.name for item in tmp_path.iterdir()) == ["elsewhere", "link"]


def test_space_that_cannot_be_reserved_leaves_no_file(tmp_path):
    with pytest.raises(OSError):  # noqa: PT011
        _files.reserve_space(tmp_path / "ballast", 2**62)
    assert not list(tmp_path.iterdir())
