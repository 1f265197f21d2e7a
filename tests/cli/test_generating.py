import json

import pytest

from alpaca_lora.cli import main
from tests.scripted_teacher import ScriptedTeacher

KEY = "sk-canary-0123456789abcdef"


@pytest.fixture
def generate(monkeypatch, tmp_path):
    """Run `alpaca-lora generate` against a server, and return its exit code."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)

    def run(server, *arguments):
        fixed = ["--teacher", "openai", "--model", "m", "--base-url", server.url, "--output-dir", str(tmp_path / "run")]
        return main(["generate", *fixed, *arguments])

    return run


@pytest.fixture
def server():
    with ScriptedTeacher() as running:
        yield running


def test_the_last_words_are_funnel_ledger_and_what_to_do_next(generate, server, capsys, tmp_path):
    prices = tmp_path / "prices.json"
    prices.write_text('{"m": {"input": 1, "output": 2}}')
    assert generate(server, "--num", "10", "--budget-usd", "1", "--prices", str(prices)) == 0
    said = capsys.readouterr().out
    for part in ("10 of 10 rows after ", "pieces in the answers", "spent  ", "budget      $1.00", "verbs  "):
        assert part in said
    assert "(Alpaca: at most $0.0096)" in said
    assert f"alpaca-lora finetune --data {tmp_path}/run/records.jsonl" in said
    assert KEY not in said


def test_quiet_prints_the_path_alone(generate, server, capsys, tmp_path):
    assert generate(server, "--num", "5", "--budget-tokens", "100000", "--quiet") == 0
    assert capsys.readouterr() == (f"{tmp_path}/run/records.jsonl\n", "")


def test_what_ends_early_ends_with_3_and_says_how_to_go_on(generate, server, capsys):
    assert generate(server, "--num", "500", "--budget-tokens", "12000") == 3
    said = capsys.readouterr()
    assert "budget: " in said.out
    assert said.err.endswith("note: not complete (budget): go on with the same command, with a larger budget\n")


def test_a_dry_run_shows_the_first_request_and_sends_none(generate, server, capsys, tmp_path):
    assert generate(server, "--budget-tokens", "100000", "--dry-run") == 0
    said = capsys.readouterr().out
    assert "the first request for tasks costs at most " in said
    assert "the first request:\nYou write tasks" in said
    assert server.seen == []
    assert not (tmp_path / "run").exists()


def test_a_plan_needs_no_key_and_a_run_does(monkeypatch, capsys, tmp_path):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    asked = ["generate", "--teacher", "openai", "--model", "m", "--budget-tokens", "100000"]
    asked += ["--base-url", "https://example.com/v1", "--output-dir", str(tmp_path / "run")]
    assert main([*asked, "--dry-run"]) == 0
    assert "the first request:\nYou write tasks" in capsys.readouterr().out
    assert main(asked) == 2
    assert "the environment variable OPENAI_API_KEY holds no key" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_settings_that_cannot_be_are_refused_all_at_once(generate, server, capsys):
    assert generate(server, "--num", "0", "--budget-usd", "0") == 2
    assert capsys.readouterr().err == (
        "error: config.budget_usd must be a number above 0, got 0.0\n"
        "       config.num must be an integer of at least 1, got 0\n"
    )
    assert server.seen == []


@pytest.mark.catalogue(109)
def test_a_wrong_key_ends_with_2_and_is_not_shown(generate, capsys):
    with ScriptedTeacher(script=lambda key, attempt: "wrong_key") as server:
        assert generate(server, "--budget-tokens", "100000") == 2
    said = capsys.readouterr()
    assert "refused the key with 401" in said.err
    assert KEY[:12] not in said.out + said.err


@pytest.mark.catalogue(128)
def test_a_full_disk_ends_with_4_and_the_same_command_goes_on(generate, server, capsys, monkeypatch, tmp_path):
    import os

    write = os.write
    room = [9]

    def until_full(descriptor, data):
        if data.startswith(b'{"event":"reserve"'):
            room[0] -= 1
            if room[0] < 0:
                raise OSError(28, "No space left on device")
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", until_full)
    assert generate(server, "--num", "60", "--budget-tokens", "1000000", "--concurrency", "2") == 4
    assert "the disk is full" in capsys.readouterr().err
    monkeypatch.setattr(os, "write", write)
    assert generate(server, "--num", "60", "--budget-tokens", "1000000") == 0
    events = [json.loads(line) for line in (tmp_path / "run" / "journal.jsonl").read_text().splitlines()]
    answered = [event["request"] for event in events if event["event"] == "answer"]
    assert len(answered) == len(set(answered)) == len(server.seen)


def test_an_endpoint_needs_the_name_of_a_model(capsys):
    assert main(["generate", "--teacher", "openai", "--budget-usd", "1"]) == 2
    assert "teacher 'openai' needs a model" in capsys.readouterr().err


def keys_that(server):
    """The keys that came with questions to a server."""
    return {request["headers"]["authorization"].removeprefix("Bearer ") for request in server.seen}


@pytest.mark.parametrize("role", ["answers", "judge"])
def test_a_key_goes_to_the_host_that_it_is_for_and_to_no_other(generate, server, role, monkeypatch, tmp_path):
    monkeypatch.setenv("OTHER_KEY", "sk-other-0123456789")
    fixed = ["--num", "2", "--budget-tokens", "1000000", "--quiet", f"--{role}"]
    with ScriptedTeacher() as elsewhere:
        assert generate(server, *fixed, f"other@{elsewhere.url}", "--output-dir", str(tmp_path / "none")) == 0
        assert (keys_that(server), keys_that(elsewhere)) == ({KEY}, {"none"})
        elsewhere.seen.clear()
        own = [f"--{role}-api-key-env", "OTHER_KEY", "--output-dir", str(tmp_path / "own")]
        assert generate(server, *fixed, f"other@{elsewhere.url}", *own) == 0
        assert (keys_that(server), keys_that(elsewhere)) == ({KEY}, {"sk-other-0123456789"})
    assert generate(server, *fixed, f"other@{server.url}", "--output-dir", str(tmp_path / "same")) == 0
    assert {request["body"]["model"] for request in server.seen} == {"m", "other"}
    assert keys_that(server) == {KEY}


@pytest.mark.parametrize("role", ["answers", "judge"])
def test_another_host_needs_a_key_of_its_own(generate, server, role, capsys, monkeypatch):
    asked = ["--budget-tokens", "1000000", f"--{role}", "other@https://other.example.com/v1"]
    assert generate(server, *asked, "--dry-run") == 2
    assert capsys.readouterr().err == (
        f"error: --{role} asks other.example.com, and the key in OPENAI_API_KEY is for 127.0.0.1:{server.port}, so it "
        f"is not sent there: name the variable that holds the key for other.example.com with --{role}-api-key-env\n"
    )
    monkeypatch.setenv("OTHER_KEY", "sk-other-0123456789")
    assert generate(server, *asked, f"--{role}-api-key-env", "") == 2
    assert generate(server, *asked, f"--{role}-api-key-env", "OTHER_KEY", "--dry-run") == 0


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--base-url", "http://localhost:8000/v1"], "--base-url"),
        (["--answers", "m@http://localhost:8000/v1"], "--answers m@http://localhost:8000/v1"),
        (["--judge", "m@https://example.com/v1"], "--judge m@https://example.com/v1"),
        (["--judge-api-key-env", "KEY", "--proxy", "http://p:1"], "--proxy, --judge-api-key-env"),
        (["--completion", "--api-key-env", "K", "--deadline-seconds", "9"], "--completion, --api-key-env, --deadline-"),
    ],
)
def test_a_local_teacher_is_not_asked_in_the_place_of_an_endpoint(flags, named, capsys, tmp_path):
    assert main(["generate", "--output-dir", str(tmp_path / "run"), "--dry-run", *flags]) == 2
    said = capsys.readouterr().err
    assert f"so it has no use for {named}" in said
    assert ": add --teacher openai" in said


NASTY = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202e"


def test_no_word_of_a_teacher_does_anything_to_a_terminal(generate, capsys, tmp_path):
    def text(prompt):
        if prompt.startswith("Field:"):
            return f"- {NASTY}Bees in cities"
        task = {"instruction": f"\x9b31m\u202eDescribe {len(prompt)} bees of a city.", "output": "They are small."}
        return json.dumps({"tasks": [task]})

    prices = tmp_path / "prices.json"
    prices.write_text('{"m": {"input": 1, "output": 2}}')
    with ScriptedTeacher(text=text) as server:
        field = ["--domain", "bees", "--num", "1", "--budget-tokens", "1000000", "--profile", "modern"]
        assert generate(server, *field) == 0
    said = capsys.readouterr().out
    assert "Bees in cities 1" in said
    assert "verbs       describe 1" in said
    assert not any(character in said for character in "\x1b\x07\x9b\u202e")


def test_a_dry_run_shows_seed_tasks_without_their_control_characters(generate, server, capsys, tmp_path):
    seeds = tmp_path / "seeds.jsonl"
    rows = [{"instruction": f"{NASTY}Name {number} birds.", "output": "Puffin."} for number in range(9)]
    seeds.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    assert generate(server, "--budget-tokens", "100000", "--dry-run", "--seeds", str(seeds)) == 0
    said = capsys.readouterr().out
    assert " birds." in said
    assert not any(character in said for character in "\x1b\x07\x9b\u202e")
