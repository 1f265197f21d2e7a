"""The whole of evaluation, with the tiny model: what is measured, kept, resumed and refused."""

import gc
import json
import shutil
import weakref
from pathlib import Path

import pytest

from alpaca_lora import OpenAITeacher, verify
from alpaca_lora.config import JudgeConfig
from alpaca_lora.errors import ConfigError, CoverageError, ModelError, RecordError, RunError
from alpaca_lora.evaluation import ModelOutput, load_annotations, load_model_outputs, save_model_outputs
from alpaca_lora.evaluation.sets import Task
from alpaca_lora.records import Record, read_dataset, save_records
from tests.length_judge import LikesLength
from tests.scripted_teacher import ScriptedTeacher

WORDS = ["apple", "harbour", "quartz", "meadow", "violin", "comet", "lantern", "glacier"]
ROWS = [Record(f"Write about the {word}.", "" if n % 2 else f"Input {n}", f"A {word}.") for n, word in enumerate(WORDS)]


@pytest.fixture(scope="module")
def adapter(tiny_base, train):
    return train(tiny_base)


@pytest.fixture
def data(tmp_path):
    save_records(ROWS, tmp_path / "set.jsonl")
    return tmp_path / "set.jsonl"


@pytest.fixture
def run(adapter, data, tmp_path):
    from alpaca_lora import EvaluationConfig, evaluate

    def run(name="out", /, *, which=adapter, **options):
        config = {"max_new_tokens": 12, "batch_size": 3, "resamples": 200, **options.pop("config", {})}
        given = {"data": data, "trained_on": "unknown", **options}
        return evaluate(which, tmp_path / name, config=EvaluationConfig(**config), progress=False, **given)

    return run


def test_losses_are_those_of_training_and_each_token_counts_once(run, adapter):
    from alpaca_lora.adapters import load_adapter, read_sidecar
    from alpaca_lora.models import load_base_model, load_tokenizer, mean_loss, row_losses
    from alpaca_lora.prompts import Prompter
    from alpaca_lora.training.encoding import encode_records

    loss = run().measure("loss")
    base_dir = Path(read_sidecar(adapter).base_model)
    base = load_base_model(base_dir, precision="fp32", device="cpu")
    rows = list(encode_records(ROWS, Prompter("alpaca"), load_tokenizer(base_dir), max_length=1024))
    pairs = [(row.input_ids, row.labels) for row in rows]
    before = mean_loss(row_losses(base, pairs))
    after = mean_loss(row_losses(load_adapter(base, adapter, base_dir), pairs))
    found = {name: estimate.value for name, estimate in loss.estimates.items()}
    assert found == pytest.approx({adapter.parent.name: after, base_dir.name: before}, rel=1e-6)
    (difference,) = loss.differences
    assert difference.value == pytest.approx(after - before, rel=1e-5)
    assert difference.interval.low < difference.value < difference.interval.high


def test_results_are_the_same_bytes_in_another_directory(run, tmp_path):
    first, second = run("a"), run("b")
    assert first.results.read_bytes() == second.results.read_bytes()
    assert str(tmp_path) not in first.results.read_text(encoding="utf-8")
    assert str(tmp_path) not in first.report.read_text(encoding="utf-8").split("The same again")[0]


