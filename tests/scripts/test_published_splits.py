"""prepare_data and the steps behind it on inputs that publish splits, miss labels or are named from right to left."""

import json

import pytest

from helpers import assert_one_line_error, assert_success, call, part_of, prose, write_jsonl
from utils.data.sequences import SPLITS, load_sequences


def prepare(folder, task, path, model, *more):
    return call("prepare_data", "--task", task, "--input", path, "--model_name", model, "--output_dir", folder, *more)


def texts_of(folder):
    """{split: the names of its documents}"""
    found = {}
    for split in SPLITS:
        sequences = load_sequences(folder / f"{split}.pth")
        found[split] = {sequences.metadata["documents"][number] for number in sequences.documents}
    return found


def metadata_of(folder):
    return json.loads((folder / "metadata.json").read_text(encoding="utf-8"))


def rows(*splits):
    return [
        {"id": f"{split} {number}", "text": prose(number, 12), "spans": [[0, 4]], "label": number % 2, "split": split}
        for number, split in enumerate(splits)
    ]


@pytest.mark.parametrize("task", ["spans", "documents"])
def test_no_test_row_trains_and_validation_is_taken_from_train_and_said(task, tmp_path, tiny_model):
    path = write_jsonl(tmp_path / "a.jsonl", rows(*["train"] * 20, *["test"] * 6))
    result = assert_success(prepare(tmp_path / "data", task, path, tiny_model))
    line = "the input has no val: 2 of the 20 texts of train are taken for it, by group"
    assert line in result.stdout and metadata_of(tmp_path / "data")["splits_taken"] == [line]
    found = texts_of(tmp_path / "data")
    assert {name: len(own) for name, own in found.items()} == {"train": 18, "val": 2, "test": 6}
    if task == "spans":
        assert all(name.startswith("test") == (split == "test") for split, own in found.items() for name in own)


def test_what_was_asked_of_splits_is_recorded_and_a_folder_is_read_again(tmp_path, tiny_model):
    folder = tmp_path / "published"
    folder.mkdir()
    for name in ("train", "dev", "holdout", "spare"):
        write_jsonl(
            folder / f"{name}.jsonl",
            [row | {"id": f"{name} {n}", "text": f"{name} {n}"} for n, row in enumerate(rows(*[None] * 4))],
        )
    refused = prepare(tmp_path / "data", "spans", folder, tiny_model)
    assert_one_line_error(refused, "holdout (4 rows)", "spare (4 rows)", "--splits dev,train", "--split_column none")
    flags = ("--splits", "train,dev,holdout=test")
    result = assert_success(prepare(tmp_path / "data", "spans", folder, tiny_model, *flags, "--group_by", "id"))
    assert "left out by --splits: spare (4 rows)" in result.stdout
    source = metadata_of(tmp_path / "data")["source"]
    assert source["splits"] == ["train", "dev", "holdout=test"] and "split_column" not in source
    assert all(name.startswith("holdout") for name in texts_of(tmp_path / "data")["test"])


def test_flags_of_splits_that_mean_nothing_are_wrong_usage(tmp_path, tiny_model):
    path = write_jsonl(tmp_path / "a.jsonl", rows(*["train"] * 8))
    wrong = prepare(tmp_path / "data", "spans", path, tiny_model, "--splits", "train=final")
    assert_one_line_error(wrong, "--splits train=final", "none of train, val, test", status=2)
    wrong = prepare(tmp_path / "data", "spans", path, tiny_model, "--splits", "dev")
    assert_one_line_error(wrong, "there is no such split", "train (8 rows)")


def test_a_swallowed_row_is_a_warning_on_standard_error(tmp_path, tiny_model):
    lines = [f"word {number} here,{number % 2}" for number in range(20)]
    lines[3], lines[5] = f'"{lines[3]}', f'"{lines[5]}'
    (tmp_path / "a.csv").write_text("\n".join(["text,label", *lines, ""]))
    result = assert_success(prepare(tmp_path / "data", "documents", tmp_path / "a.csv", tiny_model))
    assert "lines 5 to 7; 3 lines are left out" in result.stderr and result.stderr.count("\n") == 1
    assert metadata_of(tmp_path / "data")["read"]["sets"]["label"]["lines_lost_in_them"] == 3


def test_ids_that_run_from_right_to_left_are_shown_as_what_they_are(tmp_path, tiny_model, shared_data):
    path = part_of(shared_data, "cases/data") / "right_to_left_id.jsonl"
    shown = [assert_success(prepare(tmp_path / "data", "spans", path, tiny_model)).stdout]
    shown.append(assert_success(call("inspect_data", "--data_path", tmp_path / "data" / "train.pth")).stdout)
    assert "⟨U+202E⟩" in shown[1] and not any("\u202e" in text for text in shown)


def test_plain_texts_keep_their_published_splits(tmp_path, tiny_model):
    splits = ["train"] * 8 + ["test"] * 3 + ["extra"]
    rows = [{"id": f"{split} {n}", "text": prose(n, 400), "split": split} for n, split in enumerate(splits)]
    path = write_jsonl(tmp_path / "a.jsonl", rows)
    flags = ("--dataset", path, "--model_name", tiny_model, "--output_dir", tmp_path / "data", "--context_length", "16")
    assert_one_line_error(call("prepare_data", *flags), "'extra' may be train, val or test", "--splits train,test")
    result = assert_success(call("prepare_data", *flags, "--splits", "train,test"))
    assert "left out by --splits: extra (1 row)" in result.stdout
    assert "the input has no val: 1 of the 8 groups of train are taken for it" in result.stdout
    found = texts_of(tmp_path / "data")
    assert found["test"] == {name for name in (row["id"] for row in rows) if name.startswith("test")}
    assert len(found["val"]) == 1 and len(found["train"]) == 7
    assert metadata_of(tmp_path / "data")["source"]["splits"] == ["train", "test"]
    assert_success(call("prepare_data", *flags, "--split_column", "none"))
    names = set().union(*texts_of(tmp_path / "data").values())
    assert len(names) == 12 and texts_of(tmp_path / "data")["test"] != found["test"]
