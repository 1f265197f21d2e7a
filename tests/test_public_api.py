import ast
import doctest
import importlib
import inspect
import pkgutil
import re
import types

import pytest

import alpaca_lora

PACKAGES = ["alpaca_lora", *(f"alpaca_lora.{m.name}" for m in pkgutil.iter_modules(alpaca_lora.__path__) if m.ispkg)]
MODULES = [m.name for m in pkgutil.walk_packages(alpaca_lora.__path__, "alpaca_lora.") if m.name[12:] != "__main__"]


def exported(source):
    """The `__all__` that a module's source writes down."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return ast.literal_eval(node.value)
    return []


def read(repository, package):
    return repository.joinpath(*package.split("."), "__init__.py").read_text(encoding="utf-8")


def facade_homes(source):
    """Which module each lazy name comes from, as the type checker is told in the facade's source."""
    branch = next(node for node in ast.parse(source).body if isinstance(node, ast.If))
    return {alias.name: node.module for node in branch.body for alias in node.names}


def test_the_facade_exports_what_this_release_promises():
    assert alpaca_lora.__all__ == [
        "CurationResult",
        "CurationSettings",
        "Estimate",
        "EvaluationConfig",
        "EvaluationResult",
        "FinetuneConfig",
        "FinetuneResult",
        "GenerationResult",
        "KernelSettings",
        "LocalTeacher",
        "LoraSettings",
        "OpenAITeacher",
        "Prompter",
        "QuantizationSettings",
        "Record",
        "ReplicationResult",
        "SelfInstructConfig",
        "Template",
        "VerificationResult",
        "__version__",
        "available_templates",
        "curate",
        "errors",
        "evaluate",
        "export",
        "finetune",
        "generate_instructions",
        "load",
        "load_config",
        "load_records",
        "merge_adapter",
        "plan",
        "replicate",
        "save_records",
        "verify",
    ]


def constants_classes_functions(name):
    return (not name.isupper(), not name[0].isupper(), name)


@pytest.mark.parametrize("package", PACKAGES)
def test_exported_names_are_unique_and_sorted_constants_then_classes_then_functions(repository, package):
    names = exported(read(repository, package))
    assert names == sorted(set(names), key=constants_classes_functions)


@pytest.mark.parametrize("package", PACKAGES)
def test_no_exported_name_is_also_a_module_of_its_package(repository, package):
    # Importing a submodule binds it on its parent, so the function would turn into the module.
    modules = {module.name for module in pkgutil.iter_modules([repository.joinpath(*package.split("."))])}
    assert modules & set(exported(read(repository, package))) - {"errors"} == set()


def test_every_public_name_resolves_and_is_documented():
    for name in set(alpaca_lora.__all__) - {"__version__"}:
        assert inspect.getdoc(getattr(alpaca_lora, name)), name


def test_no_public_name_is_missing_from_all():
    importlib.import_module("alpaca_lora.cli")
    public = {
        name
        for name, value in vars(alpaca_lora).items()
        if not name.startswith("_")
        and not isinstance(value, types.ModuleType)
        and getattr(value, "__module__", "").startswith("alpaca_lora")
    }
    assert public - set(alpaca_lora.__all__) == set()


def test_a_lazy_name_is_the_very_object_of_its_home_each_time(repository):
    homes = facade_homes(read(repository, "alpaca_lora"))
    assert homes == alpaca_lora._HOMES
    for name, home in homes.items():
        real = getattr(importlib.import_module(home), name)
        assert getattr(alpaca_lora, name) is real
        assert getattr(alpaca_lora, name) is real


def test_names_that_are_not_loaded_yet_are_listed(run_python):
    done = run_python("-c", "import alpaca_lora; print(set(alpaca_lora.__all__) - set(dir(alpaca_lora)))")
    assert done.stdout == "set()\n", done.stderr


def test_a_star_import_brings_every_public_name():
    namespace = {}
    exec("from alpaca_lora import *", namespace)
    assert set(alpaca_lora.__all__) <= namespace.keys()


def test_a_misspelt_name_is_refused_as_python_does_it():
    with pytest.raises(AttributeError, match="^module 'alpaca_lora' has no attribute 'finetun'$"):
        _ = alpaca_lora.finetun


def test_the_newest_entry_of_the_changelog_is_this_version(repository):
    changelog = (repository / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.findall(r"^## \[([^]]+)\]", changelog, re.MULTILINE)[0] == alpaca_lora.__version__


@pytest.mark.parametrize("module", MODULES)
def test_the_examples_in_docstrings_are_true(module):
    assert doctest.testmod(importlib.import_module(module)).failed == 0


def test_a_false_example_is_noticed():
    planted = types.ModuleType("planted", ">>> 1 + 1\n3\n")
    assert doctest.testmod(planted).failed == 1
