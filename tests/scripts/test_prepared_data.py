"""What prepare_data writes: proven against the texts themselves, and by checks that catch what is broken on purpose."""

import json

import numpy as np
import pytest

from helpers import assert_one_line_error, assert_success, call, sign, snapshot, write_jsonl
from utils.base.files import atomic_write
from utils.data.checks.between_splits import check_siblings
from utils.data.checks.one_file import check_file
from utils.data.sequences import SPLITS, load_sequences, save_sequences
from utils.data.tokenizer import encode_batch, load_tokenizer, tokenizer_fingerprint
from utils.scores.shortcuts import shortcut_aurocs


def load(folder):
    return {name: load_sequences(folder / f"{name}.pth") for name in SPLITS}


def tokens_of(texts, model):
    tokenizer = load_tokenizer(str(model))
    paths = sorted(texts.glob("*.txt"))
    return {
        path.name: ids
        for path, ids in zip(
            paths, encode_batch(tokenizer, [path.read_text(encoding="utf-8") for path in paths]), strict=True
        )
    }


def places(book, window):
    """Where in the book's tokens the window stands."""
    starts = np.flatnonzero(book[: len(book) - len(window) + 1] == window[0])
    return [start for start in starts if np.array_equal(book[start : start + len(window)], window)]


def test_windows_stand_in_their_books_overlap_nowhere_and_keep_to_their_split(prepared, texts, tiny_model):
    books = tokens_of(texts, tiny_model)
    taken = {name: np.zeros(len(book), dtype=int) for name, book in books.items()}
    split_of = {}
    for split, sequences in load(prepared).items():
        for row in range(len(sequences)):
            window = sequences.input_ids[row, sequences.text_start : sequences.text_ends[row]]
            name = sequences.metadata["documents"][sequences.documents[row]]
            found = places(books[name], window)
            assert sequences.starts[row] in found
            for other, book in books.items():
                if split_of.setdefault(other, split if other == name else None) not in (None, split):
                    assert not places(book, window), f"a window of {split} stands in {other} of {split_of[other]}"
            split_of[name] = split_of[name] or split
            assert split_of[name] == split
            taken[name][sequences.starts[row] : sequences.starts[row] + len(window)] += 1
    assert set(split_of.values()) == set(SPLITS)
    assert max(marks.max() for marks in taken.values()) == 1


def test_a_sequence_is_bos_context_and_the_labelled_token(prepared):
    for sequences in load(prepared).values():
        metadata = sequences.metadata
        assert metadata["tokenizer"]["before"] == [0] and sequences.input_ids.shape[1] == 1 + 32 + 1
        assert (sequences.input_ids[:, 0] == 0).all() and not (sequences.input_ids[:, 1:] == 0).any()
        assert (sequences.labels[:, :-1] == -1).all()
        target = metadata["targets"][0]["token"]
        assert np.array_equal(sequences.labels[:, -1] == 1, sequences.input_ids[:, -1] == target)


def test_both_classes_are_equally_frequent_in_every_document(prepared):
    for sequences in load(prepared).values():
        for document in np.unique(sequences.documents):
            labels = sequences.labels[sequences.documents == document, -1]
            assert (labels == 1).sum() == (labels == 0).sum() > 0
    metadata = json.loads((prepared / "metadata.json").read_text(encoding="utf-8"))
    assert sum(split["positives"] for split in metadata["splits"].values()) == 300  # the cap, all splits together


def test_the_same_command_writes_the_same_bytes_and_another_seed_does_not(tmp_path, prepared, texts, tiny_model):
    arguments = ("--dataset", texts, "--model_name", tiny_model, "--context_length", 32, "--max_chunks_per_class", 300)
    assert_success(call("prepare_data", *arguments, "--output_dir", tmp_path / "again"))
    assert_success(call("prepare_data", *arguments, "--output_dir", tmp_path / "other", "--seed", 1))
    assert list(snapshot(prepared).values()) == list(snapshot(tmp_path / "again").values())
    assert (tmp_path / "other" / "train.pth").read_bytes() != (prepared / "train.pth").read_bytes()


