#!/usr/bin/env python3
"""Measure how long a sweep over all layers takes, in forward passes of the model and beside other libraries.

The model is random and has the shape of gemma-3-270m. Windows have 258 random tokens (BOS, 256 of context, the labelled
one). Everything runs in float32 on two CPU threads. Building, loading and imports are not timed. The contestants take
turns, round by round, and medians are shown:

- bare forward: the base model over all windows, no head, no cache, no hooks, at three batch sizes; the fastest is 1.00;
- whole sweep: all that train_probe does once model and data are loaded, to saved probes and tables (no tracking), for
  all layers with 10 epochs, and for layer 5 alone;
- extraction: the one pass of that sweep, whose memory is measured too;
- TransformerLens and nnsight: the states at the same places with the same weights. Each library runs in its own
  environment (requirements-bench.txt says how to make them), in a process that waits for its turn. They get the windows as
  our pass runs them: without the labelled token, which no state that is read can see. Their states must equal ours;
- the naive recipe: a pass of the whole model with output_hidden_states=True for each layer and epoch, extrapolated from
  one batch.

All but the bare forward run at the batch size that was fastest for them in a short trial before the rounds.
"""

import argparse
import contextlib
import io
import os
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path
from statistics import median

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "scripts"))

THREADS, BATCH_SIZES, TRIAL_WINDOWS, EPOCHS, LAYER = 2, (8, 16, 48), 48, 10, 5
GOALS = {"whole sweep, all layers": 1.15, f"whole sweep, layer {LAYER}": 0.40}
GEMMA = {
    "hidden_size": 640,
    "intermediate_size": 2048,
    "num_hidden_layers": 18,
    "num_attention_heads": 4,
    "num_key_value_heads": 1,
    "head_dim": 256,
    "vocab_size": 262144,
    "sliding_window": 512,
    "max_position_embeddings": 32768,
    "tie_word_embeddings": True,
}
SMALL = {"hidden_size": 32, "intermediate_size": 64, "head_dim": 16, "vocab_size": 1024}
BOS, FIRST_ORDINARY_TOKEN = 2, 3


