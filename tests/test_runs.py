import json
import os
import platform
import re
from importlib import metadata
from pathlib import Path

import pytest

from alpaca_lora import _files
from alpaca_lora._runs import (
    _FREE,
    _FREE_UNLESS_BEST,
    COMPLETE,
    CONTRACT,
    JOURNAL,
    METRICS,
    STATUS,
    Entry,
    check_output_dir,
    contract_of,
    enter_run,
    environment,
    read_metrics,
    record_status,
    rewind_metrics,
    run_id_of,
)
from alpaca_lora._sessions import sessions_of
from alpaca_lora.config import FinetuneConfig
from alpaca_lora.errors import ConfigError, RunError

WANTED = {
    "base_model": "smollm2-135m",
    "data": {"name": "alpaca-mini", "sha256": "a" * 64},
    "config": FinetuneConfig().model_dump(mode="json"),
    "total_steps": 100,
    "environment": {"torch": "2.13.0"},
    "decisions": ["epochs 3: few rows"],
}


def changed(**values):
    return WANTED | values


def configured(**settings):
    return changed(config=WANTED["config"] | settings)


@pytest.fixture
def begun(tmp_path):
    """The directory of a run that has written its first checkpoint."""
    assert not enter_run(tmp_path, WANTED, resume="auto").complete
    (tmp_path / "checkpoint-8").mkdir()
    return tmp_path


@pytest.fixture
def complete(begun):
    (begun / COMPLETE).touch()
    return begun


def test_a_new_run_writes_its_contract(tmp_path):
    assert not enter_run(tmp_path / "run", WANTED, resume="auto").complete
    assert json.loads((tmp_path / "run" / CONTRACT).read_text()) == WANTED


def test_the_same_run_may_go_on(begun):
    before = (begun / CONTRACT).read_bytes()
    assert not enter_run(begun, WANTED, resume="auto").complete
    assert (begun / CONTRACT).read_bytes() == before


def test_a_complete_run_is_recognised(complete):
    assert enter_run(complete, WANTED, resume="auto").complete


@pytest.mark.parametrize(
    ("wanted", "difference"),
    [
        (changed(base_model="./other"), "base_model was 'smollm2-135m', now './other'"),
        (changed(total_steps=50), "total_steps was 100, now 50"),
        (configured(seed=7), f"config.seed was {FinetuneConfig().seed}, now 7"),
        (changed(data={"name": "alpaca-mini", "sha256": "b" * 64}), f"data.sha256 was '{'a' * 56}…, now '{'b' * 56}…"),
        (configured(lora=WANTED["config"]["lora"] | {"rank": 3}), "config.lora.rank was 16, now 3"),
        ({name: value for name, value in WANTED.items() if name != "total_steps"}, "total_steps was 100, now None"),
        (changed(template="alpaca"), "template was None, now 'alpaca'"),
    ],
)
def test_another_run_is_refused_with_what_was_and_what_is(wanted, difference, begun):
    before = (begun / CONTRACT).read_bytes()
    with pytest.raises(RunError) as caught:
        enter_run(begun, wanted, resume="auto")
    message = f"{str(begun)!r} holds another run: {difference}. Give a new output_dir, or the old settings to go on"
    assert str(caught.value) == message
    assert (begun / CONTRACT).read_bytes() == before


def test_a_run_of_another_kind_is_refused_without_a_list_of_differences(begun):
    with pytest.raises(RunError, match=r"another kind of run \(fine-tuning, not generation\): give a new output_dir$"):
        enter_run(begun, {"kind": "generation", "config": {}}, resume="auto")


def test_a_look_at_a_directory_tells_what_would_be_found_and_writes_nothing(tmp_path, complete):
    before = {path: path.stat().st_mtime_ns for path in complete.iterdir()}
    assert enter_run(tmp_path / "new", WANTED, resume="auto", write=False) == Entry(complete=False)
    assert not (tmp_path / "new").exists()
    assert enter_run(complete, WANTED, resume="auto", write=False) == Entry(complete=True, begun=True)
    entry = enter_run(complete, longer(max_steps=200), resume="auto", write=False)
    assert (entry.complete, entry.begun, len(entry.notes)) == (False, True, 1)
    with pytest.raises(RunError, match="holds another run"):
        enter_run(complete, configured(seed=7), resume="auto", write=False)
    assert {path: path.stat().st_mtime_ns for path in complete.iterdir()} == before