def test_the_prevalence_is_that_of_all_texts_but_those_of_test(prepared, texts, tiny_model):
    splits, books = load(prepared), tokens_of(texts, tiny_model)
    metadata = splits["test"].metadata
    held = {metadata["documents"][number] for number in splits["test"].documents}
    token = metadata["targets"][0]["token"]
    shares = [
        np.mean(np.concatenate([ids for name, ids in books.items() if (name in held) == of_test]) == token)
        for of_test in (False, True)
    ]
    assert held and metadata["prevalence"] == metadata["targets"][0]["prevalence"] == pytest.approx(shares[0])
    assert shares[0] != pytest.approx(shares[1], rel=1e-4), "the negative control: test's own share is another"


def test_all_positions_are_labelled_at_natural_prevalence(tmp_path, texts, tiny_model):
    assert_success(
        call(
            "prepare_data",
            "--dataset",
            texts,
            "--model_name",
            tiny_model,
            "--context_length",
            32,
            "--positions",
            "all",
            "--min_context",
            5,
            "--output_dir",
            tmp_path,
        )
    )
    books = tokens_of(texts, tiny_model)
    labelled = 0
    for sequences in load(tmp_path).values():
        target = sequences.metadata["targets"][0]["token"]
        assert (sequences.labels[:, :6] == -1).all()
        for row, end in enumerate(sequences.text_ends):
            assert np.array_equal(sequences.labels[row, 6:end] == 1, sequences.input_ids[row, 6:end] == target)
            assert (sequences.labels[row, end:] == -1).all()
        labelled += int((sequences.labels >= 0).sum())
    expected = sum(max(len(book) % 33 - 5, 0) + len(book) // 33 * 28 for book in books.values())
    assert labelled == expected


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_jsonl_and_parquet_hold_the_same_texts(ending, tmp_path, prepared, texts, tiny_model):
    rows = [{"id": path.name, "body": path.read_text(encoding="utf-8")} for path in sorted(texts.glob("*.txt"))]
    path = tmp_path / f"texts.{ending}"
    if ending == "jsonl":
        write_jsonl(path, rows)
    else:
        import pyarrow
        import pyarrow.parquet

        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    assert_success(
        call(
            "prepare_data",
            "--dataset",
            path,
            "--text_column",
            "body",
            "--model_name",
            tiny_model,
            "--context_length",
            32,
            "--max_chunks_per_class",
            300,
            "--output_dir",
            tmp_path / "data",
        )
    )
    for name in SPLITS:
        ours, theirs = load_sequences(tmp_path / "data" / f"{name}.pth"), load_sequences(prepared / f"{name}.pth")
        assert ours.content_hash() == theirs.content_hash()


def test_special_tokens_spelled_out_in_a_text_are_text(tmp_path, texts, tiny_model):
    folder = tmp_path / "texts"
    folder.mkdir()
    for path in texts.glob("*.txt"):
        (folder / path.name).write_text(path.read_text(encoding="utf-8").replace(" house", " <s> house"), encoding="utf-8")
    assert_success(
        call(
            "prepare_data",
            "--dataset",
            folder,
            "--model_name",
            tiny_model,
            "--context_length",
            32,
            "--output_dir",
            tmp_path / "data",
        )
    )
    assert_success(call("inspect_data", "--data_path", tmp_path / "data" / "train.pth"))


def test_the_same_book_twice_and_an_edition_of_it_stay_on_one_side(tmp_path, texts, tiny_model):
    rows = [{"id": path.name, "text": path.read_text(encoding="utf-8")} for path in sorted(texts.glob("*.txt"))]
    first = rows[0]["text"]
    rows.append({"id": "copy", "text": first})
    rows.append({"id": "edition", "text": "A preface to the second edition, by the printer.\n" + first[2000:15000]})
    write_jsonl(tmp_path / "texts.jsonl", rows)
    assert_success(
        call(
            "prepare_data",
            "--dataset",
            tmp_path / "texts.jsonl",
            "--model_name",
            tiny_model,
            "--context_length",
            32,
            "--output_dir",
            tmp_path / "data",
        )
    )
    splits = load(tmp_path / "data")
    metadata = splits["train"].metadata
    assert metadata["dropped"]["duplicate_texts"] == 1
    assert metadata["dropped"]["texts_grouped_as_near_duplicates"] == 1
    groups = {
        name: {
            (metadata["documents"][d], metadata["groups"][g])
            for d, g in zip(sequences.documents.tolist(), sequences.groups.tolist(), strict=True)
        }
        for name, sequences in splits.items()
    }
    assert sum(("edition", "text0.txt") in found for found in groups.values()) == 1
    assert len(metadata["groups"]) == 8


# ---- broken on purpose: each fault must be caught by the check that is meant for it


def overlap(sequences):
    rows = np.flatnonzero(sequences.documents == sequences.documents[0])[:2]
    sequences.starts[rows[1]] = sequences.starts[rows[0]] + 10


def imbalance(sequences):
    row = int(np.flatnonzero(sequences.labels[:, -1] == 0)[0])
    sequences.input_ids[row, -1] = sequences.metadata["targets"][0]["token"]
    sequences.labels[row, -1] = 1


def doubled_bos(sequences):
    sequences.input_ids[0, 1] = sequences.input_ids[0, 0]


def missing_bos(sequences):
    sequences.input_ids[0, 0] = 7


def untrue_label(sequences):
    sequences.labels[0, -1] = 1 - sequences.labels[0, -1]


def label_on_context(sequences):
    sequences.labels[0, 5] = 0


@pytest.mark.parametrize(
    ("fault", "name"),
    [
        (overlap, "overlap"),
        (imbalance, "balance"),
        (doubled_bos, "special tokens"),
        (missing_bos, "special tokens"),
        (untrue_label, "labels"),
        (label_on_context, "labels"),
    ],
)
def test_a_fault_in_one_file_is_caught_by_its_check(fault, name, prepared, tiny_model):
    sequences = load_sequences(prepared / "train.pth")
    fingerprint = tokenizer_fingerprint(load_tokenizer(str(tiny_model)))
    assert all(check.passed for check in check_file(sequences, fingerprint))
    fault(sequences)
    failed = {check.name for check in check_file(sequences, fingerprint) if not check.passed}
    assert name in failed


def test_overlap_is_caught_by_the_text_where_the_starts_hide_it(tmp_path, texts, tiny_model):
    assert_success(
        call(
            "prepare_data", "--dataset", texts, "--model_name", tiny_model, "--context_length", 80, "--output_dir", tmp_path
        )
    )
    sequences = load_sequences(tmp_path / "train.pth")
    books = tokens_of(texts, tiny_model)
    for row in range(0, len(sequences) - 1, 2):  # each second window moves half into the one before it
        document = sequences.documents[row]
        if sequences.documents[row + 1] == document:
            start = int(sequences.starts[row]) + 40
            window = books[sequences.metadata["documents"][document]][start : start + 81]
            sequences.input_ids[row + 1, 1 : 1 + len(window)] = window
    checks = check_file(sequences, sequences.metadata["tokenizer"]["fingerprint"])
    assert "overlap" in {check.name for check in checks if not check.passed}


def test_overlap_by_text_is_caught_in_tiles_too_though_the_last_tile_is_short(tmp_path, texts, tiny_model):
    assert_success(
        call(
            "prepare_data",
            "--dataset",
            texts,
            "--model_name",
            tiny_model,
            "--context_length",
            80,
            "--positions",
            "all",
            "--output_dir",
            tmp_path,
        )
    )
    sequences = load_sequences(tmp_path / "train.pth")
    assert sequences.lengths.min() < 32
    rows = np.flatnonzero(sequences.lengths == 82)
    for row, follower in zip(rows[:-1], rows[1:], strict=True):
        sequences.input_ids[follower, 1:41] = sequences.input_ids[row, 42:82]
    checks = {check.name: check.passed for check in check_file(sequences, sequences.metadata["tokenizer"]["fingerprint"])}
    assert not checks["overlap"]


def test_a_cap_below_the_number_of_texts_leaves_no_split_empty(tmp_path, texts, tiny_model):
    arguments = ("--dataset", texts, "--model_name", tiny_model, "--context_length", 32)
    assert_success(call("prepare_data", *arguments, "--max_chunks_per_class", 4, "--output_dir", tmp_path / "four"))
    splits = load(tmp_path / "four")
    assert sum(len(sequences) for sequences in splits.values()) == 8
    assert splits["train"].metadata["dropped"]["texts_beyond_the_cap"] == 4
    assert_one_line_error(
        call("prepare_data", *arguments, "--max_chunks_per_class", 2, "--output_dir", tmp_path / "two"),
        "2 independent",
        "--max_chunks_per_class",
    )


def test_files_of_one_name_in_different_folders_are_different_texts(tmp_path, texts, tiny_model):
    for path in texts.glob("*.txt"):
        (tmp_path / "books" / path.stem).mkdir(parents=True)
        (tmp_path / "books" / path.stem / "text.txt").write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
    assert_success(
        call(
            "prepare_data",
            "--dataset",
            tmp_path / "books" / "*" / "text.txt",
            "--model_name",
            tiny_model,
            "--context_length",
            32,
            "--output_dir",
            tmp_path / "data",
        )
    )
    metadata = json.loads((tmp_path / "data" / "metadata.json").read_text(encoding="utf-8"))
    assert metadata["groups"] == [f"text{index}/text.txt" for index in range(8)]


def test_the_training_file_is_no_test_file(prepared, tmp_path):
    train = (
        "train_probe",
        "--train_data",
        prepared / "train.pth",
        "--no_wandb",
        "--output_dir",
        tmp_path / "models",
        "--results_dir",
        tmp_path / "results",
    )
    assert_one_line_error(call(*train, "--test_data", prepared / "val.pth"), "hold the same texts", "val.pth")
    assert_one_line_error(call(*train, "--val_data", prepared / "train.pth"), "hold the same texts", "train.pth")


def test_leakage_between_splits_is_caught(prepared):
    train, val = (load_sequences(prepared / f"{name}.pth") for name in ("train", "val"))
    assert all(check.passed for check in check_siblings("train", train, "val", val))
    val.groups[0] = train.groups[0]
    assert [check.name for check in check_siblings("train", train, "val", val) if not check.passed] == [
        "groups apart: train, val"
    ]
    val = load_sequences(prepared / "val.pth")
    val.input_ids[:3] = train.input_ids[:3]
    assert [check.name for check in check_siblings("val", val, "train", train) if not check.passed] == [
        "texts apart: val, train"
    ]


def test_inspect_names_the_failed_check_and_exits_with_1(tmp_path, prepared):
    sequences = load_sequences(prepared / "train.pth")
    doubled_bos(sequences)
    with atomic_write(tmp_path / "train.pth") as file:
        save_sequences(file, sequences)
    sign(tmp_path)
    assert_one_line_error(call("inspect_data", "--data_path", tmp_path / "train.pth"), "special tokens", "train.pth")


def test_inspect_shows_samples_of_both_classes_with_the_labelled_token_marked(prepared):
    shown = assert_success(call("inspect_data", "--data_path", prepared / "train.pth", "--num_samples", 3)).stdout
    positive, negative = shown.split("positive samples")[1].split("negative samples")
    assert positive.count("⟦ the⟧") == 3
    assert negative.split("shortcuts")[0].count("⟦") == 1 + 3 and "⟦ the⟧" not in negative


def test_a_greedy_walk_gives_the_distance_away_and_random_drawing_does_not(prepared, texts, tiny_model):
    """The negative control: windows cut at the next target after the last window, as it should not be done."""
    sequences = load_sequences(prepared / "train.pth")
    assert abs(shortcut_aurocs(sequences)["distance since the last target"] - 0.5) < 0.12  # few examples
    target, width = sequences.metadata["targets"][0]["token"], 33
    rows, labels = [], []
    for book in tokens_of(texts, tiny_model).values():
        at = width
        while at < len(book) - 2 * width:
            hits = np.flatnonzero(book[at:] == target)
            if not len(hits):
                break
            position = at + int(hits[0])
            if position + width >= len(book):
                break
            rows += [book[position - width + 1 : position + 1], book[position + 1 : position + width + 1]]
            labels += [1, 0]
            at = position + 1 + 2 * width
    ids = np.array(rows)
    sequences.input_ids = np.concatenate([np.zeros((len(ids), 1)), ids], axis=1).astype(np.int32)
    sequences.labels = np.full(sequences.input_ids.shape, -1, dtype=np.int8)
    sequences.labels[:, -1] = labels
    zeros = np.zeros(len(ids), dtype=np.int32)
    sequences.lengths, sequences.tasks, sequences.documents, sequences.groups = (
        zeros + width + 1,
        zeros,
        zeros,
        np.arange(len(ids), dtype=np.int32) // 2,
    )
    assert abs(shortcut_aurocs(sequences)["distance since the last target"] - 0.5) > 0.12
