"""lm-evaluation-harness through our model and template: tasks from a YAML file and a local JSON-lines file."""

import json

import pytest

pytest.importorskip("lm_eval", reason="lm-eval is not installed: pip install 'alpaca-lora[eval]'")

from alpaca_lora.config import EvaluationConfig
from alpaca_lora.errors import ConfigError, RunError
from alpaca_lora.evaluation import harness
from alpaca_lora.evaluation.harness import check_tasks, describe_harness, measure_tasks, run_task
from alpaca_lora.evaluation.subjects import find_subject
from alpaca_lora.models import IGNORED, Decoding, encode_prompt, encode_text, generate_responses, row_losses
from alpaca_lora.prompts import Prompter
from alpaca_lora.records import Record

CONFIG = EvaluationConfig(resamples=200)
DOCS = [
    {"question": f"What comes after {n}?", "choices": [str(n + 1), "Nothing.", f"Perhaps {n}"], "answer": n % 3}
    for n in range(6)
]
TASK = """\
task: {name}
dataset_path: json
dataset_kwargs:
  data_files: {{test: {data}}}
  cache_dir: {cache}
test_split: test
doc_to_text: "{{{{question}}}}"
metadata: {{version: 1}}
{rest}
"""
CHOICE = """\
output_type: multiple_choice
doc_to_choice: "{{choices}}"
doc_to_target: "{{answer}}"
metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]
"""
ANSWER = """\
output_type: generate_until
doc_to_target: "{{choices[0]}}"
generation_kwargs: {until: ["\\n"], max_gen_toks: 9}
metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]
"""


@pytest.fixture(scope="module")
def subject(tiny_base, train):
    return find_subject(train(tiny_base))


@pytest.fixture
def task(tmp_path):
    def write(name, rest):
        data = tmp_path / "docs.jsonl"
        data.write_text("".join(json.dumps(doc) + "\n" for doc in DOCS), encoding="utf-8")
        path = tmp_path / f"{name}.yaml"
        text = TASK.format(name=name, data=data, cache=tmp_path / "cache", rest=rest)
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write


def seen_by(model):
    """Every row of token ids that reaches a model from now on, without padding."""
    rows = []

    def keep(module, args, kwargs):
        ids, mask = kwargs["input_ids"], kwargs["attention_mask"]
        rows.extend(tuple(row[kept.bool()].tolist()) for row, kept in zip(ids, mask, strict=True))

    model.get_base_model().model.register_forward_pre_hook(keep, with_kwargs=True)
    return rows


def test_a_local_task_runs_through_our_model_in_our_template(subject, task):
    prompter, tokenizer = Prompter("alpaca"), subject.tokenizer
    pairs = {
        (number, choice): (
            encode_prompt(tokenizer, prompter.prompt(Record(doc["question"]))), encode_text(tokenizer, choice)
        )
        for number, doc in enumerate(DOCS)
        for choice in doc["choices"]
    }  # fmt: skip
    with subject.open() as model:
        seen = seen_by(model)
        found = run_task(task("next_number", CHOICE), subject, model, CONFIG)
        assert set(seen) == {(*prompt, *answer) for prompt, answer in pairs.values()}
        rows = [([*prompt, *answer], [IGNORED] * len(prompt) + answer) for prompt, answer in pairs.values()]
        losses = dict(zip(pairs, row_losses(model, rows), strict=True))
    likeliest = [
        min(range(3), key=lambda place: losses[number, doc["choices"][place]].nll) for number, doc in enumerate(DOCS)
    ]
    right = [float(place == doc["answer"]) for place, doc in zip(likeliest, DOCS, strict=True)]
    assert found["rows"]["acc,none"] == right
    assert found["figures"]["next_number"]["acc,none"] == pytest.approx(sum(right) / 6)


def test_answers_are_greedy_and_end_at_the_stop(subject, task):
    prompts = [subject.prompter.prompt(Record(doc["question"])) for doc in DOCS]
    with subject.open() as model:
        path = task("say_number", ANSWER)
        texts = [
            response.text.partition("\n")[0]
            for response in generate_responses(model, subject.tokenizer, prompts, Decoding(max_new_tokens=9))
        ]
        found = run_task(path, subject, model, CONFIG)
    assert found["rows"]["exact_match,none"] == [
        float(text == doc["choices"][0]) for text, doc in zip(texts, DOCS, strict=True)
    ]


@pytest.mark.parametrize(("named", "temperature"), [("", 1.0), (", temperature: 0.2", 0.2)])
def test_a_task_that_samples_need_not_name_every_option(subject, task, named, temperature):
    prompts = [subject.prompter.prompt(Record(doc["question"])) for doc in DOCS]
    path = task("draw_number", ANSWER.replace("max_gen_toks: 9", f"max_gen_toks: 9, do_sample: true{named}"))
    decoding = Decoding(max_new_tokens=9, temperature=temperature, seed=CONFIG.seed)
    with subject.open() as model:
        drawn = generate_responses(
            model, subject.tokenizer, prompts, decoding, batch_size=CONFIG.batch_size, stop_texts=["\n"]
        )
        assert seen_answers(path, subject, model) == [response.text.partition("\n")[0] for response in drawn]


