"""Made-up states with labels that they hold."""

import numpy as np
import torch


def made(seed=0, n=400, d=12, columns=3, share=0.3):
    """Correlated states of scales from 0.01 to 1000, and label columns that move them: [n, d] and [n, columns]."""
    random, mixing = np.random.default_rng(seed), np.random.default_rng(99).normal(size=(d, d))
    labels = (random.random((n, columns)) < share).astype(int)
    states = random.normal(size=(n, d)) @ mixing + labels @ mixing[:columns] * 2
    return states * 10.0 ** np.linspace(-2, 3, d) + 50.0, labels


def noisy(seed, n=3000, layers=3, hidden_size=12):
    """States whose features differ in scale by a million, with a label that each layer holds more clearly."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 2, n)
    states = random.normal(size=(layers, n, hidden_size))
    for layer in range(layers):
        states[layer, :, :4] += layer * 0.5 * (labels[:, None] - 0.5)
    states *= 10.0 ** np.linspace(-3, 3, hidden_size)
    states += 100.0 * np.arange(hidden_size)
    return torch.from_numpy(states).float(), labels
