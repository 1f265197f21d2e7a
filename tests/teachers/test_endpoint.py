"""Every fault of a teacher that the catalogue names, against a server on loopback that commits it."""

import asyncio
from types import SimpleNamespace

import pytest

from alpaca_lora.errors import ConfigError, TeacherRefusedError
from alpaca_lora.teachers import Fault, OpenAITeacher, Request, Usage
from alpaca_lora.teachers.secrets import REDACTED
from tests.scripted_teacher import FAULTS, ScriptedTeacher, redirecting

SHOWN_KEY = ("sk-canary", "c2stY2FuYXJ5", "fedcba9876543210-yranac-ks")
"""The key, its base64 and its reverse, of which the server's errors quote all three."""


def always(fault):
    return lambda key, attempt: fault


def fault_of(ask, fault, **options):
    """What an attempt ends in at a server that always commits one fault."""
    with ScriptedTeacher(script=always(fault)) as server, pytest.raises(Fault) as caught:
        ask(server, **options)
    assert not any(part in str(caught.value) for part in SHOWN_KEY)
    return caught.value


@pytest.mark.parametrize(
    ("fault", "kind", "billed"),
    [
        pytest.param("wrong_key", "refused", False, id="row 109"),
        pytest.param("forbidden", "refused", False, id="row 109, 403"),
        pytest.param("busy", "busy", False, id="row 110"),
        pytest.param("busy_billing", "busy", False, id="row 110, with an offer"),
        pytest.param("no_quota", "quota", False, id="row 111"),
        pytest.param("server_408", "server", True, id="row 112, 408"),
        pytest.param("server_500", "server", True, id="row 112, 500"),
        pytest.param("server_502", "server", True, id="row 112, 502"),
        pytest.param("server_503", "server", False, id="row 112, 503"),
        pytest.param("server_504", "server", True, id="row 112, 504"),
        pytest.param("server_529", "server", False, id="row 112, 529"),
        pytest.param("too_long", "unfit", False, id="row 113"),
        pytest.param("no_model", "refused", False, id="row 114"),
        pytest.param("bad_request", "refused", False, id="row 114, another 400"),
        pytest.param("proxy_407", "connection", False, id="row 116, proxy"),
        pytest.param("reset", "cut", True, id="row 118, before the answer"),
        pytest.param("cut_body", "cut", True, id="row 118, body"),
        pytest.param("cut_chunk", "cut", True, id="row 118, chunk"),
        pytest.param("event_stream", "garbage", True, id="row 119"),
        pytest.param("event_no_done", "garbage", True, id="row 119, no end"),
        pytest.param("event_garbage", "garbage", True, id="row 119, garbage"),
        pytest.param("event_error", "garbage", True, id="row 119, error"),
        pytest.param("event_twice", "garbage", True, id="row 119, twice"),
        pytest.param("html", "garbage", True, id="row 120, html"),
        pytest.param("empty_body", "garbage", True, id="row 120, empty"),
        pytest.param("null", "garbage", True, id="row 120, null"),
        pytest.param("list", "garbage", True, id="row 120, list"),
        pytest.param("wrong_type", "garbage", True, id="row 120, text"),
        pytest.param("invalid_utf8", "garbage", True, id="row 120, utf-8"),
        pytest.param("gzip_bomb", "garbage", True, id="row 120, bomb"),
        pytest.param("huge", "garbage", True, id="row 120, huge"),
        pytest.param("no_choices", "garbage", True, id="row 121, no choices"),
    ],
)
def test_a_fault_is_known_for_what_it_is_and_for_what_it_may_cost(ask, fault, kind, billed):
    found = fault_of(ask, fault)
    assert (found.kind, found.billed) == (kind, billed)


@pytest.mark.parametrize(
    ("fault", "seconds"),
    [
        pytest.param("busy", 0, id="row 110, seconds"),
        pytest.param("busy_date", 7, id="row 110, date"),
        pytest.param("busy_negative", 0, id="row 110, negative"),
        pytest.param("busy_for_ever", 10**9, id="row 110, for ever"),
    ],
)
def test_the_wait_that_a_server_asks_for_is_read(ask, fault, seconds):
    assert fault_of(ask, fault).retry_after == seconds