def longer(**settings):
    return configured(**settings) | {"total_steps": 200}


@pytest.mark.parametrize("schedule", ["cosine", "constant"])
def test_a_run_may_be_made_longer_and_says_so(schedule, tmp_path):
    first = changed(run_id="a", config=WANTED["config"] | {"epochs": 1, "lr_schedule": schedule})
    enter_run(tmp_path, first, resume="auto")
    (tmp_path / COMPLETE).touch()
    second = first | {"run_id": "b", "total_steps": 200, "config": first["config"] | {"epochs": 2}}
    entry = enter_run(tmp_path, second, resume="auto")
    said = "the run is made longer: config.epochs was 1, now 2; total_steps was 100, now 200"
    assert entry.notes == (
        said if schedule == "constant" else f"{said}; its learning rate follows the longer schedule from here on",
    )
    assert not entry.complete
    assert not (tmp_path / COMPLETE).exists()
    assert run_id_of(tmp_path) == "a"
    assert enter_run(tmp_path, second, resume="auto").notes == ()


def test_a_longer_run_may_differ_in_nothing_else(begun):
    with pytest.raises(RunError, match=r"config\.max_steps was None, now 200; config\.seed was 42, now 7; total_steps"):
        enter_run(begun, longer(max_steps=200, seed=7), resume="auto")


def test_how_a_run_stands_is_written_down(tmp_path):
    record_status(tmp_path, "failed", "NonFiniteLossError: the loss is nan")
    assert json.loads((tmp_path / STATUS).read_text()) == {
        "status": "failed",
        "reason": "NonFiniteLossError: the loss is nan",
    }


def test_all_differences_are_named_at_once(begun):
    with pytest.raises(RunError) as caught:
        enter_run(begun, configured(seed=7) | {"base_model": "x", "total_steps": 1}, resume="auto")
    assert re.findall(r"(\S+) was", str(caught.value)) == ["base_model", "config.seed", "total_steps"]


@pytest.mark.parametrize("more", [{}, {"total_steps": 200}], ids=["the same", "longer"])
def test_the_same_data_may_be_found_elsewhere_and_the_contract_says_where(more, begun):
    moved = changed(data={"name": "/moved/my.jsonl", "sha256": "a" * 64}, **more)
    assert enter_run(begun, moved, resume="auto").begun
    assert json.loads((begun / CONTRACT).read_text()) == moved | ({"run_id": None} if more else {})


def test_a_contract_of_a_complete_run_is_left_as_it_is(complete):
    before = (complete / CONTRACT).read_bytes()
    moved = changed(data={"name": "/moved/my.jsonl", "sha256": "a" * 64}, environment={"torch": "3.0"})
    assert enter_run(complete, moved, resume="auto").complete
    assert (complete / CONTRACT).read_bytes() == before


def test_what_each_session_computed_with_is_written_down_once(begun):
    elsewhere = changed(environment={"torch": "2.13.0", "threads": 8})
    for contract in (elsewhere, WANTED, elsewhere, WANTED | {"processes": 2}, WANTED | {"total_steps": 200}):
        enter_run(begun, contract, resume="auto")
    found = contract_of(begun)
    assert found["environment"] == WANTED["environment"]
    assert sessions_of(found) == [
        {"torch": "2.13.0", "processes": 1},
        {"torch": "2.13.0", "threads": 8, "processes": 1},
        {"torch": "2.13.0", "processes": 2},
    ]


def test_a_complete_run_refuses_other_settings_too(complete):
    with pytest.raises(RunError, match="holds another run"):
        enter_run(complete, configured(seed=7), resume="auto")


def test_what_decides_how_a_run_is_watched_may_change(begun):
    assert FinetuneConfig.model_fields.keys() >= _FREE
    for name in _FREE:
        enter_run(begun, configured(**{name: "changed"}), resume="auto")


def test_every_other_setting_is_part_of_the_contract(begun):
    for name in WANTED["config"].keys() - _FREE - _FREE_UNLESS_BEST:
        with pytest.raises(RunError, match=rf"holds another run: config\.{name} was "):
            enter_run(begun, configured(**{name: "changed"}), resume="auto")


