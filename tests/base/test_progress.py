"""Lines of progress, by a clock of our own; the bar on a terminal; durations in words."""

import io
import sys

import pytest

from utils.base import progress
from utils.base.progress import Progress, readable_time


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 1000.0

        def monotonic(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


class Terminal(io.StringIO):
    def isatty(self):
        return True


def line(clock, capsys, title, unit, total, count, seconds, note=""):
    """The line that is printed when so much was done in so many seconds."""
    with Progress(title, unit, total) as shown:
        clock.now += seconds
        shown.update(count, note)
    return capsys.readouterr().out


@pytest.mark.parametrize(
    "title, unit, total, count, seconds, note, expected",
    [
        (
            "hidden states",
            "token",
            2_800_000,
            1_204_000,
            227,
            "",
            "hidden states: 43 % (1.2 of 2.8 million tokens), 5,300 tokens/s, 5 min left",
        ),
        (
            "targets and lags",
            "sweep",
            8,
            2,
            150,
            "' the' at lag -1",
            "targets and lags: 25 % (2 of 8 sweeps), 75 s a sweep, 8 min left; ' the' at lag -1",
        ),
        (
            "train linear",
            "epoch",
            30,
            15,
            31,
            "",
            "train linear: 50 % (15 of 30 epochs), 2.1 s an epoch, 31 s left",
        ),
        ("scores", "probe", 400, 100, 31, "", "scores: 25 % (100 of 400 probes), 3.2 probes/s, 93 s left"),
        ("measure", "step", 1, 1, 40, "", "measure: 100 % (1 of 1 step), 40 s a step, took 40 s"),
        (
            "hidden states",
            "token",
            9_000,
            9_100,
            91,
            "",
            "hidden states: 101 % (9,100 of 9,000 tokens), 100 tokens/s, took 91 s",
        ),
        ("scores", "probe", 30, 0, 40, "", "scores: 0 % (0 of 30 probes)"),
        (
            "tokenize",
            "token",
            None,
            60_000,
            40,
            "120 of 500 texts",
            "tokenize: 60,000 tokens, 1,500 tokens/s; 120 of 500 texts",
        ),
        ("tokenize", "token", None, 2_520_000, 7200, "", "tokenize: 2.5 million tokens, 350 tokens/s"),
        ("targets and lags", "sweep", 3, 1, 5400, "", "targets and lags: 33 % (1 of 3 sweeps), 90 min a sweep, 3.0 h left"),
    ],
)
def test_a_line_in_words(clock, capsys, title, unit, total, count, seconds, note, expected):
    assert line(clock, capsys, title, unit, total, count, seconds, note) == f"{expected}\n"


def test_a_line_every_half_minute_and_the_rate_since_the_start(clock, capsys):
    with Progress("hidden states", "token", 1000) as shown:
        for _ in range(9):
            clock.now += 10
            shown.update(100)
    assert capsys.readouterr().out.splitlines() == [
        "hidden states: 40 % (400 of 1,000 tokens), 10 tokens/s, 60 s left",
        "hidden states: 80 % (800 of 1,000 tokens), 10 tokens/s, 20 s left",
    ]


def test_short_work_prints_nothing(clock, capsys):
    assert line(clock, capsys, "scores", "probe", 10, 10, 29) == ""


def test_a_note_stays_until_there_is_another(clock, capsys):
    with Progress("train linear", "epoch", 4) as shown:
        for note in ("best 0.6", "", "best 0.7"):
            clock.now += 40
            shown.update(1, note)
    assert [said.partition("; ")[2] for said in capsys.readouterr().out.splitlines()] == ["best 0.6", "best 0.6", "best 0.7"]


def test_no_unit_is_abbreviated_or_in_its_plural_where_it_is_named():
    import ast

    from helpers import SCRIPTS

    units = {
        call.args[1].value
        for path in SCRIPTS.rglob("*.py")
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call) and getattr(call.func, "id", None) == "Progress"
    }
    assert units <= {"token", "row", "sweep", "probe", "autoencoder", "epoch", "step", "sequence", "chart"}


@pytest.mark.parametrize(
    "total, expected",
    [
        (
            2_800_000,
            [
                "hidden states: |",
                "| 43 % (1.2 of 2.8 million tokens), 5,300 tokens/s, 5 min left; 98 % of the speed without hooks",
            ],
        ),
        (None, ["hidden states: 1.2 million tokens, 5,300 tokens/s; 98 % of the speed without hooks"]),
    ],
)
def test_a_terminal_has_a_bar_that_ends_in_the_same_words(clock, capsys, monkeypatch, total, expected):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("COLUMNS", "140")
    with Progress("hidden states", "token", total) as shown:
        clock.now += 227
        shown.update(1_204_000, "98 % of the speed without hooks")
    said = terminal.getvalue()
    assert all(part in said for part in expected), said
    assert capsys.readouterr().out == "", "a bar and no lines"


@pytest.mark.parametrize(
    "seconds, expected", [(0.2, "0 s"), (75, "75 s"), (119.4, "119 s"), (120, "2 min"), (600, "10 min"), (9000, "2.5 h")]
)
def test_durations_in_words(seconds, expected):
    assert readable_time(seconds) == expected
