"""How well the label can be told without any model: each shortcut's AUROC. 0.5 tells nothing; identity often tells a lot."""

import numpy as np

from utils.baselines import read_token_logits
from utils.metrics import auroc
from utils.readings import examples_at


def shortcut_aurocs(sequences) -> dict[str, float]:
    """Of every labelled token, from its sequence alone. Away from 0.5 in either direction tells the classes apart."""
    sequence, position, labels = sequences.labelled()
    return {"length of the sequence": auroc(sequences.lengths[sequence], labels),
            "position in the sequence": auroc(position, labels),
            "distance since the last target": auroc(distance_since_target(sequences, sequence, position), labels),
            "identity of the token just before": identity_auroc(sequences)}


def distance_since_target(sequences, sequence, position) -> np.ndarray:
    """Tokens from the last target before each labelled token; where there is none, one more than could be seen."""
    token = np.array([target["token"] for target in sequences.metadata["targets"]])[sequences.tasks]
    column = np.arange(sequences.input_ids.shape[1])
    here = np.where(sequences.input_ids == token[:, None], column, sequences.text_start - 1)
    here[:, :sequences.text_start] = sequences.text_start - 1
    last = np.maximum.accumulate(here, axis=1)
    return position - last[sequence, position - 1]


def identity_auroc(sequences) -> float:
    """Frequencies from one half of the groups (or of the examples, where one group is all), judged on the other half."""
    examples = examples_at(sequences, -1)
    names, group = np.unique(examples.groups, return_inverse=True)
    half = (group if len(names) > 1 else np.arange(len(examples))) % 2
    aurocs = []
    for held_out in (0, 1):
        train, test = half != held_out, half == held_out
        logits = read_token_logits(examples.tokens[train], examples.labels[train], examples.tokens[test])
        aurocs.append(auroc(logits, examples.labels[test]))
    return float(np.mean(aurocs))
