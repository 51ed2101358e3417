"""What the page of probes on a text shows, as plain data: tokens, layers, the chart of the sweep, notes."""

import math
import re

import numpy as np

from utils.pages.page import packed
from utils.readings import layer_name
from utils.tokenizer import shown_text, token_text

CHART = {"width": 320, "height": 190, "left": 30, "right": 314, "top": 8, "bottom": 168}
SCORES = ("balanced_accuracy", "balanced_accuracy_low", "balanced_accuracy_high", "auc", "n", "groups")
LABELS = 8  # layers named below the chart: more would touch each other
LOWEST = 0.5  # balanced accuracy of a coin: the chart's floor, unless something is below it


def page_values(probes, tokenizer, texts, logits, window) -> dict:
    """The values of probes.html.

    texts: [(name, note, token ids, what of the text lies between them)]; logits: of each text, float32 [probes, tokens] as
    running_text gives them; window: the most tokens that the model read together.
    """
    metadata = probes.common
    truth = [(ids == metadata["token"]).astype(np.int8) for _, _, ids, _ in texts]
    shown = {}  # a text has few different tokens
    for _, _, ids, _ in texts:
        for token in np.unique(ids):
            shown.setdefault(int(token), token_text(tokenizer, token).replace("↵", "↵\n"))
    documents = [{"name": name, "note": note,
                  "tokens": [{"before": between(gap), "text": shown[int(token)], "target": bool(is_target),
                              "blank": not shown[int(token)].strip(" ↵\n⇥")}
                             for token, gap, is_target in zip(ids, gaps, of_text, strict=True)]}
                 for (name, note, ids, gaps), of_text in zip(texts, truth, strict=True)]
    data = {"layers": [{"name": layer_name(layer), "threshold": threshold}
                       for layer, threshold in zip(probes.layers, probes.thresholds, strict=True)],
            "logits": packed(np.concatenate(logits, axis=1).astype(np.float32)), "truth": packed(np.concatenate(truth))}
    return {"question": question(metadata["target"], metadata["lag"]), "about": about(probes, texts, truth),
            "documents": documents, "data": data, "chart": chart(probes), "notes": notes(metadata, window)}


def between(gap) -> str:
    """What lies between two tokens, its line breaks as such: they are no token's. Many empty lines become one."""
    return re.sub("\n{3,}", "\n\n", shown_text(gap).replace("↵", "\n"))


def question(target, lag) -> str:
    quoted = f"“{target.replace(' ', '␣')}”"
    if lag == -1:
        return f"Will the next token be {quoted}?"
    if lag == 0:
        return f"Is this token {quoted}?"
    if lag < 0:
        return f"Will the token {-lag} tokens on be {quoted}?"
    return f"Was the token {lag} token{'s' if lag > 1 else ''} back {quoted}?"


def about(probes, texts, truth) -> str:
    tokens, targets = sum(len(ids) for _, _, ids, _ in texts), sum(int(of_text.sum()) for of_text in truth)
    name = probes.common["kind"].replace("_", "-")
    kind = f"{len(probes.layers)} {name} probe{'s' if len(probes.layers) > 1 else ''}"
    return (f"{kind} on the hidden states of {probes.common['model']}; {tokens:,} tokens, {targets:,} of them the target")


def notes(metadata, window) -> list[str]:
    where = {0: "the state that is read is the token's own", -1: "the state that is read is that of the token before it"}
    lag = metadata["lag"]
    away = f"the state that is read lies {abs(lag)} tokens {'before' if lag < 0 else 'after'} it"
    found = [f"The colour lies on the token that the answer is about; {where.get(lag, away)}.",
             "Probabilities are those of the training sample, where the classes weigh the same; in running text the target "
             f"is {metadata['prevalence']:.2%} of the tokens."]
    trained = metadata.get("context_length")
    if trained and trained != window:
        found.append(f"The probes were trained on states with at most {trained:,} tokens before them; here it may be "
                     f"{window - 1:,}.")
    if not metadata["causal"] and lag < 0:
        found.append("This model is bidirectional: the state has seen the token that is asked for; this is no prediction.")
    return found


def chart(probes) -> dict | None:
    """The balanced accuracy of each layer with its interval, and the baselines; None where the files carry no scores."""
    metrics = [metadata.get("metrics") or {} for metadata in probes.metadata]
    split = next((name for name in ("test", "val") if all(set(SCORES) <= set(one.get(name) or ()) for one in metrics)), None)
    if split is None:
        return None
    scores = [one[split] for one in metrics]
    baselines = {name: by_split[split]["balanced_accuracy"]
                 for name, by_split in (probes.common.get("baselines") or {}).items() if by_split and name != "majority"}
    known = [value for one in scores for value in (one["balanced_accuracy"], one["balanced_accuracy_low"])]
    floor = min([LOWEST, *(math.floor(10 * value) / 10 for value in (*known, *baselines.values()) if not math.isnan(value))])

    def y(value):
        return round(CHART["bottom"] - (value - floor) / (1 - floor) * (CHART["bottom"] - CHART["top"]), 2)

    step = (CHART["right"] - CHART["left"]) / len(scores)
    every = math.ceil(len(scores) / LABELS)
    points = [point_of(one, layer, index, CHART["left"] + step * (index + 0.5), y, index % every == 0)
              for index, (one, layer) in enumerate(zip(scores, probes.layers, strict=True))]
    grid = [{"y": y(value / 10), "label": f"{value / 10:.1f}"} for value in range(round(10 * floor), 11)]
    beside = "Dashed: what a probe must beat. " if baselines else ""
    return {**CHART, "split": split, "step": round(step, 2), "points": points, "grid": grid,
            "baselines": [{"y": y(value), "name": name, "value": f"{value:.3f}"}
                          for name, value in sorted(baselines.items(), key=lambda pair: -pair[1])],
            "note": f"{scores[0]['n']:,} examples, {scores[0]['groups']} groups; bars: 95 % intervals over groups. {beside}"
                    "Click a layer to see it on the text."}


def point_of(scores, layer, index, x, y, labelled) -> dict:
    low, high = (scores[f"balanced_accuracy_{side}"] for side in ("low", "high"))
    interval = "" if math.isnan(low) else f" ({low:.3f} to {high:.3f})"
    return {"x": round(x, 2), "y": y(scores["balanced_accuracy"]), "low": None if math.isnan(low) else y(max(low, 0)),
            "high": None if math.isnan(high) else y(min(high, 1)),
            "label": str(layer).replace("final_norm", "norm") if labelled else "",
            "title": f"{layer_name(layer)}: balanced accuracy {scores['balanced_accuracy']:.3f}{interval}, "
                     f"AUROC {scores['auc']:.3f}"}

