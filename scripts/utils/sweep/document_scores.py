"""The documents of one finished sweep: where all tokens of a text are labelled, its probes score texts as well."""

import numpy as np

from utils.scores.documents.layout import documents_of
from utils.scores.documents.scoring import DocumentScores, score_documents, why_not
from utils.sweep.outcome import Sweep


def score_sweep(sweep: Sweep, token_baselines: dict) -> DocumentScores | None:
    """Score documents by the probes of a sweep; None where that has no meaning.

    The labels must speak of all tokens of a span task, and validation and test hold documents of both classes (else the
    reason is printed). token_baselines: {name: {split: logits}}.
    """
    splits = sweep.question.sequences
    metadata = splits["train"].metadata
    if (metadata.get("task"), metadata.get("label_rule")) != ("spans", "tokens") or "test" not in splits:
        return None
    documents = {"train": documents_of(splits["train"])}
    for split in ("val", "test"):
        examples = sweep.task.examples[split]
        documents[split] = documents_of(splits[split], examples.sequence, examples.position)
    reason = why_not(documents)
    if reason:
        print(f"no scores of documents for {sweep.target!r} at lag {sweep.lag}: {reason}", flush=True)
        return None
    probes = [{"probe": probe.kind, "layer_idx": probe.layer, "seed": probe.seed} for probe in sweep.chosen]
    logits = {split: np.stack([probe.logits[split] for probe in sweep.chosen]) for split in ("val", "test")}
    return score_documents(documents, logits, probes, sweep.target, sweep.lag, token_baselines)
