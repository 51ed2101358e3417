"""Documents and the logits of their tokens, made up."""

import numpy as np

from utils.scores.documents.layout import Documents, reading_order


def laid_out(lengths, labels=None, groups=None, seed=0, **more):
    """Documents of these lengths whose tokens come in random order, and where each token belongs."""
    owner, place = np.repeat(np.arange(len(lengths)), lengths), np.concatenate([np.arange(n) for n in lengths])
    mixed = np.random.default_rng(seed).permutation(len(owner))
    columns, counts = reading_order(owner[mixed], place[mixed], len(lengths))
    labels = np.arange(len(lengths)) % 2 if labels is None else labels
    groups = np.arange(len(lengths)) if groups is None else groups
    return (
        Documents(
            columns,
            counts,
            np.arange(len(lengths)),
            np.asarray(labels, dtype=np.int8),
            np.asarray(groups),
            np.asarray(lengths),
            **more,
        ),
        owner[mixed],
        place[mixed],
    )


def planted(seed, strengths, documents=120, groups=40, lengths=(3, 40), **more):
    """{split: Documents} and {split: token logits [probes, n]}: noise, but one token of each positive document is higher, by
    strengths[split] of each probe.
    """
    rng, laid, logits = np.random.default_rng(seed), {}, {}
    for split, raised in strengths.items():
        counts = rng.integers(*lengths, documents)
        labels = rng.integers(0, 2, documents)
        laid[split], owner, place = laid_out(counts, labels, rng.integers(0, groups, documents), seed, **more)
        logits[split] = rng.normal(size=(len(raised), len(owner)))
        logits[split] += np.outer(raised, (place == 2) & (labels[owner] == 1))
    return laid, logits


def named(count):
    return [{"probe": "linear", "layer_idx": layer, "seed": 0} for layer in range(count)]
