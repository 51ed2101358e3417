"""Progress of long work, and durations in words."""

import time
from functools import cache
from typing import Any

SECONDS_BETWEEN_LINES = 30  # where standard error is no terminal, a line of progress this often instead of a bar


class Progress:
    """A bar on a terminal; elsewhere a line every half minute, so that logs stay readable.

    with Progress("hidden states", "token", total=2_800_000) as progress:
        progress.update(512)
    # hidden states: 43 % (1.2 of 2.8 million tokens), 5,300 tokens/s, 5 min left

    unit: one of what is counted, as a word; its plural has an s.
    """

    def __init__(self, title: str, unit: str, total: int | None = None) -> None:
        self._title, self._unit, self._total = title, unit, total
        self._count, self._note, self._start = 0, "", time.monotonic()
        self._last_line = self._start
        shape = "{desc}: |{bar}| {words}" if total else "{desc}: {words}"
        self._bar = bar_in_words()(
            self.in_words, desc=title, total=total, bar_format=shape, dynamic_ncols=True, disable=None
        )

    def update(self, count: int, note: str = "") -> None:
        """Count what was done since the last call. note: said at the end of the line until there is another."""
        self._count += count
        self._note = note or self._note
        self._bar.update(count)
        now = time.monotonic()
        if self._bar.disable and now - self._last_line > SECONDS_BETWEEN_LINES:
            self._last_line = now
            print(f"{self._title}: {self.in_words()}", flush=True)

    def in_words(self) -> str:
        """How much is done, how fast, how long it still takes, and the note."""
        seconds, parts = time.monotonic() - self._start, [amount(self._count, self._total, self._unit)]
        if self._count and seconds > 0:
            parts.append(pace(self._count / seconds, self._unit))
            if self._total and self._count >= self._total:
                parts.append(f"took {readable_time(seconds)}")
            elif self._total:
                parts.append(f"{readable_time(seconds * (self._total / self._count - 1))} left")
        return ", ".join(parts) + (f"; {self._note}" if self._note else "")

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()


@cache  # one class, for tqdm keeps a thread for each
def bar_in_words() -> Any:
    """A kind of tqdm bar that says the rest of its line by a function, (in_words, options of tqdm)."""
    from tqdm import tqdm

    class Bar(tqdm):
        def __init__(self, in_words, **options):
            self._in_words = in_words
            super().__init__(**options)

        @property
        def format_dict(self):
            return {**super().format_dict, "words": self._in_words()}

    return Bar


def amount(count: int, total: int | None, unit: str) -> str:
    """'43 % (1.2 of 2.8 million tokens)'; '120 texts' of an unknown total"""
    million = max(count, total or 0) >= 1e6
    done, whole = (f"{number / 1e6:.1f}" if million else f"{number:,}" for number in (count, total or count))
    units = f"{'million ' if million else ''}{unit}{'' if (total or count) == 1 else 's'}"
    return f"{100 * count / total:.0f} % ({done} of {whole} {units})" if total else f"{done} {units}"


def pace(rate: float, unit: str) -> str:
    """'5,300 tokens/s', from one a second on; below, '75 s a sweep'"""
    if rate < 1:
        seconds = 1 / rate
        each = f"{seconds:.1f} s" if seconds < 9.95 else readable_time(seconds)
        return f"{each} {'an' if unit[0] in 'aeiou' else 'a'} {unit}"
    rounded = float(f"{rate:.2g}")
    return f"{rounded:,.0f} {unit}s/s" if rounded >= 10 else f"{rounded:.1f} {unit}s/s"


def readable_time(seconds: float) -> str:
    """75 -> '75 s', 600 -> '10 min', 9000 -> '2.5 h'"""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
