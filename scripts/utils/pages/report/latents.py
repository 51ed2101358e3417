"""Tabulate the probes on latents of sparse autoencoders, beside as many dimensions of the states and the dense probe."""

import json
import math

from utils.pages.charts.cells import known, layer_in_words, layer_order, order_of
from utils.pages.charts.results import Results
from utils.pages.charts.words import DASH, interval_text, lag_label, number_text, quoted, signed_text
from utils.pages.report.chosen import INTERVAL, hows_of
from utils.pages.report.doubts import Doubt
from utils.pages.report.promoted import tokens_text
from utils.pages.report.tables import Column, Head, ReportTable, numbers, table_of, word
from utils.saved.columns import SAE_LATENTS, SAE_PROBES

FEATURES = {"states": "dense probe", "latents": "latents", "dimensions": "dimensions"}
MOST_READ = 4  # tokens of a latent that are named


def latents_found(results: Results, target: str) -> tuple[str, list[Doubt]]:
    """Say of a target what probes on latents found, and what speaks against it: ("", []) where there are none."""
    of_target = [row for row in results.sae_probes if row["target"] == target]
    validation = {key_of(row): order_of(row.get("auc")) for row in of_target if row["split"] == "val"}
    shown = {key_of(row): row for row in of_target if row["split"] == results.split}
    tried = [key for key in shown if key[0] == "latents"]
    if not tried:
        return "", []
    best = max(tried, key=lambda key: validation.get(key, -1))
    row, where = shown[best], f"{layer_in_words(best[1])}, lag {lag_label(best[2])}"
    inside = interval_text([row], "minus_dense", signed_text)
    text = (
        f"{number_text(row['count'], 0)} latents at {where}: {results.split} AUROC {number_text(row['auc'])}"
        + (f" ({one})" if (one := interval_text([row], "auc")) else "")
        + f", minus the dense probe there {signed_text(row.get('minus_dense'))}"
        + (f" ({inside})." if inside else ".")
    )
    return text, doubts_of_latents(row, shown.get(("dimensions", *best[1:])))


def doubts_of_latents(row: dict, dimensions: dict | None) -> list[Doubt]:
    """List what speaks against latents. dimensions: the row of as good a number of dimensions of the same states."""
    doubts, count = [], f"{number_text(row['count'], 0)} latents"
    if dimensions and known(dimensions["auc"]) and dimensions["auc"] >= row["auc"]:
        figures = f"{number_text(dimensions['count'], 0)} of its dimensions reach AUROC {number_text(dimensions['auc'])}"
        doubts.append(Doubt("dimensions as good", f"{figures}, {count} {number_text(row['auc'])}"))
    minus, low = row.get("minus_baseline", math.nan), row.get("minus_baseline_low", math.nan)
    if known(minus) and not (low > 0 or (not known(low) and minus > 0)):
        inside = interval_text([row], "minus_baseline", signed_text)
        figures = f"AUROC {signed_text(minus)}" + (f" ({inside})" if inside else "")
        doubts.append(Doubt("latents no better than a baseline", f"{count} against “{row['best_baseline']}”: {figures}"))
    return doubts


def key_of(row: dict) -> tuple[str, str, int]:
    return row["features"], row["layer_idx"], row["lag"]


def latents_table(results: Results) -> ReportTable | None:
    """Tabulate, of each layer, what validation chose of latents, of dimensions, and the dense probe."""
    rows = [row for row in results.sae_probes if row["split"] == results.split and row["features"] in FEATURES]
    order = list(FEATURES)
    rows.sort(key=lambda row: (row["target"], row["lag"], layer_order(row["layer_idx"]), order.index(row["features"])))
    hows = hows_of(results)
    columns: list[Column] = [
        word("target", "target"),
        numbers(Head("lag", hows["lag"]), "lag"),
        numbers(Head("layer"), "layer"),
        word(
            "what it reads", "features", "Latents, as many dimensions of the same states, or all of them (the dense probe)."
        ),
        numbers(Head("how many", f"Chosen on validation by AUROC ({SAE_PROBES}: count)."), "count"),
        numbers(Head(f"{results.split} AUROC", f"({SAE_PROBES}: auc).", (INTERVAL,)), "auc", "interval", look="strong"),
        numbers(Head("minus the dense probe", "Paired, over groups.", (INTERVAL,)), "dense", "dense_interval"),
        numbers(Head("AUROC minus baseline’s", hows["minus"], (INTERVAL,)), "minus", "minus_interval"),
    ]
    about = "of each layer the number of latents that validation chose, beside as many dimensions and the dense probe"
    return table_of("latents", ("Probes on latents", about), columns, list(map(latents_row, rows))) if rows else None


def latents_row(row: dict) -> dict:
    return {
        "target": quoted(row["target"]),
        "lag": lag_label(row["lag"]),
        "layer": row["layer_idx"],
        "features": FEATURES[row["features"]],
        "ours": row["features"] == "latents",
        "count": number_text(row["count"], 0),
        "auc": number_text(row["auc"]),
        "interval": interval_text([row], "auc"),
        "dense": signed_text(row.get("minus_dense")),
        "dense_interval": interval_text([row], "minus_dense", signed_text),
        "minus": signed_text(row.get("minus_baseline")),
        "minus_interval": interval_text([row], "minus_baseline", signed_text),
    }


def read_latents_table(results: Results) -> ReportTable | None:
    """Tabulate the first latents that the chosen probes read."""
    rows = [
        {
            "target": quoted(row["target"]),
            "lag": lag_label(row["lag"]),
            "layer": row["layer_idx"],
            "latent": number_text(row["latent"], 0),
            "difference": signed_text(row["mean_difference"]),
            **{name: share_text(row[f"density_{name}"]) for name in ("positives", "negatives")},
            **{name: texts(row[name]) for name in ("reads", "promotes", "suppresses")},
        }
        for row in results.sae_latents
    ]
    columns: list[Column] = [
        word("target", "target"),
        numbers(Head("lag"), "lag"),
        numbers(Head("layer"), "layer"),
        numbers(Head("latent", "Its index in the autoencoder."), "latent"),
        numbers(Head("difference", "Of its means over the classes, divided by its mean where active."), "difference"),
        numbers(Head("active at positives", f"({SAE_LATENTS}: density_positives)."), "positives"),
        numbers(Head("at negatives", f"({SAE_LATENTS}: density_negatives)."), "negatives"),
        word("reads", "reads", "The tokens at its 20 largest activations on train."),
        word("promotes", "promotes", "The tokens that a step along its row of the decoder promotes most."),
        word("suppresses", "suppresses", "The tokens that such a step suppresses most."),
    ]  # fmt: skip
    about = "those whose class means lie furthest apart on train, of each chosen probe"
    return table_of("read_latents", ("The latents that they read", about), columns, rows) if rows else None


def share_text(value: float) -> str:
    return f"{value:.1%}" if known(value) else DASH


def texts(written: str) -> str:
    """Write the first texts of a cell that holds JSON: [[text, number], ...]."""
    try:
        return tokens_text(json.loads(written) if written else [], MOST_READ)
    except (ValueError, RecursionError):
        return DASH
