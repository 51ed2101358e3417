"""All that was measured of one sparse autoencoder: its files, its tables, and the published targets that it meets."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from utils.base.errors import UserError
from utils.base.files import WriteTogether, csv_text, json_text
from utils.base.progress import Progress
from utils.base.text_table import table
from utils.sae.autoencoder import SparseAutoencoder
from utils.sae.evaluation.reconstruction import ENOUGH_TOKENS, Chunks, Reconstruction, measure
from utils.sae.evaluation.splicing import MOST_TOKENS, Cost, by_layer, spliced, why_no_cost
from utils.sae.supply.history import CLOSE
from utils.states.forward_pass import Pass
from utils.states.sites import Layer, is_layer, layer_depth, layer_name

FORMAT, VERSION = "sae-evaluation", 1
EVALUATION_CSV, EVALUATION_JSON = "sae_evaluation.csv", "sae_evaluation.json"
IDENTITY = ("layer", "architecture", "target_l0", "seed")
REBUILT = ("fvu", "explained_variance", "squared_error", "cosine", "shrinkage", "norm_ratio", "dead", "dense")
PCA = ("pca_components", "pca_fvu", "fvu_over_pca")
LOSSES = ("clean", "spliced", "zeroed", "averaged")
DIVERGENCES = ("kl_spliced", "kl_zeroed", "kl_averaged")
RECOVERED = ("recovered", "recovered_over_mean")
DECILES = (1, 5, 9)  # in the table; the JSON has all
MOST_ERROR, LEAST_L0, MOST_L0, MOST_DEAD = 0.01, 50, 100, 0.1  # published for GPT-2's layers
TARGETS = ("meets_squared_error", "meets_l0", "meets_dead")
EVALUATION_COLUMNS = (
    *IDENTITY,
    *("latents", "hidden_size", "tokens", "l0"),
    *(f"l0_p{10 * tenth}" for tenth in DECILES),
    *REBUILT,
    *PCA,
    *("predictions", "replaced"),
    *(f"ce_{name}" for name in LOSSES),
    *DIVERGENCES,
    *RECOVERED,
    *TARGETS,
)


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What was measured of one sparse autoencoder.

    cost         None where the model could not be asked: why_no_cost says why
    """

    autoencoder: SparseAutoencoder
    reconstruction: Reconstruction
    cost: Cost | None = None
    why_no_cost: str = ""

    @property
    def targets(self) -> dict[str, bool]:
        """Say which of the published targets are met: squared error an element of raw states, active and dead latents."""
        found = self.reconstruction
        met = (found.squared_error < MOST_ERROR, LEAST_L0 <= found.l0 <= MOST_L0, found.dead < MOST_DEAD)
        return dict(zip(TARGETS, met, strict=True))

    def row(self) -> dict[str, Any]:
        """Give every figure by its column; those that were not computed are absent."""
        about, found, cost = self.autoencoder.about, self.reconstruction, self.cost
        row = {name: about.get(name) for name in IDENTITY}
        row |= {name: getattr(self.autoencoder, name) for name in ("latents", "hidden_size")}
        row |= {name: getattr(found, name) for name in ("tokens", "l0", *REBUILT, *PCA)}
        row |= {f"l0_p{10 * tenth}": found.l0_deciles[tenth] for tenth in DECILES}
        if cost is not None:
            row |= {"predictions": cost.tokens, "replaced": cost.replaced}
            row |= {f"ce_{name}": getattr(cost, name) for name in LOSSES}
            row |= {name: getattr(cost, name) for name in (*DIVERGENCES, *RECOVERED)}
        return row | {name: int(met) for name, met in self.targets.items()}

    def record(self) -> dict[str, Any]:
        """Give the row as JSON has it, with the distributions."""
        found = self.reconstruction
        ends, counts = found.density_histogram()
        more = {
            "l0_deciles": list(found.l0_deciles),
            "density_histogram": {"log10_from": ends, "latents": counts},
            "few_tokens": found.few_tokens,
            "why_no_cost": self.why_no_cost,
        }
        return {name: None if value != value else value for name, value in self.row().items()} | more


def evaluate(
    run: Pass,
    autoencoders: Sequence[SparseAutoencoder],
    states: Callable[[str, Layer], Chunks],
    most_tokens: int = MOST_TOKENS,
    largest_norm: Mapping[Layer, float] | None = None,
) -> list[Evaluation]:
    """Measure sparse autoencoders of any layers of one model: what they rebuild, and what they cost it where it can say.

    run: over held-out sequences, with a plan of the positions whose states were trained on
    states: of "train" and "held_out" and a layer, the states as `measure` takes them
    most_tokens, largest_norm: see `spliced`
    """
    of_layer = by_layer(autoencoders)
    found: dict[int, Reconstruction] = {}
    with Progress("measure", "autoencoder", len(autoencoders)) as progress:
        for layer, numbers in of_layer.items():
            own = [autoencoders[number] for number in numbers]
            found |= zip(numbers, measure(own, states("held_out", layer), states("train", layer)), strict=True)
            progress.update(len(numbers))
    why = why_no_cost(run.model, of_layer)
    costs = [None] * len(autoencoders) if why else spliced(run, autoencoders, most_tokens, largest_norm)
    return [Evaluation(each, found[number], costs[number], why) for number, each in enumerate(autoencoders)]


