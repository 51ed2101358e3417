"""Load saved probes of any kind, select among them, and compute their logits."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from utils.base.errors import UserError
from utils.base.files import fingerprint
from utils.data.sequences import Sequences
from utils.probes.affine import linear_logits
from utils.probes.descent.attention import AttentionProbes
from utils.probes.descent.mlp import MLPProbes
from utils.probes.descent.ranges import whole_texts
from utils.probes.kinds import BY_NAME, KINDS, trained_share
from utils.saved.export import probe_name, read_export
from utils.saved.probe_sets import load_folder, pool_of, score_chosen_by
from utils.saved.seen_texts import SEEN, Texts
from utils.states.sites import ATTENTION, Layer
from utils.states.source import Source

EXPORT = ".safetensors"


Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class SavedProbe:
    """A probe from a file.

    folder    as it was given, or the export
    file      the probe's own path, of an export with its name after a #
    state     tensors by name
    metadata  what the file says of the probe
    """

    folder: str
    file: str
    state: dict
    metadata: dict

    def __getattr__(self, name: str) -> Any:
        """Give target, layer, lag, kind, seed, threshold, model, ...: of the metadata."""
        if name in ("metadata", "state") or name not in self.metadata:
            raise AttributeError(name)
        return self.metadata[name]

    @property
    def reading(self) -> tuple[str, int]:
        """Give (pool, attention segments; 0 where it reads states)."""
        segments = self.metadata.get("attention_segments", 4) if BY_NAME[self.kind].reads == "attention rows" else 0
        return pool_of(self.metadata), segments

    @cached_property
    def fingerprint(self) -> str:
        """Identify the probe by its tensors and its threshold."""
        return fingerprint(
            *(part for name in sorted(self.state) for part in (name, self.state[name].numpy())), self.threshold
        )

    @property
    def chosen_by(self) -> str:
        """Name the score on validation by which its run chose layers and kinds."""
        return score_chosen_by(self.metadata)

    def on_validation(self, score: str) -> float:
        """Give one of its scores on validation; NaN where the file does not tell."""
        return float(self.metadata.get("metrics", {}).get("val", {}).get(score, np.nan))

    @property
    def trained_share(self) -> float:
        """Compute the share of positives, as they counted in the loss, that the logits speak of.

        NaN where they have no scale or the file does not tell (see utils.scores.calibration).
        """
        sampling, scores = self.metadata.get("sampling"), self.metadata.get("metrics", {}).get("train")
        if not sampling or not scores or "class_balance" not in sampling:
            return trained_share(self.kind, 0, 0, weighted=False)
        positives, negatives = scores["tp"] + scores["fn"], scores["tn"] + scores["fp"]
        weighted = sampling["class_balance"] == "weighted"
        return trained_share(self.kind, positives, negatives, weighted, sampling.get("pos_weight_cap"))

    @cached_property
    def seen_hashes(self) -> frozenset | None:
        """Collect the hashes of the texts that it was trained on or chosen by; None where the file does not tell."""
        texts = self.metadata.get("texts")
        return texts.seen if isinstance(texts, Texts) else Texts(texts or {}).seen

    def has_seen(self, sequences: Sequences) -> np.ndarray | None:
        """Mark, of the documents of a preparation, its training or validation texts; None where nobody can tell."""
        hashes = sequences.document_hashes
        if hashes is not None and self.seen_hashes is not None:
            return np.array([text in self.seen_hashes for text in hashes])
        if sequences.dataset_fingerprint == self.dataset_fingerprint:
            return np.full(len(sequences.document_names), sequences.split in SEEN)
        return None


def load_probes(paths: Iterable[Path | str]) -> list[SavedProbe]:
    """Load folders of probe_*.pth and exports (*.safetensors), in this order; what is given twice is read once."""
    probes, places = [], set()
    for path in paths:
        if Path(path).resolve() in places:
            continue
        places.add(Path(path).resolve())
        if str(path).endswith(EXPORT) and not Path(path).is_dir():
            found = {f"{path}#{probe_name(probe['metadata'])}": probe for probe in read_export(path)}
        else:
            found = load_folder(path)
        share_texts(probe["metadata"] for probe in found.values())
        probes += [SavedProbe(str(path), str(file), probe["state_dict"], probe["metadata"]) for file, probe in found.items()]
    return probes


def share_texts(metadata: Iterable[dict]) -> None:
    """Make what probes hold as one object one `Texts`, whose set of hashes is then made once."""
    made: dict[int, Texts] = {}
    for one in metadata:
        if (texts := one.get("texts")) is not None and not isinstance(texts, Texts):
            one["texts"] = made.setdefault(id(texts), Texts(texts))


def chosen_probes(probes: list[SavedProbe], **wanted: Sequence | None) -> list[SavedProbe]:
    """Keep those whose kind, layer, lag and seed are among the values wanted of each (None: all).

    Raise UserError where none is left.
    """
    flags = {"kind": "probe", "layer": "layers"}
    for name, values in wanted.items():
        if values is None:
            continue
        there = sorted({getattr(probe, name) for probe in probes}, key=lambda value: (isinstance(value, str), value))
        kept = [probe for probe in probes if getattr(probe, name) in values]
        if not kept:
            raise UserError(
                f"--{flags.get(name, name)} {','.join(map(str, values))}: no probe is of it, they are of "
                f"{', '.join(map(str, there))}; give one of these, or leave it out"
            )
        probes = kept
    return probes


def require_one_model(probes: Sequence[SavedProbe]) -> None:
    """Raise UserError for probes of several models or tokenizers, and for kinds that this suite does not know."""
    first = probes[0]
    for probe in probes:
        if probe.kind not in KINDS:
            raise UserError(f"{probe.file} is of kind {probe.kind!r}, this suite knows {', '.join(KINDS)}; move it away")
        for name, what in (("model_fingerprint", "model"), ("tokenizer_fingerprint", "tokenizer")):
            if getattr(probe, name) != getattr(first, name):
                raise UserError(
                    f"{first.file} is of {what} {first.model!r} ({getattr(first, name)}), {probe.file} of "
                    f"{probe.model!r} ({getattr(probe, name)}); evaluate the probes of each model in a run of "
                    "their own"
                )


def logits_of_affine(state: Tensors, layer: Layer, source: Source, split: str) -> np.ndarray:
    """Compute the logits of probes that are a weight and a bias on one layer, or on attention rows."""
    read = source.attention(split) if layer == ATTENTION else source.of_layer(split, layer)
    return linear_logits(read, state["weight"].numpy(), state["bias"].numpy())


def logits_of_mlp(state: Tensors, layer: Layer, source: Source, split: str) -> np.ndarray:
    """Compute the logits of probes with one hidden layer."""
    return MLPProbes.of(state).logits(source.of_layer(split, layer))[0]


def logits_of_attention(state: Tensors, layer: Layer, source: Source, split: str) -> np.ndarray:
    """Compute the logits of probes that attend over whole sequences."""
    return AttentionProbes.of(state).logits(whole_texts(source, split, source.of_layer(split, layer).table))[0]


LOGITS = {  # by the format of the probe's file; each takes tensors [probes, ...] and gives float32 [probes, n]
    "linear-probe": logits_of_affine,
    "mlp-probe": logits_of_mlp,
    "attention-probe": logits_of_attention,
    "attention-features-probe": logits_of_affine,
}


def logits_of(probes: Sequence[SavedProbe], source: Source, split: str) -> np.ndarray:
    """Compute each probe's logits on the examples that it reads, those that are alike together: float32 [probes, n]."""
    alike = defaultdict(list)
    for index, probe in enumerate(probes):
        shapes = tuple((name, tuple(tensor.shape)) for name, tensor in sorted(probe.state.items()))
        alike[probe.layer, BY_NAME[probe.kind].format, shapes].append(index)
    result = np.empty((len(probes), len(source.rows[split])), dtype=np.float32)
    for (layer, form, _), which in alike.items():
        names = probes[which[0]].state
        state = {name: torch.stack([probes[index].state[name] for index in which]) for name in names}
        result[which] = LOGITS[form](state, layer, source, split)
    return result


def precision_to_load(asked: str, metadata: Iterable[dict]) -> str:
    """Choose the precision of the model: float16 where all probes were trained in it and nothing else is asked for.

    A loading in float16 has a fingerprint of its own.
    """
    trained_in = {one.get("model_dtype") for one in metadata}
    return "float16" if asked == "auto" and trained_in == {"float16"} else asked
