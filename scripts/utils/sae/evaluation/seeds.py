"""How much of a figure is chance, and which latents another seed has found too."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import isnan, nan
from statistics import mean, stdev
from typing import Any

import torch
from torch.nn.functional import normalize

from utils.base.text_table import table
from utils.sae.evaluation.results import DIVERGENCES, LOSSES, PCA, REBUILT, RECOVERED, Evaluation
from utils.states.sites import layer_name

SAME = 0.7  # cosine of two decoder rows above which they count as one latent: a convention, so chance stands beside it
BLOCK_BYTES = 2**27  # of cosines that are computed together
FIGURES = ("l0", *REBUILT, *PCA[1:], *(f"ce_{name}" for name in LOSSES), *DIVERGENCES, *RECOVERED)


@dataclass(frozen=True)
class Seeds:
    """Sparse autoencoders that differ in their seed alone.

    seeds      of the runs
    figures    {column: (mean, standard deviation over the seeds)}
    shared     share of the latents that two runs have in common, on average over the pairs of runs
    by_chance  the same of a run and a random dictionary whose rows have the covariance of the other run's
    """

    layer: Any
    architecture: str
    target_l0: float
    seeds: tuple[int, ...]
    figures: dict[str, tuple[float, float]]
    shared: float
    by_chance: float

    def record(self) -> dict[str, Any]:
        """Give it as JSON has it."""
        figures = {name: {"mean": middle, "deviation": deviation} for name, (middle, deviation) in self.figures.items()}
        return {**vars(self), "seeds": list(self.seeds), "figures": figures, "same_from_cosine": SAME}


def seeds_compared(evaluations: Sequence[Evaluation]) -> list[Seeds]:
    """Compare the runs that differ in their seed alone; those without another are left out."""
    alike: dict[tuple, list[Evaluation]] = {}
    for each in evaluations:
        about = each.autoencoder.about
        alike.setdefault((about["layer"], about["architecture"], about["target_l0"]), []).append(each)
    return [compared_seeds(runs) for runs in alike.values() if len(runs) > 1]


def compared_seeds(runs: Sequence[Evaluation]) -> Seeds:
    """Compare runs that differ in their seed alone. Latents that are dead on held-out text are left out."""
    about = runs[0].autoencoder.about
    rows = [run.row() for run in runs]
    there = [name for name in FIGURES if all(name in row for row in rows)]
    columns = {name: [row[name] for row in rows] for name in there}
    decoders = [run.autoencoder.decoder[run.reconstruction.density > 0] for run in runs]
    pairs = list(combinations(decoders, 2))
    return Seeds(
        about["layer"],
        about["architecture"],
        about["target_l0"],
        tuple(run.autoencoder.about["seed"] for run in runs),
        {name: (mean(values), stdev(values)) for name, values in columns.items() if not any(map(isnan, values))},
        mean(shared_latents(one, other) for one, other in pairs),
        mean(shared_latents(one, random_like(other)) for one, other in pairs),
    )


def shared_latents(one: torch.Tensor, other: torch.Tensor) -> float:
    """Say which share of the latents of two decoders, [m, hidden_size] and [n, hidden_size], is in both: 2 pairs / (m + n).

    Two latents are a pair if each is the nearest to the other by cosine, and the cosine is above SAME. Unlike an assignment
    of all to all (the Hungarian method) this takes no cubic time, and pairs nothing that has a nearer partner.
    """
    if not (len(one) and len(other)):
        return 0.0
    one, other = normalize(one.float(), dim=1), normalize(other.float(), dim=1)
    size = max(1, BLOCK_BYTES // (4 * len(other)))
    nearest, cosines = [], []  # of each latent of `one`
    best, back = one.new_full((len(other),), -torch.inf), torch.zeros(len(other), dtype=torch.long, device=one.device)
    for start in range(0, len(one), size):
        block = one[start : start + size] @ other.mT
        largest = block.max(dim=1)
        cosines.append(largest.values)
        nearest.append(largest.indices)
        along = block.max(dim=0)
        nearer = along.values > best
        best = torch.where(nearer, along.values, best)
        back = torch.where(nearer, along.indices + start, back)
    mutual = back[torch.cat(nearest)] == torch.arange(len(one), device=one.device)
    pairs = int((mutual & (torch.cat(cosines) > SAME)).sum())
    return 2 * pairs / (len(one) + len(other))


def random_like(decoder: torch.Tensor, seed: int = 0) -> torch.Tensor:
    """Draw as many rows from a normal distribution with the second moments of these [latents, hidden_size]."""
    rows = normalize(decoder.float(), dim=1).cpu()
    _, sizes, directions = torch.linalg.svd(rows, full_matrices=False)
    drawn = torch.randn(len(rows), len(sizes), generator=torch.Generator().manual_seed(seed))
    return (drawn * (sizes / len(rows) ** 0.5) @ directions).to(decoder.device)


def seeds_table(found: Sequence[Seeds]) -> str:
    """Tabulate the main figures over seeds: mean and standard deviation, and the latents in common."""
    rows = [
        ["over seeds", "architecture", "target", "seeds", "L0", "FVU", "dead", "recovered", "shared latents", "by chance"]
    ]
    for each in found:
        figures = [
            f"{middle:.{digits}f} ± {deviation:.{digits}f}"
            for middle, deviation, digits in (
                (*each.figures.get(name, (nan, nan)), digits)
                for name, digits in (("l0", 1), ("fvu", 3), ("dead", 3), ("recovered", 3))
            )
        ]
        rows.append(
            [
                layer_name(each.layer),
                each.architecture,
                f"{each.target_l0:g}",
                ",".join(map(str, each.seeds)),
                *("-" if "nan" in text else text for text in figures),
                f"{each.shared:.1%}",
                f"{each.by_chance:.1%}",
            ]
        )
    return table(rows) + f"\nshared: each is the other's nearest latent, at a cosine of their decoder rows above {SAME:g}"