@pytest.mark.catalogue(114)
def test_an_unknown_model_is_answered_with_those_that_are_offered(ask):
    assert "no model 'teacher-a'" in str(fault_of(ask, "no_model"))
    assert "it offers teacher-a, teacher-b" in str(fault_of(ask, "no_model"))


@pytest.mark.catalogue(115)
def test_a_redirect_is_refused_and_its_target_never_contacted(ask, monkeypatch):
    with ScriptedTeacher() as trap, ScriptedTeacher(script=always("moved")) as server:
        monkeypatch.setitem(FAULTS, "moved", redirecting(f"{trap.url}/chat/completions"))
        with pytest.raises(Fault, match="answers with a redirect \\(302\\)") as caught:
            ask(server)
    assert caught.value.kind == "refused"
    assert trap.seen == []


@pytest.mark.catalogue(116)
def test_an_endpoint_that_is_not_there_is_named(ask):
    with ScriptedTeacher() as server:
        pass
    with pytest.raises(Fault, match=f"127.0.0.1:{server.port} cannot be reached") as caught:
        ask(server)
    assert (caught.value.kind, caught.value.billed) == ("connection", False)


@pytest.mark.catalogue(116)
def test_an_endpoint_without_tls_is_no_https(ask):
    with ScriptedTeacher() as server:
        secure = SimpleNamespace(url=server.url.replace("http:", "https:"))
        with pytest.raises(Fault) as caught:
            ask(secure)
    assert (caught.value.kind, caught.value.billed) == ("connection", False)


@pytest.mark.catalogue(117)
@pytest.mark.parametrize("fault", ["drip", "silence"])
def test_a_deadline_holds_for_the_whole_attempt_and_not_for_a_byte(ask, fault):
    found = fault_of(ask, fault, deadline_seconds=0.3)
    assert (found.kind, found.billed) == ("timeout", True)


@pytest.mark.catalogue(121)
@pytest.mark.parametrize(
    ("fault", "finish"),
    [("content_filter", "filter"), ("tool_calls", "tool_calls"), ("refusal", "refusal"), ("null_content", "stop")],
)
def test_what_a_teacher_withholds_is_an_answer_without_text(ask, fault, finish):
    with ScriptedTeacher(script=always(fault)) as server:
        answer, _ = ask(server)
    assert (answer.text, answer.finish) == ("", finish)
    assert answer.usage is not None


@pytest.mark.catalogue(123)
@pytest.mark.parametrize("fault", ["usage_missing", "usage_negative"])
def test_usage_that_cannot_be_is_no_usage(ask, fault):
    with ScriptedTeacher(script=always(fault)) as server:
        answer, _ = ask(server)
    assert answer.text != ""
    assert answer.usage is None


def test_an_answer_has_its_text_and_its_usage(ask):
    with ScriptedTeacher(text=lambda prompt: "Blue and green.") as server:
        answer, _ = ask(server)
    assert answer.text == "Blue and green."
    assert answer.usage == Usage(3, 3)


@pytest.mark.catalogue(125)
def test_a_key_in_an_answer_is_taken_out(ask, key):
    with ScriptedTeacher(script=always("key_in_text"), text=lambda prompt: "Blue ") as server:
        answer, _ = ask(server)
    assert key not in answer.text
    assert REDACTED in answer.text


@pytest.mark.parametrize(("fault", "left_out"), [("no_seed", "seed"), ("no_schema", "response_format")])
def test_an_option_that_an_endpoint_does_not_know_is_left_out_from_then_on(ask, fault, left_out):
    with ScriptedTeacher(script=lambda key, attempt: fault if attempt == 1 else None) as server:
        _, teacher = ask(server, times=2)
    assert [left_out in request["body"] for request in server.seen] == [True, False, False]
    assert teacher.notes == [f"127.0.0.1:{server.port} does not take {left_out!r}, so it is left out"]


