import json
import zlib
from decimal import Decimal

import pytest

from alpaca_lora import _files
from alpaca_lora.errors import RunError
from alpaca_lora.selfinstruct.ledger import Booking, Budget, Ledger
from alpaca_lora.teachers import Answer, Usage

WORST = Booking(100, Decimal("0.0003"))
COST = Booking(40, Decimal("0.0001"))
ANSWER = Answer(text="Grün, bläu\u2028lich\n", finish="stop", usage=Usage(30, 10))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal.jsonl"


def test_an_answer_takes_the_place_of_its_reservation(path):
    with Ledger.open(path) as ledger:
        attempt = ledger.reserve("tasks/0", WORST)
        assert ledger.total == WORST
        ledger.settle(attempt, COST, ANSWER, estimated=False)
        assert (ledger.total, ledger.settled) == (COST, COST)


def test_a_call_that_was_surely_not_billed_costs_nothing(path):
    with Ledger.open(path) as ledger:
        ledger.release(ledger.reserve("tasks/0", WORST), "busy")
        assert ledger.total == Booking()
        assert ledger.faults == {"busy": 1}


def test_a_call_that_may_have_been_billed_stays_booked_at_its_worst(path):
    with Ledger.open(path) as ledger:
        ledger.doubt(ledger.reserve("tasks/0", WORST), "timeout")
        assert (ledger.total, ledger.settled, ledger.doubtful) == (WORST, Booking(), WORST)


def test_an_endpoint_that_bills_a_request_once_clears_the_doubts_about_it_alone(path):
    with Ledger.open(path) as ledger:
        for request in ("tasks/0", "tasks/0", "tasks/1"):
            ledger.doubt(ledger.reserve(request, WORST), "timeout")
        once = Answer(text="", finish="stop", usage=ANSWER.usage, once=True)
        ledger.settle(ledger.reserve("tasks/0", WORST), COST, once, estimated=False)
        assert ledger.total == COST + WORST


def test_a_journal_that_is_read_again_knows_everything(path):
    with Ledger.open(path) as ledger:
        ledger.settle(ledger.reserve("tasks/0", WORST), COST, ANSWER, estimated=True)
        ledger.doubt(ledger.reserve("tasks/1", WORST), "cut")
        ledger.skip("tasks/2", "unfit")
        before = {name: value for name, value in vars(ledger).items() if name != "_stream"}
    with Ledger.open(path) as ledger:
        assert {name: value for name, value in vars(ledger).items() if name != "_stream"} == before
        assert ledger.answers["tasks/0"] == ANSWER


def test_a_call_under_way_when_the_process_was_killed_is_a_doubt(path):
    with Ledger.open(path) as ledger:
        ledger.reserve("tasks/0", WORST)
        left = path.read_bytes()
    path.write_bytes(left)
    with Ledger.open(path) as ledger:
        assert ledger.doubtful == WORST
        assert ledger.reserved == {}


@pytest.mark.parametrize("cut", [1, 5, 40])
def test_a_last_line_that_was_torn_is_dropped(path, cut):
    with Ledger.open(path) as ledger:
        ledger.settle(ledger.reserve("tasks/0", WORST), COST, ANSWER, estimated=False)
    whole = path.read_bytes()
    path.write_bytes(whole + whole.splitlines(keepends=True)[-1][:-cut])
    with Ledger.open(path) as ledger:
        assert (ledger.total, set(ledger.answers)) == (COST, {"tasks/0"})
    assert path.read_bytes() == whole


@pytest.mark.parametrize(
    "damage",
    [
        lambda lines: [lines[0], lines[1].replace('"tokens":100', '"tokens":10'), *lines[2:]],
        lambda lines: [lines[0], *lines[2:]],
        lambda lines: [lines[0], lines[2], lines[1]],
        lambda lines: [*lines, lines[-1]],
    ],
    ids=["changed", "removed", "swapped", "repeated"],
)
def test_a_line_that_was_changed_removed_swapped_or_repeated_is_refused(path, damage):
    with Ledger.open(path) as ledger:
        ledger.settle(ledger.reserve("tasks/0", WORST), COST, ANSWER, estimated=False)
    path.write_text("".join(damage(path.read_text().splitlines(keepends=True))))
    with (
        pytest.raises(RunError, match=r"journal\.jsonl'.*: the line does not agree with its checksum"),
        Ledger.open(path),
    ):
        pass


