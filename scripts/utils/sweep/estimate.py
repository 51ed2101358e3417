"""What a run of train_probe will take: states and bytes counted exactly; seconds and memory measured on a few batches."""

import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import torch
from scipy.stats import trim_mean

from utils.data.sequences import unlabelled_sequences
from utils.model.language_model import is_out_of_memory
from utils.probes.linear import LinearProbes, Settings, standardisation, train, validate
from utils.scores.metrics import scores
from utils.states.extraction import LONG_RUN, choose_plans, own_targets, segments_of, where_kept
from utils.states.forward_pass import read_batch
from utils.states.matrices import CHUNK_BYTES, Matrices
from utils.states.positions import ReadPlan
from utils.states.sites import parse_layers
from utils.states.store import StateTable, empty_part, fill, find_folder, read_index, table_bytes
from utils.sweep.questions import choose_lags, draw_examples

MEASURED_BATCHES = 6  # of each split, spread over it; or as many as fit into MOST_SECONDS, but at least one ...
LEAST_SECONDS = 2.0  # ... and where they are quicker than this, more of them: the speed of short batches wanders by half
MOST_SECONDS = 20.0
TABLE_BYTES = 2**28  # of made-up states that training is timed on: more than a processor's cache holds
POLL = 0.02  # seconds between two looks at the memory in use
MOST_SEQUENCES = 4096  # largest batch that is tried on a GPU
STEPS_BEFORE = 20  # training steps that are not timed: the first are slow
COPIES_OF_CHUNK = 7  # standardisation holds a chunk of states in float32, and up to three times in float64
BASELINES = 3


@dataclass(frozen=True)
class Run:
    """What is read and trained, counted as train_probe counts it. segments: of attention rows; bytes: of all that is read;
    folder: None in memory.
    """

    layers: list
    lags: list[int]
    examples: dict
    plans: dict
    rows: dict
    segments: int
    bytes: int
    budget: float
    folder: str | None

    @property
    def states(self) -> int:
        return sum(map(len, self.plans.values()))


def count_run(arguments, language_model, targets) -> Run:
    anatomy, splits = language_model.anatomy, targets[0]
    layers = parse_layers(arguments.layers, len(anatomy.blocks), anatomy.final_norm is not None)
    lags = choose_lags(arguments, splits["train"].metadata, anatomy.causal)
    examples, _ = draw_examples(arguments, targets, lags)
    plans, segments = choose_plans(arguments, splits, examples), segments_of(arguments)
    rows = {question: {name: plans[name].rows(found[name]) for name in splits} for question, found in examples.items()}
    needed = sum(table_bytes(language_model, len(plan), layers, segments) for plan in plans.values())
    return Run(layers, lags, examples, plans, rows, segments, needed, *where_kept(arguments, needed))


class PeakMemory:
    """Within the block, the most memory that this process has; afterwards `before` and `peak`, in bytes."""

    def __enter__(self):
        self._process, self._done = psutil.Process(), threading.Event()
        self.before = self.peak = self._process.memory_info().rss
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def _watch(self):
        while not self._done.wait(POLL):
            self.peak = max(self.peak, self._process.memory_info().rss)

    def __exit__(self, *_):
        self._done.set()
        self._thread.join()


@contextmanager
def timed(seconds, name):
    """Adds the seconds that the block takes to seconds[name]."""
    start = time.perf_counter()
    yield
    seconds[name] = seconds.get(name, 0.0) + time.perf_counter() - start


