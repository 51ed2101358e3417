"""A page of probes on texts that hold what goes wrong: markup, letters from right to left, bytes, line breaks."""

from dataclasses import replace

import numpy as np
import torch

from helpers import make_tokenizer, prose
from utils.pages.html.page import write_page
from utils.pages.probe_page import page_values
from utils.pages.texts.shown import ShownText
from utils.saved.probe_sets import ProbeSet
from utils.scores.thresholds import operating_points

TURNING = "</script><img src=x onerror=alert(1)>\u202e שלום 7"  # with a control character, and letters from right to left
ATTACK = "</script><img src=x onerror=alert(1)>"
ATTACKS_NAME = '<img src=x onerror=alert(1)> & \u202e"quoted"'  # of a dataset: without a slash, it is shown whole
NASTY = [ATTACK, "<b>bold</b>", "&lt;", "שלום", "مرحبا", "👩‍👩‍👧", "🙂", "\n", "\n\n", "\t", "\u202e"]
LAYERS = ["embed", 0, 1, 2, 3, "final_norm"]
NAMES = ["embed", "layer0", "layer1", "layer2", "layer3", "final_norm"]


def made_page(folder, truth=None, **changes):
    """A page of 6 probes on prose and nasty tokens with random logits; what is on it. truth: of the tokens, as a function of
    which are the target; changes: to the probes' metadata.
    """
    tokenizer = make_tokenizer(folder / "tokenizer")
    tokenizer.add_tokens(NASTY)
    ids = tokenizer(prose(3, 200), add_special_tokens=False)["input_ids"]
    ids = np.array(
        [
            *ids[:100],
            *tokenizer.convert_tokens_to_ids(NASTY),
            *ids[100:350],
            *tokenizer("é☃", add_special_tokens=False)["input_ids"],
        ]
    )
    random = np.random.default_rng(1)
    logits = (3 * random.standard_normal((len(LAYERS), len(ids)))).astype(np.float32)
    logits[:, 0] = np.nan
    logits[2, 5], logits[2, 6] = 60, -60  # a probability that rounds to 1, and to 0
    logits[3, 7] = np.nan  # a state that overflowed in one layer only
    the = tokenizer.convert_tokens_to_ids("Ġthe")
    truth_known = np.isfinite(logits[5])
    scores = {
        "balanced_accuracy": 0.8,
        "balanced_accuracy_low": 0.7,
        "balanced_accuracy_high": 0.9,
        "auc": 0.9,
        "n": 500,
        "groups": 12,
    }
    common = {
        "target": " the",
        "token": the,
        "lag": -1,
        "model": f"a/{ATTACK}",
        "source": {"dataset": ATTACKS_NAME},
        "model_dtype": ATTACKS_NAME,
        "prevalence": 0.03,
        "causal": True,
        "kind": "linear",
        "seed": 0,
        **changes,
        "baselines": {"read token": {"test": {**scores, "balanced_accuracy": 0.75}}, "own probability": None},
    }
    curve = operating_points(logits[5, truth_known], ids[truth_known] == the)
    metadata = [
        {**common, "threshold": threshold, "metrics": {"test": scores}, "validation_curve": curve}
        for threshold in (-0.5, 0.0, 0.25, 1.0, -2.0, 0.7)
    ]
    metadata[3]["metrics"] = {"test": scores, "val": {**scores, "balanced_accuracy": 0.85}}  # what validation chose
    probes = ProbeSet([], LAYERS, torch.zeros(6, 4), torch.zeros(6), metadata)
    other = replace(probes, layers=LAYERS[:2], metadata=[{**one, "lag": 1, "kind": "mass_mean"} for one in metadata[:2]])
    gaps = [""] * len(ids)
    gaps[50], gaps[101] = " ", f" {ATTACK}\n\n\n\n"
    truth = ids == the if truth is None else truth(ids == the)
    texts = [
        ShownText("one", "", ids[:200], gaps[:200], truth[None, :200].astype(np.int8)),
        ShownText(TURNING, "note", ids[200:], gaps[200:], truth[None, 200:].astype(np.int8)),
    ]
    path = folder / "page.html"
    own = {common["target"]: logits[0] - 1}
    values = page_values([probes, other], tokenizer, texts, [logits, -logits[:2]], 256, own=own)
    write_page(path, "probes", **values)
    return path, logits, truth, [one["threshold"] for one in metadata]


def made_whole_page(folder, pool="mean", count=60):
    """A page of 6 probes that judge whole texts, with random logits.

    Returns (its path, logits [layers, texts + tokens], truth [texts], thresholds, the texts).
    """
    tokenizer = make_tokenizer(folder / "tokenizer")
    tokenizer.add_tokens(NASTY)
    random = np.random.default_rng(2)
    texts = []
    for number in range(count):
        ids = tokenizer(prose(number, 4 + 3 * number), add_special_tokens=False)["input_ids"]
        ids = np.array([*ids, *tokenizer.convert_tokens_to_ids(NASTY)] if number % 7 == 3 else ids)
        truth = np.full((1, len(ids)), -1, dtype=np.int8)
        truth[0, -1] = -1 if number % 10 == 9 else number % 3 == 0
        name = TURNING if number == 5 else f"text {number}"
        texts.append(ShownText(name, "of the test split", ids, [""] * len(ids), truth))
    truth = np.array([text.truth[0, -1] for text in texts])
    logits = 2 * random.standard_normal((len(LAYERS), count + sum(len(text.ids) for text in texts))).astype(np.float32)
    logits[:, :count] += 1.5 * (truth == 1)
    logits[:, count:] *= 4
    logits[3, 4] = np.nan  # a text whose states overflowed
    scores = {"balanced_accuracy": 0.8, "auc": 0.9, "n": count, "groups": count}
    common = {
        "target": ATTACK,
        "token": None,
        "lag": 0,
        "model": "a/model",
        "prevalence": 0.3,
        "causal": True,
        "kind": "logistic",
        "seed": 0,
        "task": "documents",
        "label_rule": "whole",
        "pool": pool,
        "baselines": {},
    }
    thresholds = [-0.5, 0.0, 0.25, 1.0, -2.0, 0.7]
    metadata = [{**common, "threshold": threshold, "metrics": {"test": scores}} for threshold in thresholds]
    metadata[2]["metrics"] = {"test": scores, "val": scores}  # what validation chose
    probes = ProbeSet([], LAYERS, torch.zeros(6, 4), torch.zeros(6), metadata)
    path = folder / "whole.html"
    write_page(path, "probes", **page_values([probes], tokenizer, texts, [logits], 256))
    return path, logits, truth, thresholds, texts
