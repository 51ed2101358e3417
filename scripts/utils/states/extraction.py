"""Read the hidden states of every split in one pass: where they are kept, how long it takes, which of them are finite."""

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch

from utils.base.errors import UserError
from utils.base.progress import Progress, readable_time
from utils.base.text_table import how_many
from utils.data.sequences import Sequences
from utils.model.language_model import LanguageModel
from utils.states.comparison import require_same_states
from utils.states.forward_pass import Pass, hook_free_rate
from utils.states.positions import Examples, Question, ReadPlan, text_before, whole_sequences
from utils.states.sites import ATTENTION, Layer, deepest_block
from utils.states.source import Source
from utils.states.store import StateTable, collect_in_memory, collect_on_disk, table_bytes

LONG_RUN = 20  # batches: from here on one batch is first run without hooks, for an estimate of time
MOST_NON_FINITE = 0.01  # of the states: more than this is no accident
FEWER_WINDOWS = "prepare fewer windows (--max_chunks_per_class)"  # where a disk is too small
USUAL_FOLDER = "data/states"  # where states go that do not fit into memory


@dataclass(frozen=True)
class Reading:
    """How states are read, and where they are kept.

    layers      which are read
    pool        "last", "mean" or "max": see ReadPlan
    whole       read every text token up to the one that is asked for, for probes that attend over them
    segments    into how many segments attention rows are cut
    attention   whether attention rows are read
    batch_size  sequences per forward pass
    cache_dir   folder where states are kept; None: in memory, while they fit
    memory_gb   states beyond this go to disk; None: half of the free memory
    """

    layers: tuple[Layer, ...]
    pool: str = "last"
    whole: bool = False
    segments: int = 4
    attention: bool = False
    batch_size: int = 48
    cache_dir: str | None = None
    memory_gb: float | None = None

    def place(self, needed: int) -> tuple[float, str | None]:
        """Decide where `needed` bytes of states go: (bytes that memory may hold, folder or None for memory)."""
        budget = self.memory_gb * 1e9 if self.memory_gb else psutil.virtual_memory().available / 2
        return budget, self.cache_dir or (USUAL_FOLDER if needed > budget else None)


@dataclass(frozen=True)
class States:
    """What one pass has read: the table of each split, the plan of its rows, the seconds that the pass took, and how far the
    states of one sequence lay from those of transformers.
    """

    reading: Reading
    tables: Mapping[str, StateTable]
    plans: Mapping[str, ReadPlan]
    seconds: float
    comparison: Mapping[str, Any] = field(default_factory=dict)

    def source(self, question: Question) -> Source:
        """Find the rows of one question's examples."""
        rows = {name: self.plans[name].rows(those) for name, those in question.examples.items()}
        if not self.reading.whole:
            return Source(self.tables, rows)
        attended = {name: text_before(self.plans[name], those) for name, those in question.examples.items()}
        return Source(self.tables, rows, attended)


def plans_of(
    reading: Reading, language_model: LanguageModel, questions: Sequence[Question], own_probability: bool = True
) -> dict[str, ReadPlan]:
    """Plan what is read of each split: the positions of all questions; for an attention probe, the whole text up to them.

    own_probability: also ask the model for its own probability of the target, on validation and test, where it can say.
    """
    plans = {}
    for name, sequences in questions[0].sequences.items():
        examples = [question.examples[name] for question in questions]
        if reading.whole:
            plan = whole_sequences(sequences, examples, reading.layers)
        else:
            plan = ReadPlan.union(examples, reading.layers, reading.pool)
        if reading.attention:
            attended = attended_rows(plan, examples) if reading.whole else None
            plan = replace(plan, segments=reading.segments, attended=attended)
        own = own_targets(language_model, plan, questions, name) if own_probability and name != "train" else None
        plans[name] = replace(plan, own_targets=own)
    return plans


