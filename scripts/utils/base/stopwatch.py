"""A stopwatch with named laps."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Stopwatch:
    """Add up the seconds that blocks of code take, by name.

    watch = Stopwatch()
    with watch("pass"):
        ...
    watch.seconds  # {'pass': 1.25}, in the order in which the names were first used
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start
