"""Measure how well the label can be told without any model, by the AUROC of each shortcut; 0.5 tells nothing."""

import numpy as np

from utils.data.sequences import Sequences
from utils.scores.baselines.tokens import read_token_logits
from utils.scores.ranking import auroc
from utils.states.positions import examples_at


def shortcut_aurocs(sequences: Sequences) -> dict[str, float]:
    """Compute the AUROC of each shortcut, on every labelled token of the one target (`per_target`).

    A shortcut reads nothing but the token's sequence. Away from 0.5 in either direction it tells the classes apart; the
    token's identity often does. NaN where a class is missing.
    """
    sequence, position, labels = sequences.labelled()
    found = {"length of the sequence": auroc(sequences.lengths[sequence], labels)}
    if sequences.target_token is not None:
        distance = distance_since_target(sequences, sequence, position)
        return found | {
            "position in the sequence": auroc(position, labels),
            "distance since the last target": auroc(distance, labels),
            "identity of the token just before": identity_auroc(sequences, -1),
        }
    if sequences.task != "documents":  # of these the label is at the end
        found["position in the document"] = auroc(sequences.starts[sequence] + position, labels)
    return found | {
        "identity of the token itself": identity_auroc(sequences, 0),
        "identity of the token just before": identity_auroc(sequences, -1),
    }


def distance_since_target(sequences: Sequences, sequence: np.ndarray, position: np.ndarray) -> np.ndarray:
    """Count the tokens since the last target before each labelled token; without one, one more than could be seen."""
    column = np.arange(sequences.input_ids.shape[1])
    here = np.where(sequences.input_ids == sequences.target_token, column, sequences.text_start - 1)
    here[:, : sequences.text_start] = sequences.text_start - 1
    last = np.maximum.accumulate(here, axis=1)
    return position - last[sequence, position - 1]


def identity_auroc(sequences: Sequences, lag: int) -> float:
    """Measure how well the token `lag` away tells the label.

    Its frequencies in one half of the groups (of the examples, where there is one group only) are judged on the other half;
    the result is the mean of both ways. NaN where a half lacks a class.
    """
    examples = examples_at(sequences, lag)
    names, group = np.unique(examples.groups, return_inverse=True)
    half = (group if len(names) > 1 else np.arange(len(examples))) % 2
    if len(np.unique(np.stack([half, examples.labels]), axis=1).T) < 4:
        return float("nan")
    aurocs = []
    for held_out in (0, 1):
        train, test = half != held_out, half == held_out
        logits = read_token_logits(examples.tokens[train], examples.labels[train], examples.tokens[test])
        aurocs.append(auroc(logits, examples.labels[test]))
    return float(np.mean(aurocs))
