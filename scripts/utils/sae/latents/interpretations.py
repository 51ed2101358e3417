"""Write down what is known of each latent as plain data: one JSON file a layer, by the latent's number."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from utils.base.files import atomic_write
from utils.data.sequences import Sequences
from utils.data.tokenizer import token_text
from utils.sae.latents.decoder import nearest_latents
from utils.sae.latents.examples import INTERVALS
from utils.sae.latents.labels import TokenLists, automatic_labels, token_lists
from utils.sae.latents.study import LatentStudy
from utils.states.sites import Layer

if TYPE_CHECKING:
    from utils.data.tokenizer import Tokenizer

LISTED = 10  # tokens a list
SIGNIFICANT = 5  # of the activations in the file


@dataclass(frozen=True)
class Interpretations:
    """All that is known of the latents of one layer.

    study      the numbers and examples
    tokenizer  of the model
    names      of every token that appears in them: {id: text}
    common     the tokens that each latent reads most often; speaking: those that speak most for it
    following  the tokens that come next, those that speak most for it
    promoted   of each latent {"promoted": [[token, logit]], "suppressed": ...}; None for a model without a head
    near       int64 [latents, 5]: its neighbours in the decoder; cosines: float32
    labels     a label for each
    own        the labels among them that are the user's: {latent: words}
    """

    layer: Layer
    study: LatentStudy
    tokenizer: "Tokenizer"
    names: dict[int, str]
    common: TokenLists
    speaking: TokenLists
    following: TokenLists
    promoted: Sequence[dict] | None
    near: np.ndarray
    cosines: np.ndarray
    labels: list[str]
    own: dict[int, str]


def interpret(
    layer: Layer,
    study: LatentStudy,
    tokenizer: "Tokenizer",
    promoted: Sequence[dict] | None,
    own: dict[int, str],
) -> Interpretations:
    """Gather what is known of the latents of one layer, after the pass.

    promoted: as `promoted_tokens` gives it for the rows of the decoder; own: labels of the user
    """
    common, speaking = token_lists(study.tokens, LISTED)
    _, following = token_lists(study.following, LISTED)
    shown = [np.flatnonzero(study.tokens.base), np.flatnonzero(study.following.base)]
    shown += [np.unique(example_tokens(study, kept)) for kept in (study.examples.top, study.examples.drawn)]
    ids = np.unique(np.concatenate(shown))
    names = {int(token): token_text(tokenizer, token) for token in ids if token >= 0}
    near, cosines = nearest_latents(study.autoencoder.decoder)
    labels = automatic_labels(speaking, following, names)
    for latent, words in own.items():
        labels[latent] = words
    return Interpretations(
        layer, study, tokenizer, names, common, speaking, following, promoted, near.numpy(), cosines.numpy(), labels, own
    )


def example_tokens(study: LatentStudy, kept: Any) -> np.ndarray:
    """Give the tokens of the examples that are kept: int32 [slots, most, width], -1 outside the text and without example."""
    rows = kept.row.ravel()
    ids = study.text.around(np.maximum(rows, 0), study.choice.before, study.choice.after)
    ids[rows < 0] = -1
    return ids.reshape(*kept.row.shape, study.choice.width)


def write_interpretations(path: str | Path, found: Interpretations) -> None:
    """Write one JSON object, a line a latent, by the latent's number, whole or not at all."""
    with atomic_write(path) as file:
        for number, entry in enumerate(entries(found)):
            line = json.dumps(entry, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
            file.write(f'{"," if number else "{"}\n"{number}":{line}'.encode())
        file.write(b"\n}\n")


def entries(found: Interpretations) -> Iterator[dict]:
    """Yield what the file says of each latent."""
    study, activity = found.study, found.study.activity
    top, drawn = example_tokens(study, study.examples.top), example_tokens(study, study.examples.drawn)
    density, threshold = study.density, study.autoencoder.threshold.tolist()
    for latent in range(study.autoencoder.latents):
        number = int(activity.number[latent])
        slots = range(latent * INTERVALS, (latent + 1) * INTERVALS)
        yield {
            "feature_id": latent,
            "active": number > 0,
            "num_activations": number,
            "top_activation": rounded(activity.largest[latent]),
            "mean_activation": rounded(activity.total[latent] / max(1, number)),
            "common_tokens": tokens_of(found, found.common, latent, "count"),
            "top_examples": examples(found, study.examples.top, top, latent),
            "label": found.labels[latent],
            "label_by": "user" if latent in found.own else "automatic",
            "density": float(density[latent]),
            "threshold": rounded(threshold[latent]),
            "common_token_lifts": tokens_of(found, found.common, latent, "lift"),
            "speaking_tokens": tokens_of(found, found.speaking, latent, "lift"),
            "next_tokens": tokens_of(found, found.following, latent, "lift"),
            "uncounted_tokens": int(study.tokens.missed[latent]),
            **{name: promoted_of(found, latent, name) for name in ("promoted", "suppressed")},
            "neighbours": [
                [int(near), rounded(cosine)] for near, cosine in zip(found.near[latent], found.cosines[latent], strict=True)
            ],
            "histogram": histogram(activity, latent),
            "interval_examples": [
                {"from": low, "to": high, "examples": examples(found, study.examples.drawn, drawn, slot)}
                for slot, (low, high) in zip(slots, interval_edges(activity, latent), strict=True)
                if study.examples.drawn.row[slot].max(initial=-1) >= 0
            ],
        }


def document_name(sequences: Sequences, sequence: int) -> str:
    """Name the document that a sequence is of; its number where it has no name."""
    number = int(sequences.documents[sequence])
    names = sequences.metadata.get("documents")
    return str(number) if names is None else names[number]


def rounded(value: Any) -> float:
    """Round to the digits of the file."""
    return float(f"{float(value):.{SIGNIFICANT}g}")


def tokens_of(found: Interpretations, lists: TokenLists, latent: int, what: str) -> list[list]:
    """List [token, count or lift] of one latent."""
    values = getattr(lists, what)[latent].tolist()
    tokens = lists.token[latent].tolist()
    return [
        [found.names[token], value if what == "count" else rounded(value)]
        for token, value in zip(tokens, values, strict=True)
        if token >= 0
    ]


def promoted_of(found: Interpretations, latent: int, name: str) -> list[list]:
    """List [token, logit] of what a decoder row promotes or suppresses; empty for a model without a head."""
    return [[token, rounded(logit)] for token, logit in found.promoted[latent][name]] if found.promoted else []


def interval_edges(activity: Any, latent: int) -> list[tuple[float, float]]:
    """Give the ends of each interval of a latent's activations."""
    width = float(np.ldexp(1.0, int(activity.exponent[latent]))) / INTERVALS if activity.number[latent] else 0.0
    return [(index * width, (index + 1) * width) for index in range(INTERVALS)]


def histogram(activity: Any, latent: int) -> dict:
    """Give the bins up to the largest activation: their width, and how many activations lie in each."""
    if not activity.number[latent]:
        return {"bin_width": 0.0, "counts": []}
    counts = activity.histogram[latent]
    last = int(np.flatnonzero(counts)[-1]) + 1
    return {
        "bin_width": float(np.ldexp(1.0, int(activity.exponent[latent]))) / len(counts),
        "counts": counts[:last].tolist(),
    }


def examples(found: Interpretations, kept: Any, windows: np.ndarray, slot: int) -> list[dict]:
    """Give the examples of one slot, the strongest first.

    position: in its sequence, special tokens included; tokens and activations: from the first token that is shown;
    an activation is None where no state was read.
    """
    sequences, plan, before = found.study.text.sequences, found.study.text.plan, found.study.choice.before
    result = []
    for place in np.argsort(-kept.value[slot], kind="stable"):
        row = int(kept.row[slot, place])
        if row < 0:
            continue
        inside = np.flatnonzero(windows[slot, place] >= 0)
        tokens = [found.names[token] for token in windows[slot, place, inside].tolist()]
        around = kept.windows[slot, place, inside]
        sequence = int(plan.sequence[row])
        result.append(
            {
                "text": found.tokenizer.decode(windows[slot, place, inside], clean_up_tokenization_spaces=False),
                "position": int(plan.position[row]),
                "activation": rounded(kept.value[slot, place]),
                "sequence": sequence,
                "document": document_name(sequences, sequence),
                "token": tokens[int(np.flatnonzero(inside == before)[0])],
                "tokens": tokens,
                "activations": [None if np.isnan(value) else rounded(value) if value else 0 for value in around],
            }
        )
    return result
