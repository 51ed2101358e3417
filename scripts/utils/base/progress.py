"""Progress of long work, and durations in words."""

import time

SECONDS_BETWEEN_LINES = 30  # where standard error is no terminal, a line of progress this often instead of a bar


class Progress:
    """A tqdm bar with a rate on a terminal; elsewhere a line every half minute, so that logs stay readable."""

    def __init__(self, title, unit, total=None):
        from tqdm import tqdm

        self._bar = tqdm(desc=title, unit=unit, total=total, unit_scale=True, dynamic_ncols=True, disable=None)
        self._title, self._unit, self._total = title, unit, total
        self._count, self._start = 0, time.monotonic()
        self._last_line = self._start

    def update(self, count, note=""):
        self._count += count
        if note:
            self._bar.set_postfix_str(note, refresh=False)
        self._bar.update(count)
        now = time.monotonic()
        if self._bar.disable and now - self._last_line > SECONDS_BETWEEN_LINES:
            self._last_line = now
            share = f" of {self._total:,}" if self._total else ""
            rate = self._count / (now - self._start)
            shown = f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"
            print(f"{self._title}: {self._count:,}{share} {self._unit}, {shown} {self._unit}/s {note}".rstrip(), flush=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._bar.close()


def readable_time(seconds) -> str:
    """75 -> '75 s', 600 -> '10 min', 9000 -> '2.5 h'"""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
