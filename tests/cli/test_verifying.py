import json

import pytest

from alpaca_lora import curate
from alpaca_lora.cli import main

ROWS = [{"instruction": "Name a river.", "input": "", "output": "The Nile."}]


@pytest.fixture
def curated(tmp_path):
    curate(ROWS, tmp_path / "out")
    return tmp_path / "out"


def test_an_untouched_directory_has_a_line_for_each_check(curated, capsys):
    assert main(["verify", str(curated), "--quiet"]) == 0
    shown = capsys.readouterr()
    assert shown.out.splitlines() == [
        "out, a curation",
        "ok      files    11 files are as they were sealed",
        "ok      counts   1 rows read = 1 kept + 0 dropped",
        "ok      records  1 rows checked and compared again give every file, byte for byte",
        "",
        "3 checks passed",
    ]
    assert shown.err == ""


def test_progress_goes_to_standard_error(curated, capsys):
    assert main(["verify", str(curated)]) == 0
    assert "out: records …" in capsys.readouterr().err


def test_the_first_failure_is_one_error_with_the_stage_the_file_and_what_to_do(curated, capsys):
    (curated / "curated.jsonl").write_text("")
    assert main(["verify", str(curated), "--quiet"]) == 2
    shown = capsys.readouterr()
    assert shown.out.endswith("0 checks passed, 1 failed, 1 not checked\n")
    assert shown.err == (
        "error: out: files: curated.jsonl has changed since it was written: copy the directory again\n"
    )


def test_json_is_for_scripts(curated, capsys):
    (curated / "report.html").unlink()
    assert main(["verify", str(curated), "--json", "--quiet"]) == 2
    document = json.loads(capsys.readouterr().out)
    assert (document["kind"], document["passed"]) == ("curation", False)
    assert [finding["outcome"] for finding in document["findings"]] == ["failed", "not checked"]


def test_names_of_files_do_nothing_to_a_terminal(curated, capsys):
    (curated / "\x1b[31mred").touch()
    assert main(["verify", str(curated), "--quiet"]) == 2
    shown = capsys.readouterr()
    assert "\x1b" not in shown.out + shown.err


def test_a_foreign_directory_is_one_error(tmp_path, capsys):
    (tmp_path / "thesis.txt").touch()
    assert main(["verify", str(tmp_path), "--quiet"]) == 2
    assert capsys.readouterr().err.startswith("error: ")