def test_bytes_that_are_no_text_are_refused_as_any_other_damage(path):
    with Ledger.open(path):
        pass
    path.write_bytes(path.read_bytes() + b"\xff\xfe\n")
    with (
        pytest.raises(RunError, match=r"journal\.jsonl':2: the line does not agree with its checksum"),
        Ledger.open(path),
    ):
        pass


@pytest.mark.parametrize(
    "event",
    [
        {"event": "answer", "attempt": 9},
        {"event": "strange"},
        {"event": "reserve", "attempt": 1, "request": "r", "tokens": "x", "usd": "0"},
        {"event": "reserve", "attempt": 1, "request": "r", "tokens": 1, "usd": "much"},
    ],
)
def test_an_event_that_cannot_be_is_refused_though_its_checksum_is_right(path, event):
    with Ledger.open(path) as ledger:
        body = json.dumps(event, separators=(",", ":"))
        crc = zlib.crc32(body.encode(), ledger._crc)
    with path.open("a") as stream:
        stream.write(f'{body[:-1]},"crc32":"{crc:08x}"}}\n')
    with pytest.raises(RunError, match=r"journal\.jsonl':2: the line is no event"), Ledger.open(path):
        pass


def test_every_line_is_on_the_disk_before_the_next_thing_happens(path, monkeypatch):
    synced = []
    monkeypatch.setattr("os.fsync", lambda descriptor: synced.append(path.read_text().count("\n")))
    with Ledger.open(path) as ledger:
        del synced[:]
        attempt = ledger.reserve("tasks/0", WORST)
        assert synced == [2]
        ledger.settle(attempt, COST, ANSWER, estimated=False)
        assert synced == [2, 3]


@pytest.mark.catalogue(128)
def test_a_full_disk_stops_reservations_but_still_takes_what_is_paid(path, monkeypatch):
    with Ledger.open(path) as ledger:
        attempt = ledger.reserve("tasks/0", WORST)
        append, ballast = _files.append_durably, path.with_name(".ballast")

        def full(stream, lines):
            if ballast.exists():
                raise OSError(28, "No space left on device")
            append(stream, lines)

        monkeypatch.setattr(_files, "append_durably", full)
        ledger.settle(attempt, COST, ANSWER, estimated=False)
        assert not ballast.exists()
        monkeypatch.setattr(_files, "append_durably", lambda stream, lines: full(stream, lines))
        ballast.write_bytes(b"")
        with pytest.raises(OSError, match="No space left"):
            ledger.reserve("tasks/1", WORST)
    with Ledger.open(path) as ledger:
        assert ledger.answers == {"tasks/0": ANSWER}


def test_a_failed_write_leaves_the_file_as_it_was(path, monkeypatch):
    with Ledger.open(path) as ledger:
        before = path.read_bytes()

        def fail(descriptor):
            raise OSError(5, "Input/output error")

        monkeypatch.setattr("os.fsync", fail)
        with pytest.raises(OSError, match="Input/output"):
            ledger.reserve("tasks/0", WORST)
        assert path.read_bytes() == before
        assert ledger.total == Booking()


def test_lines_are_json_that_other_tools_read(path):
    with Ledger.open(path) as ledger:
        ledger.settle(ledger.reserve("tasks/0", WORST), COST, ANSWER, estimated=False)
    events = [json.loads(line)["event"] for line in path.read_text(encoding="utf-8").split("\n")[:-1]]
    assert events == ["start", "reserve", "answer"]


def test_sums_of_money_are_exact(path):
    with Ledger.open(path) as ledger:
        for _ in range(10):
            booking = Booking(1, Decimal("0.1"))
            ledger.settle(ledger.reserve("tasks/0", booking), booking, ANSWER, estimated=False)
        assert ledger.total.usd == 1


def test_a_budget_admits_up_to_its_caps_and_not_a_token_more():
    budget = Budget(tokens=100, usd=Decimal("0.0003"))
    assert budget.admits(WORST)
    assert not budget.admits(WORST + Booking(1))
    assert not budget.admits(WORST + Booking(0, Decimal("0.0000001")))
    assert Budget().admits(Booking(10**12, Decimal(10**12)))
