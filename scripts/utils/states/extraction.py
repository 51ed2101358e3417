"""The hidden states of every split from one pass: where they are kept, how long it takes, what is fit for use."""

import shutil
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import torch

from utils.base.errors import UserError
from utils.base.progress import Progress, readable_time
from utils.states.forward_pass import hook_free_rate
from utils.states.positions import ReadPlan, ragged, whole_sequences
from utils.states.store import collect_in_memory, collect_on_disk, table_bytes

LONG_RUN = 20  # batches: from here on one batch is first run without hooks, for an estimate of time
MOST_NON_FINITE = 0.01  # of the states: more than this is no accident


def run_pass(arguments, language_model, splits, layers, examples, seconds, own_probability=True):
    """The one pass over all splits, for examples {question: {split: Examples}}. Returns {split: StateTable},
    {question: {split: the rows of its examples}} and {split: ReadPlan}, the rows of each table. own_probability: read the
    model's own too, where it can be.
    """
    plans, segments = choose_plans(arguments, splits, examples), segments_of(arguments)
    rows = {question: {name: plans[name].rows(found[name]) for name in splits} for question, found in examples.items()}
    needed = sum(table_bytes(language_model, len(plan), layers, segments) for plan in plans.values())
    budget, folder = where_kept(arguments, needed)
    tokens = sum(int(sequences.lengths.sum()) for sequences in splits.values())
    print(
        f"one pass over {tokens:,} tokens reads {sum(map(len, plans.values())):,} states in {len(layers)} layers: "
        f"{needed / 1e9:.2f} GB {f'on disk in {folder}' if folder else 'in memory'}",
        flush=True,
    )
    if folder:
        require_disk_space(Path(folder), needed)
    reference = estimate(arguments, language_model, splits, layers, tokens)
    tables, began = {}, time.monotonic()
    with Progress("hidden states", "token", tokens) as progress:
        done = 0

        def tick(count):
            nonlocal done
            done += count
            rate = done / (time.monotonic() - began)
            progress.update(count, f"{rate / reference:.2f} x hook-free" if reference else "")

        for name, sequences in splits.items():
            own = None
            if own_probability and name != "train":
                own = own_targets(language_model, sequences, layers, examples, rows, plans, name)
            common = (language_model, sequences, plans[name], layers, arguments.batch_size, own, tick, segments)
            tables[name] = collect_on_disk(folder, *common) if folder else collect_in_memory(*common)
            if folder and needed <= budget:
                tables[name] = tables[name].in_memory()
    seconds["pass"] = time.monotonic() - began
    print(f"pass: {readable_time(seconds['pass'])}, {tokens / seconds['pass']:,.0f} tokens/s", flush=True)
    return tables, rows, plans


def choose_plans(arguments, splits, examples) -> dict[str, ReadPlan]:
    """{split: what is read of it}: the positions of all lags, pooled as `arguments.pool` says; for an attention probe the
    whole text up to them.
    """
    by_split = {name: [found[name] for found in examples.values()] for name in splits}
    if "attention" in getattr(arguments, "kinds", ()):
        whole = {name: whole_sequences(sequences, *by_split[name]) for name, sequences in splits.items()}
        return {
            name: with_attention_at(plan, by_split[name]) if segments_of(arguments) else plan for name, plan in whole.items()
        }
    return {name: ReadPlan.union(by_split[name], getattr(arguments, "pool", "last")) for name in splits}


def with_attention_at(plan, examples) -> ReadPlan:
    """The same plan, with attention rows at the examples' positions only."""
    attended = np.zeros(len(plan), dtype=bool)
    for found in examples:
        attended[plan.rows(found)] = True
    return replace(plan, attended=attended)


def segments_of(arguments) -> int:
    """Into how many segments attention rows are cut; 0 where no probe reads them."""
    return arguments.attention_segments if "attention_features" in getattr(arguments, "kinds", ()) else 0


def where_kept(arguments, needed) -> tuple[float, str | None]:
    """Bytes that states may take in memory, and the folder that `needed` bytes of them go to (None: they stay in memory)."""
    budget = arguments.memory_gb * 1e9 if arguments.memory_gb else psutil.virtual_memory().available / 2
    return budget, arguments.cache_dir or ("data/states" if needed > budget else None)


