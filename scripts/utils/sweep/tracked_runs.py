"""Log to Weights & Biases: one run per probe, where there are epochs; else one per kind and question."""

from collections.abc import Sequence

from utils.base.tracking import NoTracking, Wandb
from utils.probes.kinds import BY_NAME
from utils.states.positions import Question, lag_name
from utils.states.sites import Layer, layer_name
from utils.sweep.fits import Fitting
from utils.sweep.outcome import Probe, run_name


class Runs:
    """The runs of one kind of probe for one question."""

    def __init__(
        self,
        tracking: NoTracking | Wandb,
        group: str | None,
        common: dict,
        kind: str,
        question: Question,
        layers: Sequence[Layer],
        fitting: Fitting,
    ) -> None:
        """Start them. group: their name together (None: by the lag); common: what their configurations share."""
        lag, target = question.lag, question.name if question.data.several_targets else None
        group = group or f"layer-sweep-{lag_name(lag)}"
        self._single = BY_NAME[kind].descends
        names = [(layer, seed) for seed in fitting.seeds for layer in layers] if self._single else [None]
        together = "_".join(filter(None, [kind, lag_name(lag), target]))
        trained = {name: getattr(fitting, name) for name in ("epochs", "learning_rate", "weight_decay", "pos_weight_cap")}
        shared = {**common, "kind": kind, "lag": lag}
        self._runs = {}
        for key in names:
            name = run_name(kind, key[0], lag, key[1], target) if key else together
            own = {"layer": key[0], "seed": key[1]} if key else {}
            self._runs[key] = tracking.start(name, group, {**shared, **own, **trained})

    def log(self, seed: int, epoch: int, scores_by_layer: Sequence[dict]) -> None:
        """Log one epoch of all layers of one seed."""
        if self._single:
            for run, scores in zip((run for key, run in self._runs.items() if key[1] == seed), scores_by_layer, strict=True):
                run.log({"epoch": epoch, **scores})

    def finish(self, chosen: Sequence[Probe]) -> None:
        """Log the scores of the chosen probes, and end the runs."""
        if not self._single:
            self._runs[None].finish(
                {
                    f"{layer_name(probe.layer)}_seed{probe.seed}_{name}_{key}": value
                    for probe in chosen
                    for name, found in probe.metrics.items()
                    for key, value in found.items()
                }
            )
            return
        for probe in chosen:
            self._runs[probe.layer, probe.seed].finish(
                {
                    "best_epoch": probe.notes["epoch"],
                    **{f"{name}_{key}": value for name, found in probe.metrics.items() for key, value in found.items()},
                }
            )
