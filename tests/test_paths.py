"""A value of another kind in the place of a path is one error that names the parameter."""

import pytest

from alpaca_lora import curate, evaluate, export, finetune, load, merge_adapter, replicate, verify
from alpaca_lora._paths import check_paths
from alpaca_lora.errors import ConfigError, RecordError


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
