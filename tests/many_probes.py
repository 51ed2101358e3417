"""Logits of many probes on the same examples."""

import numpy as np


def sweep(seed, probes=7, n=400, groups=9, decimals=1):
    """Logits [probes, n] with many ties, labels [n], groups [n]."""
    random = np.random.default_rng(seed)
    labels = (random.random(n) < 0.3).astype(np.int8)
    quality = np.linspace(0, 4, probes)[:, None]
    return np.round(random.normal(size=(probes, n)) + quality * labels - 1, decimals), labels, random.integers(0, groups, n)
