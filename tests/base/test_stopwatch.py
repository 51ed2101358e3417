"""The stopwatch, with a clock of our own."""

import pytest

from utils.base import stopwatch


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 100.0

        def perf_counter(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(stopwatch, "time", clock)
    return clock


def test_laps_add_up_by_name_in_the_order_of_their_first_use(clock):
    watch = stopwatch.Stopwatch()
    for name, seconds in (("pass", 2.0), ("train", 5.0), ("pass", 1.5)):
        with watch(name):
            clock.now += seconds
        clock.now += 100  # between two laps
    assert watch.seconds == {"pass": 3.5, "train": 5.0}
    assert list(watch.seconds) == ["pass", "train"]


def test_a_block_inside_another_counts_in_both(clock):
    watch = stopwatch.Stopwatch()
    with watch("all"):
        clock.now += 1
        with watch("logits"):
            clock.now += 2
    assert watch.seconds == {"logits": 2.0, "all": 3.0}


def test_a_block_that_fails_counts_and_its_error_goes_on(clock):
    watch = stopwatch.Stopwatch()
    with pytest.raises(KeyError), watch("pass"):
        clock.now += 4
        raise KeyError("gone")
    assert watch.seconds == {"pass": 4.0}
