"""A file of several targets: each window once, with the labels of one target at a time."""

import numpy as np
import pytest

from utils.base.errors import UserError
from utils.base.files import fingerprint
from utils.data.sequences import Sequences, load_sequences, per_target, save_sequences, unlabelled_sequences


def several_targets():
    """Two documents of two windows; `odd` is asked in three of the windows, `seven` in two."""
    rows = [(0, 0, 0), (0, 0, 1), (0, 4, 0), (1, 0, 0), (1, 4, 1)]  # document, start, target
    ids = np.stack([np.arange(6) + 10 * document + start for document, start, _ in rows]).astype(np.int32)
    labels = np.stack([np.where(np.arange(6) > 2, row % 2, -1) for row in range(len(rows))]).astype(np.int8)
    documents, starts, tasks = np.array(rows).T
    return Sequences(
        ids,
        np.full(5, 6, dtype=np.int32),
        labels,
        documents.astype(np.int32),
        documents.astype(np.int32),
        tasks.astype(np.int32),
        starts.astype(np.int64),
        {
            "tokenizer": {"before": [], "after": [], "vocabulary": 99},
            "documents": ["a", "b"],
            "groups": ["a", "b"],
            "targets": [{"name": "odd", "prevalence": 0.25}, {"name": "seven", "prevalence": 0.75}],
        },
        ["text a", "text b"],
    )


def test_windows_are_shared_and_labels_are_not():
    odd, seven = per_target(several_targets())
    assert odd.input_ids is seven.input_ids and odd.texts == ["text a", "text b"]
    assert [(d, s) for d, s in zip(odd.documents, odd.starts, strict=True)] == [(0, 0), (0, 4), (1, 0), (1, 4)]
    assert odd.labels[:, 5].tolist() == [0, 0, 1, -1] and seven.labels[:, 5].tolist() == [1, -1, -1, 0]
    assert odd.labels[:, 0].tolist() == seven.labels[:, 0].tolist() == [-1] * 4
    assert (odd.metadata["prevalence"], seven.metadata["prevalence"]) == (0.25, 0.75)
    assert [target["name"] for target in seven.metadata["targets"]] == ["seven"]


def test_one_target_is_the_file_itself():
    sequences = several_targets()
    sequences.metadata["targets"], sequences.tasks = sequences.metadata["targets"][:1], np.zeros(5, dtype=np.int32)
    (only,) = per_target(sequences)
    assert only.input_ids is sequences.input_ids and only.labels is sequences.labels


def test_texts_are_saved_and_must_fit_the_documents(tmp_path):
    sequences = several_targets()
    for name, texts in (("sound", sequences.texts), ("none", []), ("torn", ["text a"])):
        sequences.texts = texts
        with open(tmp_path / name, "wb") as file:
            save_sequences(file, sequences)
    assert load_sequences(tmp_path / "sound").texts == ["text a", "text b"] and load_sequences(tmp_path / "none").texts == []
    with pytest.raises(UserError, match="1 texts of 2 documents"):
        load_sequences(tmp_path / "torn")


def test_unlabelled_sequences_stand_in_their_frame_and_are_padded():
    made = unlabelled_sequences([[5, 6, 7], np.array([8])], ([1], [2, 3]), documents=[0, 4], starts=[0, 9])
    assert made.input_ids.tolist() == [[1, 5, 6, 7, 2, 3], [1, 8, 2, 3, 0, 0]] and made.lengths.tolist() == [6, 4]
    assert (made.labels == -1).all() and made.documents.tolist() == made.groups.tolist() == [0, 4]
    assert made.starts.tolist() == [0, 9] and made.tasks.tolist() == [0, 0]
    assert made.input_ids.dtype == made.documents.dtype == np.int32 and made.starts.dtype == np.int64


def test_a_file_of_one_target_and_its_metadata_agree():
    odd, seven = per_target(several_targets())
    assert (odd.target_name, seven.target_name) == ("odd", "seven") and odd.several_targets
    assert (odd.prevalence, seven.prevalence) == (0.25, 0.75) and odd.target_names == ["odd"]
    assert (odd.task, odd.label_rule, odd.overlap, odd.document_hashes) == ("token", "target", None, None)


def test_arrays_are_those_that_the_fingerprint_was_made_of(tmp_path):
    sequences = several_targets()
    hashes = {"train": sequences.content_hash(), "val": "0123456789abcdef"}
    about = {"split": "train", "content_hashes": hashes, "dataset_fingerprint": fingerprint(*hashes.values())}
    sequences.metadata |= about
    path = tmp_path / "train.pth"

    def load():
        with open(path, "wb") as file:
            save_sequences(file, sequences)
        return load_sequences(path)

    assert load().content_hash() == hashes["train"]
    sequences.labels[0, 5] = 1 - sequences.labels[0, 5]
    with pytest.raises(UserError, match="train.pth is not a sound dataset: its arrays .*/prepare_data"):
        load()
    sequences.labels[0, 5] = 1 - sequences.labels[0, 5]
    sequences.metadata["dataset_fingerprint"] = "another"
    with pytest.raises(UserError, match="its dataset_fingerprint another is not that"):
        load()
    del sequences.metadata["content_hashes"]  # as files of before, which do not tell
    load()


@pytest.mark.parametrize(
    "name, value", [("documents", [1, 2]), ("split", 3), ("tokenizer", []), ("targets", ["odd"]), ("document_hashes", ["a"])]
)
def test_metadata_of_another_type_are_refused(tmp_path, name, value):
    sequences = several_targets()
    sequences.metadata[name] = value
    with open(tmp_path / "x.pth", "wb") as file:
        save_sequences(file, sequences)
    with pytest.raises(UserError, match="not a sound dataset"):
        load_sequences(tmp_path / "x.pth")
