import ast
import tomllib

import pytest

from alpaca_lora._optional import require
from alpaca_lora.errors import MissingDependencyError


@pytest.fixture
def importable(tmp_path, monkeypatch):
    """Write modules that can be imported during one test."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(name, source):
        (tmp_path / f"{name}.py").write_text(source, encoding="utf-8")

    return write


def test_an_installed_package_is_imported():
    import json.decoder

    assert require("json.decoder", extra="ui") is json.decoder


@pytest.mark.parametrize("package", ["no_such_package", "no_such_package.part"])
def test_a_missing_package_is_named_with_the_command_that_installs_it(package):
    with pytest.raises(MissingDependencyError) as caught:
        require(package, extra="ui")
    assert str(caught.value) == "no_such_package is not installed: run  pip install 'alpaca-lora[ui]'"
    assert caught.value.name == package
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)


def test_a_package_that_lacks_another_one_is_not_called_missing(importable):
    importable("half_installed", "import its_own_dependency\n")
    with pytest.raises(ModuleNotFoundError, match="^No module named 'its_own_dependency'$") as caught:
        require("half_installed", extra="ui")
    assert not isinstance(caught.value, MissingDependencyError)


def test_a_package_that_breaks_while_it_is_imported_shows_its_own_error(importable):
    importable("broken", "raise RuntimeError('wrong CUDA version')\n")
    with pytest.raises(RuntimeError, match="^wrong CUDA version$"):
        require("broken", extra="ui")


def distribution_of(package):
    name = package.partition(".")[0]
    return {"PIL": "pillow", "lm_eval": "lm-eval"}.get(name, name)


def unknown_extras(source, extras):
    """The calls of `require` that name an extra which does not bring the package."""
    return [
        ast.unparse(node)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func).endswith("require")
        and isinstance(node.args[0], ast.Constant)
        and not any(
            requirement.startswith(distribution_of(str(node.args[0].value)))
            for keyword in node.keywords
            for requirement in extras.get(ast.literal_eval(keyword.value), [])
        )
    ]


def test_every_required_package_is_in_the_extra_that_its_message_names(repository):
    project = tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    for path in repository.joinpath("alpaca_lora").rglob("*.py"):
        assert unknown_extras(path.read_text(encoding="utf-8"), extras) == [], path


def test_a_wrong_extra_is_noticed():
    extras = {"plots": ["matplotlib"], "ui": ["gradio>=6.7"]}
    assert unknown_extras("require('matplotlib.pyplot', extra='plots')", extras) == []
    assert unknown_extras("require('matplotlib', extra='ui')", extras) == ["require('matplotlib', extra='ui')"]
    assert unknown_extras("require('gradio', extra='web')", extras) == ["require('gradio', extra='web')"]
