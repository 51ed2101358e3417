"""Gather what the page of probes on a text shows, as plain data: tokens, layers, scores, notes."""

import math
import re
from collections.abc import Sequence

import numpy as np

from utils.data.tokenizer import shown_text, token_text
from utils.pages.html.page import packed
from utils.pages.probe_words import class_words, counts_line, notes, provenance, question
from utils.saved.probe_sets import ProbeSet, score_chosen_by
from utils.states.sites import layer_name

SHOWN_SCORES = ("auc", "balanced_accuracy")
BLANK = 65535  # the level of what was not read
BASE64 = 4 / 3  # characters a byte


def page_values(sets: Sequence[ProbeSet], tokenizer, texts, logits, window, promoted=None, own=None) -> dict:
    """Gather the values of probes.html.

    sets: the probes that are shown, what validation chose first
    tokenizer: of their model
    texts: ShownText of each text, as `read_shown` gives them for the targets of `sets`, in their order
    logits: of each set, float32 [probes, tokens of all texts], as `probe_logits` gives them; of probes that judge whole
        texts [probes, texts + tokens], as `whole_logits` gives them
    window: the most tokens that the model read together
    promoted: of each set, as `promoted_tokens` gives them; None without a head
    own: the model's own log-odds of a target at each token, {target: float32 [tokens]}, as `probe_logits` gives them
    """
    whole = sets[0].whole
    truths = np.concatenate([text.truth[:, -1:] if whole else text.truth for text in texts], axis=1)
    targets = list(dict.fromkeys(one.common["target"] for one in sets))
    first = sets[0]
    data = {
        **shown_tokens(tokenizer, texts),
        "whole": ("own" if sets[0].pool == "mean" else "so far") if whole else None,
        "truths": [packed(truth.astype(np.int8)) for truth in truths],
        "views": [
            view_of(one, targets.index(one.common["target"]), of_set, window, truths)
            | {"directions": [directions_of(told) for told in of_probes or []]}
            for one, of_set, of_probes in zip(sets, logits, promoted or [None] * len(sets), strict=True)
        ],
    }
    for target, log_odds in (own or {}).items():
        levels, low, step = quantised(log_odds)
        data["own"] = {"truth": targets.index(target), "lag": -1, "low": low, "step": step, "logits": packed(levels)}
    return {
        "title": question(first.common),
        "about": counts_line(sets, sum(len(text.ids) for text in texts), truths[0]),
        "data": data,
        "mark": class_words(first.common)["mark"],
        "known": bool((truths >= 0).any()),
        "whole": whole,
        "provenance": provenance(sets),
    }


def shown_tokens(tokenizer, texts) -> dict:
    """Gather the tokens of all texts: each different one once, and of each token which of these it is."""
    ids = np.concatenate([text.ids for text in texts])
    vocabulary, places = np.unique(ids, return_inverse=True)
    gaps = [gap for text in texts for gap in text.gaps]
    starts = np.cumsum([0, *(len(text.ids) for text in texts)]).tolist()
    return {
        "vocabulary": vocabulary.tolist(),
        "words": [token_text(tokenizer, int(token)).replace("↵", "↵\n") for token in vocabulary],
        "ids": packed(places.astype(np.uint16 if len(vocabulary) <= BLANK else np.uint32)),
        "gaps": {str(place): between(gap) for place, gap in enumerate(gaps) if gap},
        "texts": [
            {"name": shown_text(text.name), "note": text.note, "from": start, "to": start + len(text.ids)}
            for text, start in zip(texts, starts, strict=False)
        ],
    }


def between(gap) -> str:
    """Write what lies between two tokens, with its line breaks, which are in no token. Many empty lines become one."""
    return re.sub("\n{3,}", "\n\n", shown_text(gap).replace("↵", "\n"))


