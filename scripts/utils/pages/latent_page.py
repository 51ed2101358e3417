"""Gather what the page of latents shows, as plain data, and write it."""

import numpy as np

from utils.data.tokenizer import shown_text
from utils.pages.html.page import packed, write_page
from utils.sae.latents.activity import HISTOGRAM_BINS
from utils.sae.latents.examples import INTERVALS
from utils.sae.latents.interpretations import LISTED, document_name, example_tokens
from utils.states.sites import layer_name

STEPS_OF_SHADE = 255  # as many as the activations of examples are rounded to
HEADINGS = (
    ("speaking", "Reads", "× base rate"),
    ("following", "Comes next", "× base rate"),
    ("promoted", "Promotes", "logit"),
    ("suppressed", "Suppresses", "logit"),
)


def write_latent_page(path, found, about):
    """Write the page of one layer's latents; it needs no other file.

    found: Interpretations; about: a line on what was read
    """
    write_page(path, "latents", **latent_values(found, about))


def latent_values(found, about) -> dict:
    """Gather the values of latents.html."""
    study, title = found.study, f"Latents of {layer_name(found.layer)}"
    data = {"title": title, **packed_facts(study), **packed_texts(found)}
    silent = len(study.silent)
    return {
        "title": title,
        "about": f"{about}; {study.autoencoder.latents:,} latents, {silent:,} of them silent",
        "notes": [
            "× base rate: how many times as often the token is read while the latent is active as it is read at all. "
            "The tokens listed are those that add most to the difference of the two distributions, not the most frequent.",
            "Promoted and suppressed tokens are those whose logits a step along the decoder row moves most, through the "
            "model’s own head; the step is as long as the square root of the hidden size, and what later layers make of it "
            "is left out.",
            "Shades are activations of the same latent over its largest one, in steps of 1 / 255. The outlined token is the "
            "one that an example is of. The latent was not active at tokens without a shade, or they were not read.",
            "Automatic labels are these tokens and nothing more: no finding about what a latent means.",
        ],
        "data": data,
    }


def packed_facts(study) -> dict:
    """Pack the numbers of all latents."""
    activity = study.activity
    return {
        "latents": study.autoencoder.latents,
        "read": study.read,
        "bins": HISTOGRAM_BINS,
        "intervals": INTERVALS,
        "numbers": packed(activity.number.astype(np.int32)),
        "largest": packed(activity.largest),
        "means": packed((activity.total / np.maximum(1, activity.number)).astype(np.float32)),
        "thresholds": packed(study.autoencoder.threshold.float().cpu().numpy()),
        "exponents": packed(np.where(activity.number > 0, activity.exponent, 0).astype(np.int16)),
        "histograms": packed(activity.histogram.astype(np.int32)),
    }


def packed_texts(found) -> dict:
    """Pack lists, labels and examples. Tokens are numbers in one table of texts, where 0 is none."""
    table = {text: number for number, text in enumerate(["", *dict.fromkeys(found.names.values())])}
    number_of = np.zeros(max(found.names, default=0) + 2, dtype=np.int64)  # its last entry, that of -1, stays 0
    for token, text in found.names.items():
        number_of[token] = table[text]
    lists = {}
    for name in ("promoted", "suppressed") if found.promoted else ():
        tokens, logits = (np.zeros((len(found.labels), LISTED), dtype=kind) for kind in (np.int64, np.float32))
        for latent, entry in enumerate(found.promoted):
            for place, (text, logit) in enumerate(entry[name]):
                tokens[latent, place] = table.setdefault(text, len(table))
                logits[latent, place] = logit
        lists[name] = {"token": tokens, "value": packed(logits)}
    for name in ("speaking", "following"):
        few = getattr(found, name)
        values = {"value": packed(few.lift.astype(np.float32)), "count": packed(few.count.astype(np.int32))}
        lists[name] = {"token": number_of[few.token], **values}
    number = np.uint16 if len(table) < 2**16 else np.uint32
    for few in lists.values():
        few["token"] = packed(few["token"].astype(number))
    return {
        "tokens": list(table),
        "labels": found.labels,
        "own": sorted(found.own),
        "lists": lists,
        "listed": LISTED,
        "headings": [heading for heading in HEADINGS if heading[0] in lists],
        "near": packed(found.near.astype(np.int32)),
        "cosines": packed(found.cosines),
        "neighbours": found.near.shape[1],
        **packed_examples(found.study, number_of.astype(number)),
    }


def packed_examples(study, number_of) -> dict:
    """Pack the examples, latent by latent: the strongest first, then those of each interval, the lowest first."""
    latents, choice = study.autoencoder.latents, study.choice
    slots = np.zeros((latents, 1 + INTERVALS), dtype=np.uint8)
    order, collected = [], {"shown": [], "shades": [], "peaks": [], "rows": []}
    for kept, first in ((study.examples.top, 0), (study.examples.drawn, 1)):
        slot, place = np.nonzero(kept.row >= 0)
        of_latent, of_slot = (slot, 0) if first == 0 else (slot // INTERVALS, 1 + slot % INTERVALS)
        np.add.at(slots, (of_latent, of_slot), 1)
        order.append(np.stack([of_latent, np.broadcast_to(of_slot, len(slot)), -kept.value[slot, place]]))
        largest = study.activity.largest[of_latent][:, None]
        shades = np.ceil(STEPS_OF_SHADE * np.minimum(1, np.nan_to_num(kept.windows[slot, place]) / largest))
        collected["shown"].append(number_of[example_tokens(study, kept)[slot, place]])
        collected["shades"].append(shades.astype(np.uint8))
        collected["peaks"].append(kept.value[slot, place])
        collected["rows"].append(kept.row[slot, place])
    of_latent, of_slot, falling = np.concatenate(order, axis=1)
    order = np.lexsort((falling, of_slot, of_latent))
    parts = {name: np.concatenate(arrays)[order] for name, arrays in collected.items()}
    plan, rows = study.text.plan, parts.pop("rows")
    sequences = study.text.sequences
    names = {
        sequence: shown_text(document_name(sequences, sequence)) for sequence in np.unique(plan.sequence[rows]).tolist()
    }
    documents = {name: number for number, name in enumerate(dict.fromkeys(names.values()))}
    of_document = np.array([documents[names[sequence]] for sequence in plan.sequence[rows].tolist()], dtype=np.int64)
    places = np.stack(
        [of_document, sequences.starts[plan.sequence[rows]] + plan.position[rows] - sequences.text_start], axis=1
    )
    return {
        "documents": list(documents),
        "width": choice.width,
        "before": choice.before,
        "slots": packed(slots),
        "places": packed(places.astype(np.int32)),
        **{name: packed(array) for name, array in parts.items()},
    }
