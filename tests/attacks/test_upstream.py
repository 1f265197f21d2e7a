"""What other libraries do today and we work around. A test that fails here says that a workaround of ours can go."""

import ast
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from tests.attacks.s06_gguf import FILES


def source_of(module):
    """The text of an installed module, which is not imported."""
    return Path(importlib.util.find_spec(module).origin).read_text(encoding="utf-8")


def unsafe_loads(source):
    """The lines of `torch.load` that would open any pickle; peft hands on an argument that is true if none is given."""
    return [
        node.lineno
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) == "torch.load"
        and not any(
            item.arg == "weights_only" and ast.unparse(item.value) in ("True", "weights_only") for item in node.keywords
        )
    ]


@pytest.mark.parametrize("module", ["transformers.trainer", "peft.utils.save_and_load"])
def test_what_training_opens_is_opened_as_tensors_alone(module):
    assert unsafe_loads(source_of(module)) == []


def test_an_unsafe_load_is_seen():
    assert unsafe_loads("import torch\ntorch.load(x)\ntorch.load(x, weights_only=True)\n") == [2]


def test_gguf_still_believes_a_header_that_lies(tmp_path):
    """Where this fails, `exports/gguf_header.py` can go."""
    path = tmp_path / "x.gguf"
    path.write_bytes(FILES["an array of 49 bytes that never ends"])
    code = (
        "import resource, sys, gguf; used = int(resource.getrusage(resource.RUSAGE_SELF).ru_utime) + 2; "
        "resource.setrlimit(resource.RLIMIT_CPU, (used, used)); gguf.GGUFReader(sys.argv[1])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, check=False)
    assert done.returncode < 0 or b"MemoryError" in done.stderr


def test_trl_still_lets_a_row_replace_the_chat_template():
    """Where this fails, rows of other columns could reach `SFTTrainer`; ours are finished ids all the same."""
    assert '**example.get("chat_template_kwargs"' in source_of("trl.trainer.sft_trainer")


def test_peft_still_takes_names_of_modules_for_patterns():
    """Where this fails, the plain names of `adapters/peft_config.py` can be any."""
    assert "re.fullmatch(config.exclude_modules, key)" in source_of("peft.tuners.tuners_utils")


def test_transformers_still_renders_a_chat_template_without_limit():
    """Where this fails, `exports/chat_rendering.py` can go."""
    from transformers.utils.chat_template_utils import render_jinja_template

    [text], _ = render_jinja_template([[{"role": "user", "content": ""}]], chat_template="{{ 'x' * 5000000 }}")
    assert len(text) == 5_000_000
