"""A small replication: each stage made by its verb from the one before, on the tiny base model, and `replication.json`."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from alpaca_lora._files import sha256_of
from alpaca_lora.records import Record, save_records
from alpaca_lora.teachers import Answer, Usage
from tests.scripted_teacher import ScriptedTeacher

STAGES = ("1-generate", "2-curate", "3-finetune", "4-evaluate", "5-export")
WORDS = ["apple", "harbour", "quartz", "meadow", "violin", "comet"]
TRAINED = {
    "max_steps": 4,
    "batch_size": 4,
    "micro_batch_size": 2,
    "packing": False,
    "precision": "fp32",
    "learning_rate": 5e-3,
    "validation_size": 4,
    "probe_size": 1,
    "probe_max_new_tokens": 4,
    "save_steps": 2,
    "max_length": 512,
    "lora": {"rank": 4, "alpha": 8.0, "dropout": 0.1},
}


class LikesLength:
    """A judge that finds the longer answer better, whatever the order."""

    free, chat, model, notes = True, False, "ruler", ()

    def describe(self):
        return {"kind": "test", "model": self.model}

    def most_prompt_tokens(self, request):
        return len(request.prompt)

    def redact(self, text):
        return text

    async def answer(self, request):
        first, second = (request.prompt.split(f"<answer-{letter}-")[1].split("</answer-")[0] for letter in "AB")
        text = f'{{"verdict": "{"A" if len(first) > len(second) else "B"}"}}'
        return Answer(text=text, finish="stop", usage=Usage(1, 1))

    async def close(self):
        pass


@pytest.fixture(scope="session")
def replicated(tiny_base, tmp_path_factory):
    """The directory of the replication; copy it before you damage it."""
    from alpaca_lora import EvaluationConfig, FinetuneConfig, curate, evaluate, export, finetune

    root = tmp_path_factory.mktemp("made") / "whole"
    generate, curation, run, evaluation, exports = (root / name for name in STAGES)
    with ScriptedTeacher(rate=0.2, faults=("busy", "cut_body")) as server:
        make_generation(server, generate)
    rows = [Record(f"Write about the {word}.", "" if n % 2 else f"Input {n}", f"A {word}.") for n, word in enumerate(WORDS)]
    save_records(rows, root.parent / "set.jsonl")
    curate(generate / "records.jsonl", curation, against=[root.parent / "set.jsonl"])
    finetune(tiny_base, curation / "curated.jsonl", run, config=FinetuneConfig(**TRAINED), progress=False)
    evaluate(
        run,
        evaluation,
        data=root.parent / "set.jsonl",
        judge=LikesLength(),
        config=EvaluationConfig(max_new_tokens=8, batch_size=3, resamples=100),
        progress=False,
    )
    export("hf", run, exports / "hf")
    write_manifest(root)
    return root


def make_generation(server, directory, **settings):
    from alpaca_lora import OpenAITeacher, SelfInstructConfig, generate_instructions

    settings = {"num": 24, "budget_tokens": 10**9, "pause_seconds": 0.001, **settings}
    teacher = OpenAITeacher("teacher-a", base_url=server.url, api_key_env=None)
    return generate_instructions(teacher, directory, config=SelfInstructConfig(**settings), progress=False)


def write_manifest(root):
    """Write what `replicate` writes around its stages."""
    stages = [
        {
            "name": name.partition("-")[2],
            "dir": name,
            "files": {
                path.relative_to(root / name).as_posix(): {"sha256": sha256_of(path), "bytes": path.stat().st_size}
                for path in sorted((root / name).rglob("*"))
                if path.is_file() and not path.name.startswith(".")
            },
        }
        for name in STAGES
    ]
    recipe = {"name": "small"}
    (root / "recipe.json").write_text(json.dumps(recipe))
    (root / "run.json").write_text(json.dumps({"kind": "replication", "recipe": recipe}))
    for name in ("README.md", "report.html"):
        (root / name).write_text("A page.")
    document = {"format": 1, "recipe": recipe, "stages": stages, "environment": {}, "tolerances": {}}
    (root / "replication.json").write_text(json.dumps(document, indent=2))


@pytest.fixture
def copy_of(replicated, tmp_path):
    """Copy the replication, or a directory in it: `copy_of("1-generate")`."""

    def copy(name="."):
        return Path(shutil.copytree(replicated / name, tmp_path / "copy" / Path(name).name))

    return copy


@pytest.fixture
def found_in():
    """Verify without progress; return outcomes by part and check, what failed, and everything that was found."""
    from alpaca_lora import verify

    def run(directory, **options):
        result = verify(directory, progress=False, **options)
        outcomes = {(finding.part, finding.check): finding.outcome for finding in result.findings}
        return SimpleNamespace(result=result, outcomes=outcomes, failure=result.failure)

    return run
