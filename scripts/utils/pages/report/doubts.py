"""Look for what would make one doubt a result: each check of its own, with the figures that speak against it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from utils.pages.charts.cells import SCORE_LABELS, known, mean, seed_of_validation, values, widest_interval
from utils.pages.charts.results import Results, baseline_to_beat, baselines_at
from utils.pages.charts.words import kind_name, number_text, signed_text

FEW_GROUPS = 10  # below it the spread between groups is itself hardly known, and so is an interval
OPTIMISM = 0.02  # validation above test by more, and above test's interval
WEAK_CONTROL = 0.05  # selectivity at most this
SPREAD = 0.05  # between seeds, more than this and than the interval of one
SIMPLE = {"length": "the length of the text alone", "read token": "the token that is read alone"}
SIMPLE_FROM = 0.65  # AUROC of such a baseline, and at least half of what the probe adds to .5
CHANCE = 0.05  # p of the whole search


@dataclass(frozen=True)
class Doubt:
    """name: in a few words; text: with its figures"""

    name: str
    text: str


@dataclass(frozen=True)
class Result:
    """A probe that validation chose: of a target, kind and lag, at a layer; a row for each seed."""

    results: Results
    target: str
    probe: str
    lag: int
    layer: str

    @property
    def rows(self) -> list[dict]:
        return self.results.rows(self.target, self.probe, self.lag, self.layer)

    def mean(self, name: str) -> float:
        """Average a score of the shown split over the seeds; NaN where it is not known."""
        return mean(self.rows, f"{self.results.split}_{name}")

    def interval(self, name: str) -> tuple[float, float]:
        """Give the ends of its 95 % interval, of several seeds the widest; NaN where there is none."""
        return widest_interval(self.rows, f"{self.results.split}_{name}")

    @property
    def score(self) -> float:
        """Give the score by which its layer was chosen."""
        return self.mean(self.results.metric)

    @property
    def groups(self) -> int | None:
        """Count the groups that the shown split's scores rest on; None where the tables do not tell."""
        return self.results.groups.get((self.target, self.lag, self.results.split))

    @property
    def baseline(self) -> str | None:
        """Name the baseline to beat."""
        return baseline_to_beat(self.results, self.target, self.lag, self.probe, self.rows)

    def of_baseline(self, name: str | None, score: str) -> float:
        """Give a score of a baseline on the shown split; NaN where it is not known."""
        _, by_split = baselines_at(self.results, self.target, self.lag, self.probe).get(name, ("", {}))
        return mean(by_split.get(self.results.split, []), score)

    @property
    def ahead(self) -> float:
        """Compute by how much AUROC is above that of the baseline to beat, which counts as .5 at least."""
        found = self.mean("minus_baseline")
        return found if known(found) else self.mean("auc") - max(0.5, self.of_baseline(self.baseline, "auc"))


def doubts_of(result: Result) -> list[Doubt]:
    """List what speaks against a result; empty where no check finds anything."""
    return [doubt for check in CHECKS for doubt in check(result)]


def not_checked(results: Results) -> list[str]:
    """List the checks that this run has no figures for, and the flag that computes them."""
    split = results.split
    missing = [
        ("control labels (--control 5)", results.has(f"{split}_selectivity")),
        ("a model with random weights (--random_weights)", results.has(f"{split}_minus_random_weights")),
        ("other seeds (--train_seeds 0,1,2)", len({row["seed"] for row in results.all_rows()}) > 1),
        ("scores on test", split == "test"),
    ]
    return [name for name, there in missing if not there]


def few_groups(result: Result) -> Iterator[Doubt]:
    """Doubt a score that rests on few independent groups, or has no interval for that reason."""
    count, (low, _) = result.groups, result.interval(result.results.metric)
    if known(low) and (count is None or count >= FEW_GROUPS):
        return
    of = "how many groups is not known" if count is None else f"{count:,} group{'s' if count != 1 else ''}"
    if known(low):
        yield Doubt("few groups", f"its score rests on {of}, so its interval is itself uncertain")
    elif result.rows:
        why = result.results.without_interval.get((result.target, result.lag))
        needs = "it needs 3 groups of like size that hold each class"
        yield Doubt("no interval", f"its score has no interval: {f'of {of}, {why}' if why else f'{needs} ({of})'}")


def unbeaten_baseline(result: Result) -> Iterator[Doubt]:
    """Doubt that hidden states are needed where a baseline does as well."""
    low, high = result.interval("minus_baseline")
    ahead, name = result.ahead, result.baseline
    if not known(ahead) or name is None or low > 0 or (not known(low) and ahead > 0):
        return
    inside = f" ({signed_text(low)} to {signed_text(high)})" if known(low) else ""
    figures = f"AUROC {number_text(result.mean('auc'))} against {number_text(result.of_baseline(name, 'auc'))}"
    better = high < 0
    yield Doubt(
        "worse than a baseline" if better else "no better than a baseline",
        f"“{name}” {'does better' if better else 'may do as well'}: {figures}, difference {signed_text(ahead)}{inside}",
    )


