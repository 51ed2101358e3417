"""The documents of one finished sweep: where all tokens of a text are labelled, its probes score texts as well."""

import numpy as np

from utils.scores.documents.layout import documents_of
from utils.scores.documents.scoring import DocumentScores, score_documents, why_not


def score_sweep(sweep, splits, token_baselines) -> DocumentScores | None:
    """What `score_documents` finds, or None where it has no meaning: the labels must speak of all tokens of a span task,
    and validation and test hold documents of both classes (else the reason is printed).

    sweep: its `chosen` probes have logits {split: [n]} of `task.examples`; token_baselines: {name: {split: logits}}.
    """
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
