"""What a sweep must find, computed plainly with scikit-learn and transformers; and what it left in its folders."""

import csv

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression


def load_model(folder):
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()


def rows_of(folder, name):
    with open(folder / "results" / name, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def probes_of(folder):
    return {path: torch.load(path, weights_only=True) for path in sorted((folder / "models").glob("*.pth"))}


def attend(state, tokens):
    scores = np.exp(tokens @ state["query"][0])
    return scores / scores.sum() @ (tokens @ state["value"][0]) + state["bias"]


def weighted(labels):
    """What each example counts: a positive as much as there are more negatives."""
    return np.where(labels == 1, (labels == 0).sum() / (labels == 1).sum(), 1.0)


def by_scikit_learn(states, labels, weights, l2, mean, deviation):
    """(weight, bias) on raw states of the standardised problem with the mean loss."""
    model = LogisticRegression(C=1 / (l2 * weights.sum()), tol=1e-10, max_iter=10000)
    model.fit((states - mean) / deviation, labels, sample_weight=weights)
    weight = model.coef_[0] / deviation
    return weight, model.intercept_[0] - weight @ mean
