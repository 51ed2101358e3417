"""The hidden states of every split from one pass: where they are kept, how long it takes, what is fit for use."""

import shutil
import time
from pathlib import Path

import numpy as np
import psutil

from utils.command_line import Progress, readable_time
from utils.errors import UserError
from utils.hidden_states import hook_free_rate
from utils.readings import ReadPlan
from utils.state_store import collect_in_memory, collect_on_disk, table_bytes

LONG_RUN = 20  # batches: from here on one batch is first run without hooks, for an estimate of time
MOST_NON_FINITE = 0.01  # of the states: more than this is no accident


def run_pass(arguments, language_model, splits, layers, examples, seconds):
    """The one pass over all splits. Returns {split: StateTable} and {lag: {split: the rows of its examples}}."""
    plans = {name: ReadPlan.union([found[name] for found in examples.values()]) for name in splits}
    rows = {lag: {name: plans[name].rows(found[name]) for name in splits} for lag, found in examples.items()}
    needed = sum(table_bytes(language_model, len(plan), layers) for plan in plans.values())
    budget, folder = where_kept(arguments, needed)
    tokens = sum(int(sequences.lengths.sum()) for sequences in splits.values())
    print(f"one pass over {tokens:,} tokens reads {sum(map(len, plans.values())):,} states in {len(layers)} layers: "
          f"{needed / 1e9:.2f} GB {f'on disk in {folder}' if folder else 'in memory'}", flush=True)
    if folder:
        require_disk_space(Path(folder), needed)
    reference = estimate(arguments, language_model, splits, layers, tokens)
    tables, began = {}, time.monotonic()
    with Progress("hidden states", "tok", tokens) as progress:
        done = 0

        def tick(count):
            nonlocal done
            done += count
            rate = done / (time.monotonic() - began)
            progress.update(count, f"{rate / reference:.2f} x hook-free" if reference else "")

        for name, sequences in splits.items():
            own = None if name == "train" else own_targets(language_model, sequences, layers, examples, rows, plans, name)
            common = (language_model, sequences, plans[name], layers, arguments.batch_size, own, tick)
            tables[name] = collect_on_disk(folder, *common) if folder else collect_in_memory(*common)
            if folder and needed <= budget:
                tables[name] = tables[name].in_memory()
    seconds["pass"] = time.monotonic() - began
    print(f"pass: {readable_time(seconds['pass'])}, {tokens / seconds['pass']:,.0f} tokens/s", flush=True)
    return tables, rows


def where_kept(arguments, needed) -> tuple[float, str | None]:
    """Bytes that states may take in memory, and the folder that `needed` bytes of them go to (None: they stay in memory)."""
    budget = arguments.memory_gb * 1e9 if arguments.memory_gb else psutil.virtual_memory().available / 2
    return budget, arguments.cache_dir or ("data/states" if needed > budget else None)


def require_disk_space(folder, needed):
    """Stop before the pass where the disk cannot hold its states; those that are there already count as room."""
    there = next(path for path in (folder, *folder.resolve().parents) if path.exists())
    free = shutil.disk_usage(there).free + sum(path.stat().st_size for path in folder.rglob("*.safetensors"))
    if needed > free:
        raise UserError(f"{needed / 1e9:.1f} GB of hidden states do not fit into {folder} ({free / 1e9:.1f} GB free): read "
                        "fewer layers, prepare fewer windows (--max_chunks_per_class), or give another --cache_dir")


def estimate(arguments, language_model, splits, layers, tokens) -> float | None:
    """Tokens/s of one batch without hooks, where the run is long enough to be worth it; says how long it will take."""
    sequences = splits["train"]
    if sum(map(len, splits.values())) < LONG_RUN * arguments.batch_size:
        return None
    rate = hook_free_rate(language_model, sequences, arguments.batch_size)
    if rate is None:
        return None
    deepest = max((layer if isinstance(layer, int) else -1 if layer == "embed" else len(language_model.anatomy.blocks) - 1)
                  for layer in layers)
    share = (deepest + 1) / len(language_model.anatomy.blocks)
    print(f"the pass will take about {readable_time(tokens / rate * share)} (one batch without hooks: {rate:,.0f} "
          f"tokens/s; {share:.0%} of the layers are run)", flush=True)
    return rate


def own_targets(language_model, sequences, layers, examples, rows, plans, split):
    """The target's id at each row from which the next token is predicted; None where the pass ends before the head."""
    last = len(language_model.anatomy.blocks) - 1
    reaches_the_end = "final_norm" in layers or last in layers
    possible = language_model.has_head and language_model.anatomy.causal and language_model.anatomy.final_norm is not None
    if not (reaches_the_end and possible and -1 in examples):
        return None
    token_of_task = np.array([target["token"] for target in sequences.metadata["targets"]])
    asked = np.full(len(plans[split]), -1)
    asked[rows[-1][split]] = token_of_task[sequences.tasks[examples[-1][split].sequence]]
    return asked


def drop_non_finite(tables, rows, examples, layers, language_model):
    """Leave out the examples whose state overflowed in any layer; many of them are an error."""
    for split, table in tables.items():
        wrong = table.non_finite()
        share = wrong.double().mean(1)
        if share.max() > MOST_NON_FINITE:
            worst = layers[int(share.argmax())]
            raise UserError(f"{share.max():.1%} of the {split} states of layer {worst} are not finite in "
                            f"{str(language_model.dtype).removeprefix('torch.')}; use --model_dtype bfloat16 or float32")
        if wrong.any():
            fine = ~wrong.any(0).numpy()
            print(f"{split}: {int((~fine).sum())} of {len(fine)} states are not finite and were dropped", flush=True)
            for lag, found in examples.items():
                keep = fine[rows[lag][split]]
                found[split], rows[lag][split] = found[split][keep], rows[lag][split][keep]