def test_max_tokens_is_renamed_where_it_has_another_name(ask):
    with ScriptedTeacher(script=lambda key, attempt: "other_name" if attempt == 1 else None) as server:
        ask(server)
    assert server.seen[1]["body"]["max_completion_tokens"] == 50
    assert "max_tokens" not in server.seen[1]["body"]


@pytest.mark.parametrize(("option", "fault"), [("max_tokens", "other_name"), ("temperature", "no_temperature")])
def test_calls_under_way_that_were_sent_with_an_option_are_all_asked_again_without_it(key, option, fault):
    def refuse(key, attempt):
        asked = [request["body"] for request in server.seen if request["key"] == key]
        return fault if option in asked[-1] else None

    async def all_at_once(teacher):
        requests = [Request(key=f"run/tasks/{number}", prompt="Name a colour.", max_tokens=50) for number in range(8)]
        try:
            return await asyncio.gather(*(teacher.answer(request) for request in requests))
        finally:
            await teacher.close()

    with ScriptedTeacher(script=refuse, latency_seconds=0.2) as server:
        answers = asyncio.run(all_at_once(OpenAITeacher("teacher-a", base_url=server.url, deadline_seconds=30)))
    assert len(answers) == 8
    assert sum(option in request["body"] for request in server.seen) > 1


def test_completions_go_on_with_the_text(ask):
    with ScriptedTeacher() as server:
        answer, _ = ask(server, chat=False)
    assert server.seen[0]["path"] == "/v1/completions"
    assert server.seen[0]["body"]["prompt"] == "Name a colour."
    assert "response_format" not in server.seen[0]["body"]
    assert answer.text != ""


def test_neither_proxies_nor_compression_come_from_the_environment(ask, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    with ScriptedTeacher() as server:
        ask(server)
    assert server.seen[0]["headers"]["accept-encoding"] == "identity"


@pytest.mark.parametrize(
    ("base_url", "said"),
    [
        ("ftp://localhost/v1", "is no address of an endpoint"),
        ("localhost:8000", "is no address of an endpoint"),
        ("http://localhost:99999/v1", "is no address of an endpoint"),
        ("https://me:secret@example.com/v1", "holds a user name or password"),
        ("http://example.com/v1", "would send the key unencrypted"),
    ],
)
def test_an_address_that_cannot_be_used_is_refused(key, base_url, said):
    with pytest.raises(ConfigError, match=said) as caught:
        OpenAITeacher("m", base_url=base_url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan")])
def test_a_deadline_that_no_answer_can_meet_is_refused(key, seconds):
    with pytest.raises(ConfigError, match="deadline_seconds must be above 0"):
        OpenAITeacher("m", base_url="http://localhost/v1", deadline_seconds=seconds)


@pytest.mark.parametrize("proxy", ["proxy:3128", "file:///etc", "http:// ", "me:secret@proxy"])
def test_a_proxy_that_is_none_is_refused_and_not_shown(key, proxy):
    with pytest.raises(ConfigError, match="proxy is no address of a proxy") as caught:
        OpenAITeacher("m", base_url="http://localhost/v1", proxy=proxy)
    assert proxy not in str(caught.value)


def test_a_missing_key_is_asked_for_by_the_name_of_its_variable(monkeypatch):
    monkeypatch.delenv("MY_KEY", raising=False)
    with pytest.raises(TeacherRefusedError, match="the environment variable MY_KEY holds no key"):
        OpenAITeacher("m", base_url="https://example.com/v1", api_key_env="MY_KEY")


def test_no_key_is_sent_where_none_is_named_and_only_this_machine_needs_none(ask):
    with ScriptedTeacher() as server:
        ask(server, api_key_env=None)
    assert server.seen[0]["headers"]["authorization"] == "Bearer none"
    with pytest.raises(TeacherRefusedError, match="api_key_env is None: set it"):
        OpenAITeacher("m", base_url="https://example.com/v1", api_key_env=None)


@pytest.mark.catalogue(109)
def test_a_key_is_nowhere_in_a_teacher_that_is_looked_at(key):
    teacher = OpenAITeacher("m", base_url="https://example.com/v1")
    assert key not in f"{teacher!r} {vars(teacher)} {teacher.describe()}"
