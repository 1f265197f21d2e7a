import json

import pytest

from alpaca_lora.cli import main
from alpaca_lora.cli.checks import Check, check_packages, find_extras


def test_a_package_that_is_new_enough_is_fine():
    (check,) = check_packages(["pytest>=1"])

    assert (check.name, check.state, check.fix) == ("pytest", "ok", "")


@pytest.mark.parametrize(
    ("requirement", "found"),
    [("pytest>=999", f"{pytest.__version__}, needs >=999"), ("no-such-package", "not installed")],
)
def test_a_package_that_is_old_or_missing_is_broken_and_says_what_to_run(requirement: str, found: str):
    (check,) = check_packages([requirement])

    assert (check.state, check.found, check.fix) == ("broken", found, f"run  pip install '{requirement}'")


def test_packages_of_an_extra_or_of_another_system_are_not_required():
    assert list(check_packages(["no-such-package; extra == 'ui'", "no-such-package; sys_platform == 'nowhere'"])) == []


def test_an_extra_is_there_or_tells_how_to_get_it():
    requirements = ["pytest>=1; extra == 'dev'", "pytest; extra == 'ui'", "no-such-package; extra == 'ui'", "torch"]

    assert list(find_extras(requirements, ["dev", "ui"])) == [
        Check("extra dev", "ok", f"pytest {pytest.__version__}"),
        Check(
            "extra ui",
            "note",
            f"pytest {pytest.__version__}, no-such-package not installed",
            "to have it, run  pip install 'alpaca-lora[ui]'",
        ),
    ]


def test_an_extra_that_is_too_old_is_not_there():
    (check,) = find_extras(["pytest>=999; extra == 'dev'"], ["dev"])

    assert check.state == "note"


def test_the_doctor_finds_this_machine_ready(capsys: pytest.CaptureFixture[str]):
    assert main(["doctor"]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("ok      python")
    assert lines[-1].startswith("ready: this machine can fine-tune")


def test_the_doctor_speaks_json(capsys: pytest.CaptureFixture[str]):
    assert main(["doctor", "--json"]) == 0

    report = json.loads(capsys.readouterr().out)
    assert report["ready"] is True
    assert {"python", "device", "number formats", "nf4", "embedded model", "disk", "hub"} <= {
        check["name"] for check in report["checks"]
    }


def test_a_broken_stack_is_reported_and_makes_the_doctor_fail(capsys, monkeypatch: pytest.MonkeyPatch):
    from alpaca_lora.cli import checks

    def _device():
        raise OSError("libcudart.so.12: cannot open shared object file")

    monkeypatch.setattr(checks, "_device", _device)
    assert main(["doctor"]) == 2

    shown = capsys.readouterr().out
    assert "OSError: libcudart.so.12: cannot open shared object file" in shown
    assert shown.splitlines()[-1] == "not ready: repair device first"