def largest_batch(language_model, splits, run, batch_size) -> tuple[int, str]:
    """How many of the longest sequences of train fit into memory together, and how that is known: on a GPU batches are
    doubled until one does not fit; elsewhere (where that would bring the machine down) one batch's memory is measured. No
    batch is tried that the data could not fill.
    """
    anatomy, sequences, plan = language_model.anatomy, splits["train"], run.plans["train"]
    batch_size = min(batch_size, max(map(len, splits.values())))
    longest = int(plan.sequence[plan.position.argmax()] if anatomy.causal else sequences.lengths.argmax())
    positions, ids = plan.position[plan.sequence == longest], sequences.input_ids[longest, : sequences.lengths[longest]]

    def fits(size) -> bool:
        batch = unlabelled_sequences([ids] * size)
        batch.metadata = {"tokenizer": sequences.metadata["tokenizer"]}
        rows = ReadPlan(np.repeat(np.arange(size), len(positions)), np.tile(positions, size), plan.pool)
        read_at = np.arange(size + 1) * len(positions)
        try:
            read_batch(language_model, batch, rows, np.arange(size), read_at, run.layers, run.segments)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            return False
        return True

    if language_model.device.type == "cuda":
        return largest_that_fits(fits, batch_size), f"measured on copies of one sequence, doubling up to {MOST_SEQUENCES:,}"
    with PeakMemory() as memory:
        if not fits(batch_size):
            return 0, "measured: one batch did not fit"
    least = 2 * len(ids) * anatomy.hidden_size * language_model.dtype.itemsize  # what one block takes and gives
    each = max((memory.peak - memory.before) / batch_size, least)
    free = psutil.virtual_memory().available
    return int(free / each), f"estimated: {each / 1e6:.2f} MB a sequence, {free / 1e9:.1f} GB free"


def share_in_cache(arguments, run, language_model, splits) -> float:
    """The part of the tokens whose states lie in the cache already, and will not be computed again."""
    done = 0
    for name, sequences in splits.items():
        if run.folder is None or not Path(run.folder).is_dir():
            break
        own = (
            None
            if name == "train"
            else own_targets(language_model, sequences, run.layers, run.examples, run.rows, run.plans, name)
        )
        folder = find_folder(Path(run.folder), language_model, sequences, run.plans[name], run.layers, own, run.segments)
        index = read_index(folder)
        for first, last in index["shards"] if index else ():
            if (folder / f"states_{first:08d}_{last:08d}.safetensors").exists():
                done += int(sequences.lengths[first:last].sum())
    return done / sum(int(sequences.lengths.sum()) for sequences in splits.values())


def largest_that_fits(fits, start, most=MOST_SEQUENCES) -> int:
    """The largest of start, its doubles up to `most` and its halves for which fits(size) holds; 0 where none does."""
    size = start
    while size and not fits(size):
        size //= 2
    while start <= size <= most // 2 and fits(2 * size):
        size *= 2
    return size


def seconds_of_pass(arguments, run, language_model, splits, tick) -> float:
    """Of the pass over all splits, from a few batches of each with everything that the pass does to them."""
    total = 0.0
    for name, sequences in splits.items():
        own = (
            None
            if name == "train"
            else own_targets(language_model, sequences, run.layers, run.examples, run.rows, run.plans, name)
        )
        order = spread_first(np.arange(0, len(sequences), arguments.batch_size), MEASURED_BATCHES)
        read_range(arguments, run, language_model, sequences, name, own, order[0])  # the first of a shape is slow
        each, began, passed = [], time.perf_counter(), 0.0
        for first in order:
            if passed > MOST_SECONDS or (passed > LEAST_SECONDS and len(each) >= MEASURED_BATCHES):
                break
            start = time.perf_counter()
            read_range(arguments, run, language_model, sequences, name, own, first)
            seconds = time.perf_counter() - start
            each.append(seconds / int(sequences.lengths[first : first + arguments.batch_size].sum()))
            passed = time.perf_counter() - began
        tick(1)
        total += trim_mean(each, 0.25) * int(sequences.lengths.sum())  # a batch that was held up says nothing
    if sum(map(len, splits.values())) >= LONG_RUN * arguments.batch_size:  # train_probe times two batches itself
        total += 2 * total * arguments.batch_size / sum(map(len, splits.values()))
    return total


def spread_first(starts, count) -> list[int]:
    """All of starts in a random order, but first `count` of them that lie evenly from the first to the last."""
    even = starts[np.unique(np.linspace(0, len(starts) - 1, count).round().astype(int))]
    rng = np.random.default_rng(0)
    return [int(start) for start in (*rng.permutation(even), *rng.permutation(np.setdiff1d(starts, even)))]


