"""What README and documentation show is run, and what they name exists. Each check is also shown a planted fault."""

import ast
import contextlib
import io
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

import alpaca_lora
from alpaca_lora.cli import main
from alpaca_lora.cli.commands import COMMANDS
from alpaca_lora.cli.legacy import translate
from alpaca_lora.config import FinetuneConfig, load_config
from alpaca_lora.replication.reading import load_recipe

REPOSITORY = Path(__file__).parents[1]
DOCUMENTS = [
    path.relative_to(REPOSITORY).as_posix()
    for path in (
        *(REPOSITORY / name for name in ("README.md", "data/README.md", "examples/README.md")),
        *sorted((REPOSITORY / "docs").rglob("*.md")),
    )
]
NO_TRAINING_STACK = """
import sys
assert not {"datasets", "numpy", "pandas", "peft", "torch", "transformers", "trl"} & set(sys.modules)
"""
BLOCK = re.compile(
    r"^(?:<!-- run(?:: (?P<tier>\w+))? -->\n(?P<run>))?```(?P<language>\w+)\n(?P<text>.*?)^```$"
    r"(?:\n\n```text\n(?P<shown>.*?)^```$)?",
    re.MULTILINE | re.DOTALL,
)


class Block(NamedTuple):
    """A fenced block of a document."""

    language: str
    text: str
    tier: str | None
    """When it is run: `light`, `slow`, or `adapter` (by test_examples.py); None for never."""

    shown: str
    """The text block after it, which is what a block that is run must print."""


def blocks_of(document):
    """The fenced blocks of a Markdown text, with the line that each begins on."""
    for match in BLOCK.finditer(document):
        tier = None if match["run"] is None else match["tier"] or "light"
        line = document.count("\n", 0, match.start()) + 1
        yield line, Block(match["language"], match["text"], tier, match["shown"] or "")


def read(name):
    """The text of a document."""
    return (REPOSITORY / name).read_text(encoding="utf-8")


def commands_of(document):
    """The arguments of each `alpaca-lora` command in shell blocks and in inline code."""
    shell = [block.text for _, block in blocks_of(document) if block.language in ("sh", "console")]
    prose = BLOCK.sub("", document)
    lines = [*"\n".join(shell).replace("\\\n", " ").splitlines(), *re.findall(r"`(alpaca-lora [^`]+)`", prose)]
    for line in lines:
        if match := re.match(r"(?:\$ )?(?:\.venv/bin/)?alpaca-lora (.+)", line):
            yield shlex.split(match[1], comments=True)


def help_of(*command):
    """The flags that a command's own help names."""
    with contextlib.redirect_stdout(io.StringIO()) as shown:
        assert main([*command, "--help"]) == 0
    return set(re.findall(r"--?[a-z][\w.-]*", shown.getvalue()))


FLAGS = {name: help_of(name) for name in COMMANDS}
EVERY_FLAG = help_of().union(*FLAGS.values())


def unknown_flags(document):
    """The commands and flags that the command line does not have."""
    faults = []
    for name, *arguments in commands_of(document):
        if name not in COMMANDS:
            faults.append(f"alpaca-lora {name}")
            continue
        if name == "finetune":
            arguments, _ = translate(arguments)
        given = {argument.partition("=")[0] for argument in arguments if re.match("--?[a-z]", argument)}
        faults += [f"alpaca-lora {name} {flag}" for flag in sorted(given - FLAGS[name])]
    inline = re.findall(r"`(--[a-z][\w.-]*)[^`]*`", BLOCK.sub("", document))
    return faults + [flag for flag in inline if flag not in EVERY_FLAG]


def unknown_names(document):
    """The names that Python blocks import from this package and that are not public there."""
    faults = []
    for _, block in blocks_of(document):
        for node in ast.walk(ast.parse(block.text)) if block.language == "python" else ():
            if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "alpaca_lora":
                faults += [alias.name for alias in node.names if alias.name not in public_names(node.module)]
    return faults


def public_names(module):
    """The `__all__` of a module of this package, read without importing it."""
    path = REPOSITORY.joinpath(*module.split("."))
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return ast.literal_eval(node.value)
    return []


def refused_settings(document):
    """The settings in Python calls and YAML blocks that the config refuses."""
    faults = []
    names = {
        name: getattr(alpaca_lora, name)
        for name in ("FinetuneConfig", "KernelSettings", "LoraSettings", "QuantizationSettings")
    }
    for _, block in blocks_of(document):
        if block.language != "python" or block.tier:
            continue
        for node in ast.walk(ast.parse(block.text)):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in names:
                try:
                    eval(compile(ast.Expression(node), "docs", "eval"), names)
                except alpaca_lora.errors.ConfigError as error:
                    faults.append(str(error))
    return faults


def unknown_targets(document):
    """The targets of `make` that the Makefile does not have."""
    known = re.findall(r"^([\w-]+):", read("Makefile"), re.MULTILINE)
    return [name for name in re.findall(r"(?:`|^)make ([a-z]+)", document, re.MULTILINE) if name not in known]


