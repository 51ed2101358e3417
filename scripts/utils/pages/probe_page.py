"""Gather what the page of probes on a text shows, as plain data: tokens, layers, the chart of the sweep, notes."""

import math
import re

import numpy as np

from utils.data.tokenizer import shown_text, token_text
from utils.pages.html.page import packed
from utils.pages.probe_words import class_words, counts_line, notes, question
from utils.scores.intervals import FEWEST, FEWEST_EFFECTIVE
from utils.states.sites import layer_name

CHART = {"width": 320, "height": 190, "left": 30, "right": 314, "top": 8, "bottom": 168}
SHOWN_SCORES = ("balanced_accuracy", "balanced_accuracy_low", "balanced_accuracy_high", "auc", "n", "groups")
MOST_NAMED = 8  # layers named below the chart: more would touch each other
LOWEST = 0.5  # balanced accuracy of a coin: the chart's floor, unless something is below it


def page_values(probes, tokenizer, texts, logits, window) -> dict:
    """Gather the values of probes.html.

    probes: the ProbeSet that is shown
    tokenizer: of its model
    texts: ShownText of each text, as `read_shown` gives them
    logits: of each text, float32 [probes, tokens], as `probe_logits` gives them
    window: the most tokens that the model read together
    """
    metadata, words = probes.common, class_words(probes.common)
    truth = np.concatenate([text.truth for text in texts])
    known, targets = int((truth >= 0).sum()), int((truth == 1).sum())
    data = {
        "layers": [
            {"name": layer_name(layer), "threshold": threshold}
            for layer, threshold in zip(probes.layers, probes.thresholds, strict=True)
        ],
        "logits": packed(np.concatenate(logits, axis=1).astype(np.float32)),
        "truth": packed(truth.astype(np.int8)),
        "words": words["card"],
    }
    return {
        "title": question(metadata),
        "about": counts_line(probes, len(truth), known, targets),
        "documents": shown_documents(tokenizer, texts, known > 0),
        "data": data,
        "chart": sweep_chart(probes),
        "notes": notes(metadata, window, known > 0),
        "words": words,
        "known": known > 0,
        "partly": 0 < known < len(truth),
    }


def shown_documents(tokenizer, texts, known) -> list[dict]:
    """Gather the tokens of each text. known: whether the truth of any token is known; then others are shown as unknown."""
    shown = {}  # a text has few different tokens
    for text in texts:
        for token in np.unique(text.ids):
            shown.setdefault(int(token), token_text(tokenizer, token).replace("↵", "↵\n"))
    return [
        {
            "name": shown_text(text.name),
            "note": text.note,
            "tokens": [
                {
                    "before": between(gap),
                    "text": shown[int(token)],
                    "target": truth == 1,
                    "unknown": known and truth < 0,
                    "blank": not shown[int(token)].strip(" ↵\n⇥"),
                }
                for token, gap, truth in zip(text.ids, text.gaps, text.truth.tolist(), strict=True)
            ],
        }
        for text in texts
    ]


def between(gap) -> str:
    """Write what lies between two tokens, with its line breaks, which are in no token. Many empty lines become one."""
    return re.sub("\n{3,}", "\n\n", shown_text(gap).replace("↵", "\n"))


def sweep_chart(probes) -> dict | None:
    """Chart the balanced accuracy of each layer with its interval, and the baselines; None where the files lack scores."""
    metrics = [metadata.get("metrics") or {} for metadata in probes.metadata]
    split = next(
        (name for name in ("test", "val") if all(set(SHOWN_SCORES) <= set(one.get(name) or ()) for one in metrics)), None
    )
    if split is None:
        return None
    scores = [one[split] for one in metrics]
    baselines = {
        name: by_split[split]["balanced_accuracy"]
        for name, by_split in (probes.common.get("baselines") or {}).items()
        if by_split and name != "majority"
    }
    known = [value for one in scores for value in (one["balanced_accuracy"], one["balanced_accuracy_low"])]
    floor = min([LOWEST, *(math.floor(10 * value) / 10 for value in (*known, *baselines.values()) if not math.isnan(value))])

    def y(value):
        return round(CHART["bottom"] - (value - floor) / (1 - floor) * (CHART["bottom"] - CHART["top"]), 2)

    step = (CHART["right"] - CHART["left"]) / len(scores)
    every = math.ceil(len(scores) / MOST_NAMED)
    points = [
        point_of(one, layer, index, CHART["left"] + step * (index + 0.5), y, index % every == 0)
        for index, (one, layer) in enumerate(zip(scores, probes.layers, strict=True))
    ]
    grid = [{"y": y(value / 10), "label": f"{value / 10:.1f}"} for value in range(round(10 * floor), 11)]
    groups, bars = scores[0]["groups"], "bars: 95 % intervals over groups"
    if all(math.isnan(one["balanced_accuracy_low"]) for one in scores):
        bars = f"no intervals, which need {FEWEST} groups that hold each class, as many as {FEWEST_EFFECTIVE} equal ones"
    dashed = "Dashed: what a probe must beat. " if baselines else ""
    return {
        **CHART,
        "split": split,
        "step": round(step, 2),
        "points": points,
        "grid": grid,
        "baselines": [
            {"y": y(value), "name": name, "value": f"{value:.3f}"}
            for name, value in sorted(baselines.items(), key=lambda pair: -pair[1])
        ],
        "note": f"{scores[0]['n']:,} examples, {groups} group{'' if groups == 1 else 's'}; {bars}. {dashed}"
        "Click a layer to see it on the text.",
    }


def point_of(scores, layer, index, x, y, labelled) -> dict:
    """Place one layer on the chart. y: function from a score to its place; labelled: whether its name stands below it."""
    low, high = (scores[f"balanced_accuracy_{side}"] for side in ("low", "high"))
    interval = "" if math.isnan(low) else f" ({low:.3f} to {high:.3f})"
    return {
        "x": round(x, 2),
        "y": y(scores["balanced_accuracy"]),
        "low": None if math.isnan(low) else y(max(low, 0)),
        "high": None if math.isnan(high) else y(min(high, 1)),
        "label": str(layer).replace("final_norm", "norm") if labelled else "",
        "title": f"{layer_name(layer)}: balanced accuracy {scores['balanced_accuracy']:.3f}{interval}, "
        f"AUROC {scores['auc']:.3f}",
    }