def read_range(arguments, run, language_model, sequences, name, own, first):
    last = min(first + arguments.batch_size, len(sequences))
    plan = run.plans[name]
    start, end = np.searchsorted(plan.sequence, [first, last])
    part = empty_part(language_model, end - start, run.layers, run.segments)
    fill(
        part,
        start,
        language_model,
        sequences,
        plan,
        run.layers,
        arguments.batch_size,
        own,
        first,
        last,
        lambda tokens: None,
        run.segments,
    )


def seconds_of_training(arguments, run, language_model, tick) -> float:
    """Of training and scoring every probe of every question: the same code on made-up states, by row and epoch."""
    examples = next(iter(run.examples.values()))
    count = {name: len(found) for name, found in examples.items()}
    batch_size = Settings(arguments.epochs, batch_size=arguments.probe_batch_size).batch_size_for(count["train"])
    hidden_size, dtype = language_model.anatomy.hidden_size, language_model.dtype
    most = max(2 * batch_size, TABLE_BYTES // (len(run.layers) * hidden_size * dtype.itemsize))
    made_up = min(most, max(count["train"], count["val"]))
    states = torch.randn(len(run.layers), made_up, hidden_size, generator=torch.Generator().manual_seed(0)).to(dtype)
    table = StateTable(run.layers, [{"states": states, "own": torch.full((made_up,), torch.nan)}])
    seconds = time_training(table, min(made_up, count["train"]), batch_size, language_model.device)
    tick(1)
    probes = LinearProbes(torch.randn(len(run.layers), hidden_size), torch.zeros(len(run.layers)))
    validated = Matrices(table, np.arange(min(made_up, count["val"])))
    with timed(seconds, "logits"):
        logits = probes.logits(validated)
    with timed(seconds, "validate"):
        validate(logits, examples["val"].labels[: len(validated)], 1.0, [0.0] * len(run.layers))
    tick(1)
    each_row = seconds["logits"] / len(validated)
    of_epochs = arguments.epochs * (
        count["train"] * seconds["step"] + count["val"] * (each_row + seconds["validate"] / len(validated))
    )
    once = count["train"] * seconds["standardisation"] + sum(count.values()) * each_row
    scoring = seconds_of_scoring(examples, len(run.layers) + BASELINES)
    questions = sum(len(found["train"]) for found in run.examples.values()) / count["train"]
    return (of_epochs + once + scoring) * len(arguments.seeds) * questions


def time_training(table, count, batch_size, device) -> dict[str, float]:
    """Seconds of each example and epoch ("step"), and of each example once ("standardisation")."""
    labels = np.arange(count) % 2
    device = device if device.type == "cuda" else "cpu"
    pair = Matrices(table, np.arange(2))

    def go(rows):
        train(
            Matrices(table, np.arange(rows)),
            labels[:rows],
            pair,
            labels[:2],
            Settings(1, batch_size=batch_size),
            device=device,
        )

    go(min(count, STEPS_BEFORE * batch_size))
    seconds = {}
    with timed(seconds, "standardisation"):
        standardisation(Matrices(table, np.arange(count)))
    with timed(seconds, "all"):
        go(count)
    return {
        "standardisation": seconds["standardisation"] / count,
        "step": max(seconds["all"] - seconds["standardisation"], 0.0) / count,
    }


def seconds_of_scoring(examples, rows) -> float:
    """Of all scores with their intervals for as many rows of the table; the first call also loads what it needs."""
    total = 0.0
    for found in examples.values():
        logits, seconds = np.random.default_rng(0).standard_normal(len(found)), {}
        for name in ("first", "later"):
            with timed(seconds, name):
                scores(logits, found.labels, found.groups, 0.0)
        total += max(seconds["first"] - seconds["later"], 0.0) + rows * seconds["later"]
    return total


def peak_of_run(run, peak_so_far) -> int:
    """Bytes of main memory: what the measured batches took, and the states with the copies that training makes of them."""
    in_memory = run.bytes if run.folder is None or run.bytes <= run.budget else 0
    return peak_so_far + in_memory + min(COPIES_OF_CHUNK * CHUNK_BYTES, COPIES_OF_CHUNK * run.bytes)
