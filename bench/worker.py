"""A process in another environment that answers JSON lines: how the benchmarks ask other libraries."""

import json
import subprocess


class Worker:
    """Start a command and ask it: a line of JSON in, a line out, the first one unasked. Closing `stack` ends it."""

    def __init__(self, command, log, stack):
        self._log = log
        self._process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stack.enter_context(log.open("w")),
            text=True,
        )
        stack.callback(self._end)
        self.greeting = self._answer()

    def ask(self, **command) -> dict:
        print(json.dumps(command), file=self._process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> dict:
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("its process ended: " + (self._log.read_text().strip().splitlines() or ["no message"])[-1])
        return json.loads(line)

    def _end(self):
        self._process.stdin.close()
        self._process.wait()