def attended_rows(plan: ReadPlan, examples: Sequence) -> np.ndarray:
    """Mark the rows that need attention features, those at the examples' own positions: bool [rows]."""
    attended = np.zeros(len(plan), dtype=bool)
    for found in examples:
        attended[plan.rows(found)] = True
    return attended


def own_targets(
    language_model: LanguageModel, plan: ReadPlan, questions: Sequence[Question], split: str
) -> np.ndarray | None:
    """Find the target's id at each row from which the next token is predicted: int64 [rows], -1 elsewhere.

    None where the pass ends before the head, where states are pooled, and where the target is no token.
    """
    asked_next = [question for question in questions if question.lag == -1]
    token = questions[0].data.target_token if asked_next else None
    anatomy = language_model.anatomy
    last = len(anatomy.blocks) - 1
    reaches_the_end = deepest_block(plan.layers, anatomy) == last
    if not (reaches_the_end and not language_model.why_no_logits and token is not None and plan.pool == "last"):
        return None
    asked = np.full(len(plan), -1)
    asked[plan.rows(asked_next[0].examples[split])] = token  # where the target is a token, it is the only one
    return asked


def run_pass(
    reading: Reading, language_model: LanguageModel, questions: Sequence[Question], own_probability: bool = True
) -> States:
    """Run the one pass over all splits, for the examples of all questions."""
    plans = plans_of(reading, language_model, questions, own_probability)
    return read_plans(reading, language_model, questions[0].sequences, plans)


def read_plans(
    reading: Reading,
    language_model: LanguageModel,
    splits: Mapping[str, Sequences],
    plans: Mapping[str, ReadPlan],
    for_less: str = FEWER_WINDOWS,
) -> States:
    """Run the one pass over all splits by their plans. Say what is read, and how long it takes.

    for_less: what helps where the disk is too small, beside fewer layers. Raise UserError where the longest sequence does
    not give the states that transformers itself returns.
    """
    needed = sum(table_bytes(language_model, plan) for plan in plans.values())
    budget, folder = reading.place(needed)
    tokens = sum(int(sequences.lengths.sum()) for sequences in splits.values())
    states, layers = sum(map(len, plans.values())), how_many(len(reading.layers), "layer")
    print(
        f"one pass over {tokens:,} tokens reads {states:,} states in {layers}: {needed / 1e9:.2f} GB "
        f"{f'on disk in {folder}' if folder else 'in memory'}",
        flush=True,
    )
    if folder:
        require_disk_space(Path(folder), needed, for_less)
    passes = {name: Pass(language_model, splits[name], plan, reading.batch_size) for name, plan in plans.items()}
    read = {layer for run in passes.values() for layer in run.needed}
    comparison = require_same_states(language_model, splits.values(), read)
    reference = estimate_rate(reading, language_model, splits, tokens)
    tables, began = {}, time.monotonic()
    with Progress("hidden states", "token", tokens) as progress:
        done = 0

        def tick(count):
            nonlocal done
            done += count
            rate = done / (time.monotonic() - began)
            progress.update(count, f"{100 * rate / reference:.0f} % of the speed without hooks" if reference else "")

        for name, run in passes.items():
            tables[name] = collect_on_disk(folder, run, tick) if folder else collect_in_memory(run, tick)
            if folder and needed <= budget:
                tables[name] = tables[name].in_memory()
    seconds = time.monotonic() - began
    print(f"pass: {readable_time(seconds)}, {tokens / seconds:,.0f} tokens/s", flush=True)
    return States(reading, tables, plans, seconds, comparison)


def require_disk_space(folder: Path, needed: int, for_less: str = FEWER_WINDOWS) -> None:
    """Stop before the pass where the disk cannot hold its states; those that are there already count as room.

    for_less: what helps, beside fewer layers and another folder
    """
    there = next(path for path in (folder, *folder.resolve().parents) if path.exists())
    free = shutil.disk_usage(there).free + sum(path.stat().st_size for path in folder.rglob("*.safetensors"))
    if needed > free:
        raise UserError(
            f"{needed / 1e9:.1f} GB of hidden states do not fit into {folder} ({free / 1e9:.1f} GB free): read "
            f"fewer layers, {for_less}, or give another --cache_dir"
        )