def unknown_files(document):
    """The files and folders of this repository that are named in inline code and do not exist."""
    named = re.findall(r"`((?:alpaca_lora|data|docs|examples|tests)/[\w./-]*|[A-Z]\w+\.md|\w+\.txt)`", document)
    return [name for name in named if not (REPOSITORY / name).exists() and name not in ("README.md",)]


def unfilled(document):
    """The places where a measured number still has to be written."""
    return re.findall(r"\{\{[A-Z_]+\}\}", document)


CHECKERS = [refused_settings, unfilled, unknown_files, unknown_flags, unknown_names, unknown_targets]
PYTHON = "```python\n{}\n```\n"
PLANTED = [
    (refused_settings, PYTHON.format("config = {'lora': LoraSettings(rank=0)}")),
    (refused_settings, PYTHON.format("finetune(config=FinetuneConfig(cutoff_len=256))")),
    (unfilled, "It took {{MINUTES}} minutes."),
    (unknown_files, "See `docs/nowhere.md`."),
    (unknown_flags, "```sh\nalpaca-lora finetune --data a.jsonl \\\n    --epoch 3\n```\n"),
    (unknown_flags, "```console\n$ alpaca-lora train\n```\n"),
    (unknown_flags, "```sh\n.venv/bin/alpaca-lora doctor --epochs 3  # a comment\n```\n"),
    (unknown_flags, "Give `--epoch 3`."),
    (unknown_flags, "Run `alpaca-lora chat --lora.rank 8`."),
    (unknown_names, PYTHON.format("from alpaca_lora import train")),
    (unknown_names, PYTHON.format("from alpaca_lora.records.reading import _row")),
    (unknown_targets, "Run `make everything`."),
]


@pytest.mark.parametrize("name", DOCUMENTS)
@pytest.mark.parametrize("checker", CHECKERS)
def test_a_document_keeps_the_rule(checker, name):
    assert checker(read(name)) == []


@pytest.mark.parametrize(("checker", "document"), PLANTED)
def test_a_planted_fault_is_found(checker, document):
    assert len(checker(document)) == 1


def test_every_checker_is_shown_a_fault():
    assert {checker for checker, _ in PLANTED} == set(CHECKERS)


def run_blocks(tier):
    """The blocks to run in a tier, as parameters of a test."""
    return [
        pytest.param(block, id=f"{name}:{line}")
        for name in DOCUMENTS
        for line, block in blocks_of(read(name))
        if block.tier == tier
    ]


def run_block(block, run_python, folder):
    """What a block prints: for a command that fails, what it says on standard error."""
    if block.language == "python":
        done = run_python("-c", block.text + (NO_TRAINING_STACK if block.tier == "light" else ""), cwd=folder)
        assert done.returncode == 0, done.stderr
        return done.stdout
    printed = ""
    for arguments in commands_of(f"```console\n{block.text}```"):
        done = run_python("-m", "alpaca_lora", *arguments, cwd=folder)
        printed += f"$ {shlex.join(['alpaca-lora', *arguments])}\n{done.stderr if done.returncode else done.stdout}"
    return printed


@pytest.mark.parametrize("block", run_blocks("light"))
def test_a_block_that_is_marked_prints_what_stands_below_it(block, run_python, tmp_path):
    assert run_block(block, run_python, tmp_path) == (block.shown if block.language == "python" else block.text)


@pytest.mark.slow
@pytest.mark.parametrize("block", run_blocks("slow"))
def test_a_block_that_needs_the_embedded_model_prints_what_stands_below_it(block, run_python, tmp_path):
    assert run_block(block, run_python, tmp_path) == (block.shown if block.language == "python" else block.text)


def test_a_block_that_prints_something_else_is_noticed(run_python, tmp_path):
    block = Block("python", "print(1)\n", "light", shown="2\n")
    command = Block("console", "$ alpaca-lora --version\n0.0.0\n", "light", shown="")
    assert run_block(block, run_python, tmp_path) == "1\n" != block.shown
    assert run_block(command, run_python, tmp_path) == f"$ alpaca-lora --version\n{alpaca_lora.__version__}\n"


@pytest.mark.parametrize(
    ("name", "text"),
    [(name, block.text) for name in DOCUMENTS for _, block in blocks_of(read(name)) if block.language == "yaml"],
)
def test_a_file_of_settings_or_a_recipe_in_the_documentation_is_accepted(name, text, tmp_path):
    path = tmp_path / "settings.yaml"
    path.write_text(text, encoding="utf-8")
    if name == "docs/how-to/replicate.md":
        assert load_recipe(path).finetune
    else:
        assert load_config(path) != FinetuneConfig()


@pytest.mark.slow
def test_the_documentation_builds_without_a_warning(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    pages = "".join(path.read_text(encoding="utf-8") for path in tmp_path.rglob("*.html"))
    assert re.findall(r"""(?:src|<link[^>]* href)=["']?https?://[^"' >]+""", pages) == []