def test_what_is_evaluated_decides_once_the_best_is_kept(tmp_path):
    best = WANTED | {"config": WANTED["config"] | {"keep_best": True}}
    enter_run(tmp_path, best, resume="auto")
    (tmp_path / "checkpoint-1").mkdir()
    with pytest.raises(RunError, match=r"holds another run: config\.eval_steps was "):
        enter_run(tmp_path, best | {"config": best["config"] | {"eval_steps": 3}}, resume="auto")


def test_a_name_is_free_only_among_the_settings(begun):
    with pytest.raises(RunError, match=r"holds another run: save_steps was None, now 3\."):
        enter_run(begun, changed(save_steps=3), resume="auto")


def test_only_another_number_of_processes_may_have_another_micro_batch(begun):
    other = configured(micro_batch_size=2)
    assert enter_run(begun, other | {"processes": 2}, resume="auto").notes == ()
    with pytest.raises(RunError, match=r"config\.micro_batch_size was None, now 2"):
        enter_run(begun, other, resume="auto")
    with pytest.raises(RunError, match=r"holds another run: config\.batch_size was None, now 4\."):
        enter_run(begun, configured(micro_batch_size=2, batch_size=4) | {"processes": 2}, resume="auto")


@pytest.mark.parametrize("kept", [["checkpoint-8"], [COMPLETE], []])
def test_a_contract_counts_once_the_run_left_something(kept, tmp_path):
    assert contract_of(tmp_path) is None
    enter_run(tmp_path, WANTED, resume="auto")
    for name in kept:
        (tmp_path / name).mkdir()
    assert contract_of(tmp_path) == (WANTED if kept else None)


@pytest.mark.parametrize(
    ("left", "counts"),
    [("1-generate", False), ("2-curate/curation.json", True), ("3-finetune/adapter", True), ("4-evaluate", False)],
)
def test_a_contract_of_stages_counts_once_one_of_them_left_something(left, counts, tmp_path):
    enter_run(tmp_path, WANTED, resume="auto")
    (tmp_path / left).mkdir(parents=True)
    assert (contract_of(tmp_path) is not None) is counts


def test_reasons_may_change(begun):
    assert enter_run(begun, changed(decisions=[]), resume="auto").notes == ()


@pytest.mark.catalogue(105)
def test_other_versions_may_go_on_and_a_note_names_both(tmp_path):
    made = changed(environment={"alpaca_lora": "0.1.0", "torch": "2.13.0", "peft": "0.21", "device": "cpu: a"})
    now = changed(environment={"alpaca_lora": "0.2.0", "torch": "3.0", "peft": "0.21", "trl": "1.16", "device": "b"})
    enter_run(tmp_path, made, resume="auto")
    (tmp_path / "checkpoint-8").mkdir()
    said = (
        "the run was made with alpaca_lora 0.1.0, torch 2.13.0, device cpu: a and goes on with alpaca_lora 0.2.0, "
        "torch 3.0, device b, which may compute otherwise"
    )
    assert enter_run(tmp_path, made, resume="auto").notes == ()
    assert enter_run(tmp_path, now, resume="auto").notes == (said,)
    longer = enter_run(tmp_path, now | {"total_steps": 200}, resume="auto")
    assert (len(longer.notes), longer.notes[1]) == (2, said)
    (tmp_path / COMPLETE).touch()
    assert enter_run(tmp_path, made | {"total_steps": 200}, resume="auto").notes == ()


def test_a_run_that_failed_before_its_first_checkpoint_may_be_done_anew(tmp_path):
    enter_run(tmp_path, WANTED, resume="auto")
    (tmp_path / METRICS).write_text('{"step": 0, "heldout_loss": 2.0}\n')
    assert not enter_run(tmp_path, configured(seed=7), resume="never").complete
    assert json.loads((tmp_path / CONTRACT).read_text()) == configured(seed=7)


@pytest.mark.parametrize("kept", ["checkpoint-8", "adapter", COMPLETE])
def test_resume_never_refuses_a_run_that_left_something(kept, tmp_path):
    enter_run(tmp_path, WANTED, resume="never")
    (tmp_path / kept).mkdir()
    with pytest.raises(RunError) as caught:
        enter_run(tmp_path, WANTED, resume="never")
    assert str(caught.value) == f"{str(tmp_path)!r} holds a run already and resume is 'never': give a new output_dir"