def write_evaluation(folder: str | Path, evaluations: Sequence[Evaluation]) -> None:
    """Write sae_evaluation.json and sae_evaluation.csv, both or none of them: an entry and a row for each.

    What they hold of other layers stays.
    """
    found, before = [each.record() for each in evaluations], evaluated_before(Path(folder) / EVALUATION_JSON)
    others = [entry for entry in before if entry["layer"] not in [own["layer"] for own in found]]
    ordered = sorted([*others, *found], key=lambda entry: layer_depth(entry["layer"])) if others else found
    texts = {
        EVALUATION_JSON: json_text({"format": FORMAT, "version": VERSION, "autoencoders": ordered}),
        EVALUATION_CSV: csv_text(
            EVALUATION_COLUMNS, [{name: entry.get(name) for name in EVALUATION_COLUMNS} for entry in ordered]
        ),
    }
    with WriteTogether() as files:
        for name, text in texts.items():
            with files.open(Path(folder) / name) as file:
                file.write(text.encode("utf-8"))


def evaluated_before(path: Path) -> list[dict[str, Any]]:
    """Read the entries of a file that `write_evaluation` wrote; none where there is no file."""
    if not path.exists():
        return []
    try:
        found = json.loads(path.read_text(encoding="utf-8"))["autoencoders"]
        if not all(is_layer(entry["layer"]) for entry in found):
            raise ValueError("an entry is of no layer")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} cannot be read ({error}); delete it, and run the same command again") from error
    return found


def evaluation_table(evaluations: Sequence[Evaluation]) -> str:
    """Tabulate the main figures of each sparse autoencoder, with notes on what they were measured on."""
    rows = [["held out", "architecture", "seed", "target", "L0", "FVU", "FVU/PCA", "dead", "recovered"]]
    for each in evaluations:
        about, found = each.autoencoder.about, each.reconstruction
        rows.append(
            [
                layer_name(about["layer"]),
                str(about.get("architecture", "-")),
                str(about.get("seed", "-")),
                written(about.get("target_l0"), "g"),
                written(found.l0, ".1f"),
                written(found.fvu, ".3f"),
                written(found.fvu_over_pca, ".2f"),
                written(found.dead, ".1%"),
                written(each.cost and each.cost.recovered, ".3f"),
            ]
        )
    return "\n".join([table(rows), *told_below(evaluations)])


def written(value: float | None, form: str) -> str:
    """Write a figure; '-' where there is none."""
    return "-" if value is None or math.isnan(value) else format(value, form)


def told_below(evaluations: Sequence[Evaluation]) -> list[str]:
    """Say on how much text the figures rest, and which were not computed."""
    tokens = min(each.reconstruction.tokens for each in evaluations)
    lines = [f"dead: silent on all of {tokens:,} held-out tokens"]
    if tokens < ENOUGH_TOKENS:
        lines[0] += f"; on fewer than {ENOUGH_TOKENS:,} a rare latent counts as dead too"
    costs = [each.cost for each in evaluations if each.cost is not None]
    if costs:
        lines.append(
            f"recovered: share of the cross-entropy that zeroing the layer costs, over {costs[0].tokens:,} predictions "
            f"(the model's own {costs[0].clean:.3f} nats)"
        )
    for each in evaluations:
        found, target = each.reconstruction.l0, each.autoencoder.about.get("target_l0")
        if target and abs(found / target - 1) > CLOSE:
            name = f"{layer_name(each.autoencoder.about['layer'])}, target {target:g}"
            lines.append(f"note: {name}: L0 is {found:.2f} here, {found / target - 1:+.1%} off, more than {CLOSE:.0%}")
    lines += [f"recovered is not measured: {why}" for why in dict.fromkeys(each.why_no_cost for each in evaluations) if why]
    return lines


def targets_table(evaluations: Sequence[Evaluation]) -> str:
    """Tabulate which of the published targets each sparse autoencoder meets, with the figures."""
    heading = [f"squared error < {MOST_ERROR:g}", f"active {LEAST_L0} to {MOST_L0}", f"dead < {MOST_DEAD:.0%}"]
    rows = [["published targets", "architecture", "seed", "target", *heading, "FVU"]]
    for each in evaluations:
        about, found = each.autoencoder.about, each.reconstruction
        verdicts = zip(
            (f"{found.squared_error:.3g}", f"{found.l0:.1f}", f"{found.dead:.1%}"), each.targets.values(), strict=True
        )
        rows.append(
            [
                layer_name(about["layer"]),
                str(about.get("architecture", "-")),
                str(about.get("seed", "-")),
                written(about.get("target_l0"), "g"),
                *(f"{text} {'passed' if met else 'FAILED'}" for text, met in verdicts),
                f"{found.fvu:.3f}",
            ]
        )
    return table(rows) + "\nthe squared error is of raw states and goes with the square of their scale; FVU does not"
