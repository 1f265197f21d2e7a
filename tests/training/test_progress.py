import io
import re
from collections.abc import Callable

import pytest
from rich.console import Console

from alpaca_lora.training.progress import Progress

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Clock:
    """A time that passes only when a test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def open_console(clock: Clock) -> Callable[..., Console]:
    """Make a console that writes to memory and asks the test for the time."""

    def make(**options) -> Console:
        return Console(file=io.StringIO(), get_time=clock, width=100, _environ={"TERM": "xterm-256color"}, **options)

    return make


@pytest.fixture
def log(open_console) -> Console:
    """What a log file sees."""
    return open_console(force_terminal=False)


@pytest.fixture
def terminal(open_console) -> Console:
    """What a terminal sees."""
    return open_console(force_terminal=True)


def written(console: Console) -> str:
    return console.file.getvalue()


def train(progress: Progress, steps: range, clock: Clock, seconds: float = 1.0) -> None:
    for step in steps:
        clock.now += seconds
        progress.step(step, 2.0, 2e-4, 1240.0, 2.1e9)


def test_a_log_gets_a_line_for_every_stage_and_every_twentieth_of_the_steps(log: Console, clock: Clock) -> None:
    with Progress(True, log) as progress:
        progress.stage("loading smollm2-135m")
        progress.evaluation(0, 2.417)
        progress.start(40)
        train(progress, range(1, 5), clock)
        progress.evaluation(4, 2.0)
        train(progress, range(5, 41), clock, seconds=0.5)
        progress.finish()
        progress.stage("saving the adapter")
    lines = written(log).splitlines()
    assert lines[:5] == [
        "loading smollm2-135m …",
        "  held-out loss 2.417 at step 0",
        "step 2/40  loss 2.000  lr 2.0e-04  1,240 tokens/s  2.1 GB  0:02 elapsed, 0:38 left",
        "step 4/40  loss 2.000  lr 2.0e-04  1,240 tokens/s  2.1 GB  0:04 elapsed, 0:36 left",
        "  held-out loss 2.000 (-0.417) at step 4",
    ]
    assert lines[-2:] == [
        "✓ trained 40/40  loss 2.000  lr 2.0e-04  1,240 tokens/s  2.1 GB  22 s",
        "saving the adapter …",
    ]
    assert sum(line.startswith("step ") for line in lines) == 20


def test_a_slow_run_gets_a_line_every_thirty_seconds(log: Console, clock: Clock) -> None:
    with Progress(True, log) as progress:
        progress.start(100_000)
        train(progress, range(1, 10), clock, seconds=10)
    assert re.findall(r"^step (\d+)/", written(log), flags=re.MULTILINE) == ["3", "6", "9"]


def test_a_log_gets_a_line_for_every_quarter_of_a_stage_that_is_counted(log: Console, clock: Clock) -> None:
    with Progress(True, log) as progress:
        progress.stage("encoding 8,000 records")
        for done in range(1000, 9000, 1000):
            progress.advance(done, 8000)
        progress.stage("encoding 9 records")
        progress.advance(1, 9)
        clock.now += 30
        progress.advance(2, 9)
    assert written(log).splitlines() == [
        "encoding 8,000 records …",
        "encoding 8,000 records … 2,000/8,000",
        "encoding 8,000 records … 4,000/8,000",
        "encoding 8,000 records … 6,000/8,000",
        "encoding 9 records …",
        "encoding 9 records … 2/9",
    ]


def test_a_terminal_shows_how_far_a_stage_is(terminal: Console, clock: Clock) -> None:
    with Progress(True, terminal) as progress:
        progress.stage("encoding 52,002 records")
        clock.now += 3
        progress.advance(12_000, 52_002)
    plain = ESCAPES.sub("", written(terminal))
    assert "encoding 52,002 records 12,000/52,002 0:03" in plain
    assert "✓ encoding 52,002 records  3.0 s" in plain


def test_a_log_has_no_escape_sequence_and_no_broken_line(open_console, clock: Clock) -> None:
    console = open_console(force_terminal=False)
    console.width = 20
    with Progress(True, console) as progress:
        progress.stage("a stage whose name is longer than the console is wide")
        progress.start(1)
        train(progress, range(1, 2), clock)
    assert "\x1b" not in written(console)
    assert len(written(console).splitlines()) == 3


def test_time_left_after_a_resume_counts_only_this_process(log: Console, clock: Clock) -> None:
    with Progress(True, log) as progress:
        progress.start(100, done=80)
        train(progress, range(81, 86), clock, seconds=2)
    assert "step 85/100  loss 2.000  lr 2.0e-04  1,240 tokens/s  2.1 GB  0:10 elapsed, 0:30 left" in written(log)


def test_what_was_not_measured_is_not_shown(log: Console) -> None:
    with Progress(True, log) as progress:
        progress.start(1)
        progress.step(1, float("nan"), 0.0, None, None)
    assert "step 1/1  loss nan  lr 0.0e+00  0:00 elapsed, 0:00 left" in written(log)


@pytest.mark.parametrize("console", ["log", "terminal"])
def test_a_disabled_display_shows_nothing(console: str, request: pytest.FixtureRequest, clock: Clock) -> None:
    sink = request.getfixturevalue(console)
    with Progress(False, sink) as progress:
        progress.stage("loading")
        progress.start(10)
        train(progress, range(1, 11), clock)
        progress.evaluation(10, 1.0)
        progress.finish()
    assert written(sink) == ""


def test_a_terminal_shows_a_bar_with_the_numbers_of_the_step(terminal: Console, clock: Clock) -> None:
    with Progress(True, terminal) as progress:
        progress.start(40)
        train(progress, range(1, 11), clock)
        progress.evaluation(10, 1.633)
        progress.stage("writing a checkpoint")
    shown = ESCAPES.sub("", written(terminal))
    bar = re.search(r"training 10/40 ━+╺?━* 0:10 elapsed, 0:30 left", shown)
    assert len(bar[0]) == 100
    assert "\n  loss 2.000  lr 2.0e-04  1,240 tokens/s  2.1 GB  held-out 1.633" in shown


def test_finished_stages_stay_above_the_live_display(terminal: Console, clock: Clock) -> None:
    with Progress(True, terminal) as progress:
        progress.stage("loading smollm2-135m")
        clock.now += 2.1
        progress.stage("saving")
        clock.now += 0.5
    plain = ESCAPES.sub("", written(terminal))
    assert "✓ loading smollm2-135m  2.1 s" in plain
    assert "✓ saving  0.5 s" in plain


def test_a_stage_between_two_steps_leaves_no_line(terminal: Console, clock: Clock) -> None:
    with Progress(True, terminal) as progress:
        progress.start(2)
        train(progress, range(1, 2), clock)
        progress.stage("writing a checkpoint")
        train(progress, range(2, 3), clock)
        progress.finish()
    assert "✓ writing a checkpoint" not in ESCAPES.sub("", written(terminal))


def test_an_exception_gives_the_terminal_back_and_says_how_far_it_came(terminal: Console, clock: Clock) -> None:
    with pytest.raises(ZeroDivisionError), Progress(True, terminal) as progress:  # noqa: PT012
        progress.start(40)
        train(progress, range(1, 26), clock)
        progress.stage("measuring the held-out loss")
        raise ZeroDivisionError
    text = written(terminal)
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")
    plain = ESCAPES.sub("", text)
    assert "✗ measuring the held-out loss" in plain
    assert "✗ trained 25/40  loss 2.000" in plain


def test_a_second_run_in_the_same_process_starts_afresh(terminal: Console, clock: Clock) -> None:
    for _ in range(2):
        with Progress(True, terminal) as progress:
            progress.evaluation(0, 2.0)
    assert ESCAPES.sub("", written(terminal)).count("held-out loss 2.000 at step 0") == 2


def test_a_name_cannot_send_escape_sequences_or_markup(terminal: Console) -> None:
    with Progress(True, terminal) as progress:
        progress.stage("loading \x1b]0;title\x07[red]model\x1b[2J")
    assert "✓ loading [red]model" in ESCAPES.sub("", written(terminal))
    assert "\x1b]0" not in written(terminal)
    assert "\x1b[2J" not in written(terminal)


def test_notes_are_lines_of_their_own_and_a_warning_is_called_one(log: Console) -> None:
    with Progress(True, log) as progress:
        progress.note("one\x1b[2J", "warning: two")
    assert written(log).splitlines() == ["note: one\u241b[2J", "warning: two"]


def test_a_terminal_that_cannot_redraw_gets_plain_lines() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=100, _environ={"TERM": "dumb"})
    with Progress(True, console) as progress:
        progress.stage("loading")
    assert written(console) == "loading …\n"


def test_standard_output_stays_free_for_results(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(True) as progress:
        progress.stage("loading")
    assert capsys.readouterr() == ("", "loading …\n")
