"""Look for what would make one doubt a result: each check of its own, with the figures that speak against it."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from utils.base.text_table import how_many
from utils.pages.charts.cells import SCORE_LABELS, known, mean, seed_of_validation, values, widest_interval
from utils.pages.charts.results import Results, baseline_to_beat, baselines_at, questions_of
from utils.pages.charts.words import kind_name, number_text, signed_text
from utils.scores.intervals import Classes, reasons
from utils.scores.search.permutation import DEALS

FEW_GROUPS = 10  # below it the spread between groups is itself hardly known, and so is an interval
OPTIMISM = 0.02  # validation above test by more, and above test's interval
WEAK_CONTROL = 0.05  # selectivity at most this
SPREAD = 0.05  # between seeds, more than this and than the interval of one
SIMPLE = {"length": "the length of the text alone", "read token": "the token that is read alone"}
SIMPLE_FROM = 0.65  # AUROC of such a baseline, and at least half of what the probe adds to .5
BELOW = 0.4  # AUROC of a baseline that has no interval
CHANCE = 0.05  # p of the whole search
LEAST_P = 1 / (DEALS + 1)
WITH_INTERVAL = ("balanced_accuracy", "auc")


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
    def classes(self) -> Classes | None:
        """Give how these groups hold the classes; None where the run did not keep it."""
        return self.results.classes.get((self.target, self.lag))

    @property
    def baseline(self) -> str | None:
        """Name the baseline to beat."""
        return baseline_to_beat(self.results, self.target, self.lag, self.probe, self.rows)

    def rows_of_baseline(self, name: str | None) -> list[dict]:
        """List the rows of a baseline on the shown split."""
        _, by_split = baselines_at(self.results, self.target, self.lag, self.probe).get(name or "", ("", {}))
        return by_split.get(self.results.split, [])

    def of_baseline(self, name: str | None, score: str) -> float:
        """Give a score of a baseline on the shown split; NaN where it is not known."""
        return mean(self.rows_of_baseline(name), score)

    @property
    def ahead(self) -> float:
        """Compute by how much AUROC is above that of the baseline to beat, which counts as .5 at least; NaN without one."""
        found, beside = self.mean("minus_baseline"), self.of_baseline(self.baseline, "auc")
        return found if known(found) else self.mean("auc") - (0.5 if beside < 0.5 else beside)

    @property
    def p_in_sweep(self) -> float:
        """Give the permutation p of the seed that validation chose, as the best of its question; NaN where unknown."""
        seed = seed_of_validation(self.rows, self.results.metric)
        return seed.get(f"{self.results.split}_permutation_p_in_sweep", math.nan)

    @property
    def p_of_all(self) -> float:
        """Give that p as the best of all questions (Bonferroni)."""
        return min(1, questions_of(self.results) * self.p_in_sweep) if known(self.p_in_sweep) else math.nan


def doubts_of(result: Result) -> list[Doubt]:
    """List what speaks against a result; empty where no check finds anything."""
    return [doubt for check in CHECKS for doubt in check(result)]


def not_checked(results: Results, found: list[Result]) -> list[str]:
    """List the checks that there are no figures for, with the flag that computes them, and of how many targets."""
    checks: dict[str, Callable[[Result], bool]] = {
        "control labels (--control 5)": lambda one: known(one.mean("selectivity")),
        "a model with random weights (--random_weights)": lambda one: known(one.mean("minus_random_weights")),
        "other seeds (--train_seeds 0,1,2)": lambda one: len({row["seed"] for row in one.rows}) > 1,
        "a baseline": lambda one: known(one.ahead),
        "the number of groups": lambda one: one.groups is not None,
        "scores on test": lambda _: results.split == "test",
        "chance (no p of shuffled labels)": lambda one: known(one.p_of_all) or results.split != "test",
    }
    missing = {name: sum(not there(one) for one in found) for name, there in checks.items()}
    some = {name: f" for {count} of {len(found)} targets" if count < len(found) else "" for name, count in missing.items()}
    return [f"{name}{some[name]}" for name, count in missing.items() if count]


def unbeaten_baseline(result: Result) -> Iterator[Doubt]:
    """Doubt that hidden states are needed where a baseline does as well."""
    (low, high), ahead, name = result.interval("minus_baseline"), result.ahead, result.baseline
    if not known(ahead) or name is None or low > 0:
        return
    if not known(low) and ahead > 0:
        if known(result.interval(result.results.metric)[0]):
            yield Doubt("difference without an interval", f"it is above “{name}” by AUROC {signed_text(ahead)}")
        return
    inside = f" ({signed_text(low)} to {signed_text(high)})" if known(low) else ""
    beside = result.of_baseline(name, "auc")
    counts = " (which counts as 0.5)" if beside < 0.5 else ""
    figures = f"AUROC {number_text(result.mean('auc'))} against {number_text(beside)}{counts}"
    yield Doubt(
        "worse than a baseline" if high < 0 else "no better than a baseline",
        f"“{name}” {'does better' if high < 0 else 'may do as well'}: {figures}, difference {signed_text(ahead)}{inside}",
    )


def baseline_below_chance(result: Result) -> Iterator[Doubt]:
    """Doubt a comparison with a baseline that is worse than a coin: on these data it learned the wrong thing."""
    rows = result.rows_of_baseline(result.baseline)
    found, (_, high) = mean(rows, "auc"), widest_interval(rows, "auc")
    if high < 0.5 or (not known(high) and found < BELOW):
        yield Doubt(
            "baseline below chance",
            f"the baseline to beat, “{result.baseline}”, has AUROC {number_text(found)}; it counts as 0.5",
        )


def shortcut(result: Result) -> Iterator[Doubt]:
    """Doubt what was learned where something simple goes half the way."""
    ours = result.mean("auc")
    for name, words in SIMPLE.items():
        found = result.of_baseline(name, "auc")
        if found >= SIMPLE_FROM and found - 0.5 >= (ours - 0.5) / 2:
            yield Doubt("shortcut", f"{words} reaches AUROC {number_text(found)}, the probe {number_text(ours)}")


def few_groups(result: Result) -> Iterator[Doubt]:
    """Doubt a score that rests on few independent groups, or has no interval."""
    if not known(result.interval(result.results.metric)[0]):
        if result.rows:
            yield Doubt("no interval", f"its score has no interval: {why_no_interval(result)}")
        return
    of, classes = result.groups, result.classes
    holders = int(classes.holders[0]) if classes else of
    if of is not None and holders is not None and holders < FEW_GROUPS:
        which = "" if holders == of else f", of which {holders} hold the rarer class"
        yield Doubt("few groups", f"its score rests on {how_many(of, 'group')}{which}, so its interval is itself uncertain")


def why_no_interval(result: Result) -> str:
    """Say why a score has no interval, as far as the tables tell."""
    results, metric = result.results, result.results.metric
    of = "" if result.groups is None else how_many(result.groups, "group")
    if metric not in WITH_INTERVAL:
        return f"only {' and '.join(SCORE_LABELS[name] for name in WITH_INTERVAL)} have one"
    if result.classes and (why := reasons(result.classes)[0]):
        return f"of {of or 'the groups'}, {why}"
    if result.classes:
        return "it cannot vary, as where all examples get one answer"
    none = "" if results.has(f"{results.split}_{metric}_low") else f", or these tables hold none of {results.split}"
    return "it needs 3 groups of like size that hold each class" + (f" ({of})" if of else "") + none


def at_chance(result: Result) -> Iterator[Doubt]:
    """Doubt a score whose interval holds what a coin gets."""
    low, high = result.interval(result.results.metric)
    if low <= 0.5:
        yield Doubt("at chance", f"the interval of its score, {number_text(low)} to {number_text(high)}, holds 0.5")


def by_chance(result: Result) -> Iterator[Doubt]:
    """Doubt the best of many: shuffled labels do as well somewhere in the search, or may, as far as the deals can tell."""
    if not known(result.p_of_all) or result.p_of_all <= CHANCE:
        return
    if result.p_in_sweep > LEAST_P:
        yield Doubt("perhaps chance", f"permutation p {number_text(result.p_of_all)}, as the best of the whole search")
    else:
        among = f"among {how_many(questions_of(result.results), 'question')}"
        yield Doubt("too many questions", f"permutation p {LEAST_P:g}, the least there is, cannot rule out chance {among}")


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
    count = result.results.unconverged.get((result.target, result.probe, result.lag, result.layer), 0)
    if count:
        fits = f"{count} of its {how_many(len(result.rows), f'{kind_name(result.probe)} fit')}"
        yield Doubt("not converged", f"{fits} stopped before the optimum")


CHECKS: tuple[Callable[[Result], Iterator[Doubt]], ...] = (
    unbeaten_baseline,
    at_chance,
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
