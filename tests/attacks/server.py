"""A process that has everything loaded and forks a child for each command, since loading costs more than an attack.

It reads one job per line from standard input and answers with one line:

    {"argv": [...], "cwd": DIR, "environment": {...}, "rules": {...}, "stdout": FILE, "stderr": FILE}
    {"status": wait status, "cpu_seconds": F, "grown_bytes": N}

Memory is limited for the child as what it takes beyond what was loaded, since that is what an attack can make it take.

The clean processes of the gates are forks of the child, and so watched as it is.

A job with "code" in place of "argv" runs that instead of a command: the faults that the positive controls plant.
"""

import functools
import json
import os
import resource
import sys
import tempfile
import traceback
from types import SimpleNamespace

CPU_SECONDS = 30
"""Most that a command may compute before it is killed; a generous limit, as machines differ."""

GROWTH_BYTES = 500 * 10**6
"""Most memory that a command may take beyond what is loaded; allocations above fail."""

_LOADED = (
    "alpaca_lora.adapters",
    "alpaca_lora.cli.commands",
    "alpaca_lora.curation",
    "alpaca_lora.evaluation",
    "alpaca_lora.exports",
    "alpaca_lora.exports.formats",
    "alpaca_lora.selfinstruct",
    "alpaca_lora.serving",
    "alpaca_lora.teachers",
    "alpaca_lora.training",
    "alpaca_lora.training.trainer",
    "bitsandbytes",
    "gguf",
    "gradio",
    "matplotlib.backends.backend_agg",
    "matplotlib.font_manager",
    "PIL.PngImagePlugin",
    "pyarrow.parquet",
    "transformers.models.llama.modeling_llama",
    "transformers.modeling_gguf_pytorch_utils",
    "tyro",
)


def main():
    """Load everything, say so, and serve until the input ends."""
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    channel = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    for name in _LOADED:
        __import__(name)
    gates_by_fork()
    serve_no_page()
    print("ready", file=channel)
    for line in sys.stdin:
        print(json.dumps(serve(json.loads(line))), file=channel)


def gates_by_fork():
    """Let what the gates start begin at once, from here on."""
    from alpaca_lora.adapters import clean_process
    from tests import warm

    clean_process.subprocess = SimpleNamespace(run=functools.partial(warm.run, method="fork"))


def serve_no_page():
    """Let `ui` end when it has loaded everything."""
    from alpaca_lora.serving.website import Website

    Website.serve = lambda self: None


def serve(job):
    """Run one job in a child and return what it cost."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, str(_memory("VmRSS")).encode())
        _become(job)
    _, status, usage = os.wait4(child, 0)
    before = int(os.read(reading, 32))
    os.close(reading)
    os.close(writing)
    return {
        "status": status,
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 3),
        "grown_bytes": max(0, usage.ru_maxrss * 1024 - before),
    }


def _become(job):
    """Do the job and end; never return into the server."""
    code = 70
    try:
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 5))
        resource.setrlimit(resource.RLIMIT_DATA, (_memory("VmData") + GROWTH_BYTES,) * 2)
        for descriptor, name in ((1, "stdout"), (2, "stderr")):
            os.dup2(os.open(job[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), descriptor)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.environ.clear()
        os.environ.update(job["environment"])
        os.chdir(job["cwd"])
        tempfile.tempdir = None
        import auditing

        rules = auditing.Rules(**job["rules"])
        os.environ["ALPACA_AUDIT"] = rules.to_json()
        auditing.watch(rules)
        if "code" in job:
            exec(job["code"], {"__name__": "__planted__"})  # noqa: S102 - the planted faults of the tests
            code = 0
        else:
            from alpaca_lora.cli import main as command

            code = command(job["argv"])
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _memory(name):
    """Return one line of the kernel's account of this process, in bytes."""
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(name + ":"))


if __name__ == "__main__":
    main()
