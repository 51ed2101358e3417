"""What Weights & Biases sees: a run a probe, with its epochs, where there are some; else a run a kind and question."""

from utils.states.positions import lag_name
from utils.sweep.outcome import run_name, table_layer


class Runs:
    """The runs of one kind for one question. common: what their configurations share; target: its name, where the data have
    several.
    """

    def __init__(self, arguments, tracking, common, kind, lag, layers, target=None):
        group = arguments.wandb_group or f"layer-sweep-{lag_name(lag)}"
        self._single = kind in ("linear", "mlp", "attention")
        names = [(layer, seed) for seed in arguments.seeds for layer in layers] if self._single else [None]
        together = "_".join(filter(None, [kind, lag_name(lag), target]))
        self._runs = {
            key: tracking.start(
                run_name(kind, key[0], lag, key[1], target) if key else together,
                group,
                {
                    **common,
                    "kind": kind,
                    "lag": lag,
                    **({"layer": key[0], "seed": key[1]} if key else {}),
                    **{
                        name: getattr(arguments, name)
                        for name in ("epochs", "learning_rate", "weight_decay", "pos_weight_cap")
                    },
                },
            )
            for key in names
        }

    def log(self, seed, epoch, scores_by_layer):
        if self._single:
            for run, scores in zip((run for key, run in self._runs.items() if key[1] == seed), scores_by_layer, strict=True):
                run.log({"epoch": epoch, **scores})

    def finish(self, chosen):
        if not self._single:
            self._runs[None].finish(
                {
                    f"{table_layer(probe.layer)}_seed{probe.seed}_{name}_{key}": value
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
