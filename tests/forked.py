"""Scripts as processes that are forked from one that has imported the libraries: real processes, without seconds of imports.

run = start("train_probe", "--layer", 0, cwd=folder)    # runs on
run.pid; run.kill(); run.finish().stdout
"""

import importlib
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from helpers import QUIET, SCRIPTS

LIBRARIES = ["torch", "transformers", "sklearn.linear_model", "scipy.stats", "pandas", "plotly.offline", "datasets"]
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(LIBRARIES)


class Run:
    """A script that has been started."""

    def __init__(self, name, arguments, cwd):
        self._said = [tempfile.NamedTemporaryFile(mode="r", encoding="utf-8") for _ in range(2)]  # noqa: SIM115
        self._arguments = [name, *map(str, arguments)]
        paths = [file.name for file in self._said]
        self._process = CONTEXT.Process(target=run_script_here, args=(self._arguments, str(cwd or Path.cwd()), paths))
        self._process.start()
        self.pid = self._process.pid

    @property
    def running(self) -> bool:
        return self._process.is_alive()

    def said(self) -> str:
        """What it has printed so far."""
        return Path(self._said[0].name).read_text(encoding="utf-8")

    def kill(self, number=signal.SIGKILL):
        if self._process.is_alive():
            os.kill(self.pid, number)

    def finish(self, timeout=120) -> subprocess.CompletedProcess:
        self._process.join(timeout)
        if self._process.is_alive():
            self._process.kill()
            raise TimeoutError(f"{self._arguments} did not end in {timeout} s:\n{self.said()}")
        output, errors = (Path(file.name).read_text(encoding="utf-8") for file in self._said)
        return subprocess.CompletedProcess(self._arguments, self._process.exitcode, output, errors)


def start(name, *arguments, cwd=None) -> Run:
    return Run(name, arguments, cwd)


def run_script_here(words, cwd, paths):
    """In the child: what `python scripts/NAME.py ...` does."""
    for descriptor, path in zip((1, 2), paths, strict=True):
        os.dup2(os.open(path, os.O_WRONLY | os.O_APPEND), descriptor)
    sys.stdout, sys.stderr = (os.fdopen(descriptor, "w", buffering=1, closefd=False) for descriptor in (1, 2))
    os.chdir(cwd)
    os.environ.update(QUIET)
    sys.path.insert(0, str(SCRIPTS))
    sys.argv = [f"{words[0]}.py", *words[1:]]
    import torch

    torch.set_num_threads(1)
    from utils.base.cli.parser import run

    run(importlib.import_module(words[0]).main, words[1:])