@pytest.mark.parametrize("lines", [1, 4])
def test_an_evaluation_that_was_killed_goes_on_to_the_same_bytes(lines, run, tmp_path, monkeypatch):
    whole = run("whole")
    (tmp_path / "torn").mkdir()
    shutil.copy(tmp_path / "whole/run.json", tmp_path / "torn")
    journal = (tmp_path / "whole/journal.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "torn/journal.jsonl").write_bytes(b"".join(journal[:lines]) + journal[lines][:9])
    torn = run("torn")
    assert torn.results.read_bytes() == whole.results.read_bytes()
    monkeypatch.setattr("alpaca_lora.evaluation.subjects.load_base_model", None)  # now everything is in the journal
    assert run("torn").results.read_bytes() == whole.results.read_bytes()


def test_another_evaluation_does_not_enter_the_directory(run):
    run()
    with pytest.raises(RunError, match=r"config\.seed was 42, now 7"):
        run(config={"seed": 7})


def test_a_damaged_journal_is_named_with_its_line(run, tmp_path):
    run()
    journal = tmp_path / "out/journal.jsonl"
    journal.write_text("{}\n" + journal.read_text(encoding="utf-8"), encoding="utf-8")
    with pytest.raises(RunError, match=r"journal\.jsonl':1: the line is damaged"):
        run()


def test_rows_of_the_training_data_are_left_out_and_named(run, tmp_path):
    near = Record("Write about the harbour, please.", "", "Something.")
    save_records([ROWS[2], near], tmp_path / "trained.jsonl")
    adapter_dir = with_data(run.adapter, tmp_path, "trained.jsonl")
    result = run(which=adapter_dir, trained_on=tmp_path / "trained.jsonl")
    assert [(row.origin, row.reason) for row in result.dropped] == [
        ("set.jsonl:2", "in the training data: 89% like trained.jsonl:2"),
        ("set.jsonl:3", "in the training data: 100% like trained.jsonl:1"),
    ]
    assert result.rows == 6
    assert "set.jsonl:3" in result.report.read_text(encoding="utf-8")


@pytest.fixture
def other(train, tiny_base, tmp_path, monkeypatch):
    """A run that was trained on some rows of the set, and names its data as it was typed: `other([ROWS[2]])`."""
    from alpaca_lora import FinetuneConfig

    def other(rows):
        save_records(rows, tmp_path / "others.jsonl")
        monkeypatch.chdir(tmp_path)
        data = {"name": "others.jsonl", "sha256": read_dataset("others.jsonl").sha256}
        config = FinetuneConfig(validation_size=0).model_dump(mode="json")
        shutil.copytree(train(tiny_base, rank=2, spread=0.3), tmp_path / "other/adapter")
        (tmp_path / "other/run.json").write_text(json.dumps({"data": data, "config": config}))
        return tmp_path / "other"

    return other


def test_rows_that_the_other_adapter_was_trained_on_are_left_out_too(run, other):
    directory = other([ROWS[2]])
    known = run("known", against=directory)
    assert [(row.origin, row.reason) for row in known.dropped] == [
        ("set.jsonl:3", "in the training data of other: 100% like others.jsonl:1")
    ]
    assert known.to_json()["other_trained_on"]["rows"] == 1
    (directory / "run.json").unlink()
    unknown = run("unknown", against=directory)
    assert unknown.rows == 8
    doubt = "Nobody knows what other was trained on, so it may have seen some of these rows."
    assert [doubt in result.report.read_text(encoding="utf-8") for result in (known, unknown)] == [False, True]


def test_an_evaluation_goes_on_only_with_the_rows_that_it_began_with(run, other, tmp_path, monkeypatch):
    directory, few = other([ROWS[2]]), {"rows": 4}
    whole = run("whole", against=directory, config=few).results.read_bytes()
    (tmp_path / "torn").mkdir()
    shutil.copy(tmp_path / "whole/run.json", tmp_path / "torn")
    first, *_ = (tmp_path / "whole/journal.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "torn/journal.jsonl").write_bytes(first)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")  # where the data of the other run cannot be read by its name
    with pytest.raises(RunError, match=r"other_trained_on_sha256 was .*, now None; rows_sha256 was .*, now "):
        run("torn", against=directory, config=few)
    told = {"against": directory, "against_trained_on": tmp_path / "others.jsonl"}
    assert run("torn", config=few, **told).results.read_bytes() == whole


def test_there_is_a_way_past_the_training_data_of_the_other_adapter_and_it_is_named(run, other):
    directory = other(ROWS)
    with pytest.raises(RecordError, match=r"none of its 8 rows .* data of other.*--against-trained-on unknown\)"):
        run("none", against=directory)
    result = run("all", against=directory, against_trained_on="unknown")
    assert (result.rows, result.other_trained_on) == (8, None)
    assert "Nobody knows what other was trained on" in result.report.read_text(encoding="utf-8")
    with pytest.raises(RecordError, match=r"is not what the adapter was trained on.*\(--against-trained-on FILE\)"):
        run("wrong", against=directory, against_trained_on="alpaca-mini")
    with pytest.raises(ConfigError, match="against_trained_on tells of an adapter in --against, and there is none"):
        run("nobody", against_trained_on="unknown")


def test_the_columns_of_the_set_may_be_named(run, tmp_path):
    rows = [{"frage": row.instruction, "input": row.input, "antwort": row.output} for row in ROWS]
    (tmp_path / "odd.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    columns = {"instruction": "frage", "output": "antwort"}
    odd = run("odd", data=tmp_path / "odd.jsonl", config={"column_map": columns})
    assert odd.measure("loss").to_json() == run("usual").measure("loss").to_json()
    page = odd.report.read_text(encoding="utf-8")
    assert "--map instruction=frage --map output=antwort" in page


def with_data(adapter, folder, name):
    """A copy of an adapter whose sidecar says that it was trained on a file."""
    from alpaca_lora._files import sha256_of

    copy = shutil.copytree(adapter, folder / "copied")
    sidecar = json.loads((copy / "alpaca_lora.json").read_text(encoding="utf-8"))
    sidecar["data_sha256"] = sha256_of(folder / name)
    (copy / "alpaca_lora.json").write_text(json.dumps(sidecar), encoding="utf-8")
    return copy


def test_a_tokenizer_of_another_model_is_refused_as_it_is_in_chat(run, tmp_path):
    from alpaca_lora.serving import load

    copy = shutil.copytree(run.adapter, tmp_path / "copied")
    document = json.loads((copy / "tokenizer.json").read_text(encoding="utf-8"))
    document["model"]["merges"] = document["model"]["merges"][:5]
    (copy / "tokenizer.json").write_text(json.dumps(document), encoding="utf-8")
    for ask in (load, lambda adapter: run(which=adapter)):
        with pytest.raises(ModelError, match="makes other token ids of ordinary text"):
            ask(copy)


@pytest.fixture(autouse=True)
def _adapter_at_hand(run, adapter):
    run.adapter = adapter


def test_nothing_is_reported_where_every_row_was_trained_on(run, data, tmp_path):
    adapter_dir = with_data(run.adapter, tmp_path, "set.jsonl")
    with pytest.raises(RecordError, match=r"none of its 8 rows can be reported on, the first because it is in the tra"):
        run(which=adapter_dir, trained_on=data)
    assert not (tmp_path / "out/results.json").exists()


def test_training_data_that_nobody_names_or_that_has_changed_is_refused(run, data):
    with pytest.raises(ConfigError, match="is without its run"):
        run(trained_on=None)
    with pytest.raises(RecordError, match="is not what the adapter was trained on: its SHA-256 is"):
        run(trained_on=data)
    assert "Nobody knows what the adapter was trained on" in run().report.read_text(encoding="utf-8")


def test_a_third_model_may_be_a_base_an_adapter_or_stored_answers(run, tiny_base, train, tmp_path):
    third = run("base", against=tiny_base)
    assert [model["name"] for model in third.models][1:] == [tiny_base.name, f"{tiny_base.name} (2)"]
    estimates = third.measure("loss").estimates
    assert estimates[tiny_base.name] == estimates[f"{tiny_base.name} (2)"]
    other = run("adapter", against=train(tiny_base, rank=2, spread=0.3))
    assert len(other.measure("loss").differences) == 2

    answers = [ModelOutput(instruction=Task(row).question, output="Yes.", generator="x") for row in ROWS]
    save_model_outputs(answers, tmp_path / "x.json")
    stored = run("stored", against=tmp_path / "x.json")
    assert stored.measure("characters").estimates["x"].value == 4
    assert "x" not in stored.measure("loss").estimates
    save_model_outputs(answers[1:], tmp_path / "y.json")
    with pytest.raises(ConfigError, match=r"'x' has no answer to 1 of 8 rows, set\.jsonl:1 first"):
        run("lacking", against=tmp_path / "y.json")


def test_a_judge_gives_a_win_rate_a_plot_and_the_rows_that_tell_most(run):
    result = run(judge=LikesLength())
    rows = load_annotations(result.judged.annotations)
    longer = sum(len(item.output_2) > len(item.output_1) for item in rows if item.is_switched_outputs)
    drawn = sum(len(item.output_2) == len(item.output_1) for item in rows if item.is_switched_outputs is not False)
    assert result.win_rate.n_wins == longer
    assert result.win_rate.n_total == 8
    assert all((item.share > 0.5) == (item.longer > 0) for item in result.compared if item.share != 0.5)
    assert sum(item.share == 0.5 for item in result.compared) == drawn
    assert len(result.examples) == 8
    assert all("the judge gave it" in example.why for example in result.examples)
    page = result.report.read_text(encoding="utf-8")
    assert page.count('<circle class="dot"') == 2 * 8
    assert "judged by ruler" in page
    assert "Few rows: 8 comparisons tell 50 % from 92.5 %, four times in five." in page
    assert "comparisons tell" not in run("nobody asked").report.read_text(encoding="utf-8")


def test_nobody_else_enters_while_the_judge_is_asked(run, tmp_path):
    refused = []

    class Impatient(LikesLength):
        async def answer(self, request):
            if not refused:
                with pytest.raises(RunError, match="is in use by another process") as caught:
                    run()
                refused.append(caught.value)
            return await super().answer(request)

    run(judge=Impatient())
    assert len(refused) == 1
    assert json.loads((tmp_path / "out/results.json").read_text(encoding="utf-8"))["judge"] is not None
    assert verify(tmp_path / "out", progress=False).failure is None


def test_what_a_kill_left_unwritten_is_written_without_asking_again(run, tmp_path, monkeypatch):
    whole = run(judge=LikesLength())
    results = whole.results.read_bytes()
    for name in ("report.html", "SHA256SUMS"):
        (tmp_path / "out" / name).unlink()
    monkeypatch.setattr("alpaca_lora.evaluation.subjects.load_base_model", None)  # everything is in the journals
    monkeypatch.setattr(LikesLength, "answer", None)
    assert run(judge=LikesLength()).results.read_bytes() == results
    assert verify(tmp_path / "out", progress=False).failure is None


def test_without_enough_verdicts_there_is_a_report_but_no_win_rate(run, tmp_path):
    with pytest.raises(CoverageError, match="0 of 8"):
        run(judge=LikesLength(silent=True))
    results = json.loads((tmp_path / "out/results.json").read_text(encoding="utf-8"))
    assert results["judge"] is None
    assert results["measures"]


def test_answers_are_written_as_alpacaeval_reads_them(run, tmp_path):
    result = run()
    for model in result.models:
        outputs = load_model_outputs(tmp_path / f"out/outputs/{model['name']}.json")
        assert [item.instruction for item in outputs][:2] == ["Write about the apple.\n\nInput 0", ROWS[1].instruction]
        assert {item.generator for item in outputs} == {model["name"]}


def test_rows_that_a_model_cannot_read_are_left_out(run, tmp_path):
    long = [Record("Repeat this.", "word " * 1100, "No."), Record("a b " * 480, "", "x")]
    save_records([*ROWS[:2], *long], tmp_path / "l.jsonl")
    result = run(data=tmp_path / "l.jsonl", config={"max_new_tokens": 60})
    assert [row.origin for row in result.dropped] == ["l.jsonl:3", "l.jsonl:4"]
    assert all(row.reason.startswith("too long: ") for row in result.dropped)


def test_the_seed_draws_the_rows(run):
    drawn = [run(f"s{seed}", config={"rows": 3, "seed": seed}) for seed in (1, 1 + 10**6, 2)]
    assert [result.rows for result in drawn] == [3, 3, 3]
    assert len({tuple(example.task.record.origin for example in result.examples) for result in drawn}) > 1


def test_a_judge_is_asked_again_with_the_key_of_its_own(run, monkeypatch):
    monkeypatch.setenv("JUDGE_KEY", "sk-canary-0123456789abcdef")
    with ScriptedTeacher(text=lambda prompt: '{"verdict": "A"}') as server:
        judge = OpenAITeacher("teacher-a", base_url=server.url, api_key_env="JUDGE_KEY")
        page = run(judge=judge, judge_config=JudgeConfig(budget_tokens=10**9)).report.read_text(encoding="utf-8")
    assert "--api-key-env JUDGE_KEY" in page
    assert "canary" not in page


def test_models_whose_names_give_one_file_name_have_two_files(run, tiny_base, tmp_path):
    name = tiny_base.name.replace("-", "/")
    answers = [ModelOutput(instruction=Task(row).question, output="Yes.", generator=name) for row in ROWS]
    save_model_outputs(answers, tmp_path / "x.json")
    run(against=tmp_path / "x.json")
    found = {file.name: load_model_outputs(file) for file in (tmp_path / "out/outputs").iterdir()}
    assert found[f"{tiny_base.name}-2.json"] == answers
    assert {item.generator for item in found[f"{tiny_base.name}.json"]} == {tiny_base.name}


def test_a_setting_of_0_is_in_the_report(run):
    assert "<dt>seed</dt><dd>0</dd>" in run(config={"seed": 0}).report.read_text(encoding="utf-8")


def test_the_memory_of_a_model_is_free_before_the_next_one_is_loaded(adapter):
    from alpaca_lora.evaluation.subjects import find_subject

    subject = find_subject(adapter)

    def ask():
        with subject.open() as model:
            object.__setattr__(model, "itself", [model])
            return weakref.ref(model)

    gc.disable()
    try:
        first = ask()
        with subject.base.open():
            assert first() is None
    finally:
        gc.enable()


def test_the_output_directory_is_not_the_place_of_something_else(run, adapter, tmp_path):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken/notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(ConfigError, match="no run of ours"):
        run("taken")


def test_a_judge_that_cannot_be_asked_is_refused_before_any_model_answers(run, monkeypatch):
    monkeypatch.setattr("alpaca_lora.evaluation.recipe.prepare_evaluation", lambda *_, **__: pytest.fail("it began"))
    with pytest.raises(
        ConfigError, match="judge must be an OpenAITeacher, a LocalTeacher or another Teacher, got 'loc"
    ):
        run(judge="local")
    costly = LikesLength()
    costly.free = False
    with pytest.raises(ConfigError, match="budget"):
        run(judge=costly)
