import errno
import json

import pytest

from alpaca_lora._version import __version__
from alpaca_lora.cli import main
from alpaca_lora.cli.commands import COMMANDS
from alpaca_lora.cli.guide import GUIDE


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch):
    """Let `doctor` end with an exception."""

    def fail(error: BaseException) -> None:
        def run(arguments: list[str]) -> int:
            raise error

        monkeypatch.setitem(COMMANDS, "doctor", run)

    return fail


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_the_help_names_every_command_with_an_example(capsys: pytest.CaptureFixture[str], arguments: list[str]):
    assert main(arguments) == 0

    shown = capsys.readouterr().out
    for name in COMMANDS:
        assert f"  {name}" in shown
        assert f"  {GUIDE[name].examples[0]}\n" in shown


def test_the_version_is_shown(capsys: pytest.CaptureFixture[str]):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"{__version__}\n"


def test_an_unknown_command_is_told_its_neighbour(capsys: pytest.CaptureFixture[str]):
    assert main(["finetun"]) == 2
    assert capsys.readouterr().err == (
        f"error: unknown command 'finetun'; did you mean 'finetune'? Commands: {', '.join(COMMANDS)}; "
        "alpaca-lora --help explains them\n"
    )


@pytest.mark.parametrize("name", COMMANDS)
def test_a_commands_help_ends_in_its_examples(capsys: pytest.CaptureFixture[str], name: str):
    assert main([name, "--help"]) == 0

    examples = "".join(f"  {example}\n" for example in GUIDE[name].examples)
    assert capsys.readouterr().out.endswith(f"\nexamples:\n{examples}")


@pytest.mark.parametrize("name", COMMANDS)
def test_an_unknown_option_is_bad_input(capsys: pytest.CaptureFixture[str], name: str):
    assert main([name, "--no-such-option", "1"]) == 2
    assert "--no-such-option" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RuntimeError("oops"), 1),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "a.yaml"), 2),
        (MemoryError(), 4),
        (KeyboardInterrupt(), 130),
    ],
)
def test_an_exception_becomes_an_exit_code_and_no_traceback(capsys, failing, error: BaseException, code: int):
    failing(error)

    assert main(["doctor"]) == code
    assert "Traceback" not in capsys.readouterr().err


def test_debug_shows_the_traceback(capsys: pytest.CaptureFixture[str], failing):
    failing(RuntimeError("oops"))

    assert main(["doctor", "--debug"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_the_module_is_the_command(run_python):
    done = run_python("-m", "alpaca_lora", "finetune", "--epochs", "banana")

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: config.epochs must be a number above 0 and at most 10000, got 'banana' (text)\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_help_loads_no_training_stack_and_the_first_help_no_parser(run_python, name: str):
    code = "import json, sys; from alpaca_lora.cli import main; main(sys.argv[1:]); print(json.dumps([*sys.modules]))"
    stack = {"datasets", "numpy", "pandas", "peft", "torch", "transformers", "trl"}

    def loaded(*arguments: str) -> set[str]:
        return set(json.loads(run_python("-c", code, *arguments).stdout.splitlines()[-1]))

    assert loaded(name, "--help") & stack == set()
    assert loaded("--help") & {*stack, "tyro", "pydantic", "rich"} == set()


@pytest.fixture
def run_alone(run_python):
    """Run the command with a stream that nobody reads: `run_alone("stdout", "--help")` returns what is left of it."""
    code = """
import os, subprocess, sys
closed, *arguments = sys.argv[1:]
os.environ.pop("PYTHONUNBUFFERED", None)
child = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
getattr(child, closed).close()
print((child.stderr if closed == "stdout" else child.stdout).read().decode(), child.wait())
"""

    def run(closed: str, *arguments: str) -> str:
        return run_python("-c", code, closed, *arguments).stdout

    return run


@pytest.mark.parametrize(
    ("arguments", "ended"),
    [
        (["-m", "alpaca_lora", "--help"], 0),
        (["-m", "alpaca_lora", "plan", "--model", "llama-2-7b", "--memory-gb", "2"], 2),  # it does not fit
        (["-u", "-m", "alpaca_lora", "--help"], 141),  # its first word finds no reader
    ],
)
def test_a_reader_that_leaves_early_takes_no_code_away(run_alone, arguments, ended):
    assert run_alone("stdout", *arguments) == f" {ended}\n"


@pytest.mark.parametrize("unbuffered", [[], ["-u"]])
def test_an_error_that_nobody_reads_has_its_code_still(run_alone, unbuffered):
    assert run_alone("stderr", *unbuffered, "-m", "alpaca_lora", "plan", "--card", "4091") == " 2\n"
    assert run_alone("stderr", *unbuffered, "-m", "alpaca_lora", "no-such-command") == " 141\n"


def test_a_closed_output_is_no_error(run_python):
    code = (
        "import subprocess, sys; command = f'exec {sys.executable} -m alpaca_lora --help >&-';"
        "done = subprocess.run(['sh', '-c', command], capture_output=True);"
        "print(done.stderr.decode(), done.returncode)"
    )
    assert run_python("-c", code).stdout == " 0\n"


def test_sigterm_leaves_nothing_half_written(run_python, tmp_path):
    code = """
import os, signal, sys
from pathlib import Path
from alpaca_lora import _files, cli
from alpaca_lora.cli.commands import COMMANDS

def run(arguments):
    with _files.new_directory(Path(sys.argv[1], "output")) as staged:
        (staged / "half").touch()
        os.kill(os.getpid(), signal.SIGTERM)

COMMANDS["doctor"] = run
sys.exit(cli.main(["doctor"]))
"""
    done = run_python("-c", code, tmp_path)
    assert (done.returncode, done.stderr) == (143, "interrupted\n")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "flag", "said", "unsaid"),
    [
        ("merge", "--dtype", "f32|f16|bf16 Number format of the weights. (default: the base's own,", "q8_0"),
        ("curate", "--map", "Column that holds instruction, input or output, as --map instruction=question", "a field"),
    ],
)
def test_the_help_of_a_flag_says_what_it_takes(capsys: pytest.CaptureFixture[str], name, flag, said, unsaid):
    assert main([name, "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    told = shown[shown.index(flag) :][:200]
    assert said in told
    assert unsaid not in told
