"""The house rules that a linter does not know. Each checker is also shown a planted fault."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path, PurePosixPath

import pytest

from alpaca_lora import errors

PACKAGE = Path(__file__).parents[1] / "alpaca_lora"
FILE_LINES, FUNCTION_LINES, FINETUNE_LINES = 300, 50, 80
TRACKED_BYTES = 250_000
VAGUE_NAMES = {"common", "constants", "core", "helpers", "misc", "utils"}
WRITERS = {
    "copy2",
    "copyfile",
    "copyfileobj",
    "copytree",
    "move",
    "save_file",
    "save_model",
    "save_pretrained",
    "savefig",
}
WRITERS |= {"savetxt", "savez", "tofile", "to_csv", "to_parquet", "write_bytes", "write_text"}
DOTTED_WRITERS = {
    "json.dump",
    "np.save",
    "os.open",
    "os.rename",
    "os.replace",
    "pickle.dump",
    "shutil.copy",
    "torch.save",
}
INTO_STAGING = {
    "alpaca_lora/adapters/conversion.py": {"save_file", "shutil.copyfile", "tokenizer.save_pretrained"},
    "alpaca_lora/adapters/saving.py": {"save_file", "config.save_pretrained", "saved.save_pretrained"},
    "alpaca_lora/_console.py": {"os.open"},  # of /dev/null
    "alpaca_lora/cli/trial.py": {"LlamaForCausalLM(config).save_pretrained"},
    "alpaca_lora/exports/adapter.py": {"save_file", "shutil.copyfile"},
    "alpaca_lora/exports/hf.py": {"shutil.copyfile", "tokenizer.save_pretrained"},
    "alpaca_lora/exports/measuring.py": {"save_file"},
    "alpaca_lora/exports/meta.py": {"shutil.copyfile", "torch.save"},
    "alpaca_lora/exports/weight_diff.py": {"shutil.copyfile"},
    "alpaca_lora/exports/weights.py": {"save_file"},
    "alpaca_lora/training/ranks.py": {"os.open"},  # of a directory, to lock it
    "alpaca_lora/models/embedded.py": {
        "model.bfloat16().save_pretrained",
        "AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name).save_pretrained",
    },
}
"""What writes itself, but only into a directory that `_files` or tempfile lends until everything in it is whole."""

DISTRIBUTIONS = {"annotated_types": "pydantic", "ruamel": "ruamel.yaml"}


def long_file(name, source):
    """The file, when it is over its budget."""
    lines = len(source.splitlines())
    return [f"{name} has {lines} lines"] if lines > FILE_LINES else []


def long_functions(name, source):
    """The functions that are over their budget."""
    faults = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = node.end_lineno - node.lineno + 1
            if lines > (FINETUNE_LINES if node.name == "finetune" else FUNCTION_LINES):
                faults.append(f"{name}:{node.lineno} {node.name} has {lines} lines")
    return faults


def badly_placed(name, source):
    """The file, when it is deeper than package/subpackage/module or its name says nothing."""
    path = PurePosixPath(name)
    faults = [f"{name} is deeper than two packages"] if len(path.parts) > 3 else []
    return faults + [f"{name}: a name that says nothing" for part in (*path.parts, path.stem) if part in VAGUE_NAMES]


def opens_for_writing(call):
    """Tell whether a call is `open` in any spelling with a mode that writes."""
    if ast.unparse(call.func).rpartition(".")[2] != "open":
        return False
    given = [*call.args, *(keyword.value for keyword in call.keywords if keyword.arg == "mode")]
    modes = [node.value for node in given if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    return any(re.fullmatch("[rwaxbt+]*[wax+][rwaxbt+]*", mode) for mode in modes)


def writes_files(name, source):
    """The calls that write a file without _files.py, which does it atomically."""
    if name == "alpaca_lora/_files.py":
        return []
    faults = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            ours = called.startswith("_files.") or called in INTO_STAGING.get(name, ())
            writes = called.rpartition(".")[2] in WRITERS or called in DOTTED_WRITERS or opens_for_writing(node)
            faults += [f"{name}:{node.lineno} {called}"] if writes and not ours else []
    return faults


def prints(name, source):
    """The calls of print outside the command line."""
    if name.startswith("alpaca_lora/cli/"):
        return []
    return [
        f"{name}:{node.lineno} print"
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "print"
    ]


def undocumented(name, source):
    """The module, and the public functions, classes and methods in it, that have no docstring."""

    def missing(node, label):
        faults = [] if ast.get_docstring(node) else [f"{name}: {label} has no docstring"]
        for child in node.body if isinstance(node, ast.Module | ast.ClassDef) else []:
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and child.name[0] != "_":
                faults += missing(child, child.name)
        return faults

    return missing(ast.parse(source), "the module")


def stray_errors(name, source):
    """The errors for users that are defined outside of errors.py, where the tree is drawn."""
    if name == "alpaca_lora/errors.py":
        return []
    return [
        f"{name}:{node.lineno} {node.name}"
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ClassDef)
        and (node.name.endswith("Error") or {ast.unparse(base) for base in node.bases} & set(errors.__all__))
    ]


def undeclared_imports(name, source):
    """The imports of packages that pyproject.toml does not bring to every user."""
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = {re.split("[<>=]", line)[0].replace("-", "_") for line in project["dependencies"]}
    faults = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            tops = {module.partition(".")[0] for module in modules} - {"alpaca_lora", *sys.stdlib_module_names}
            faults += [f"{name}:{node.lineno} {top}" for top in tops if DISTRIBUTIONS.get(top, top) not in declared]
    return faults


def foreign_names(tree):
    """The names in a module that come from another package, and those that lead to any class or module."""
    names = {"__import__", "type"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            for alias in node.names:
                origin = (node.module or "") if isinstance(node, ast.ImportFrom) else alias.name
                if origin.partition(".")[0] != "alpaca_lora":
                    names.add(alias.asname or alias.name.partition(".")[0])
    return names


def leftmost(node):
    """The name that an expression such as `torch.nn.functional` or `type(model)` begins with."""
    while isinstance(node, ast.Attribute | ast.Subscript | ast.Call):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else ""


def patches(name, source):
    """The changes of a foreign module or class; those of an instance are not reported."""
    tree = ast.parse(source)
    foreign, faults = foreign_names(tree), []
    for node in ast.walk(tree):
        changed = None
        if isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load):
            changed = node.value
        elif isinstance(node, ast.Subscript) and not isinstance(node.ctx, ast.Load):
            changed = node.value if re.search(r"(__dict__|sys\.modules)$", ast.unparse(node.value)) else None
        elif isinstance(node, ast.Call) and node.args and re.search("(set|del)attr", ast.unparse(node.func)):
            changed = node.args[0]
        if changed is not None and (leftmost(changed) in foreign or "__class__" in ast.unparse(changed)):
            faults.append(f"{name}:{node.lineno} {ast.unparse(node)}")
    return faults


CHECKERS = [
    long_file,
    long_functions,
    badly_placed,
    writes_files,
    prints,
    undocumented,
    stray_errors,
    undeclared_imports,
    patches,
]
DOCUMENTED = '"""Say what this is."""\n'
PLANTED = [
    (long_file, "alpaca_lora/a.py", "\n" * 301),
    (long_functions, "alpaca_lora/a.py", "def train():\n" + "    step()\n" * 50),
    (long_functions, "alpaca_lora/a.py", "def finetune():\n" + "    step()\n" * 80),
    (badly_placed, "alpaca_lora/a/b/c.py", ""),
    (badly_placed, "alpaca_lora/utils.py", ""),
    (badly_placed, "alpaca_lora/core/a.py", ""),
    (writes_files, "alpaca_lora/a.py", "open(path, 'w')"),
    (writes_files, "alpaca_lora/a.py", "path.open(mode='ab')"),
    (writes_files, "alpaca_lora/a.py", "gzip.open(path, 'r+')"),
    (writes_files, "alpaca_lora/a.py", "(path / 'a').write_text('')"),
    (writes_files, "alpaca_lora/a.py", "Path(name).write_bytes(b'')"),
    (writes_files, "alpaca_lora/a.py", "open(path, 'x')"),
    (writes_files, "alpaca_lora/a.py", "json.dump(value, stream)"),
    (writes_files, "alpaca_lora/a.py", "torch.save(state, path)"),
    (writes_files, "alpaca_lora/a.py", "safetensors.torch.save_file(tensors, path)"),
    (writes_files, "alpaca_lora/a.py", "model.save_pretrained(path)"),
    (writes_files, "alpaca_lora/exports/weights.py", "torch.save(state, path)"),
    (prints, "alpaca_lora/a.py", "print('done')"),
    (undocumented, "alpaca_lora/a.py", "import os"),
    (undocumented, "alpaca_lora/a.py", DOCUMENTED + "def train(): pass"),
    (undocumented, "alpaca_lora/a.py", DOCUMENTED + f"class A:\n    {DOCUMENTED}    def train(self): pass"),
    (stray_errors, "alpaca_lora/a.py", "class OddError(Exception): pass"),
    (stray_errors, "alpaca_lora/a.py", "class Odd(ConfigError): pass"),
    (undeclared_imports, "alpaca_lora/a.py", "def load():\n    import gradio"),
    (undeclared_imports, "alpaca_lora/a.py", "from gguf.reader import GGUFReader"),
    (patches, "alpaca_lora/a.py", "import torch\ntorch.nn.functional.silu = fast"),
    (patches, "alpaca_lora/a.py", "from transformers.models.llama import LlamaRMSNorm as Norm\nNorm.forward = fast"),
    (patches, "alpaca_lora/a.py", "import peft.tuners\nsetattr(peft.tuners.lora.Linear, 'forward', fast)"),
    (patches, "alpaca_lora/a.py", "from bitsandbytes import nn\ndel nn.Linear4bit.forward"),
    (patches, "alpaca_lora/a.py", "import sys\nsys.modules['trl'] = fake"),
    (patches, "alpaca_lora/a.py", "type(model).forward = fast"),
    (patches, "alpaca_lora/a.py", "for layer in layers:\n    layer.__class__.forward = fast"),
]
INNOCENT = [
    (long_file, "alpaca_lora/a.py", "\n" * 300),
    (long_functions, "alpaca_lora/a.py", "def train():\n" + "    step()\n" * 49),
    (long_functions, "alpaca_lora/a.py", "def finetune():\n" + "    step()\n" * 79),
    (badly_placed, "alpaca_lora/a/b.py", ""),
    (writes_files, "alpaca_lora/a.py", "path.open('rb'), open(path), _files.write_text(path, 'w')"),
    (writes_files, "alpaca_lora/_files.py", "path.open('a')"),
    (prints, "alpaca_lora/cli/a.py", "print('done')"),
    (undocumented, "alpaca_lora/a.py", DOCUMENTED + "def _train(): pass"),
    (stray_errors, "alpaca_lora/a.py", "class Refused(ValueError): pass"),
    (undeclared_imports, "alpaca_lora/a.py", "import json, torch.nn, ruamel.yaml, alpaca_lora.errors"),
    (patches, "alpaca_lora/a.py", "import torch\nmodel.config.use_cache = torch.is_grad_enabled()"),
    (patches, "alpaca_lora/a.py", "import torch\nrows[torch.argmax(x)], self.forward = 1, fast"),
    (patches, "alpaca_lora/a.py", "from alpaca_lora.config import Settings\nSettings.seed = 1"),
]


@pytest.mark.parametrize("checker", CHECKERS)
def test_the_package_keeps_the_rule(checker):
    faults = []
    for path in sorted(PACKAGE.rglob("*.py")):
        faults += checker(path.relative_to(PACKAGE.parent).as_posix(), path.read_text(encoding="utf-8"))
    assert faults == []


@pytest.mark.parametrize(("checker", "name", "source"), PLANTED)
def test_a_planted_fault_is_found(checker, name, source):
    assert len(checker(name, source)) == 1


@pytest.mark.parametrize(("checker", "name", "source"), INNOCENT)
def test_what_is_allowed_is_not_reported(checker, name, source):
    assert checker(name, source) == []


def test_every_checker_is_shown_a_fault():
    assert {checker for checker, _, _ in PLANTED} == set(CHECKERS)


def lint_imports(directory):
    """Run the import contracts of pyproject.toml on the package in `directory`."""
    command = [Path(sys.executable).with_name("lint-imports"), "--no-cache"]
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=300)


@pytest.fixture
def planted_copy(tmp_path):
    """A copy of the package into which faults can be planted."""
    shutil.copy(PACKAGE.parent / "pyproject.toml", tmp_path)
    shutil.copytree(PACKAGE, tmp_path / "alpaca_lora", ignore=shutil.ignore_patterns("__pycache__"))

    def plant(name, line):
        with (tmp_path / name).open("a", encoding="utf-8") as stream:
            stream.write(f"\n{line}\n")
        return tmp_path

    return plant


def test_imports_keep_their_contracts():
    done = lint_imports(PACKAGE.parent)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("name", "line", "broken"),
    [
        ("alpaca_lora/adapters/__init__.py", "import alpaca_lora.training", "Imports point down only"),
        ("alpaca_lora/serving/__init__.py", "import alpaca_lora.training", "Imports point down only"),
        ("alpaca_lora/errors.py", "def late():\n    import alpaca_lora.records", "Imports point down only"),
        ("alpaca_lora/records/__init__.py", "import numpy", "The light half reaches no training stack"),
        ("alpaca_lora/planning/__init__.py", "import torch.nn", "The light half reaches no training stack"),
        (
            "alpaca_lora/adapters/__init__.py",
            "from alpaca_lora import Record",
            "Nothing in the package imports the facade",
        ),
        ("alpaca_lora/training/recipe.py", "import trl", "trl is met in training/trainer.py only"),
        ("alpaca_lora/models/__init__.py", "import datasets", "datasets is met in training/dataset.py only"),
        ("alpaca_lora/serving/__init__.py", "import peft", "peft is met under adapters/ and kernels/ only"),
    ],
)
def test_a_planted_import_breaks_its_contract(planted_copy, name, line, broken):
    done = lint_imports(planted_copy(name, line))
    assert re.findall(r"^(.+?) BROKEN\b", done.stdout, re.MULTILINE) == [broken]


def test_a_package_without_a_layer_is_noticed(planted_copy):
    done = lint_imports(planted_copy("alpaca_lora/somewhere.py", DOCUMENTED))
    assert re.findall(r"^(.+?) BROKEN\b", done.stdout, re.MULTILINE) == ["Imports point down only"]


def test_no_tracked_file_is_large():
    if not (PACKAGE.parent / ".git").exists():
        pytest.skip("this is no git checkout")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=PACKAGE.parent, capture_output=True, text=True, check=True)
    paths = [PACKAGE.parent / name for name in listed.stdout.split("\0") if name]
    assert [str(path) for path in paths if path.is_file() and path.stat().st_size > TRACKED_BYTES] == []
