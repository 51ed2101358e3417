"""Estimate what a run of train_probe will take: count states and bytes, measure seconds and memory on a few batches."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import torch
from scipy.stats import trim_mean

from utils.base.errors import is_out_of_memory
from utils.base.stopwatch import Stopwatch
from utils.data.sequences import Sequences, unlabelled_sequences
from utils.model.language_model import LanguageModel
from utils.probes.descent.linear import LinearProbes, train
from utils.probes.descent.training import Settings, validation_scores
from utils.probes.labels import LabelledStates
from utils.probes.standardised import standardisation
from utils.scores.baselines.compared import all_token_baselines
from utils.scores.baselines.lesson import MOST_ROWS, Lesson
from utils.scores.baselines.texts import text_baselines
from utils.scores.metrics import scores
from utils.states.extraction import LONG_RUN, Reading, plans_of
from utils.states.forward_pass import Pass, read_batch
from utils.states.matrices import CHUNK_BYTES, Matrices
from utils.states.positions import Examples, Question, ReadPlan
from utils.states.shards import shard_path
from utils.states.store import StateTable, empty_part, fill_part, find_folder, table_bytes
from utils.sweep.fits import Fitting
from utils.sweep.questions import surroundings_of, texts_of

MEASURED_BATCHES = 6  # of each split, spread over it; or as many as fit into MOST_SECONDS, but at least one ...
LEAST_SECONDS = 2.0  # ... and where they are quicker than this, more of them: the speed of short batches wanders by half
MOST_SECONDS = 20.0
TABLE_BYTES = 2**28  # of made-up states that training is timed on: more than a processor's cache holds
POLL = 0.02  # seconds between two looks at the memory in use
MOST_SEQUENCES = 4096  # largest batch that is tried on a GPU
STEPS_BEFORE = 20  # training steps that are not timed: the first are slow
COPIES_OF_CHUNK = 7  # standardisation holds a chunk of states in float32, and up to three times in float64
BASELINES_SCORED = 6
TIMED_ROWS = 4096  # examples that baselines are fitted to for the estimate; of scored ones the same part is timed


@dataclass(frozen=True)
class PlannedRun:
    """All that a run will read and train, counted as train_probe counts it.

    bytes: of all that is read; budget: bytes that memory may take; folder: where states go, None in memory.
    """

    questions: Sequence[Question]
    reading: Reading
    plans: Mapping[str, ReadPlan]
    bytes: int
    budget: float
    folder: str | None

    @property
    def states(self) -> int:
        return sum(map(len, self.plans.values()))

    @property
    def splits(self) -> Mapping[str, Sequences]:
        return self.questions[0].sequences

    @property
    def sequences(self) -> int:
        return sum(map(len, self.splits.values()))

    def passes(self, language_model: LanguageModel) -> list[Pass]:
        """Give the pass over each split."""
        batch_size = self.reading.batch_size
        return [Pass(language_model, sequences, self.plans[name], batch_size) for name, sequences in self.splits.items()]


def plan_run(reading: Reading, language_model: LanguageModel, questions: Sequence[Question]) -> PlannedRun:
    """Count what a run will read."""
    plans = plans_of(reading, language_model, questions)
    needed = sum(table_bytes(language_model, plan) for plan in plans.values())
    return PlannedRun(questions, reading, plans, needed, *reading.place(needed))


class PeakMemory:
    """Watch the most memory that this process has within the block; afterwards `before` and `peak`, in bytes."""

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


def largest_batch(planned: PlannedRun, language_model: LanguageModel) -> tuple[int, str]:
    """Find how many of the longest sequences of train fit into memory together, and say how that is known.

    On a GPU batches are doubled until one does not fit; elsewhere, where that would bring the machine down, one batch's
    memory is measured. No batch is tried that is larger than the data.
    """
    anatomy, sequences, plan = language_model.anatomy, planned.splits["train"], planned.plans["train"]
    batch_size = min(planned.reading.batch_size, max(map(len, planned.splits.values())))
    longest = int(plan.sequence[plan.position.argmax()] if anatomy.causal else sequences.lengths.argmax())
    positions, ids = plan.position[plan.sequence == longest], sequences.input_ids[longest, : sequences.lengths[longest]]

    def fits(size: int) -> bool:
        batch = unlabelled_sequences([ids] * size)
        batch.metadata = {"tokenizer": sequences.metadata["tokenizer"]}
        rows = np.repeat(np.arange(size), len(positions)), np.tile(positions, size)
        copies = ReadPlan(*rows, plan.layers, plan.pool, plan.segments)
        read_at = np.arange(size + 1) * len(positions)
        try:
            read_batch(Pass(language_model, batch, copies, size), np.arange(size), read_at, plan.layers)
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


def share_in_cache(planned: PlannedRun, language_model: LanguageModel) -> float:
    """Compute the share of the tokens whose states are in the cache already, and will not be computed again."""
    done = 0
    if planned.folder is not None and Path(planned.folder).is_dir():
        for run in planned.passes(language_model):
            folder, index = find_folder(Path(planned.folder), run)
            for first, last in index["shards"] if index else ():
                if shard_path(folder, first, last).exists():
                    done += int(run.sequences.lengths[first:last].sum())
    return done / sum(int(sequences.lengths.sum()) for sequences in planned.splits.values())


def largest_that_fits(fits: Callable[[int], bool], start: int, most: int = MOST_SEQUENCES) -> int:
    """Find the largest of start, its doubles up to `most` and its halves for which fits(size) holds; 0 where none does."""
    size = start
    while size and not fits(size):
        size //= 2
    while start <= size <= most // 2 and fits(2 * size):
        size *= 2
    return size


def seconds_of_pass(planned: PlannedRun, language_model: LanguageModel, tick: Callable[[int], None]) -> float:
    """Estimate the seconds of the pass over all splits, from a few batches of each with everything done to them."""
    total, batch_size = 0.0, planned.reading.batch_size
    for run in planned.passes(language_model):
        lengths = run.sequences.lengths
        order = spread_first(np.arange(0, len(lengths), batch_size), MEASURED_BATCHES)
        read_one_batch(run, order[0])  # the first of a shape is slow
        each, began, passed = [], time.perf_counter(), 0.0
        for first in order:
            if passed > MOST_SECONDS or (passed > LEAST_SECONDS and len(each) >= MEASURED_BATCHES):
                break
            start = time.perf_counter()
            read_one_batch(run, first)
            seconds = time.perf_counter() - start
            each.append(seconds / int(lengths[first : first + batch_size].sum()))
            passed = time.perf_counter() - began
        tick(1)
        total += trim_mean(each, 0.25) * int(lengths.sum())  # a batch that was held up says nothing
    if planned.sequences >= LONG_RUN * batch_size:  # train_probe times two batches itself
        total += 2 * total * batch_size / planned.sequences
    return total


def spread_first(starts: np.ndarray, count: int) -> list[int]:
    """Put `count` of starts first, evenly spaced from the first to the last, then the others; both in random order."""
    even = starts[np.unique(np.linspace(0, len(starts) - 1, count).round().astype(int))]
    rng = np.random.default_rng(0)
    return [int(start) for start in (*rng.permutation(even), *rng.permutation(np.setdiff1d(starts, even)))]


def read_one_batch(run: Pass, first: int) -> None:
    """Read the batch that begins with this sequence, and drop it."""
    last = min(first + run.batch_size, len(run.sequences))
    start, end = map(int, np.searchsorted(run.plan.sequence, [first, last]))
    fill_part(empty_part(run, end - start), run, first, last, lambda tokens: None, offset=start)


def seconds_of_training(
    planned: PlannedRun, fitting: Fitting, language_model: LanguageModel, tick: Callable[[int], None]
) -> float:
    """Estimate the seconds of training and scoring every probe: the same code on made-up states, by row and epoch."""
    examples, layers = planned.questions[0].examples, list(planned.reading.layers)
    count = {name: len(found) for name, found in examples.items()}
    batch_size = Settings(fitting.epochs, batch_size=fitting.probe_batch_size).batch_size_for(count["train"])
    hidden_size, dtype = language_model.anatomy.hidden_size, language_model.dtype
    most = max(2 * batch_size, TABLE_BYTES // (len(layers) * hidden_size * dtype.itemsize))
    made_up = min(most, max(count["train"], count["val"]))
    states = torch.randn(len(layers), made_up, hidden_size, generator=torch.Generator().manual_seed(0)).to(dtype)
    table = StateTable(layers, [{"states": states, "own": torch.full((made_up,), torch.nan)}])
    each = time_training(table, min(made_up, count["train"]), batch_size, language_model.device)
    tick(1)
    probes = LinearProbes(torch.randn(len(layers), 1, hidden_size), torch.zeros(len(layers), 1))
    validated = Matrices(table, np.arange(min(made_up, count["val"])))
    watch = Stopwatch()
    with watch("logits"):
        logits = probes.logits(validated)
    with watch("validate"):
        truth = torch.from_numpy(examples["val"].labels[: len(validated), None]).float()
        validation_scores(logits, truth, truth >= 0, [1.0], torch.zeros(len(layers), 1))
    tick(1)
    each_row = watch.seconds["logits"] / len(validated)
    of_val = count["val"] * (each_row + watch.seconds["validate"] / len(validated))
    of_epochs = fitting.epochs * (count["train"] * each["step"] + of_val)
    once = count["train"] * each["standardisation"] + sum(count.values()) * each_row
    scoring = seconds_of_scoring(examples, len(layers) + BASELINES_SCORED)
    questions = sum(len(question.examples["train"]) for question in planned.questions) / count["train"]
    return (of_epochs + once + scoring) * len(fitting.seeds) * questions


def time_training(table: StateTable, count: int, batch_size: int, device: torch.device) -> dict[str, float]:
    """Measure the seconds of each example and epoch ("step"), and of each example once ("standardisation")."""
    labels = np.arange(count) % 2
    where = device if device.type == "cuda" else "cpu"
    pair = Matrices(table, np.arange(2))

    def go(rows):
        some = LabelledStates(Matrices(table, np.arange(rows)), labels[:rows])
        train(some, LabelledStates(pair, labels[:2]), Settings(1, batch_size=batch_size), device=where)

    go(min(count, STEPS_BEFORE * batch_size))
    watch = Stopwatch()
    with watch("standardisation"):
        standardisation(Matrices(table, np.arange(count)))
    with watch("all"):
        go(count)
    return {
        "standardisation": watch.seconds["standardisation"] / count,
        "step": max(watch.seconds["all"] - watch.seconds["standardisation"], 0.0) / count,
    }


def seconds_of_scoring(examples: Mapping[str, Examples], rows: int) -> float:
    """Measure the seconds of all scores with their intervals, for as many rows of the table.

    The first call also loads what it needs.
    """
    total = 0.0
    for found in examples.values():
        logits, watch = np.random.default_rng(0).standard_normal(len(found)), Stopwatch()
        for name in ("first", "later"):
            with watch(name):
                scores(logits, found.labels, found.groups, 0.0)
        total += max(watch.seconds["first"] - watch.seconds["later"], 0.0) + rows * watch.seconds["later"]
    return total


def seconds_of_baselines(questions: Sequence[Question], language_model: LanguageModel) -> float:
    """Measure the baselines of the first question on a part of its examples, and estimate those of all questions.

    The seconds are in proportion to the examples that are fitted to, of which there are at most MOST_ROWS a question. Words
    and characters of whole texts are fitted once for all lags of a target.
    """
    first, splits = questions[0], questions[0].sequences
    rows = [min(len(question.asked), MOST_ROWS) for question in questions]
    some = Lesson.of(first.asked, splits["train"], TIMED_ROWS).examples
    scored = {name: those[:: max(1, round(rows[0] / len(some)))] for name, those in first.first_sample.items()}
    surroundings, watch = surroundings_of(splits, language_model), Stopwatch()
    with watch("tokens"):
        all_token_baselines(some, scored, splits, surroundings)
    seconds = watch.seconds["tokens"] * sum(rows)
    if first.of_sequences:
        texts = texts_of(splits, language_model)
        with watch("texts"):
            text_baselines(some, scored, splits, texts, {})
        of_targets = {question.target: count for question, count in zip(questions, rows, strict=True)}
        seconds += watch.seconds["texts"] * sum(of_targets.values())
    return seconds / len(some)


def peak_of_run(planned: PlannedRun, peak_so_far: int) -> int:
    """Estimate the bytes of main memory that a run takes.

    They are what the measured batches took, plus the states and the copies that training makes of them.
    """
    in_memory = planned.bytes if planned.folder is None or planned.bytes <= planned.budget else 0
    return peak_so_far + in_memory + min(COPIES_OF_CHUNK * CHUNK_BYTES, COPIES_OF_CHUNK * planned.bytes)
