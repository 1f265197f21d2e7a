"""What an import costs, asked of a new interpreter: only there is nothing loaded yet."""

import json

import pytest

TRAINING_STACK = {"datasets", "numpy", "pandas", "peft", "torch", "transformers", "trl"}
REPORT = "import json, sys; print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
HELP = """
import contextlib, io, runpy, sys
sys.argv = ["alpaca-lora", *sys.argv[1:]]
with contextlib.redirect_stdout(io.StringIO()) as shown, contextlib.suppress(SystemExit):
    runpy.run_module("alpaca_lora", run_name="__main__")
if "usage" not in shown.getvalue().lower():
    sys.exit(f"no help was printed: {shown.getvalue()!r}")
"""


@pytest.fixture
def loaded_after(run_python):
    """The top-level names in `sys.modules` of a new interpreter once it has run some code."""

    def loaded(code, *arguments):
        done = run_python("-c", f"{code}\n{REPORT}", *arguments)
        assert done.returncode == 0, done.stderr
        return set(json.loads(done.stdout))

    return loaded


def test_the_prompt_formats_load_neither_the_training_stack_nor_pydantic(loaded_after):
    assert loaded_after("from alpaca_lora import Prompter; Prompter()") & {*TRAINING_STACK, "pydantic"} == set()


@pytest.mark.parametrize("name", ["FinetuneConfig", "Record", "available_templates", "errors", "load_config"])
def test_a_light_name_does_not_load_the_training_stack(loaded_after, name):
    assert loaded_after(f"from alpaca_lora import {name}") & TRAINING_STACK == set()


@pytest.mark.parametrize("module", ["_runs", "curation", "planning", "reporting", "cli"])
def test_a_light_module_does_not_load_the_training_stack(loaded_after, module):
    assert loaded_after(f"import alpaca_lora.{module}") & TRAINING_STACK == set()


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["finetune", "--help"], ["chat", "--help"], ["curate", "--help"], ["evaluate", "--help"]],
    ids=" ".join,
)
def test_help_does_not_load_the_training_stack(loaded_after, arguments):
    assert loaded_after(HELP, *arguments) & TRAINING_STACK == set()


def test_the_same_look_sees_the_training_stack_once_finetune_is_asked_for(loaded_after):
    assert loaded_after("from alpaca_lora import finetune") >= {"peft", "pydantic", "torch", "transformers", "trl"}
