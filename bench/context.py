#!/usr/bin/env python3
"""Time the context baseline beside a linear sweep of one layer, on the tokens of a dataset of scripts/prepare_data.py.

The probe reads random states, for its time does not depend on what they say; it trains on as many examples as --rows. Both
are timed on one thread, and score validation and test.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_dir", default="data", help="folder of train.pth, val.pth and test.pth")
    parser.add_argument("--rows", type=int, default=100_000, help="labelled tokens of train, at most")
    parser.add_argument("--hidden_sizes", default="64,768,4096", help="of the states")
    arguments = parser.parse_args(argv)
    import sklearn.linear_model  # noqa: F401  the import is no part of the time
    import torch

    from utils.data.sequences import load_sequences, per_target
    from utils.data.tokenizer import load_tokenizer, sentence_ends
    from utils.scores.baselines.context import Surroundings, context_logits
    from utils.scores.baselines.lesson import Lesson
    from utils.scores.ranking import auroc
    from utils.states.positions import examples_at

    torch.set_num_threads(1)
    splits = {
        name: per_target(load_sequences(Path(arguments.data_dir) / f"{name}.pth"))[0] for name in ("train", "val", "test")
    }
    examples = {name: examples_at(sequences, sequences.default_lag) for name, sequences in splits.items()}
    few = np.random.default_rng(0).permutation(len(examples["train"]))[: arguments.rows]
    scored = {**examples, "train": examples["train"][np.sort(few)]}
    ids = np.unique(np.concatenate([np.unique(sequences.input_ids) for sequences in splits.values()]))
    surroundings = Surroundings(sentence_ends(load_tokenizer(splits["train"].model_name), ids), causal=True)

    def of_context():
        return context_logits(Lesson.of(examples["train"], splits["train"]), scored, splits, surroundings)

    found = timed(f"context, {len(examples['train']):,} tokens of train", of_context)
    print(f"  AUROC on validation {auroc(found['val'], scored['val'].labels):.3f}")
    for hidden_size in map(int, arguments.hidden_sizes.split(",")):
        states = {name: torch.randn(1, len(those), hidden_size) for name, those in scored.items()}
        timed(f"linear probe of one layer, hidden size {hidden_size}", lambda states=states: linear_sweep(states, scored))
    return 0


def linear_sweep(states, examples):
    """Train one linear probe, and give its logits of all splits."""
    from utils.probes.descent.linear import train
    from utils.probes.descent.training import Settings
    from utils.probes.labels import LabelledStates
    from utils.states.matrices import Matrices

    matrices = {name: Matrices.of(rows) for name, rows in states.items()}
    learnt, chosen_by = (LabelledStates(matrices[name], examples[name].labels) for name in ("train", "val"))
    found = train(learnt, chosen_by, Settings())
    return {name: found.probes.logits(those) for name, those in matrices.items()}


def timed(name, work):
    start, processor = time.perf_counter(), time.process_time()
    found = work()
    print(
        f"{name}: {time.perf_counter() - start:.1f} s, {time.process_time() - processor:.1f} s of processor time", flush=True
    )
    return found


if __name__ == "__main__":
    sys.exit(main())
