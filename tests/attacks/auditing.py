"""What a process does that no untrusted input may make it do, noted by an audit hook of the interpreter.

`watch` is installed in the process that runs a command and, through `site/sitecustomize.py`, in every interpreter that
it starts. It imports the standard library alone, since it comes first.
"""

import json
import os
import sys

LOOPBACK = {"127.0.0.1", "::1", "localhost", "", None}
_CHANGES = {
    "os.chmod": ((0, 2),),
    "os.link": ((1, 3),),
    "os.mkdir": ((0, 2),),
    "os.remove": ((0, 1),),
    "os.rename": ((0, 2), (1, 3)),
    "os.rmdir": ((0, 1),),
    "os.symlink": ((1, 2),),
    "os.truncate": ((0, None),),
}
"""Events that change a file system, and where among their arguments a path and the directory that it is in are."""

_PROGRAMS = {"os.exec", "os.posix_spawn", "os.startfile", "os.system", "pty.spawn", "subprocess.Popen"}
_HARMLESS = {sys.executable, "uname"}
"""Ourselves, and what `platform` asks for the name of the system."""

_DEVICES = ("/dev/null", "/dev/tty", "/dev/shm/", "/proc/self/")


class Rules:
    """What a command may do.

    Args:
        writable: directories in which files may be written.
        hostile: directories whose files must not be run.
        private: files that must not be read.
        marker: a word that stands in all hostile code.
        report: file that takes one JSON line for each thing done against the rules.
    """

    def __init__(self, *, writable, hostile, private, marker, report):
        self.writable, self.hostile, self.private = (
            [os.path.realpath(path) for path in paths] for paths in (writable, hostile, private)
        )
        self.marker = marker
        self.report = report
        self._descriptor = os.open(report, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def to_json(self):
        """Return the rules for another process."""
        names = ("writable", "hostile", "private", "marker", "report")
        return json.dumps({name: getattr(self, name) for name in names})

    def note(self, kind, what):
        """Write one line to the report, by the system call, so that nothing of it is seen by the hook."""
        os.write(self._descriptor, (json.dumps([kind, str(what)[:300]]) + "\n").encode())

    def may_write(self, path, *, follow=True):
        """Return whether a file may be written here."""
        if not isinstance(path, str | bytes | os.PathLike):  # a descriptor, which was opened before
            return True
        place = os.path.realpath(os.fsdecode(path)) if follow else os.fsdecode(path)
        return place.startswith(_DEVICES) or any(
            _lies_in(place, one) or _is_staged(place, one) for one in self.writable
        )

    def is_hostile(self, path):
        """Return whether a file comes with the attack."""
        named = bool(path) and not path.startswith("<")  # and is not code that has no file
        return named and any(_lies_in(os.path.realpath(path), parent) for parent in self.hostile)


def _lies_in(path, parent):
    return path == parent or path.startswith(parent + os.sep)


def _is_staged(path, directory):
    """Return whether this is where the package builds a directory before it appears at its place."""
    return path.startswith((f"{os.path.dirname(directory)}/.staging-", f"{os.path.dirname(directory)}/.retired-"))


def _itself(path):
    """Return the place of a directory entry, which may be a link that leads elsewhere and is not followed."""
    if not isinstance(path, str | bytes | os.PathLike):
        return path
    parent, name = os.path.split(os.path.abspath(os.fsdecode(path)))
    return os.path.join(os.path.realpath(parent), name)


def _within(path, parent):
    """Return a path that may be relative to an open directory."""
    if not isinstance(path, str | bytes | os.PathLike) or parent == -1:
        return path
    return os.path.join(os.readlink(f"/proc/self/fd/{parent}"), os.fsdecode(path))


def watch(rules):
    """Note from now on, and for as long as the process lives, what is done against the rules."""

    def hook(event, arguments):
        if event == "open":
            _opened(rules, *arguments)
        elif event in _CHANGES:
            for path, parent in _CHANGES[event]:
                place = _within(arguments[path], -1 if parent is None else arguments[parent])
                if not rules.may_write(_itself(place), follow=False) and not (
                    event == "os.mkdir" and os.path.isdir(place)
                ):
                    rules.note("write", f"{event} {arguments[path]}")
        elif event in ("exec", "compile", "import", "ctypes.dlopen"):
            _executed(rules, event, arguments)
        elif event == "pickle.find_class":
            rules.note("code", f"unpickles {arguments[0]}.{arguments[1]}")
        elif event in _PROGRAMS:
            program = os.fsdecode(arguments[0]) if isinstance(arguments[0], str | bytes) else str(arguments[0])
            if event != "subprocess.Popen" or program not in _HARMLESS:
                rules.note("code", f"{event} {program}")
        elif event in ("socket.connect", "socket.sendto", "socket.bind") and isinstance(arguments[1], tuple):
            _connected(rules, event, arguments[1][0])
        elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
            _connected(rules, event, arguments[0])

    sys.addaudithook(hook)


def _opened(rules, path, mode, flags):
    writes = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND) if flags else 0
    if writes and not rules.may_write(path):
        rules.note("write", f"opens {os.fsdecode(path)} ({mode})")
    elif not writes and isinstance(path, str | bytes) and os.path.realpath(os.fsdecode(path)) in rules.private:
        rules.note("read", os.fsdecode(path))


def _executed(rules, event, arguments):
    if event == "exec":
        if rules.is_hostile(getattr(arguments[0], "co_filename", "")):
            rules.note("code", f"runs {arguments[0].co_filename}")
    elif event == "compile":
        source = arguments[0]
        text = source.decode("utf-8", "replace") if isinstance(source, bytes) else source
        if isinstance(text, str) and rules.marker in text:
            rules.note("code", f"compiles {text}")
    elif rules.is_hostile(arguments[1] if event == "import" else arguments[0] and str(arguments[0])):
        rules.note("code", f"{event} {arguments[0]}")


def _connected(rules, event, host):
    name = os.fsdecode(host) if isinstance(host, bytes) else host
    if name not in LOOPBACK:
        rules.note("network", f"{event} {name}")
        raise ConnectionRefusedError(f"no connection to {name} from a test")