def seen_answers(path, subject, model):
    """What a task's questions are answered with: its documents' targets are met by nothing else."""
    found = []
    evaluated = harness.generate_responses

    def keep(*arguments, **options):
        responses = evaluated(*arguments, **options)
        found.extend(response.text.partition("\n")[0] for response in responses)
        return responses

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(harness, "generate_responses", keep)
        run_task(path, subject, model, CONFIG)
    return found


def test_base_and_adapter_are_compared_document_by_document(subject, task):
    path, found = task("next_number", CHOICE), {}
    for asked in (subject, subject.base):
        with asked.open() as model:
            found[asked.name] = run_task(path, asked, model, CONFIG)
    (measure,) = measure_tasks({path: found}, CONFIG)
    assert measure.quantity.key == "next_number/acc,none"
    assert measure.rows == 6
    means = {name: sum(said["rows"]["acc,none"]) / 6 for name, said in found.items()}
    assert {name: one.value for name, one in measure.estimates.items()} == pytest.approx(means)
    assert measure.differences[0].value == pytest.approx(means[subject.name] - means[subject.base.name])


def test_a_limit_takes_the_first_documents(subject, task):
    with subject.open() as model:
        found = run_task(task("next_number", CHOICE), subject, model, EvaluationConfig(task_rows=2))
    assert len(found["rows"]["acc,none"]) == 2


def test_an_unknown_task_is_refused_with_names_that_exist():
    with pytest.raises(ConfigError, match=r"task 'helaswag' \(did you mean .*hellaswag.*\?\):  lm-eval ls tasks"):
        check_tasks(["hellaswag", "helaswag"])
    with pytest.raises(ConfigError, match="has no task 'zzz':  lm-eval ls tasks  lists all, and"):
        check_tasks(["zzz"])


def test_two_tasks_of_one_name_are_refused(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "sums.yaml").write_text("task: sums")
    with pytest.raises(ConfigError, match=r"several tasks are called sums: name each once, and rename files"):
        check_tasks([str(tmp_path / "a/sums.yaml"), str(tmp_path / "b/sums.yaml")])


def test_an_evaluation_has_the_tasks_beside_its_own_measures(subject, task, tmp_path, monkeypatch):
    from alpaca_lora import evaluate
    from alpaca_lora.records import save_records

    save_records(
        [Record("Name a river.", "", "The Nile."), Record("Name a lake.", "", "Como.")], tmp_path / "set.jsonl"
    )
    options = {
        "data": tmp_path / "set.jsonl",
        "trained_on": "unknown",
        "tasks": [task("next_number", CHOICE)],
        "config": EvaluationConfig(resamples=200, max_new_tokens=8),
        "progress": False,
    }
    result = evaluate(subject.adapter_dir, tmp_path / "out", **options)
    measure = result.measure("next_number/acc,none")
    figures = result.tasks["next_number"]
    assert {name: said["next_number"]["acc,none"] for name, said in figures.items()} == {
        name: one.value for name, one in measure.estimates.items()
    }
    assert "next_number: acc" in result.report.read_text(encoding="utf-8")
    assert json.loads(result.results.read_text(encoding="utf-8"))["environment"]["lm_eval"]
    monkeypatch.setattr("alpaca_lora.evaluation.recipe.run_task", None)  # the journal has it
    assert evaluate(subject.adapter_dir, tmp_path / "out", **options).to_json() == result.to_json()
    task("next_number", CHOICE.replace("answer", "1 - answer"))
    with pytest.raises(RunError, match=r"versions\.next_number\.yaml was '[0-9a-f]+…, now '"):
        evaluate(subject.adapter_dir, tmp_path / "out", **options)


@pytest.mark.parametrize("changed", ["mine.yaml", "common.yaml", "scoring.py", "docs.jsonl"])
def test_a_task_is_another_one_when_a_file_that_decides_it_changes(changed, tmp_path, monkeypatch):
    text = "include: common.yaml\nprocess_results: !function scoring.score\n"
    (tmp_path / "mine.yaml").write_text(text, encoding="utf-8")
    (tmp_path / "common.yaml").write_text(f"dataset_kwargs: {{data_files: '{tmp_path}/docs.jsonl'}}", encoding="utf-8")
    for name in ("scoring.py", "docs.jsonl", "unrelated.py"):
        (tmp_path / name).write_text("", encoding="utf-8")

    def described():
        return describe_harness([str(tmp_path / "mine.yaml"), "hellaswag"])

    before = described()
    assert list(before) == ["lm_eval", "mine.yaml"]
    with (tmp_path / "unrelated.py").open("a") as stream:
        stream.write("# changed\n")
    monkeypatch.chdir(tmp_path)
    assert described() == before
    with (tmp_path / changed).open("a") as stream:
        stream.write("# changed\n")
    assert described() != before
