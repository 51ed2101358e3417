"""Labelled token sequences: what prepare_data writes and everything else reads (`data/{train,val,test}.pth`)."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import ArrayLike

from utils.base.errors import UserError
from utils.base.files import fingerprint
from utils.base.tensor_files import load_tensors, save_tensors
from utils.data.soundness import each_sequence_once, what_is_unsound, what_rows_garble, what_was_changed

FORMAT, VERSION = "probe-sequences", 2  # in files of version 1 a sequence stands once for each target that labels it
SPLITS = ("train", "val", "test")


@dataclass
class Sequences:
    """n sequences of at most T tokens, padded on the right, and m rows of labels. Positions count special tokens.

    input_ids  int32 [n, T]  what the model is run on
    lengths    int32 [n]     tokens of each sequence; all beyond is padding
    labels     int8  [m, T]  1 positive, 0 negative, -1 truth unknown
    documents  int32 [n]     which document (names in metadata["documents"])
    groups     int32 [n]     which group (names in metadata["groups"])
    tasks      int32 [m]     which target of metadata["targets"] a row of labels is of
    starts     int64 [n]     where in its document's tokens the sequence's text begins
    texts      list of str   the original text of each document here, in the order of their numbers, as far as its sequences
                             show it; empty where nothing reads them
    windows    int32 [m]     which sequence a row of labels is of; None where there is one target: then m = n, in their order

    Of several targets, each has a row for each sequence that it labels. The rows stand target by target, the sequences of
    each rising; `per_target` takes them apart.
    """

    input_ids: np.ndarray
    lengths: np.ndarray
    labels: np.ndarray
    documents: np.ndarray
    groups: np.ndarray
    tasks: np.ndarray
    starts: np.ndarray
    metadata: dict = field(default_factory=dict)
    texts: list[str] = field(default_factory=list)
    windows: np.ndarray | None = None

    def __len__(self):
        return len(self.lengths)

    @property
    def text_start(self) -> int:
        """The position of the first text token, after what the tokenizer puts before a text."""
        return len(self.metadata["tokenizer"]["before"])

    @property
    def text_ends(self) -> np.ndarray:
        """[n] One past the position of the last text token of each sequence."""
        return self.lengths - len(self.metadata["tokenizer"]["after"])

    # What the metadata say. Of data from before a key was written, its only value then.

    @property
    def task(self) -> str:
        """token, spans, chains or documents."""
        return self.metadata.get("task", "token")

    @property
    def annotated(self) -> bool:
        """Whether the labels come from an annotated file, not from the tokens themselves."""
        return self.task != "token"

    @property
    def label_rule(self) -> str:
        """The name of the rule that makes a token positive; see `label_rule.LabelRule`."""
        return self.metadata.get("label_rule", "target")

    @property
    def default_lag(self) -> int:
        """The lag of a question about these data that names none."""
        return self.metadata["default_lag"]

    @property
    def target_names(self) -> list[str]:
        """The names of all targets here, in the order of their numbers in `tasks`."""
        return [target["name"] for target in self.metadata["targets"]]

    @property
    def target_name(self) -> str:
        """The name of the one target (the first where there are several; see `per_target`)."""
        return self.metadata["targets"][0]["name"]

    @property
    def target_token(self) -> int | None:
        """The token id of the one target; None where the target is a label."""
        return self.metadata["targets"][0]["token"]

    @property
    def several_targets(self) -> bool:
        """Whether these are one target's sequences of a dataset that has others; see `per_target`."""
        return self.metadata.get("of_several", False)

    @property
    def prevalence(self) -> float | None:
        """The natural share of positives of the one target; None where it is not known."""
        return self.metadata.get("prevalence")

    @property
    def overlap(self) -> int | None:
        """Tokens that each label of a long text has before and after it in its window; None where texts are not cut so."""
        return self.metadata.get("overlap")

    @property
    def model_name(self) -> str:
        """The model whose tokenizer made these sequences."""
        return self.metadata["model_name"]

    @property
    def tokenizer_fingerprint(self) -> str:
        return self.metadata["tokenizer"]["fingerprint"]

    @property
    def dataset_fingerprint(self) -> str:
        """What all splits of one preparation share, and no other dataset."""
        return self.metadata["dataset_fingerprint"]

    @property
    def split(self) -> str:
        """train, val or test."""
        return self.metadata["split"]

    @property
    def document_names(self) -> list[str]:
        """The names of the documents of all splits, in the order of their numbers in `documents`."""
        return self.metadata["documents"]

    @property
    def document_hashes(self) -> list[str] | None:
        """As `document_names`, by which a text is known again; None in data from before they were written."""
        return self.metadata.get("document_hashes")

    def labelled(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the sequence, the position and the label (0 or 1) of every labelled token, in order; target by target."""
        row, position = np.nonzero(self.labels >= 0)
        return row if self.windows is None else self.windows[row], position, self.labels[row, position]

    def rows_of(self, target: int) -> slice:
        """Find the rows of labels of the target of this number."""
        ends = np.array([target, target + 1], dtype=self.tasks.dtype)  # of another dtype, all would be converted
        return slice(*np.searchsorted(self.tasks, ends).tolist())

    def arrays(self) -> dict[str, np.ndarray]:
        """Give the arrays that there are, by name."""
        return {name: getattr(self, name) for name in ARRAYS if getattr(self, name) is not None}

    def content_hash(self) -> str:
        """Hash all arrays. The metadata have that of each split in "content_hashes"; dataset_fingerprint is their hash."""
        return fingerprint(*self.arrays().values())


ARRAYS = {
    item.name: {"input_ids": np.int32, "labels": np.int8, "starts": np.int64}.get(item.name, np.int32)
    for item in fields(Sequences)
    if item.name not in ("texts", "metadata")
}


def unlabelled_sequences(
    texts: Sequence[ArrayLike],
    frame: tuple[ArrayLike, ArrayLike] = ((), ()),
    documents: ArrayLike = 0,
    starts: ArrayLike = 0,
) -> Sequences:
    """Put token ids inside their special tokens, padded on the right: sequences without labels, metadata or texts.

    texts      the ids of each sequence
    frame      the ids that stand before and after each of them
    documents  int [n], or one number for all: which document a sequence is of; its group has the same number
    starts     int [n], or one number for all: where in its document's tokens the sequence's text begins
    """
    before, after = (np.asarray(ids, dtype=np.int32) for ids in frame)
    n = len(texts)
    lengths = np.array([len(before) + np.size(ids) + len(after) for ids in texts], dtype=np.int32)
    input_ids = np.zeros((n, lengths.max()), dtype=np.int32)
    for row, ids, length in zip(input_ids, texts, lengths, strict=True):
        row[:length] = np.concatenate([before, ids, after])
    of_document = np.broadcast_to(np.asarray(documents, dtype=np.int32), n).copy()
    return Sequences(
        input_ids,
        lengths,
        labels=np.full(input_ids.shape, -1, dtype=np.int8),
        documents=of_document,
        groups=of_document.copy(),
        tasks=np.zeros(n, dtype=np.int32),
        starts=np.broadcast_to(np.asarray(starts, dtype=np.int64), n).copy(),
    )


def per_target(sequences: Sequences) -> list[Sequences]:
    """Split a file by target: the same sequences, with the labels of one target; -1 in those it has no row for.

    All arrays but the labels are shared, and a target that labels every sequence shares its labels too. The metadata of
    each knows its own target only, in "targets", its "prevalence", and in "of_several" whether there are others, in "alike"
    whether one of them has its name but for the case.
    """
    targets = sequences.metadata["targets"]
    if sequences.windows is None:
        (target,) = targets
        return [one_target(sequences, sequences.labels, target)]
    result, named = [], Counter(target["name"].lower() for target in targets)
    for index, target in enumerate(targets):
        rows = sequences.rows_of(index)
        labels = sequences.labels[rows]
        if len(labels) < len(sequences):
            labels = np.full_like(sequences.input_ids, -1, dtype=np.int8)
            labels[sequences.windows[rows]] = sequences.labels[rows]
        result.append(one_target(sequences, labels, target, named[target["name"].lower()] > 1))
    return result


def one_target(sequences: Sequences, labels: np.ndarray, target: dict, alike: bool = False) -> Sequences:
    """Make these sequences those of one target, with its labels. target: its entry in metadata["targets"]."""
    prevalence = target.get("prevalence", sequences.prevalence)
    return replace(
        sequences,
        labels=labels,
        tasks=np.zeros_like(sequences.documents),
        windows=None,
        metadata={
            **sequences.metadata,
            "targets": [target],
            "prevalence": prevalence,
            "of_several": len(sequences.metadata["targets"]) > 1,
            "alike": alike,
        },
    )


def save_sequences(file: IO[bytes], sequences: Sequences) -> None:
    """Write sequences to an open binary file."""
    import torch

    arrays = {
        name: torch.from_numpy(np.ascontiguousarray(array, dtype=ARRAYS[name])) for name, array in sequences.arrays().items()
    }
    texts = {"texts": sequences.texts} if sequences.texts else {}
    save_tensors(file, FORMAT, VERSION, {**arrays, **texts, "metadata": sequences.metadata})


def load_sequences(path: str | Path) -> Sequences:
    """Read a file of sequences and refuse one that does not hold together."""
    payload = load_tensors(path, FORMAT, (1, VERSION), made_by="scripts/prepare_data.py")
    arrays, texts, metadata = {}, payload.get("texts", []), {}
    try:
        metadata = payload["metadata"]
        arrays = {name: payload[name].numpy() for name in ARRAYS if name in payload or name != "windows"}
        problem = what_is_unsound(arrays, ARRAYS, metadata, texts) or what_was_changed(arrays, metadata)
        if "content_hashes" not in metadata:  # only the files of all splits together tell whether they are as written
            metadata["content_hash"] = fingerprint(*arrays.values())
        if not problem and "windows" not in arrays and len(metadata["targets"]) > 1:
            arrays = each_sequence_once(arrays)
            problem = what_rows_garble(arrays)
    except (KeyError, AttributeError, TypeError, IndexError, ValueError, OverflowError) as error:
        problem = f"it lacks or garbles {error}"
    if problem:
        raise UserError(f"{path} is not a sound dataset: {problem}; make it again with scripts/prepare_data.py")
    return Sequences(**arrays, texts=texts, metadata=metadata)


def is_sequence_task(sequences: Sequences) -> bool:
    """Tell whether a label speaks of its whole sequence.

    Then each sequence that has a label has one only, on its last text token, read there (lag 0); a sequence without one is
    another target's.
    """
    sequence, position, _ = sequences.labelled()
    alone = sequences.metadata.get("of_several", False) or len(sequence) == len(sequences)
    return (
        alone
        and sequences.metadata["default_lag"] == 0
        and len(np.unique(sequence)) == len(sequence)
        and np.array_equal(position, sequences.text_ends[sequence] - 1)
    )
