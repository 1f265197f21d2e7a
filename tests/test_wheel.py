"""What users install: the wheel, alone on the import path, run from a directory that is not the checkout."""

import subprocess
import sys
import zipfile
from pathlib import PurePosixPath

import pytest

pytestmark = pytest.mark.slow

LOOK = """
import alpaca_lora, alpaca_lora.planning
print(alpaca_lora.__file__)
print(repr(alpaca_lora.Prompter("alpaca").generate_prompt("Name a colour.", label="Red")))
print(alpaca_lora.available_templates())
print(alpaca_lora.planning.available_presets())
print(alpaca_lora.load_records("alpaca-mini"))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory, repository):
    """The wheel, built from the checkout."""
    target = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", target, repository]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    (built,) = target.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(tmp_path_factory, wheel):
    """A directory that holds nothing but the installed wheel."""
    target = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--target", target, wheel]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    return target


def test_the_wheel_holds_every_file_of_the_package_and_nothing_else(wheel, repository):
    package = repository / "alpaca_lora"
    expected = {path.relative_to(repository).as_posix() for path in package.rglob("*") if path.is_file()}
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not PurePosixPath(name).parts[0].endswith(".dist-info")}
    assert names == {name for name in expected if "__pycache__" not in name}
    assert {"alpaca_lora/py.typed", "alpaca_lora/prompts/templates/alpaca.json"} < names


def test_the_installed_package_finds_the_templates_presets_and_records_of_the_checkout(installed, tmp_path, run_python):
    done = run_python("-c", LOOK, path=installed, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    home, *found = done.stdout.splitlines()
    assert home == str(installed / "alpaca_lora" / "__init__.py")
    assert found == run_python("-c", LOOK).stdout.splitlines()[1:]
    assert found[0].endswith("### Instruction:\\nName a colour.\\n\\n### Response:\\nRed'")


def test_the_installed_command_shows_its_help(installed, tmp_path, run_python):
    done = run_python(installed / "bin" / "alpaca-lora", "--help", path=installed, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "finetune" in done.stdout
