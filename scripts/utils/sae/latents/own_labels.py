"""Read the user's own labels of latents from a JSON or CSV file, and say which of them are not shown."""

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from utils.base.errors import UserError
from utils.base.paths import in_quotes, shortened
from utils.base.text_table import how_many
from utils.data.tokenizer import shown_text
from utils.states.sites import ATTENTION, Layer, is_layer, layer_of

LONGEST_LABEL = 200  # characters


class LabelRow(NamedTuple):
    """One label as a file gives it; layer: None where it names none."""

    layer: str | None
    latent: str
    words: str


def read_labels(path: str, latents: Mapping[Layer, int]) -> dict[Layer, dict[int, str]]:
    """Read the user's labels: {layer: {latent: words}}. latents: how many each layer has. Print what is cut or not shown.

    The file is a JSON object of latent -> words (of several layers: layer -> such an object), or a .csv with the columns
    latent and label (of several layers: and layer).
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
        rows = rows_of_csv(text) if path.lower().endswith(".csv") else rows_of_json(text)
    except (OSError, UnicodeDecodeError, csv.Error, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(
            f"--labels {path} cannot be read: {reason}; give a JSON object of latent -> words, or a .csv with the columns "
            "latent and label"
        ) from error
    result: dict[Layer, dict[int, str]] = {layer: {} for layer in latents}
    elsewhere, cut = set(), 0
    for row in rows:
        layer = layer_of_row(path, row, latents)
        if layer not in latents:
            elsewhere.add(layer)
            continue
        latent = latent_of_row(path, row, layer, latents[layer])
        if latent in result[layer]:
            raise UserError(f"--labels {path} labels latent {latent} of layer {layer} twice; keep one of them")
        words = shown_text(row.words.strip())
        if not words:
            raise UserError(f"--labels {path} has no words for latent {latent} of layer {layer}; write some, or delete it")
        cut += len(words) > LONGEST_LABEL
        result[layer][latent] = words if len(words) <= LONGEST_LABEL else f"{words[: LONGEST_LABEL - 1]}…"
    if elsewhere:
        others = shortened(", ".join(sorted(map(str, elsewhere))))
        print(f"note: --labels {path} also has labels of layers that are not read now: {others}")
    if cut:
        print(f"note: of --labels {path} {how_many(cut, 'label')} had more than {LONGEST_LABEL} characters, the rest is cut")
    return result


def layer_of_row(path: str, row: LabelRow, latents: Mapping[Layer, int]) -> Layer:
    """Find the layer that a label is of. Raise UserError where it names none, or what can be no layer."""
    if row.layer is None:
        if len(latents) > 1:
            raise UserError(
                f"--labels {path} does not say of which layer latent {in_quotes(row.latent)} is, and {len(latents)} layers "
                "are read; name it, or read one with --layers"
            )
        return next(iter(latents))
    layer = layer_of(row.layer)
    if not is_layer(layer) or layer == ATTENTION:
        raise UserError(
            f"--labels {path}: {in_quotes(row.layer)} is no layer; write a number, embed or final_norm, such as "
            f"{next(iter(latents))}"
        )
    return layer


def latent_of_row(path: str, row: LabelRow, layer: Layer, latents: int) -> int:
    """Find the latent that a label is of. Raise UserError where there is no such one."""
    number = row.latent.lstrip("0") or row.latent[:1]
    if number.isascii() and number.isdigit() and len(number) <= len(str(latents)) and int(number) < latents:
        return int(number)
    raise UserError(f"--labels {path}: {in_quotes(row.latent)} is no latent of layer {layer}, which has 0 to {latents - 1}")


def rows_of_json(text: str) -> list[LabelRow]:
    """List the labels of a JSON object. Raise ValueError for another shape, and for a key that stands twice."""
    value = json.loads(text, object_pairs_hook=without_repeats)
    if not isinstance(value, dict):
        raise ValueError("it is no JSON object")
    rows = []
    for key, inner in value.items():
        pairs = (
            [(key, latent, words) for latent, words in inner.items()] if isinstance(inner, dict) else [(None, key, inner)]
        )
        for layer, latent, words in pairs:
            if not isinstance(words, str):
                raise ValueError(f"the label of {in_quotes(latent)} is {type(words).__name__}, not words")
            rows.append(LabelRow(layer, latent, words))
    return rows


def without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make a dict of a JSON object. Raise ValueError where a key stands twice: one value would be lost."""
    result = dict(pairs)
    if len(result) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{in_quotes(next(name for name in names if names.count(name) > 1))} stands in it twice")
    return result


def rows_of_csv(text: str) -> list[LabelRow]:
    """List the labels of a table. Raise ValueError or csv.Error where a column, a cell or a quotation mark is missing."""
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    columns = reader.fieldnames or ()
    if not {"latent", "label"} <= set(columns):
        raise ValueError(f"its columns are {in_quotes(', '.join(columns)) if columns else 'none'}")
    rows = []
    for row in reader:
        if None in row or None in row.values():
            raise ValueError(f"the row that ends in line {reader.line_num} has not {len(columns)} cells, as the heading has")
        rows.append(LabelRow((row.get("layer") or "").strip() or None, row["latent"].strip(), row["label"]))
    return rows