def require_disk_space(folder, needed):
    """Stop before the pass where the disk cannot hold its states; those that are there already count as room."""
    there = next(path for path in (folder, *folder.resolve().parents) if path.exists())
    free = shutil.disk_usage(there).free + sum(path.stat().st_size for path in folder.rglob("*.safetensors"))
    if needed > free:
        raise UserError(
            f"{needed / 1e9:.1f} GB of hidden states do not fit into {folder} ({free / 1e9:.1f} GB free): read "
            "fewer layers, prepare fewer windows (--max_chunks_per_class), or give another --cache_dir"
        )


def estimate(arguments, language_model, splits, layers, tokens) -> float | None:
    """Tokens/s of one batch without hooks, where the run is long enough to be worth it; says how long it will take."""
    sequences = next(iter(splits.values()))
    if sum(map(len, splits.values())) < LONG_RUN * arguments.batch_size:
        return None
    attention = segments_of(arguments) > 0
    rate = hook_free_rate(language_model, sequences, arguments.batch_size, eager=attention)
    if rate is None:
        return None
    deepest = max(
        (layer if isinstance(layer, int) else -1 if layer == "embed" else len(language_model.anatomy.blocks) - 1)
        for layer in layers
    )
    share = 1.0 if attention else (deepest + 1) / len(language_model.anatomy.blocks)
    print(
        f"the pass will take about {readable_time(tokens / rate * share)} (one batch without hooks: {rate:,.0f} "
        f"tokens/s; {share:.0%} of the layers are run)",
        flush=True,
    )
    return rate


def own_targets(language_model, sequences, layers, examples, rows, plans, split):
    """The target's id at each row from which the next token is predicted; None where the pass ends before the head,
    where states are pooled, and where the target is no token.
    """
    asked_next = [question for question in examples if question.lag == -1]
    token = sequences.metadata["targets"][0]["token"] if asked_next else None
    last = len(language_model.anatomy.blocks) - 1
    reaches_the_end = "final_norm" in layers or last in layers
    possible = language_model.has_head and language_model.anatomy.causal and language_model.anatomy.final_norm is not None
    if not (reaches_the_end and possible and token is not None and plans[split].pool == "last"):
        return None
    asked = np.full(len(plans[split]), -1)
    asked[rows[asked_next[0]][split]] = token  # where the target is a token, it is the only one
    return asked


def drop_non_finite(tables, rows, examples, layers, language_model, plans=None, samples=None):
    """Leave out the examples whose state overflowed in any layer; many of them are an error.

    plans: as run_pass gives them, where a probe attends over whole sequences: an overflow at any row of its text then
    counts. samples: {question: bool [n_train, seeds]}, cut as the examples of train are.
    """
    for split, table in tables.items():
        wrong, names = table.non_finite(), layers
        if "attention" in table.parts[0]:
            finite = torch.cat([part["attention"].isfinite().all(-1) for part in table.parts])
            wrong, names = torch.cat([wrong, ~finite[None]]), [*layers, "attention"]
        share = wrong.double().mean(1)
        if share.max() > MOST_NON_FINITE:
            worst = names[int(share.argmax())]
            raise UserError(
                f"{share.max():.1%} of the {split} states of layer {worst} are not finite in "
                f"{str(language_model.dtype).removeprefix('torch.')}; use --model_dtype bfloat16 or float32"
            )
        if wrong.any():
            fine = ~wrong.any(0).numpy()
            print(f"{split}: {int((~fine).sum())} of {len(fine)} states are not finite and were dropped", flush=True)
            before = np.concatenate([[0], np.cumsum(~fine)])
            for question, found in examples.items():
                own = rows[question]
                start, end = (own[split], own[split] + 1) if plans is None else ragged(plans[split], found[split])
                keep = before[end] == before[start]
                found[split], own[split] = found[split][keep], own[split][keep]
                if split == "train" and samples is not None:
                    samples[question] = samples[question][keep]