def view_of(probes: ProbeSet, truth: int, logits: np.ndarray, window: int, truths: np.ndarray) -> dict:
    """Gather the probes of one target, lag, kind and seed. truth: which of `truths` is theirs."""
    metadata = probes.common
    split = split_of_chart(probes)
    judged = truths.shape[1]
    levels, low, step = quantised(logits[:, :judged])
    of_tokens, token_low, token_step = quantised(logits[:, judged:]) if probes.whole else (levels[:, :0], low, step)
    return {
        "question": question(metadata),
        "target": shown_text(metadata["target"]).replace(" ", "␣"),
        "lag": metadata["lag"],
        "kind": metadata["kind"].replace("_", "-"),
        "seed": metadata["seed"],
        "truth": truth,
        "chosen": probes.chosen if probes.was_chosen else -1,
        "chosenBy": score_chosen_by(metadata),
        "prevalence": or_none(metadata["prevalence"]),
        "split": split,
        "layers": [
            {
                "name": layer_name(layer),
                "threshold": threshold,
                "scores": shown_scores(one["metrics"][split]) if split else None,
                "curve": one.get("validation_curve"),
            }
            for layer, threshold, one in zip(probes.layers, probes.thresholds, probes.metadata, strict=True)
        ],
        "baselines": baselines_of(probes, split),
        "notes": notes(metadata, window, bool((truths[truth] >= 0).any())),
        "words": class_words(metadata),
        "low": low,
        "step": step,
        "tokenLow": token_low,
        "tokenStep": token_step,
        "logits": packed(np.concatenate([levels, of_tokens], axis=1)),
    }


def directions_of(told) -> dict:
    """Give the tokens that a step along a probe's direction makes more and less likely."""
    return {way: [text for text, _ in told[way]] for way in ("promoted", "suppressed")}


def quantised(logits: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Round logits to 65,535 levels: (uint16 of the same shape, the logit of level 0, the width of a level).

    A logit is at most half a width off; NaN is BLANK.
    """
    known = logits[np.isfinite(logits)].astype(np.float64)
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
    step = (high - low) / (BLANK - 1) or 1.0
    levels = np.full(logits.shape, BLANK, dtype=np.uint16)
    levels[np.isfinite(logits)] = np.rint((known - low) / step).astype(np.uint16)
    return levels, low, step


def split_of_chart(probes: ProbeSet) -> str | None:
    """Choose whose scores are charted: test, else validation; None where a file lacks some."""
    metrics = [metadata.get("metrics") or {} for metadata in probes.metadata]
    return next(
        (name for name in ("test", "val") if all(set(SHOWN_SCORES) <= set(one.get(name) or ()) for one in metrics)), None
    )


def shown_scores(scores) -> dict:
    """Give what the chart shows of a split's scores, an unknown one as None: {score: value, low, high, control}."""
    random = {
        "auc": scores.get("auc", math.nan) - scores.get("minus_random_weights", math.nan),
        "balanced_accuracy": scores.get("control", math.nan),
    }
    return {
        name: {
            "value": or_none(scores[name]),
            "low": or_none(scores.get(f"{name}_low", math.nan)),
            "high": or_none(scores.get(f"{name}_high", math.nan)),
            "control": or_none(random[name]),
        }
        for name in SHOWN_SCORES
    }


def or_none(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 6)


def baselines_of(probes: ProbeSet, split: str | None) -> list[dict]:
    """List what a probe must beat, the best first: {"name": of the baseline, score: value}."""
    found = [
        {"name": name} | {score: or_none(by_split[split].get(score, math.nan)) for score in SHOWN_SCORES}
        for name, by_split in (probes.common.get("baselines") or {}).items()
        if split and by_split and by_split.get(split) and name != "majority"
    ]
    return sorted(found, key=lambda one: -(one["auc"] or 0))


def fitting(sets: Sequence[ProbeSet], tokens: int, most_mb: float) -> int:
    """Count the sets, from the first on, whose logits fit into a page; at least one."""
    sizes = np.cumsum([2 * BASE64 * len(one.layers) * tokens for one in sets])
    return max(1, int((sizes <= most_mb * 1e6).sum()))
