"""A file of several targets: each window once, with the labels of one target at a time."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from helpers import write_version_1
from utils.base.errors import UserError
from utils.base.files import fingerprint
from utils.data.sequences import Sequences, load_sequences, per_target, save_sequences, unlabelled_sequences


def several_targets():
    """Two documents of two windows; `odd` is asked in three of the windows, `seven` in two."""
    ids = np.stack([np.arange(6) + 10 * document + start for document in (0, 1) for start in (0, 4)]).astype(np.int32)
    labels = np.stack([np.where(np.arange(6) > 2, label, -1) for label in (0, 0, 1, 1, 0)]).astype(np.int8)
    documents = np.array([0, 0, 1, 1], dtype=np.int32)
    return Sequences(
        ids,
        np.full(4, 6, dtype=np.int32),
        labels,
        documents,
        documents,
        np.array([0, 0, 0, 1, 1], dtype=np.int32),
        np.array([0, 4, 0, 4], dtype=np.int64),
        {
            "tokenizer": {"before": [], "after": [], "vocabulary": 99},
            "documents": ["a", "b"],
            "groups": ["a", "b"],
            "targets": [{"name": "odd", "prevalence": 0.25}, {"name": "seven", "prevalence": 0.75}],
        },
        ["text a", "text b"],
        np.array([0, 1, 2, 0, 3], dtype=np.int32),
    )


def save(path, sequences):
    with open(path, "wb") as file:
        save_sequences(file, sequences)
    return path


def test_windows_are_shared_and_labels_are_not():
    odd, seven = per_target(several_targets())
    assert odd.input_ids is seven.input_ids and odd.texts == ["text a", "text b"]
    assert [(d, s) for d, s in zip(odd.documents, odd.starts, strict=True)] == [(0, 0), (0, 4), (1, 0), (1, 4)]
    assert odd.labels[:, 5].tolist() == [0, 0, 1, -1] and seven.labels[:, 5].tolist() == [1, -1, -1, 0]
    assert odd.labels[:, 0].tolist() == seven.labels[:, 0].tolist() == [-1] * 4
    assert (odd.metadata["prevalence"], seven.metadata["prevalence"]) == (0.25, 0.75)
    assert [target["name"] for target in seven.metadata["targets"]] == ["seven"]


def test_one_target_is_the_file_itself():
    sequences = one_target_of(several_targets())
    (only,) = per_target(sequences)
    assert only.input_ids is sequences.input_ids and only.labels is sequences.labels


def one_target_of(sequences):
    return replace(per_target(sequences)[0], metadata=sequences.metadata | {"targets": sequences.metadata["targets"][:1]})


def test_a_target_that_labels_every_window_is_a_view_and_copies_nothing():
    sequences = several_targets()
    sequences.labels, sequences.windows = np.repeat(sequences.labels[:1], 6, axis=0), np.array([0, 1, 2, 3, 0, 3])
    sequences.tasks = np.array([0, 0, 0, 0, 1, 1])
    odd, seven = per_target(sequences)
    assert np.shares_memory(odd.labels, sequences.labels) and not np.shares_memory(seven.labels, sequences.labels)


def test_texts_are_saved_and_must_fit_the_documents(tmp_path):
    sequences = several_targets()
    for name, texts in (("sound", sequences.texts), ("none", []), ("torn", ["text a"])):
        sequences.texts = texts
        save(tmp_path / name, sequences)
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
        return load_sequences(save(path, sequences))

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
    with pytest.raises(UserError, match="not a sound dataset"):
        load_sequences(save(tmp_path / "x.pth", sequences))


# Of several targets


def test_every_label_is_where_its_row_says():
    sequences = several_targets()
    expected = np.full((2, 4, 6), -1)
    for row, task, window in zip(sequences.labels, sequences.tasks, sequences.windows, strict=True):
        expected[task, window] = row
    assert np.array_equal(np.stack([found.labels for found in per_target(sequences)]), expected)
    assert (expected >= 0).any() and all(found.windows is None for found in per_target(sequences))


def test_the_hash_of_one_target_is_of_the_seven_arrays_that_it_always_was_of():
    one, both = one_target_of(several_targets()), several_targets()
    names = ("input_ids", "lengths", "labels", "documents", "groups", "tasks", "starts")
    assert one.content_hash() == fingerprint(*(getattr(one, name) for name in names))
    before = both.content_hash()
    both.windows[4] = 2
    assert both.content_hash() != before, "where the rows belong counts"


@pytest.mark.parametrize("shuffled", [False, True])
def test_a_file_of_version_1_gives_what_it_gave(tmp_path, shuffled):
    sequences = several_targets()
    sequences.metadata |= {"split": "train"}
    write_version_1(save(tmp_path / "train.pth", sequences).parent)
    old = torch.load(tmp_path / "train.pth", weights_only=True)
    assert old["version"] == 1 and len(old["input_ids"]) == 5 and "windows" not in old
    if shuffled:  # rows in any order
        del old["metadata"]["content_hashes"]
        order = [3, 0, 4, 2, 1]
        old = {name: value[order] if torch.is_tensor(value) else value for name, value in old.items()}
        torch.save(old, tmp_path / "train.pth")
    for found, wanted in zip(per_target(load_sequences(tmp_path / "train.pth")), per_target(sequences), strict=True):
        for name, array in wanted.arrays().items():
            assert np.array_equal(getattr(found, name), array) and getattr(found, name).dtype == array.dtype, name
        assert found.texts == wanted.texts and found.metadata["targets"] == wanted.metadata["targets"]


@pytest.mark.parametrize("name", ["input_ids", "lengths", "groups"])
def test_rows_of_one_window_that_differ_in_version_1_are_refused(tmp_path, name):
    sequences = several_targets()
    sequences.metadata |= {"split": "train"}
    write_version_1(save(tmp_path / "train.pth", sequences).parent)
    old = torch.load(tmp_path / "train.pth", weights_only=True)
    old["metadata"].pop("content_hashes")
    torch.save(old, tmp_path / "train.pth")
    load_sequences(tmp_path / "train.pth")
    old[name][0] = 1 if name == "groups" else 5  # the first two rows are of one window
    torch.save(old, tmp_path / "train.pth")
    with pytest.raises(UserError, match=f"not a sound dataset: it lacks or garbles {name}, which differ .*/prepare_data"):
        load_sequences(tmp_path / "train.pth")


@pytest.mark.parametrize(
    ("windows", "told"),
    [
        ([0, 1, 2, 0, 4], "windows run from 0 to 4, with 4 sequences"),
        ([-1, 1, 2, 0, 3], "windows run from -1 to 3, with 4 sequences"),
        ([0, 1, 1, 0, 3], "row 2 of its labels, target 0 in sequence 1, is there twice or out of order"),
        ([0, 1, 2, 3, 0], "row 4 of its labels, target 1 in sequence 0, is there twice or out of order"),
        ([0, 1, 2, 0], r"labels is int8 \[5, 6\], not int8 \[4, 6\]"),
        ([], r"labels is int8 \[5, 6\], not int8 \[0, 6\]"),
        ([[0, 1, 2, 0, 3]], r"labels is int8 \[5, 6\], not int8 \[1, 6\]"),
        (5, "it lacks or garbles len"),
        ([0.0, 1.0, 2.0, 0.0, 3.0], r"windows is float32 \[5\], not int32 \[5\]"),
        (None, "5, 6.*not int8"),
    ],
)
def test_damaged_windows_are_refused_in_one_line(tmp_path, windows, told):
    path = save(tmp_path / "x.pth", several_targets())
    load_sequences(path)
    payload = torch.load(path, weights_only=True)
    if windows is None:
        del payload["windows"]
    else:
        floats = "." in str(windows)
        payload["windows"] = torch.tensor(windows, dtype=torch.float32 if floats else torch.int32)
    torch.save(payload, path)
    with pytest.raises(UserError, match=f"x.pth is not a sound dataset: .*{told}.*/prepare_data") as error:
        load_sequences(path)
    assert "\n" not in str(error.value)


def test_one_target_has_no_windows(tmp_path):
    sequences = one_target_of(several_targets())
    assert "windows" not in torch.load(save(tmp_path / "x.pth", sequences), weights_only=True)
    sequences.windows = np.arange(4, dtype=np.int32)
    with pytest.raises(UserError, match="it holds windows, and labels of one target"):
        load_sequences(save(tmp_path / "x.pth", sequences))


def test_the_rows_of_a_target_stand_together(tmp_path):
    sequences = several_targets()
    sequences.tasks = np.array([0, 1, 0, 1, 0], dtype=np.int32)
    with pytest.raises(UserError, match="row 2 of its labels, target 0 in sequence 2, is there twice or out of order"):
        load_sequences(save(tmp_path / "x.pth", sequences))


def many_targets(number):
    """64 windows of 256 tokens, each labelled by every target."""
    windows = np.tile(np.arange(64, dtype=np.int32), number)
    zeros = np.zeros(64, dtype=np.int32)
    targets = [{"name": f"t{index}", "prevalence": 0.5} for index in range(number)]
    about = {"tokenizer": {"before": [], "after": [], "vocabulary": 9}, "documents": ["a"], "groups": ["a"]}
    return Sequences(
        np.ones((64, 256), dtype=np.int32),
        zeros + 256,
        np.ones((64 * number, 256), dtype=np.int8),
        zeros,
        zeros,
        np.repeat(np.arange(number, dtype=np.int32), 64),
        256 * np.arange(64, dtype=np.int64),
        about | {"targets": targets, "split": "train"},
        windows=windows,
    )


def test_a_target_more_takes_a_byte_a_token(tmp_path):
    few, many = (save(tmp_path / f"{number}", many_targets(number)).stat().st_size for number in (2, 18))
    labels, where = 64 * 256, 64 * 8
    assert labels < (many - few) / 16 < labels + where + 100
    for number in (2, 18):
        (tmp_path / f"v{number}").mkdir()
        write_version_1(save(tmp_path / f"v{number}" / "train.pth", many_targets(number)).parent)
    few, many = ((tmp_path / f"v{number}" / "train.pth").stat().st_size for number in (2, 18))
    assert (many - few) / 16 > 5 * labels, "in version 1 each target had tokens of its own"
