"""What is decided before a model is loaded: of the run's own data only what it held out is a set."""

import json
import shutil
from types import SimpleNamespace

import pytest

from alpaca_lora.config import EvaluationConfig, FinetuneConfig
from alpaca_lora.errors import RecordError
from alpaca_lora.evaluation import preparation
from alpaca_lora.records import Record, read_dataset, save_records
from alpaca_lora.training.dataset import split_records
from alpaca_lora.training.progress import Progress

TOPICS = ("apples", "harbours", "quartz", "meadows", "violins", "comets", "lanterns", "glaciers", "otters", "thunder")


@pytest.fixture
def prepare(tiny_base, train, tmp_path, monkeypatch):
    """Prepare the evaluation of a run on its own data: `prepare(held_out=4)`; notes what is compared and encoded."""
    seen = SimpleNamespace(compared=[], encoded=[])
    leaks, misfits = preparation.find_leaks, preparation.list_misfits
    monkeypatch.setattr(preparation, "find_leaks", lambda own, *rest: seen.compared.append(own) or leaks(own, *rest))
    monkeypatch.setattr(
        preparation, "list_misfits", lambda one, own, *rest: seen.encoded.append(own) or misfits(one, own, *rest)
    )

    def prepare(held_out):
        records = [Record(f"{topic.title()} {topic}?", "", topic) for topic in TOPICS]
        data = tmp_path / "data.jsonl"
        save_records(records, data)
        loaded = read_dataset(data)
        config = FinetuneConfig(validation_size=held_out, seed=3)
        run = {"data": {"name": str(data), "sha256": loaded.sha256}, "config": config.model_dump(mode="json")}
        shutil.copytree(train(tiny_base), tmp_path / "run/adapter")
        (tmp_path / "run/run.json").write_text(json.dumps(run), encoding="utf-8")
        options = dict.fromkeys(("against", "trained_on", "against_trained_on", "base_model", "template"))
        found = preparation.prepare_evaluation(
            tmp_path / "run",
            data=data,
            tasks=(),
            config=EvaluationConfig(),
            display=Progress(enabled=False),
            **options,
        )
        return found, split_records(loaded.records, (), held_out, 3).heldout

    prepare.seen = seen
    return prepare


def test_of_its_own_data_only_what_the_run_held_out_is_compared_and_encoded_once(prepare):
    plan, heldout = prepare(4)
    assert {task.record for task in plan.evaluated.tasks} == set(heldout)
    assert len(plan.kept) + len(plan.dropped) == 4
    assert [len(records) for records in prepare.seen.compared] == [4]
    assert [len(tasks) for tasks in prepare.seen.encoded] == [4]


def test_a_run_that_held_nothing_out_cannot_be_evaluated_on_its_own_data(prepare):
    with pytest.raises(RecordError, match="was trained on all of its 10 rows, and its run held none out"):
        prepare(0)
    assert prepare.seen.compared == []
