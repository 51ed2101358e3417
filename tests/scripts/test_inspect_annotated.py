"""inspect_data on annotated datasets: what it shows, and that each fault made on purpose is caught by its own check."""

import csv
import json
import random

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from helpers import assert_one_line_error, assert_success, call, prose, sign, write_jsonl
from utils.base.files import atomic_write
from utils.data.checks.between_splits import check_siblings
from utils.data.checks.one_file import check_file
from utils.data.sequences import load_sequences, per_target, save_sequences
from utils.scores.shortcuts import shortcut_aurocs

LABELS = ("deduction", "doubt", "recall", "example")
INDEX = {
    "Probe from": "prompt",
    "Probe to": "target",
    "Data type": "Binary Classification",
    "probe from extraction": "col",
    "probe to extraction": "col == 1",
}


def write_spans(folder):
    rows = []
    for number in range(14):
        text = prose(number, 20 + 60 * (number % 3))
        start = text.index(" ", len(text) // 2) + 1
        rows.append(
            {
                "id": f"text {number}",
                "text": f"{text[:start]}open the old door slowly {text[start:]}",
                "spans": [[start, start + 24]],
            }
        )
    return write_jsonl(folder / "spans.jsonl", rows)


def write_chains(folder):
    draw, rows = random.Random(0), []
    for number in range(14):
        parts = [
            f"{label.capitalize()} has it: {prose(100 * number + place, 9)}"
            for place, label in enumerate(draw.choices(LABELS, k=8))
        ]
        rows.append(
            {
                "task_id": f"task {number}",
                "problem": f"Why {prose(500 + number, 6)}?",
                "reasoning_chain": "\n".join(parts),
                "annotated_chain": "\n".join(f'["{part.split()[0].lower()}"]{part}["end-section"]' for part in parts),
            }
        )
    path = folder / "chains.json"
    path.write_text(json.dumps(rows), encoding="utf-8")
    return path


def write_documents(folder):
    """Two sets that share some texts; in the first a positive text is longer."""
    draw = random.Random(0)
    sets = {
        "long": [(prose(number, 6 + 9 * (number % 2) + draw.randrange(6)), number % 2) for number in range(60)],
        "first": [(prose(number, 30), number % 3 == 0) for number in range(200, 260)],
    }
    sets["first"] += [(text, number % 2) for number, (text, _) in enumerate(sets["long"][:12])]
    for tag, rows in sets.items():
        write_csv(folder / f"{tag}.csv", ("prompt", "target"), [(text, int(label)) for text, label in rows])
    names = ("number", "source", "name", "tag", "save_name", *INDEX)
    write_csv(
        folder / "main.csv",
        names,
        [(number, f"{tag}.csv", tag, tag, f"{number}_{tag}.csv", *INDEX.values()) for number, tag in enumerate(sets, 1)],
    )
    return folder / "main.csv"


def write_csv(path, header, rows):
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])


@pytest.fixture(scope="module")
def data(tiny_model, tmp_path_factory):
    """{task: folder of a dataset}. Not to be changed."""
    folders = {}
    for task, write in (("spans", write_spans), ("chains", write_chains), ("documents", write_documents)):
        folder = tmp_path_factory.mktemp(task)
        assert_success(
            call(
                "prepare_data",
                "--task",
                task,
                "--input",
                write(folder),
                "--model_name",
                tiny_model,
                "--context_length",
                60,
                "--output_dir",
                folder / "data",
            )
        )
        folders[task] = folder / "data"
    return folders


def load(data, task, split="train"):
    return load_sequences(data[task] / f"{split}.pth")


def failed_checks(sequences):
    return {
        check.name for check in check_file(sequences, sequences.metadata["tokenizer"]["fingerprint"]) if not check.passed
    }


# ---- what is shown


def inspect(data, task, *arguments):
    return assert_success(call("inspect_data", "--data_path", data[task] / "train.pth", *arguments)).stdout


def test_spans_show_the_labelled_token_in_its_context(data):
    shown = inspect(data, "spans", "--num_samples", 4)
    assert "task           spans, label rule 'tokens'; default lag 0" in shown and "target         'span', " in shown
    assert "in windows, with 20 tokens before and after each label" in shown
    positive, negative = shown.split("positive samples of 'span'")[1].split("negative samples of 'span'")
    assert positive.count("⟦") == negative.split("shortcuts")[0].count("⟦") == 1 + 4
    assert "all 12 checks passed" in shown and "identity of the token itself" in shown