@pytest.mark.parametrize("content", [b"", b"{", b'{"base_model": "smo', b"[]", b"null", b"\xff\xfe"])
def test_a_damaged_contract_is_an_error_and_left_alone(content, begun):
    (begun / CONTRACT).write_bytes(content)
    with pytest.raises(RunError) as caught:
        enter_run(begun, WANTED, resume="auto")
    assert str(caught.value).startswith(f"{str(begun / CONTRACT)!r} is damaged (")
    assert str(caught.value).endswith("): give a new output_dir")
    assert (begun / CONTRACT).read_bytes() == content


LINES = [
    {"step": 0, "heldout_loss": 3.0},
    {"step": 1, "loss": 2.5, "tokens": 100},
    {"step": 2, "loss": 2.0, "tokens": 210},
    {"step": 2, "heldout_loss": 2.2},
    {"step": 3, "loss": 1.5, "tokens": 300},
]


@pytest.fixture
def logged(tmp_path):
    with _files.open_journal(tmp_path / METRICS) as stream:
        for line in LINES:
            _files.append_line(stream, line)
    return tmp_path


def tear(run_dir: Path, content: bytes) -> None:
    path = run_dir / METRICS
    path.write_bytes(path.read_bytes() + content)


def test_metrics_are_read_as_they_were_written(logged):
    assert read_metrics(logged) == LINES


def test_a_run_without_metrics_has_none(tmp_path):
    assert read_metrics(tmp_path) == []


@pytest.mark.parametrize("torn", [b"{", b'{"step": 4', b'{"step": 4, "loss": 1.0}', '{"note": "é'.encode()[:-1]])
def test_a_torn_last_line_counts_for_nothing(torn, logged):
    tear(logged, torn)
    assert read_metrics(logged) == LINES
    rewind_metrics(logged, 3)
    assert read_metrics(logged) == LINES
    assert (logged / METRICS).read_bytes().endswith(b"}\n")


def test_separators_inside_a_text_end_no_line(tmp_path):
    line = {"step": 1, "note": "a\u2028b\x85c\rd\ne"}
    with _files.open_journal(tmp_path / METRICS) as stream:
        _files.append_line(stream, line)
    assert read_metrics(tmp_path) == [line]


@pytest.mark.parametrize(
    ("step", "kept", "last"),
    [(-1, 0, {}), (0, 1, {}), (1, 2, LINES[1]), (2, 4, LINES[2]), (3, 5, LINES[4]), (9, 5, LINES[4])],
)
def test_rewinding_drops_what_came_later(step, kept, last, logged):
    assert rewind_metrics(logged, step) == last
    assert read_metrics(logged) == LINES[:kept]


def test_a_run_without_metrics_can_be_rewound(tmp_path):
    assert rewind_metrics(tmp_path, -1) == {}
    assert read_metrics(tmp_path) == []


def refusal(output_dir, base_dir=None, data=None):
    with pytest.raises(ConfigError) as caught:
        check_output_dir(output_dir, base_dir=base_dir, data=data)
    message = str(caught.value)
    head, tail = f"output_dir {str(output_dir)!r}: ", "; give a new or empty directory, as 'runs/my-run'"
    assert message.startswith(head)
    assert message.endswith(tail)
    return message.removeprefix(head).removesuffix(tail)


def test_an_output_directory_is_no_file(tmp_path):
    (tmp_path / "file").touch()
    assert refusal(tmp_path / "file") == "it is a file"
    assert refusal(tmp_path / "file" / "run") == "a directory above it is a file"


def test_a_root_home_or_library_directory_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    for path in (Path("/"), Path("~"), tmp_path / "home", tmp_path / "lib" / "site-packages" / "runs"):
        assert refusal(path) == "it holds more than runs"
    check_output_dir(Path("~/runs"), base_dir=None, data=None)


def test_the_base_models_directory_is_refused(tmp_path):
    assert refusal(tmp_path, base_dir=tmp_path) == "it is the base model's own directory"
    assert refusal(tmp_path / "a" / "..", base_dir=tmp_path) == "it is the base model's own directory"
    (tmp_path / "link").symlink_to(tmp_path)
    assert refusal(tmp_path / "link", base_dir=tmp_path) == "it is the base model's own directory"
    check_output_dir(tmp_path / "run", base_dir=tmp_path, data=None)