def estimate_rate(
    reading: Reading, language_model: LanguageModel, splits: Mapping[str, Sequences], tokens: int
) -> float | None:
    """Measure the tokens/s of one batch without hooks, where the run is long enough; say how long the pass will take."""
    if sum(map(len, splits.values())) < LONG_RUN * reading.batch_size:
        return None
    rate = hook_free_rate(language_model, next(iter(splits.values())), reading.batch_size, eager=reading.attention)
    if rate is None:
        return None
    anatomy = language_model.anatomy
    share = 1.0 if reading.attention else (deepest_block(reading.layers, anatomy) + 1) / len(anatomy.blocks)
    print(
        f"the pass will take about {readable_time(tokens / rate * share)} (one batch without hooks: {rate:,.0f} "
        f"tokens/s; {share:.0%} of the layers are run)",
        flush=True,
    )
    return rate


def drop_non_finite(states: States, language_model: LanguageModel, questions: Sequence[Question]) -> list[Question]:
    """Leave out the examples whose state overflowed in any layer. Raise UserError where they are more than an accident.

    Where a probe attends over whole sequences, an overflow at any row of an example's text counts.
    """
    kept: list[dict[str, np.ndarray]] = [{} for _ in questions]
    for split, table in states.tables.items():
        fine = finite_rows(split, table, language_model)
        if fine.all():
            continue
        print(f"{split}: {int((~fine).sum())} of {len(fine)} states are not finite and were dropped", flush=True)
        before = np.concatenate([[0], np.cumsum(~fine)])
        for question, keep in zip(questions, kept, strict=True):
            source = states.source(question)
            row = source.rows[split]
            start, end = (row, row + 1) if source.attended is None else source.attended[split]
            keep[split] = before[end] == before[start]
    return [question.keep(keep) if keep else question for question, keep in zip(questions, kept, strict=True)]


def finite_rows(split: str, table: StateTable, language_model: LanguageModel) -> np.ndarray:
    """Find the rows that are finite in every layer: bool [rows]. Raise UserError where many of one layer are not."""
    wrong, names = table.non_finite(), list(table.layers)
    if "attention" in table.parts[0]:
        finite = torch.cat([part["attention"].isfinite().all(-1) for part in table.parts])
        wrong, names = torch.cat([wrong, ~finite[None]]), [*names, ATTENTION]
    require_few_non_finite(split, wrong, names, language_model)
    return ~wrong.any(0).numpy()


def require_few_non_finite(split: str, wrong: torch.Tensor, layers: Sequence[Layer], language_model: LanguageModel) -> None:
    """Raise UserError where more than an accident's share of a layer's states are not finite. wrong: bool [layers, rows]."""
    share = wrong.double().mean(1)
    if share.max() > MOST_NON_FINITE:
        raise UserError(
            f"{share.max():.1%} of the {split} states of layer {layers[int(share.argmax())]} are not finite in "
            f"{str(language_model.dtype).removeprefix('torch.')}; {language_model.against_overflow}"
        )


def read_states(
    language_model: LanguageModel,
    sequences: Sequences,
    examples: Examples,
    layers: Sequence[Layer],
    batch_size: int = 32,
    pool: str = "last",
) -> torch.Tensor:
    """Read the states of examples into memory: float32 [layers, n, hidden_size]. For notebooks; scripts use `run_pass`.

    layers: numbers of blocks, "embed" and "final_norm"; pool: "last", "mean" or "max" of the text up to each example.
    """
    plan = ReadPlan.union([examples], layers, pool)
    table = collect_in_memory(Pass(language_model, sequences, plan, batch_size), lambda tokens: None)
    return table.rows(plan.rows(examples))