def test_several_targets_stand_in_a_table_and_only_a_few_show_samples(data):
    shown, sequences = inspect(data, "chains", "--num_samples", 1), load(data, "chains")
    assert shown.count("positive samples of ") == 3 and len(sequences.metadata["targets"]) == 4
    windows = len(set(zip(sequences.documents.tolist(), sequences.starts.tolist(), strict=True)))
    assert windows < len(sequences.labels) and f"sequences      {windows} of " in shown, "each window is counted once"
    balance, shortcuts = (part.splitlines() for part in shown.split("shortcuts"))
    for target, found in zip(sequences.metadata["targets"], per_target(sequences), strict=True):
        (line,) = [line.split() for line in balance if line.startswith(f"{target['name']} ")]
        labels = found.labels[found.labels >= 0]
        assert line[2:] == [
            f"{(labels == 1).sum():,}",
            f"{(labels == 0).sum():,}",
            f"{labels.mean():.2%}",
            f"{target['prevalence']:.2%}",
        ]
        (line,) = [line.split() for line in shortcuts if line.startswith(f"{target['name']} ")]
        assert line[1:] == [f"{value:.3f}" for value in shortcut_aurocs(found).values()]


def test_documents_show_the_beginning_and_the_end_of_a_text(data):
    shown, sequences = inspect(data, "documents", "--num_samples", 30), load(data, "documents")
    assert "task           documents, label rule 'whole'" in shown
    part = shown.split("positive samples of 'first', the text's beginning and end\n")[1].split("\n\n")[0]
    samples = [line.strip() for line in part.splitlines()]
    first = per_target(sequences)[[target["name"] for target in sequences.metadata["targets"]].index("first")]
    positive = {int(document) for document in first.documents[(first.labels == 1).any(1)]}
    texts = dict(zip(np.unique(sequences.documents).tolist(), sequences.texts, strict=True))
    expected = [texts[document].replace("\n", "↵") for document in positive]
    assert len(samples) == len(expected) > 10
    for sample in samples:
        begins, _, ends = sample.removeprefix("⟪<s>⟫").partition(" … ")
        assert any(text.startswith(begins) and text.endswith(ends) for text in expected), sample
    assert any(" … " in sample for sample in samples)


def test_shortcuts_are_those_of_one_target(data):
    sequences = load(data, "documents")
    long = per_target(sequences)[[target["name"] for target in sequences.metadata["targets"]].index("long")]
    found = shortcut_aurocs(long)
    row, _, labels = long.labelled()
    assert found["length of the sequence"] == pytest.approx(roc_auc_score(labels, long.lengths[row])) and (
        found["length of the sequence"] > 0.8
    )
    assert "distance since the last target" not in found and "position in the document" not in found


# ---- broken on purpose, in one file


def label_on_bos(sequences):
    sequences.labels[0, 0] = 0


def label_behind_the_text(sequences):
    row = int(np.argmin(sequences.lengths))
    assert sequences.lengths[row] < sequences.labels.shape[1]
    sequences.labels[row, sequences.lengths[row]] = 1


def no_label(sequences):
    sequences.labels[0] = -1


def label_twice(sequences):
    """Also in the window before the one where it belongs; returns the latter's position and row."""
    windows = np.arange(len(sequences)) if sequences.windows is None else sequences.windows
    before = {}
    for row, key in enumerate(zip(sequences.documents[windows].tolist(), sequences.tasks.tolist(), strict=True)):
        other, (first, *_) = before.get(key), np.flatnonzero(sequences.labels[row] >= 0)
        before[key] = row
        if other is None:
            continue
        there = first + sequences.starts[windows[row]] - sequences.starts[windows[other]]
        if there < sequences.text_ends[windows[other]]:
            sequences.labels[other, there] = sequences.labels[row, first]
            return first, row
    raise AssertionError("no two windows of a document overlap")


def label_in_the_wrong_window(sequences):
    position, row = label_twice(sequences)
    sequences.labels[row, position] = -1


def windows_unlike_at_one_place(sequences):
    row = int(np.flatnonzero(sequences.documents[1:] == sequences.documents[:-1])[0])
    sequences.starts[row + 1] = sequences.starts[row]


def window_unlike_its_neighbour(sequences):
    """Its last text token, which the next window holds too."""
    row = int(np.flatnonzero(sequences.documents[1:] == sequences.documents[:-1])[0])
    sequences.input_ids[row, sequences.text_ends[row] - 1] += 1


def torn_document(sequences):
    row = int(np.flatnonzero(sequences.documents[1:] == sequences.documents[:-1])[0])
    sequences.groups[row] += 1


