"""One small directory of each kind, and of all of them a replication, on the tiny base model."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from alpaca_lora._files import sha256_of
from alpaca_lora._seals import seal
from alpaca_lora.records import Record, save_records
from tests.length_judge import LikesLength
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


@pytest.fixture(scope="session")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("made")


@pytest.fixture(scope="session")
def generate():
    """Generate from a scripted teacher: `generate(directory, num=24)`."""

    def run(directory, *, second="", **settings):
        from alpaca_lora import OpenAITeacher, SelfInstructConfig, generate_instructions

        settings = {"num": 24, "budget_tokens": 10**9, "pause_seconds": 0.001, **settings}
        with ScriptedTeacher(rate=0.2, faults=("busy", "cut_body")) as server:
            teachers = [OpenAITeacher(name, base_url=server.url, api_key_env=None) for name in ("a", second) if name]
            return generate_instructions(
                teachers[0],
                directory,
                config=SelfInstructConfig(**settings),
                answers=teachers[1] if second else None,
                progress=False,
            )

    return run


@pytest.fixture(scope="session")
def generation(place, generate):
    generate(place / "whole/1-generate")
    return place / "whole/1-generate"


@pytest.fixture(scope="session")
def evaluation_set(place):
    rows = [
        Record(f"Write about the {word}.", "" if n % 2 else f"Input {n}", f"A {word}.") for n, word in enumerate(WORDS)
    ]
    save_records(rows, place / "set.jsonl")
    return place / "set.jsonl"


@pytest.fixture(scope="session")
def curation(place, generation, evaluation_set):
    from alpaca_lora import curate

    curate(generation / "records.jsonl", place / "whole/2-curate", against=[evaluation_set])
    return place / "whole/2-curate"


@pytest.fixture(scope="session")
def assess(evaluation_set):
    """Evaluate an adapter, with a judge: `assess(adapter, directory)`."""

    def run(adapter, directory, **options):
        from alpaca_lora import EvaluationConfig, evaluate

        config = EvaluationConfig(max_new_tokens=8, batch_size=3, resamples=100)
        given = {"data": evaluation_set, "judge": LikesLength(), "config": config, "progress": False, **options}
        return evaluate(adapter, directory, **given)

    return run


@pytest.fixture(scope="session")
def evaluation(place, tiny_base, train, assess):
    assess(train(tiny_base), place / "evaluation", trained_on="unknown")
    return place / "evaluation"


@pytest.fixture(scope="session")
def replicated(place, tiny_base, curation, assess):
    """A replication; it takes a while, so it is for tests that are marked slow."""
    from alpaca_lora import FinetuneConfig, export, finetune

    root = place / "whole"
    finetune(tiny_base, curation / "curated.jsonl", root / STAGES[2], config=FinetuneConfig(**TRAINED), progress=False)
    assess(root / STAGES[2], root / STAGES[3])
    export("hf", root / STAGES[2], root / STAGES[4] / "hf")
    write_manifest(root)
    return root


@pytest.fixture(scope="session")
def carried_out(place, tiny_base, generation):
    """A recipe without a teacher and the replication that it gave; it takes a while too."""
    from alpaca_lora import replicate

    recipe = {
        "name": "small",
        "data": str(generation / "records.jsonl"),
        "curate": {},
        "finetune": TRAINED | {"base_model": str(tiny_base), "kernels": {"compiled": False}},
        "evaluate": {"max_new_tokens": 8, "resamples": 100},
        "export": {"format": "hf"},
    }
    assert replicate(recipe, place / "carried_out").status == "completed"
    return SimpleNamespace(recipe=recipe, root=place / "carried_out")


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
def copy_of(tmp_path):
    """Copy a directory, to be damaged; what is in it is sealed anew after `change(path)` has changed it."""

    def copy(directory, change=None):
        target = Path(shutil.copytree(directory, tmp_path / "copy" / directory.name))
        if change is not None:
            change(target)
            seal(target)
        return target

    return copy


@pytest.fixture
def found_in():
    """Verify without progress; return the result, outcomes by check, what was found, and the first failure."""
    from alpaca_lora import verify

    def run(directory, **options):
        result = verify(directory, progress=False, **options)
        return SimpleNamespace(
            result=result,
            outcomes={finding.check: finding.outcome for finding in result.findings},
            said={finding.check: finding.found for finding in result.findings},
            failure=result.failure,
        )

    return run


def rewrite(path, change):
    """Change the JSON document in a file, or every line of a file of JSON lines."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".jsonl":
        lines = [json.loads(line) for line in text.splitlines()]
        change(lines)
        path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")
    else:
        document = json.loads(text)
        change(document)
        path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


@pytest.fixture(name="rewrite")
def _rewrite():
    return rewrite


@pytest.fixture
def server():
    with ScriptedTeacher() as server:
        yield server


@pytest.fixture
def records(server):
    """A recipe that needs no model: records by a scripted teacher, and their curation."""
    return {
        "name": "small",
        "generate": {
            "teacher": "openai",
            "model": "teacher-a",
            "base_url": server.url,
            "num": 24,
            "budget_tokens": 1_000_000,
            "pause_seconds": 1e-3,
        },
        "curate": {},
    }


@pytest.fixture
def whole(records, tiny_base):
    """A recipe of all stages around a base model of two layers."""
    return records | {
        "finetune": {
            "base_model": str(tiny_base),
            "max_steps": 6,
            "batch_size": 4,
            "micro_batch_size": 2,
            "packing": False,
            "precision": "fp32",
            "learning_rate": 5e-3,
            "validation_size": 6,
            "save_steps": 2,
            "probe_size": 2,
            "probe_max_new_tokens": 8,
            "kernels": {"compiled": False},
        },
        "evaluate": {"max_new_tokens": 8, "resamples": 100},
        "export": {"format": "hf"},
    }
