"""What cannot be a path is one error that names the parameter or the path."""

import os
from pathlib import Path

import pytest

from alpaca_lora import curate, evaluate, export, finetune, load, merge_adapter, replicate, verify
from alpaca_lora._paths import check_paths, expanded
from alpaca_lora.cli import main
from alpaca_lora.errors import ConfigError, RecordError

NOBODY = "~no-such-user-here/run"


def test_text_and_paths_pass_and_all_others_are_named_at_once(tmp_path):
    check_paths(data="a", output_dir=tmp_path)
    with pytest.raises(ConfigError) as caught:
        check_paths(adapter_dir=None, data="a", output_dir=b"run")
    assert str(caught.value).splitlines() == [
        "adapter_dir must be text or a path, got None (NoneType)",
        "output_dir must be text or a path, got b'run' (bytes)",
    ]


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: finetune(123), "base_model"),
        (lambda: finetune(output_dir=None), "output_dir"),
        (lambda: load(None), "adapter_dir"),
        (lambda: merge_adapter(None, "out"), "adapter_dir"),
        (lambda: export("hf", "adapter", 5), "output_dir"),
        (lambda: evaluate("adapter", "out", data=5), "data"),
        (lambda: curate("alpaca-mini", 5), "output_dir"),
        (lambda: replicate(5, "out"), "recipe"),
        (lambda: replicate("laptop", None), "output_dir"),
        (lambda: verify(5), "directory"),
    ],
)
def test_each_function_names_its_own_parameter(call, name):
    with pytest.raises(ConfigError, match=f"^{name} must be text or a path, got "):
        call()


def test_what_is_no_source_of_records_is_named_as_that(tmp_path):
    with pytest.raises(RecordError, match=r"not a source of rows \(found number 5"):
        finetune(data=5, output_dir=tmp_path / "run", progress=False)


@pytest.fixture
def loop(tmp_path: Path) -> str:
    """A link to itself, and a path through it."""
    (tmp_path / "loop").symlink_to("loop")
    return str(tmp_path / "loop" / "run")


def test_a_tilde_is_the_home_directory_and_nothing_need_be_there(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))

    assert expanded("~/run") == tmp_path / "run"
    assert expanded("run") == Path("run")
    assert expanded(Path("a" * 300)) == Path("a" * 300)


@pytest.mark.parametrize(
    ("path", "why"), [(NOBODY, "Could not determine home directory"), ("a\0b", "embedded null byte")]
)
def test_a_path_that_cannot_be_one_is_refused(path, why):
    with pytest.raises(ConfigError, match=rf"cannot be used \({why}.*\): give another one"):
        expanded(path)


def test_links_in_a_circle_are_refused(loop):
    with pytest.raises(ConfigError, match=r"cannot be used \(Too many levels of symbolic links\): give another one"):
        expanded(loop)


@pytest.mark.parametrize(
    "command",
    [
        "finetune --output-dir PATH",
        "finetune --dry-run --output-dir PATH",
        "finetune --base-model PATH",
        "evaluate --adapter x --output-dir PATH",
        "evaluate --adapter PATH",
        "replicate --profile laptop --output-dir PATH",
        "replicate --profile laptop --dry-run --output-dir PATH",
        "export hf --adapter PATH --output-dir new",
        "curate alpaca-mini --output-dir PATH",
        "plan --model PATH",
        "chat --adapter PATH",
        "ui --adapter PATH --recipe vllm",
        "verify PATH",
        "check-template --adapter PATH",
    ],
)
def test_no_command_takes_such_a_path_for_a_fault_of_its_own(command, loop, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for path in (NOBODY, loop):
        assert main([path if word == "PATH" else word for word in command.split()]) == 2
        assert path in capsys.readouterr().err
    assert os.listdir(tmp_path) == ["loop"]