def baseline_below_chance(result: Result) -> Iterator[Doubt]:
    """Doubt a comparison with a baseline that is worse than a coin: on these data it learned the wrong thing."""
    found = result.of_baseline(result.baseline, "auc")
    if found < 0.5:
        yield Doubt(
            "baseline below chance",
            f"the baseline to beat, “{result.baseline}”, has AUROC {number_text(found)}; it counts as 0.5",
        )


def shortcut(result: Result) -> Iterator[Doubt]:
    """Doubt what was learned where something simple goes half the way."""
    ours = result.mean("auc")
    for name, words in SIMPLE.items():
        found = result.of_baseline(name, "auc")
        if name != result.baseline and found >= SIMPLE_FROM and found - 0.5 >= (ours - 0.5) / 2:
            yield Doubt("shortcut", f"{words} reaches AUROC {number_text(found)}, the probe {number_text(ours)}")


def optimism(result: Result) -> Iterator[Doubt]:
    """Doubt a choice whose score on validation flatters."""
    if result.results.split != "test":
        return
    validation, (_, high) = mean(result.rows, f"val_{result.results.metric}"), result.interval(result.results.metric)
    if validation - result.score > OPTIMISM and not validation <= high:
        label = SCORE_LABELS[result.results.metric]
        yield Doubt(
            "optimism",
            f"validation {label} {number_text(validation)} was picked as the best, test has {number_text(result.score)}",
        )


def weak_control(result: Result) -> Iterator[Doubt]:
    """Doubt a probe that does nearly as well on random labels."""
    selectivity = result.mean("selectivity")
    if selectivity <= WEAK_CONTROL:
        reached = f"balanced accuracy {number_text(result.mean('balanced_accuracy') - selectivity)}"
        figures = f"reaches {reached}; selectivity {signed_text(selectivity)}"
        yield Doubt("control as good", f"on random labels the same probe {figures}")


def random_weights(result: Result) -> Iterator[Doubt]:
    """Doubt that training put there what a model with random weights has as well."""
    ahead, (low, high) = result.mean("minus_random_weights"), result.interval("minus_random_weights")
    if known(ahead) and not (low > 0 or (not known(low) and ahead > 0)):
        inside = f" ({signed_text(low)} to {signed_text(high)})" if known(low) else ""
        yield Doubt("random weights as good", f"the same model with random weights: difference {signed_text(ahead)}{inside}")


def by_chance(result: Result) -> Iterator[Doubt]:
    """Doubt the best of many: shuffled labels do as well somewhere in the search."""
    results = result.results
    questions = len({(target, lag) for target, _, lag in results.cells})
    p = seed_of_validation(result.rows, results.metric).get(f"{results.split}_permutation_p_in_sweep")
    if known(p) and min(1, questions * p) > CHANCE:
        yield Doubt("perhaps chance", f"permutation p {number_text(min(1, questions * p))}, as the best of the whole search")


def unlike_seeds(result: Result) -> Iterator[Doubt]:
    """Doubt a mean of seeds that disagree by more than the interval of one."""
    split, metric = result.results.split, result.results.metric
    found = values(result.rows, f"{split}_{metric}")
    lows, highs = (values(result.rows, f"{split}_{metric}_{end}") for end in ("low", "high"))
    one = max((high - low for low, high in zip(lows, highs, strict=True)), default=0) if len(lows) == len(highs) else 0
    if len(found) > 1 and max(found) - min(found) > max(SPREAD, one):
        yield Doubt(
            "seeds disagree", f"{len(found)} seeds range from {number_text(min(found))} to {number_text(max(found))}"
        )


def unconverged(result: Result) -> Iterator[Doubt]:
    """Doubt a fit that stopped before its optimum."""
    selected = result.results.record.get("selected_on_validation")
    question = (selected.get(result.target) if isinstance(selected, dict) else None) or {}
    chosen = (question.get(str(result.lag)) or {}).get("chosen") or []
    layer = f"layer{result.layer}" if result.layer.isdigit() else result.layer
    bad = [
        one
        for one in chosen
        if (one.get("probe"), one.get("layer")) == (result.probe, layer) and one.get("converged") is False
    ]
    if bad:
        yield Doubt("not converged", f"{len(bad)} of its {kind_name(result.probe)} fits stopped before the optimum")


CHECKS: tuple[Callable[[Result], Iterator[Doubt]], ...] = (
    unbeaten_baseline,
    baseline_below_chance,
    shortcut,
    few_groups,
    by_chance,
    optimism,
    weak_control,
    random_weights,
    unlike_seeds,
    unconverged,
)