@pytest.mark.parametrize("name", ["config.json", "adapter_config.json"])
def test_a_directory_with_a_model_or_an_adapter_is_refused(name, tmp_path):
    (tmp_path / name).touch()
    assert refusal(tmp_path) == "it holds a model or an adapter"
    (tmp_path / CONTRACT).touch()
    assert refusal(tmp_path) == "it holds a model or an adapter"


def test_the_directory_of_the_data_is_refused(tmp_path):
    (tmp_path / "data.jsonl").touch()
    assert refusal(tmp_path, data=tmp_path / "data.jsonl") == "it holds the data 'data.jsonl'"
    check_output_dir(tmp_path / "run", base_dir=None, data=tmp_path / "data.jsonl")


def test_the_data_may_lie_in_a_run_that_is_there(tmp_path):
    (tmp_path / "data.jsonl").touch()
    (tmp_path / CONTRACT).touch()
    check_output_dir(tmp_path, base_dir=None, data=tmp_path / "data.jsonl")


def test_a_directory_of_something_else_is_refused_with_what_it_holds(tmp_path):
    for name in ("thesis.tex", "photos", "b", "a"):
        (tmp_path / name).touch()
    assert refusal(tmp_path) == "it is not empty and no run of ours (it holds a, b, photos)"


@pytest.mark.catalogue(77)
def test_a_directory_that_cannot_be_made_or_written_to_is_refused(tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match=r"it cannot be used \(File name too long\)"):
        check_output_dir(tmp_path / ("x" * 300), base_dir=None, data=None)
    monkeypatch.setattr(os, "access", lambda place, mode: place != tmp_path)
    with pytest.raises(ConfigError, match="it cannot be written to"):
        check_output_dir(tmp_path / "new" / "run", base_dir=None, data=None)


@pytest.mark.parametrize("files", [[], [".lock"], [".lock", ".staging-x"], [CONTRACT, METRICS, "adapter"]])
def test_a_new_an_empty_and_a_run_directory_are_fine(files, tmp_path):
    for name in files:
        (tmp_path / name).touch()
    check_output_dir(tmp_path, base_dir=tmp_path / "base", data=Path("data.jsonl"))
    check_output_dir(tmp_path / "new" / "run", base_dir=None, data=None)
    assert not (tmp_path / "new").exists()


def test_the_environment_names_what_a_run_was_made_with():
    versions = environment()
    assert versions["python"] == platform.python_version()
    assert versions["platform"] == platform.platform(terse=True)
    for name in ("torch", "transformers", "trl", "peft", "datasets", "safetensors"):
        assert versions[name] == metadata.version(name)
    assert json.loads(json.dumps(versions)) == versions


def test_a_package_that_is_not_installed_has_no_version(monkeypatch):
    real = metadata.version

    def version(name):
        if name == "bitsandbytes":
            raise metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(metadata, "version", version)
    assert "bitsandbytes" not in environment()
    assert "torch" in environment()


def test_a_path_that_cannot_be_is_refused(tmp_path):
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    for path in (tmp_path / "a", tmp_path / "with\0nul"):
        with pytest.raises(ConfigError, match="it cannot be used"):
            check_output_dir(path, base_dir=None, data=None)


START, RESERVE, RELEASE = ({"event": name, "attempt": 1} for name in ("start", "reserve", "release"))


@pytest.mark.parametrize(
    ("events", "kept"),
    [
        ([], False),
        ([START], False),
        ([START, RESERVE, RELEASE], False),
        ([START, RESERVE, RELEASE, {"event": "skip"}], False),
        ([START, RESERVE], True),
        ([START, RESERVE, {"event": "doubt", "attempt": 1}], True),
        ([START, RESERVE, {"event": "answer", "attempt": 1}], True),
        ([START, RESERVE, RELEASE, {"event": "new"}], True),
        ([RELEASE], True),
        ([{"piece": "adapter/answers", "value": []}], True),
        ([7], True),
    ],
)
def test_a_journal_without_an_answer_or_a_doubt_keeps_nobody_from_beginning_anew(tmp_path, events, kept):
    enter_run(tmp_path, WANTED, resume="auto")
    (tmp_path / JOURNAL).write_text("".join(f"{json.dumps(event)}\n" for event in events))
    if kept:
        with pytest.raises(RunError, match="holds another run"):
            enter_run(tmp_path, changed(base_model="x"), resume="auto")
    else:
        assert not enter_run(tmp_path, changed(base_model="x"), resume="auto").complete
    assert (tmp_path / JOURNAL).exists() is kept