def parse(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--windows", type=int, default=96, help="windows in train, val and test together (default: 96)")
    parser.add_argument("--rounds", type=int, default=3, help="how often each contestant has its turn (default: 3)")
    parser.add_argument("--transformer_lens_python", help="Python of an environment with TransformerLens (default: none)")
    parser.add_argument("--nnsight_python", help="Python of an environment with nnsight (default: none)")
    parser.add_argument("--small", action="store_true", help="a tiny model: a test of this file, no measurement")
    arguments = parser.parse_args(argv)
    if arguments.windows < 8 or arguments.rounds < 1:
        parser.error("at least 8 windows and 1 round are needed")
    return arguments


def main(argv=None) -> int:
    arguments = parse(argv)
    os.environ |= {"TRANSFORMERS_VERBOSITY": "error", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    import torch

    torch.set_num_threads(THREADS)
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        folder = Path(folder)
        ours = Ours(folder, arguments)
        peak = ours.peak_memory()
        best = ours.best_of(ours.bare_forward)  # the pass costs what the forward costs
        contestants = {
            "extraction": (ours.extract, best),
            "whole sweep, all layers": (lambda size: ours.sweep("all", size), best),
            f"whole sweep, layer {LAYER}": (lambda size: ours.sweep(str(LAYER), size), best),
        }
        for library in start_libraries(arguments, folder, ours, stack):
            contestants[library.title] = (library.time, ours.best_of(library.time))
        rows = [("bare forward", size, ours.bare_forward) for size in ours.batch_sizes]
        rows += [(name, size, go) for name, (go, size) in contestants.items()]
        seconds = {(name, size): [] for name, size, _ in rows}
        for number in range(arguments.rounds):
            print(f"round {number + 1} of {arguments.rounds}", flush=True)
            for name, size, go in rows:
                seconds[name, size].append(go(size))
        naive = ours.naive_recipe()
    return report(arguments, {key: median(values) for key, values in seconds.items()}, naive, peak)


class Ours:
    """Hold the model and the windows, and run what this suite does with them."""

    def __init__(self, folder, arguments):
        import scipy.stats  # noqa: F401  the sweep's imports, so that they are not timed

        import train_probe
        import utils.sweep.sweep  # noqa: F401
        from utils.model.language_model import wrap
        from utils.sweep.flags import files_of

        self.train_probe, self.folder = train_probe, folder
        model = make_model(arguments.small)
        self.language_model = wrap(model, str(write_tokenizer(folder / "tokenizer", model.config.vocab_size)))
        write_windows(folder, arguments.windows, 32 if arguments.small else 256, model.config.vocab_size)
        self.targets = files_of(self.parse("all", 1)).load_targets()
        self.splits = self.targets[0]
        self.batch_sizes = [size for size in BATCH_SIZES if size <= arguments.windows]

    def parse(self, layers, batch_size):
        return self.train_probe.parse(
            [
                "--train_data",
                str(self.folder / "train.pth"),
                "--layer_sweep",
                layers,
                "--batch_size",
                str(batch_size),
                "--epochs",
                str(EPOCHS),
                "--no_wandb",
                "--output_dir",
                str(self.folder / "probes"),
                "--results_dir",
                str(self.folder / "results"),
            ]
        )

    def sweep(self, layers, batch_size) -> float:
        """Seconds of train_probe's main from where model and data are loaded."""
        from utils.base.stopwatch import Stopwatch

        start = time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            self.train_probe.sweep(self.parse(layers, batch_size), self.targets, self.language_model, Stopwatch())
        return time.perf_counter() - start

    def tables(self, batch_size):
        """{split: StateTable} of all layers at the places that are read."""
        from utils.states.extraction import run_pass
        from utils.sweep.flags import asking_of, reading_of, sampling_of

        arguments, anatomy = self.parse("all", batch_size), self.language_model.anatomy
        questions = asking_of(arguments, self.targets, anatomy.causal).draw(
            self.targets, sampling_of(arguments, self.targets)
        )
        states_only = replace(self.language_model, model=self.language_model.body)  # no head, so no own probability either
        with contextlib.redirect_stdout(io.StringIO()):
            return run_pass(reading_of(arguments, anatomy), states_only, questions).tables

    def extract(self, batch_size) -> float:
        start = time.perf_counter()
        self.tables(batch_size)
        return time.perf_counter() - start

    def bare_forward(self, batch_size, windows=None) -> float:
        import torch

        batches = self.windows(keep_labelled_token=True)[:windows].split(batch_size)
        start = time.perf_counter()
        with torch.inference_mode():
            for batch in batches:
                self.language_model.body(input_ids=batch, use_cache=False)
        return time.perf_counter() - start

    def windows(self, keep_labelled_token):
        """Return int64 [windows, tokens], in the order of the rows of the tables."""
        import torch

        windows = torch.cat([torch.from_numpy(split.input_ids).long() for split in self.splits.values()])
        return windows if keep_labelled_token else windows[:, :-1].contiguous()

    def best_of(self, go) -> int:
        """Return the batch size at which go(batch_size, windows) is fastest, after a first run, which is slow."""
        go(self.batch_sizes[0], self.batch_sizes[0])
        return min(self.batch_sizes, key=lambda size: go(size, TRIAL_WINDOWS))

    def peak_memory(self) -> dict[str, float]:
        """Return the GB that are resident before the pass and at its peak, at the largest batch.

        It is called first, before anything else raises the peak.
        """
        import psutil

        process, peak, done = psutil.Process(), [0], threading.Event()
        before = process.memory_info().rss

        def watch():
            while not done.wait(0.005):
                peak[0] = max(peak[0], process.memory_info().rss)

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            self.tables(self.batch_sizes[-1])
        finally:
            done.set()
            watcher.join()
        return {"before": before / 1e9, "peak": peak[0] / 1e9, "batch_size": self.batch_sizes[-1]}

    def naive_recipe(self) -> float:
        """Extrapolate the seconds for all windows, layers and epochs from the second of two batches."""
        import torch

        batch = self.windows(keep_labelled_token=True)[: self.batch_sizes[0]]
        for _ in range(2):
            start = time.perf_counter()
            with torch.inference_mode():
                self.language_model.model(input_ids=batch, output_hidden_states=True, use_cache=False)
            seconds = time.perf_counter() - start
        readings = len(self.language_model.anatomy.blocks) + 2
        return seconds * sum(map(len, self.splits.values())) / len(batch) * readings * EPOCHS


def make_model(small):
    """Make a model with random weights. Nothing is downloaded."""
    import torch
    from transformers import Gemma3ForCausalLM, Gemma3TextConfig

    torch.manual_seed(0)
    return Gemma3ForCausalLM(Gemma3TextConfig(**(GEMMA | SMALL if small else GEMMA))).float().eval()


def write_tokenizer(folder, vocabulary) -> Path:
    """Write a tokenizer of as many words, by which the context baseline tells where sentences end. Return its folder."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    words = {f"word{number}": number for number in range(vocabulary)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="word0"))
    PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(folder)
    return folder


def write_windows(folder, count, context_length, vocabulary):
    """Write train.pth, val.pth and test.pth: random ids, groups of two windows, one of each class. No group is divided."""
    import numpy as np

    from utils.data.sequences import Sequences, save_sequences

    random = np.random.default_rng(0)
    input_ids = random.integers(FIRST_ORDINARY_TOKEN, vocabulary, (count, context_length + 2), dtype=np.int32)
    input_ids[:, 0] = BOS
    labels = np.full(input_ids.shape, -1, dtype=np.int8)
    labels[:, -1] = np.arange(count) % 2
    groups = (np.arange(count) // 2).astype(np.int32)
    held_out = max(2, count // 20 * 2)
    split_of = {
        "train": slice(0, count - 2 * held_out),
        "val": slice(count - 2 * held_out, count - held_out),
        "test": slice(count - held_out, count),
    }
    names = [f"group {group}" for group in range(groups[-1] + 1)]
    metadata = {
        "model_name": "random",
        "default_lag": -1,
        "prevalence": 0.05,
        "documents": names,
        "groups": names,
        "targets": [{"name": "target", "token": FIRST_ORDINARY_TOKEN, "piece": "target"}],
        "tokenizer": {"fingerprint": "none", "before": [BOS], "after": [], "vocabulary": vocabulary},
        "dataset_fingerprint": "random",
        "source": {"dataset": "random"},
        "context_length": context_length,
    }
    for name, where in split_of.items():
        size = len(groups[where])
        sequences = Sequences(
            input_ids[where],
            np.full(size, context_length + 2, dtype=np.int32),
            labels[where],
            groups[where],
            groups[where],
            np.zeros(size, dtype=np.int32),
            np.zeros(size, dtype=np.int64),
            metadata | {"split": name},
        )
        with open(folder / f"{name}.pth", "wb") as file:
            save_sequences(file, sequences)


def start_libraries(arguments, folder, ours, stack):
    """Yield the libraries that run, after comparing their states with ours. Say why the others do not run."""
    import torch
    from other_libraries import Library

    interpreters = {"transformer-lens": arguments.transformer_lens_python, "nnsight": arguments.nnsight_python}
    if any(interpreters.values()):
        ours.language_model.model.save_pretrained(folder / "model")
        torch.save(ours.windows(keep_labelled_token=False), folder / "windows.pth")
        tables = ours.tables(ours.batch_sizes[0])
        expected = torch.cat([table.parts[0]["states"] for table in tables.values()], dim=1)
    for name, python in interpreters.items():
        if not python:
            print(f"{name}: skipped, no --{name.replace('-', '_')}_python given")
            continue
        try:
            library = Library(name, python, folder, THREADS, stack)
            states = library.states(folder / f"{name}.pth", ours.batch_sizes[0])
        except (OSError, RuntimeError) as error:
            print(f"{name}: skipped, {error}")
            continue
        difference = float((states - expected).abs().max())
        print(
            f"{library.title}: states {list(states.shape)} differ from ours by at most {difference:.1e}; the largest "
            f"is {float(expected.abs().max()):.1f}",
            flush=True,
        )
        yield library


def report(arguments, seconds, naive, peak) -> int:
    """Print the table. Return 1 if a goal is missed."""
    reference = min(value for (name, _), value in seconds.items() if name == "bare forward")
    missed = 0
    print(
        f"\n{arguments.windows} windows, {arguments.rounds} round(s), {THREADS} threads, float32; seconds are medians and "
        "belong to this machine and hour: compare the ratios"
    )
    print(f"{'':34}{'batch':>6}{'seconds':>10}{'of bare':>9}")
    for (name, size), value in seconds.items():
        ratio, verdict = value / reference, ""
        if name in GOALS and not arguments.small:
            missed += ratio > GOALS[name]
            verdict = f"  {'PASS' if ratio <= GOALS[name] else 'FAIL'} (goal <= {GOALS[name]:.2f})"
        print(f"{name:34}{size:>6}{value:>10.2f}{ratio:>9.2f}{verdict}")
    print(f"{'naive recipe, extrapolated':34}{BATCH_SIZES[0]:>6}{naive:>10.0f}{naive / reference:>9.0f}")
    print(
        f"extraction at batch {peak['batch_size']}: {peak['peak']:.2f} GB resident at its peak, {peak['before']:.2f} GB "
        "before it (with the model)"
    )
    if arguments.small:
        print("no verdicts: --small is no measurement")
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
