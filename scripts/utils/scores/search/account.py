"""Account for a sweep being a search: the columns that each of its probes gets beside its own scores."""

from collections.abc import Mapping

import numpy as np

from utils.scores.differences import DIFFERENCES_OF
from utils.scores.intervals import Groups
from utils.scores.search.detectable import degrees_of_freedom
from utils.scores.search.nulls import Exchange, Shift
from utils.scores.search.permutation import DEALS, dealt_aurocs, of_aurocs
from utils.scores.search.places import in_places
from utils.scores.search.simultaneous import accuracy_influences, auroc_influences, joint_level, widened

ENDS = "", "_low", "_high"  # of a column and its interval
RANKS_AT_ONCE = 2**26  # of ranks that are held at a time


def account(
    logits: np.ndarray,
    labels: np.ndarray,
    groups: np.ndarray,
    scored: Mapping[str, np.ndarray],
    null: Exchange | Shift,
    deals: int = DEALS,
) -> dict[str, np.ndarray]:
    """Compute the band of all probes together and their permutation p-values: {column: [probes]}.

    All are NaN where scores of these groups have no interval: labels dealt anew within two groups say nothing of others.

    logits: [probes, n]; labels and groups: [n]; scored: {"threshold", and of "auc" and "balanced_accuracy" itself, _low and
    _high: [probes]}.
    """
    true, grouped, degrees = labels == 1, Groups(groups), degrees_of_freedom(labels, groups)
    ends = [f"{metric}_band_{end}" for metric in DIFFERENCES_OF for end in ("low", "high")]
    if np.isnan(degrees):
        nothing = np.full(len(logits), np.nan)
        return dict.fromkeys((*ends, "permutation_p", "permutation_p_in_sweep"), nothing)
    influences, aurocs = {metric: [] for metric in DIFFERENCES_OF}, []
    size = max(1, RANKS_AT_ONCE // logits.shape[1])
    for start in range(0, len(logits), size):
        part, thresholds = logits[start : start + size], scored["threshold"][start : start + size]
        places = in_places(part, true, grouped)
        influences["auc"].append(auroc_influences(places.wins, true, grouped))
        influences["balanced_accuracy"].append(accuracy_influences(part, true, grouped, thresholds))
        aurocs.append(dealt_aurocs(places.ranks, true, null, deals))
    found = {}
    for metric, parts in influences.items():
        value, low, high = (scored[f"{metric}{end}"] for end in ENDS)
        band = widened(value, low, high, degrees, joint_level(np.concatenate(parts)[low < high]))
        found |= dict(zip((f"{metric}_band_low", f"{metric}_band_high"), band, strict=True))
    p_values = of_aurocs(np.concatenate(aurocs))
    return found | {"permutation_p": p_values.alone, "permutation_p_in_sweep": p_values.in_sweep}