def label_before_the_last_token(sequences):
    sequences.labels[0] = np.roll(sequences.labels[0], -1)


def two_windows_of_a_text(sequences):
    for numbers in (sequences.documents, sequences.groups):
        numbers[1] = numbers[0]
    sequences.starts[1] = sequences.starts[0] + 1000


@pytest.mark.parametrize(
    ("task", "fault", "names"),
    [
        ("spans", label_on_bos, {"labels"}),
        ("spans", label_behind_the_text, {"labels"}),
        ("spans", no_label, {"labels"}),
        ("spans", label_twice, {"labels", "windows"}),
        ("chains", label_twice, {"labels", "windows"}),
        ("spans", label_in_the_wrong_window, {"windows"}),
        ("chains", windows_unlike_at_one_place, {"labels", "windows"}),
        ("spans", window_unlike_its_neighbour, {"windows"}),
        ("spans", torn_document, {"windows"}),
        ("documents", label_before_the_last_token, {"labels"}),
        ("documents", no_label, {"labels"}),
        ("documents", two_windows_of_a_text, {"labels"}),
    ],
)
def test_a_fault_in_one_file_is_caught_by_its_check(task, fault, names, data):
    sequences = load(data, task)
    assert failed_checks(sequences) == set()
    fault(sequences)
    assert failed_checks(sequences) == names


def test_a_broken_file_is_refused(data, tmp_path):
    sequences = load(data, "spans")
    label_on_bos(sequences)
    with atomic_write(tmp_path / "train.pth") as file:
        save_sequences(file, sequences)
    sign(tmp_path)
    assert_one_line_error(call("inspect_data", "--data_path", tmp_path / "train.pth"), "labels off the text", "train.pth")


# ---- two splits


def siblings(train, val):
    return {check.name.split(":")[0]: check.passed for check in check_siblings("train", train, "val", val)}


APART = {"one preparation": True, "groups apart": True, "whole texts apart": True, "texts apart": True}


@pytest.mark.parametrize("task", ["spans", "chains", "documents"])
def test_sound_splits_share_nothing(task, data):
    found = siblings(load(data, task), load(data, task, "val"))
    assert {name: passed is not False for name, passed in found.items()} == APART


def test_a_short_text_on_both_sides_is_caught_though_no_run_of_tokens_is_so_long(data):
    train, val = load(data, "documents"), load(data, "documents", "val")
    train.texts[0] = val.texts[0].upper().replace(" ", "  ")
    assert siblings(train, val) == {**APART, "whole texts apart": False}
    train = load(data, "documents")
    train.metadata["document_hashes"][train.documents[0]] = val.metadata["document_hashes"][val.documents[0]]
    assert siblings(train, val) == {**APART, "whole texts apart": False}


def test_copies_that_were_kept_on_purpose_are_noted(data):
    train, val = load(data, "documents"), load(data, "documents", "val")
    train.texts[0] = val.texts[0]
    train.metadata["as_published"] = True
    assert siblings(train, val) == {**APART, "whole texts apart": None}


@pytest.mark.parametrize("task", ["spans", "chains"])
def test_a_long_window_on_both_sides_is_caught(task, data):
    train, val = load(data, task), load(data, task, "val")
    assert siblings(val, train) == APART
    row = int(np.argmax(val.text_ends))
    val.input_ids[row] = train.input_ids[int(np.argmax(train.text_ends))]
    same = (val.documents == val.documents[row]) & (val.starts == val.starts[row])
    val.input_ids[same] = val.input_ids[row]
    assert siblings(val, train) == {**APART, "texts apart": False}


def test_the_splits_of_a_file_with_copies_are_noted_and_not_refused(tmp_path, tiny_model):
    rows = [(prose(number % 20, 8), number % 20 % 2) for number in range(80)]
    write_csv(tmp_path / "texts.csv", ("text", "label"), rows)
    arguments = ("--task", "documents", "--input", tmp_path / "texts.csv", "--model_name", tiny_model, "--output_dir")
    assert_success(call("prepare_data", *arguments, tmp_path / "raw", "--as_published"))
    shown = assert_success(call("inspect_data", "--data_path", tmp_path / "raw" / "test.pth")).stdout
    assert "copies were kept" in shown and "noted" in shown and shown.count("they were kept as published") >= 2
    assert_success(call("prepare_data", *arguments, tmp_path / "clean"))
    shown = assert_success(call("inspect_data", "--data_path", tmp_path / "clean" / "test.pth")).stdout
    assert "kept as published" not in shown
