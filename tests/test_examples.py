"""The examples run as they stand, with as few steps as there can be, each in an empty directory."""

import ast
import json
import re

import pytest

INSTRUCTION = ("Turn the sentence into a question.", "The train leaves at noon.")
NO_TORCH = "import runpy, sys; sys.argv.pop(0); runpy.run_path(sys.argv[0]); sys.exit('torch' in sys.modules)"


@pytest.fixture(scope="session")
def examples(repository):
    """The folder of the examples."""
    return repository / "examples"


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """The directory in which the examples run one after another, each with the directories that it names itself."""
    return tmp_path_factory.mktemp("examples")


@pytest.fixture(scope="module")
def trained(examples, run_python, workplace):
    """What 02_finetune_lora.py printed."""
    script = examples / "02_finetune_lora.py"
    done = run_python(script, "--max-steps", "2", cwd=workplace)
    assert done.returncode == 0, done.stderr
    return done.stdout


def metrics_in(text):
    """The numbers that an example printed, by name."""
    return {name: ast.literal_eval(value) for name, value in re.findall(r"^(\w+): (\S+)$", text, re.MULTILINE)}


def test_no_example_is_longer_than_sixty_lines(examples):
    scripts = sorted(examples.glob("*.py"))
    assert scripts
    assert [script.name for script in scripts if len(script.read_text(encoding="utf-8").splitlines()) > 60] == []


def test_the_list_of_examples_has_them_all(examples):
    listed = re.findall(r"`(?:python|jupyter lab) examples/(\S+?)[ `]", (examples / "README.md").read_text("utf-8"))
    assert listed == sorted(path.name for path in examples.iterdir() if path.suffix in (".py", ".ipynb"))


def test_prompts_prints_a_prompt_and_a_response_without_torch(examples, run_python):
    done = run_python("-c", NO_TORCH, examples / "01_prompts.py")
    assert done.returncode == 0, done.stderr
    assert "### Response:\nDoes the train leave at noon?\nresponse: Red, blue and yellow.\n" in done.stdout


def test_curate_counts_every_record_and_decides_anew(examples, run_python, tmp_path):
    done = run_python("-c", NO_TORCH, examples / "05_curate.py", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("395 read = 394 kept + 1 dropped\n")
    assert (tmp_path / "runs/example-curated-strict/report.html").is_file()


@pytest.mark.slow
def test_finetune_lora_trains_and_answers(trained, workplace):
    metrics = metrics_in(trained)
    assert metrics["steps"] == 2
    assert metrics["heldout_loss_before"] != metrics["heldout_loss_after"]
    assert (workplace / "runs/example-lora/COMPLETE").is_file()


@pytest.mark.slow
def test_finetune_qlora_trains_on_a_base_in_four_bits(examples, run_python, workplace):
    script = examples / "03_finetune_qlora.py"
    done = run_python(script, "--max-steps", "2", cwd=workplace)
    assert done.returncode == 0, done.stderr
    assert metrics_in(done.stdout)["steps"] == 2
    assert '"method": "nf4"' in (workplace / "runs/example-qlora/run.json").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.usefixtures("trained")
def test_chat_and_plain_peft_give_the_same_answer(examples, repository, run_python, workplace):
    script = examples / "04_chat.py"
    chat = run_python(script, "runs/example-lora", *INSTRUCTION, "--max-new-tokens", "32", cwd=workplace)
    assert chat.returncode == 0, chat.stderr
    how_to = (repository / "docs/how-to/plain-peft.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"<!-- run: adapter -->\n```python\n(.*?)```", how_to, re.DOTALL)
    sidecar = json.loads((workplace / "runs/example-lora/adapter/alpaca_lora.json").read_text(encoding="utf-8"))
    trained_in = {"bf16": "bfloat16", "fp32": "float32"}[sidecar["precision"]]
    code = code.replace("runs/alpaca-mini", "runs/example-lora")
    code = code.replace('dtype="auto"', f'dtype="{trained_in}"')  # the likeliest words may differ in another format
    peft = run_python("-c", code, cwd=workplace)
    assert peft.returncode == 0, peft.stderr
    assert peft.stdout.strip() == chat.stdout.strip() != ""


@pytest.mark.slow
@pytest.mark.usefixtures("trained")
def test_evaluate_reports_base_and_adapter_with_intervals(examples, run_python, workplace):
    options = ("--rows", "4", "--max-new-tokens", "8")
    done = run_python(examples / "06_evaluate.py", *options, cwd=workplace)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("rows: 4\n")
    assert re.findall(r"^(\w+): [+-]\d+\.\d{3}, 95 % interval", done.stdout, re.MULTILINE) == [
        "loss", "bits_per_byte", "stop_rate", "repetition", "empty", "characters"
    ]  # fmt: skip
    assert (workplace / "runs/example-evaluation/report.html").is_file()


def test_the_notebook_is_stored_without_outputs(examples):
    import nbformat

    notebook = nbformat.read(examples / "notebook_finetune.ipynb", as_version=4)
    nbformat.validate(notebook)
    assert [cell.id for cell in notebook.cells if cell.get("outputs") or cell.get("execution_count")] == []


@pytest.mark.slow
def test_the_notebook_runs_from_its_first_cell_to_its_last(examples, monkeypatch, repository, tmp_path):
    import nbclient
    import nbformat

    monkeypatch.setenv("PYTHONPATH", str(repository))
    notebook = nbformat.read(examples / "notebook_finetune.ipynb", as_version=4)
    (parameters,) = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    parameters.source = "max_steps = 2"
    nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = {kind for cell in notebook.cells for output in cell.get("outputs", []) for kind in output.get("data", {})}
    assert "image/png" in shown
    assert (tmp_path / "runs/notebook/COMPLETE").is_file()
