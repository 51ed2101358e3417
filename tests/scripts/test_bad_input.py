"""Bad input of every kind: one line that names value and remedy, the right exit status, and nothing half written."""

import contextlib
import csv
import json
import os
import pickle
import re
import resource
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch

from helpers import (
    ROOT,
    SCRIPTS,
    assert_one_line_error,
    assert_success,
    call,
    environment,
    make_model,
    make_tokenizer,
    parser_of,
    prose,
    run_script,
    sign,
    snapshot,
    start_script,
    write_jsonl,
    write_texts,
)

pytestmark = pytest.mark.slow

SCRIPTS_WITH_NUMBERS = ("prepare_data", "inspect_data", "train_probe", "visualize_probe", "check_setup", "evaluate_probe")
NOBODY = 65534


@contextlib.contextmanager
def nothing_written(*folders):
    """Check that the folders hold the same files with the same bytes afterwards, temporary files included."""
    before = snapshot(*folders)
    yield before
    assert snapshot(*folders) == before


@pytest.fixture
def data(prepared, tmp_path):
    """A copy of the prepared dataset, which a test may damage."""
    return shutil.copytree(prepared, tmp_path / "data")


@pytest.fixture
def prepare(tiny_model, texts, tmp_path):
    def run(*arguments):
        defaults = {
            "--dataset": texts,
            "--model_name": tiny_model,
            "--context_length": 32,
            "--max_chunks_per_class": 100,
            "--output_dir": tmp_path / "out",
        }
        rest = [item for flag, value in defaults.items() if flag not in arguments for item in (flag, value)]
        return call("prepare_data", *arguments, *rest)

    return run


@pytest.fixture
def train(tmp_path):
    def run(data, *arguments):
        layer = () if {"--layer", "--layer_sweep"} & set(arguments) else ("--layer", 1)
        return call(
            "train_probe",
            "--train_data",
            data / "train.pth",
            "--output_dir",
            tmp_path / "models",
            "--results_dir",
            tmp_path / "results",
            "--epochs",
            1,
            *layer,
            *arguments,
        )

    return run


def inspect(data, *arguments):
    return call("inspect_data", "--data_path", data / "train.pth", "--num_samples", 1, *arguments)


def rewrite(path, change):
    """Load a .pth file, let `change` work on its dict, and save it again."""
    payload = torch.load(path, weights_only=True)
    change(payload)
    torch.save(payload, path)


def wrote_nothing(tmp_path):
    return not any(path.is_file() for name in ("out", "models", "results") for path in (tmp_path / name).rglob("*"))


# Names that lead nowhere


def test_a_model_folder_that_is_not_there(prepare, train, data, tmp_path):
    nowhere = tmp_path / "no" / "model"
    for result in (
        prepare("--model_name", nowhere),
        train(data, "--model_name", nowhere),
        inspect(data, "--model_name", nowhere),
    ):
        assert_one_line_error(result, f"--model_name {nowhere}", "no such file or folder", "check the path")
    assert wrote_nothing(tmp_path)


def test_a_model_folder_without_a_model_in_it(prepare, train, data, tmp_path, tiny_tokenizer):
    (tmp_path / "empty").mkdir()
    assert_one_line_error(prepare("--model_name", tmp_path / "empty"), f"--model_name {tmp_path / 'empty'}", "cannot load")
    assert_one_line_error(train(data, "--model_name", tiny_tokenizer), f"--model_name {tiny_tokenizer}", "cannot load")
    assert wrote_nothing(tmp_path)


def test_weights_cut_short_are_no_traceback(train, data, tiny_model, tmp_path):
    broken = shutil.copytree(tiny_model, tmp_path / "broken")
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    assert_one_line_error(train(data, "--model_name", broken), f"--model_name {broken}", ".safetensors", "download it again")
    assert wrote_nothing(tmp_path)


@pytest.mark.parametrize(
    "name, needles",
    [
        ("no/texts", ("there is no such file or folder",)),
        ("no_texts.txt", ("there is no such file", "check the path")),
        ("texts-*.jsonl", ("there is no such file", "check the path")),
    ],
)
def test_a_dataset_that_is_not_there(prepare, tmp_path, name, needles):
    assert_one_line_error(prepare("--dataset", tmp_path / name), f"--dataset {tmp_path / name}", *needles)
    assert wrote_nothing(tmp_path)


def test_a_dataset_of_a_kind_that_is_not_read(prepare, tmp_path):
    book = tmp_path / "book.pdf"
    book.write_bytes(b"%PDF-1.4")
    assert_one_line_error(prepare("--dataset", book), f"--dataset {book}", ".pdf", ".jsonl")


def test_a_folder_without_texts_is_named_with_what_it_should_hold(prepare, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.doc").write_text("x")
    assert_one_line_error(
        prepare("--dataset", tmp_path / "empty"), f"--dataset {tmp_path / 'empty'}", ".txt", ".jsonl", ".parquet"
    )


# Files of sequences


class RunsCode:
    """Write a file when it is unpickled."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return exec, (f"open({str(self.marker)!r}, 'w').close()",)


def as_payload(path, marker):
    torch.save({"format": "probe-sequences", "version": 1, "input_ids": RunsCode(marker)}, path)


def as_plain_pickle(path, marker):
    path.write_bytes(pickle.dumps(RunsCode(marker)))


@pytest.mark.parametrize("save", [as_payload, as_plain_pickle])
def test_a_pickle_that_would_run_code_does_not_run(data, train, tmp_path, save):
    marker = tmp_path / "it_ran"
    save(data / "val.pth", marker)
    shutil.copy(data / "val.pth", data / "train.pth")
    with contextlib.suppress(Exception):
        torch.load(data / "val.pth", weights_only=False)
    assert marker.exists(), "the file is harmless: this test would prove nothing"
    marker.unlink()
    for result in (train(data), inspect(data)):
        assert_one_line_error(result, data / "train.pth", "was not opened", "scripts/prepare_data.py")
    assert not marker.exists()


BROKEN = {
    "missing": (lambda path: path.unlink(), "does not exist"),
    "empty": (lambda path: path.write_bytes(b""), "is empty"),
    "cut in half": (lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]), "is damaged"),
    "cut at the end": (lambda path: path.write_bytes(path.read_bytes()[:-1]), "is damaged"),
    "a text": (lambda path: path.write_text("Once upon a time"), "damaged"),
    "somebody else's": (lambda path: torch.save({"weight": torch.zeros(3)}, path), "has format None, not 'probe-sequences'"),
    "no dict": (lambda path: torch.save(torch.zeros(3), path), "has format None, not 'probe-sequences'"),
    "a probe": (
        lambda path: torch.save({"format": "linear-probe", "version": 1}, path),
        "has format 'linear-probe', not 'probe-sequences'",
    ),
    "of a later version": (
        lambda path: rewrite(path, lambda payload: payload.update(version=3)),
        "has version 3 of format 'probe-sequences', this suite reads version 1 or 2",
    ),
    "without metadata": (lambda path: rewrite(path, lambda payload: payload.pop("metadata")), "'metadata'"),
    "without labels": (lambda path: rewrite(path, lambda payload: payload.pop("labels")), "'labels'"),
    "of other shapes": (
        lambda path: rewrite(path, lambda payload: payload.update(lengths=payload["lengths"][:-1])),
        "lengths is int32",
    ),
    "of floats": (
        lambda path: rewrite(path, lambda payload: payload.update(input_ids=payload["input_ids"].float())),
        "input_ids is float32",
    ),
    "of no sequences": (
        lambda path: rewrite(
            path,
            lambda payload: payload.update({name: value[:0] for name, value in payload.items() if torch.is_tensor(value)}),
        ),
        "it holds no sequences",
    ),
    "without any label": (
        lambda path: rewrite(path, lambda payload: payload["labels"].fill_(-1)),
        "no token in it has a label",
    ),
    "with a label of 7": (
        lambda path: rewrite(path, lambda payload: payload["labels"][0].fill_(7)),
        "labels run from -1 to 7",
    ),
    "with an id too high": (
        lambda path: rewrite(path, lambda payload: payload["input_ids"][0].fill_(420)),
        "token id 420 is out of range, its tokenizer has ids 0 to 419",
    ),
    "with an id below 0": (
        lambda path: rewrite(path, lambda payload: payload["input_ids"][0].fill_(-5)),
        "token id -5 is out of range",
    ),
    "with a group too high": (lambda path: rewrite(path, lambda payload: payload["groups"].fill_(99)), "groups run from 99"),
    "with metadata of another kind": (
        lambda path: rewrite(path, lambda payload: payload.update(metadata=[1])),
        "not a sound",
    ),
    "without a vocabulary": (
        lambda path: rewrite(path, lambda payload: payload["metadata"]["tokenizer"].pop("vocabulary")),
        "'vocabulary'",
    ),
}


@pytest.mark.parametrize("script", ["inspect", "train", "train, by val.pth"])
@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_file_of_sequences(data, train, tmp_path, kind, script):
    spoil, needle = BROKEN[kind]
    path = data / ("val.pth" if "val" in script else "train.pth")
    spoil(path)
    result = inspect(data) if script == "inspect" else train(data)
    assert_one_line_error(result, path, needle, "scripts/prepare_data.py")
    assert wrote_nothing(tmp_path)


@pytest.mark.parametrize("label, missing", [(1, "negative"), (0, "positive")])
def test_labels_of_one_class_only(data, train, tmp_path, label, missing):
    rewrite(
        data / "train.pth",
        lambda payload: payload.update(labels=torch.where(payload["labels"] >= 0, label, -1).to(torch.int8)),
    )
    sign(data)
    assert_one_line_error(train(data), data / "train.pth", f"no {missing} label", "scripts/prepare_data.py")
    assert inspect(data).returncode == 1
    assert wrote_nothing(tmp_path)


def test_val_of_another_preparation(data, prepare, train, tmp_path):
    assert_success(prepare("--seed", 1, "--output_dir", tmp_path / "other"))
    shutil.copy(tmp_path / "other" / "val.pth", data / "val.pth")
    ours, theirs = (
        torch.load(path, weights_only=True)["metadata"]["dataset_fingerprint"]
        for path in (data / "train.pth", data / "val.pth")
    )
    assert ours != theirs
    assert_one_line_error(
        train(data), data / "train.pth", ours, data / "val.pth", theirs, "different preparations", "scripts/prepare_data.py"
    )
    assert_one_line_error(inspect(data), "one preparation: train.pth, val.pth", ours, theirs, "scripts/prepare_data.py")
    assert wrote_nothing(tmp_path)


def test_a_dataset_made_with_another_tokenizer(data, train, tiny_model, tmp_path):
    other = tmp_path / "other_model"
    make_model(other, len(make_tokenizer(other, texts=[prose(5) + " zebra quagga okapi" * 50])))
    assert_one_line_error(
        train(data, "--model_name", other),
        "was made with the tokenizer of",
        tiny_model,
        f"--model_name {other}",
        "prepare the data with",
    )
    result = inspect(data, "--model_name", other)
    assert_one_line_error(result, "tokenizer (made with", "scripts/prepare_data.py")
    assert "FAILED  tokenizer" in result.stdout
    assert "positive samples" not in result.stdout, "text shown with a tokenizer that it was not made with"
    assert wrote_nothing(tmp_path)


def test_a_model_that_knows_fewer_tokens_than_its_tokenizer(data, train, tiny_model, tmp_path):
    small = shutil.copytree(tiny_model, tmp_path / "small")
    make_model(small, 300)
    assert_one_line_error(train(data, "--model_name", small), "is out of range", f"{small} knows ids 0 to 299")
    assert wrote_nothing(tmp_path)


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_a_model_with_fewer_positions_than_the_sequences_are_long(data, train, tiny_tokenizer, tmp_path, kind):
    short = shutil.copytree(tiny_tokenizer, tmp_path / "short")
    if kind == "llama":
        make_model(short, 420, max_position_embeddings=20)
    else:
        from transformers import GPT2Config, GPT2LMHeadModel

        GPT2LMHeadModel(GPT2Config(vocab_size=420, n_embd=32, n_layer=2, n_head=4, n_positions=20)).save_pretrained(short)
    assert_one_line_error(train(data, "--model_name", short), "34 tokens", f"{short} has 20 positions", "--context_length")
    assert wrote_nothing(tmp_path)


# Values that the data or the model do not allow


@pytest.mark.parametrize(
    "flag, value, needles, status",
    [
        ("--layer", "23", ("layer 23: this model has layers 0 to 2", "embed", "final_norm"), 1),
        ("--layer", "3", ("layer 3: this model has layers 0 to 2",), 1),
        ("--layer_sweep", "0,1,3", ("layer 3: this model has layers 0 to 2",), 1),
        ("--layer", "-1", ("--layer -1", "is no layer"), 2),
        ("--layer", "banana", ("--layer banana", "is no layer"), 2),
        ("--layer", "", ("--layer", "is no layer"), 2),
        ("--layer_sweep", "0,,1", ("--layer_sweep 0,,1", "is no layer"), 2),
        ("--layer_sweep", "0,all", ("--layer_sweep 0,all", "'all' is no layer"), 2),
        ("--layer_sweep", "", ("--layer_sweep", "is no layer"), 2),
        ("--layer", "0,1", ("--layer 0,1", "use --layer_sweep 0,1"), 2),
        ("--layer", "all", ("use --layer_sweep all",), 2),
        ("--layer", "²", ("--layer ²", "is no layer"), 2),
    ],
)
def test_a_layer_that_is_none(prepared, train, tmp_path, flag, value, needles, status):
    assert_one_line_error(train(prepared, flag, value), *needles, status=status)
    assert wrote_nothing(tmp_path)


@pytest.mark.parametrize(
    "script, arguments, needles",
    [
        ("train_probe", ("--layer", "1", "--layer_sweep", "auto"), ("--layer 1", "--layer_sweep auto", "contradict")),
        ("train_probe", ("--layer", "0", "--layer_sweep", "0"), ("--layer 0", "--layer_sweep 0", "contradict")),
        ("train_probe", ("--predict_current", "--lags", "-4,-1"), ("--predict_current", "--lags", "give one of them")),
        ("train_probe", ("--lags", "-1,-1"), ("-1,-1", "twice")),
        (
            "prepare_data",
            ("--positions", "all", "--min_context", "40", "--context_length", "39"),
            ("--min_context 40", "--context_length 39", "make it smaller"),
        ),
        ("prepare_data", ("--target_token", ""), ("--target_token", "empty", "' the'")),
        ("prepare_data", ("--positions", "some"), ("--positions", "'some'", "'sampled'", "'all'")),
    ],
)
def test_flags_that_contradict_each_other_are_refused_before_anything_is_loaded(tmp_path, script, arguments, needles):
    assert_one_line_error(call(script, *arguments, cwd=tmp_path), *needles, status=2)
    assert list(tmp_path.iterdir()) == []


def test_a_target_of_several_tokens_is_shown_in_its_pieces(prepare, tmp_path):
    assert_one_line_error(
        prepare("--target_token", " zq"), "--target_token ' zq'", "not one token", "['Ġ', 'z', 'q']", "single token"
    )
    assert_one_line_error(prepare("--target_token", " the the"), "not one token", "['Ġthe', 'Ġthe']")
    assert wrote_nothing(tmp_path)


def test_a_target_that_does_not_occur_in_the_texts(prepare, texts, tmp_path):
    assert_one_line_error(
        prepare("--target_token", "@"), "--target_token '@' does not occur", "8 text(s)", texts, "choose another"
    )
    assert wrote_nothing(tmp_path)


def test_texts_too_short_for_one_window(prepare, tmp_path):
    short = write_texts(tmp_path / "short", number=5, length=20)
    assert_one_line_error(
        prepare("--dataset", short, "--context_length", 200),
        short,
        "too short",
        "a window is 201 tokens",
        "smaller --context_length",
    )
    assert wrote_nothing(tmp_path)


def test_empty_texts(prepare, tmp_path):
    empty = tmp_path / "empty.jsonl"
    for content in ("", '{"text": ""}\n' * 4):
        empty.write_text(content)
        result = prepare("--dataset", empty)
        assert_one_line_error(result, empty)
        assert "choose" in result.stderr
    assert wrote_nothing(tmp_path)


@pytest.mark.parametrize("number", [1, 2])
def test_fewer_texts_than_splits(prepare, tmp_path, number):
    few = write_texts(tmp_path / "few", number=number, length=600)
    assert_one_line_error(prepare("--dataset", few), f"{number} independent text(s)", "at least 3", "give more texts")
    assert wrote_nothing(tmp_path)


def test_copies_of_one_text_are_one_text(prepare, tmp_path):
    copies = write_jsonl(tmp_path / "copies.jsonl", [{"text": prose(0, 600)}] * 5)
    assert_one_line_error(prepare("--dataset", copies), "1 independent text(s)", "at least 3")
    assert wrote_nothing(tmp_path)


def test_more_context_than_the_model_has_positions(prepare, tiny_model, tmp_path):
    assert_one_line_error(
        prepare("--context_length", 255), "--context_length 255", "257 tokens", f"{tiny_model} has 256", "use at most 254"
    )
    assert wrote_nothing(tmp_path)
    assert_success(prepare("--context_length", 254))


def test_a_lag_outside_of_every_window(prepared, train, tmp_path):
    for lag in ("-40", "1"):
        assert_one_line_error(train(prepared, "--lags", lag), f"lag {lag}: 0 labelled tokens of train")
    assert wrote_nothing(tmp_path)


def test_a_device_that_is_not_there(prepared, train, tmp_path):
    for device in ("tpu", "cpu:x", "cuda:99", "meta"):
        assert_one_line_error(train(prepared, "--device", device), f"--device {device}", "cpu")
    assert wrote_nothing(tmp_path)


# Numbers


def numeric_flags():
    return [
        (name, action.option_strings[0])
        for name in SCRIPTS_WITH_NUMBERS
        for action in parser_of(name)._actions
        if getattr(action.type, "__module__", None) not in ("builtins", "utils.base.paths", None)
        and action.dest not in ("probe", "layers", "layer_sweep", "targets")
    ]


ZERO_IS_FINE = {"--seed", "--train_seeds", "--num_samples", "--weight_decay", "--l2_grid", "--lags", "--lag", "--overlap"}
BELOW_ZERO_IS_FINE = {"--lags", "--lag"}
FRACTIONS_ARE_FINE = {"--train_ratio", "--learning_rate", "--weight_decay", "--pos_weight_cap", "--memory_gb", "--l2_grid"}
FRACTIONS_ARE_FINE |= {"--max_page_mb"}


def test_the_numeric_flags_are_found():
    found = set(numeric_flags())
    assert {
        ("prepare_data", flag)
        for flag in ("--max_texts", "--context_length", "--min_context", "--seed", "--max_chunks_per_class", "--train_ratio")
    } <= found
    assert {("inspect_data", flag) for flag in ("--num_samples", "--seed")} <= found
    assert {
        ("train_probe", flag)
        for flag in (
            "--batch_size",
            "--memory_gb",
            "--lags",
            "--epochs",
            "--seed",
            "--learning_rate",
            "--weight_decay",
            "--probe_batch_size",
            "--pos_weight_cap",
        )
    } <= found


@pytest.mark.parametrize("script, flag", numeric_flags())
def test_zero_negative_and_endless_numbers(tmp_path, script, flag):
    refused = ["nan", "-nan", "inf", "-inf", "1e999", "", " ", "five", "1,5x", "0x10", "9" * 30 + "e500", "1_0e"]
    refused += [] if flag in ZERO_IS_FINE else ["0"]
    refused += [] if flag in BELOW_ZERO_IS_FINE else ["-1", "-0.5", "-1e-9"]
    if flag not in FRACTIONS_ARE_FINE:
        refused += ["1.5", "9" * 30, "-" + "9" * 30, "9" * 5000]
    for value in refused:
        result = call(script, flag, value, cwd=tmp_path)
        assert_one_line_error(result, flag, value[:1000], status=2)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", ["1", "1.0", "1.5"])
def test_a_train_ratio_that_leaves_nothing_to_validate_on(tmp_path, value):
    assert_one_line_error(
        call("prepare_data", "--train_ratio", value, cwd=tmp_path), "--train_ratio", value, "between 0 and 1", status=2
    )


@pytest.mark.parametrize(
    "flag, value",
    [
        ("--learning_rate", "1e38"),
        ("--learning_rate", "1e10"),
        ("--learning_rate", "1e5"),
        ("--learning_rate", "1e-300"),
        ("--weight_decay", "1e38"),
        ("--weight_decay", "1e+06"),
        ("--pos_weight_cap", "1e-09"),
        ("--pos_weight_cap", "1e308"),
        ("--memory_gb", "1e308"),
        ("--seed", 2**63 - 1),
        ("--probe_batch_size", 2**63 - 1),
        ("--batch_size", 2**63 - 1),
    ],
)
def test_a_number_far_too_large_or_small_trains_or_is_refused(prepared, train, tmp_path, flag, value):
    result = train(prepared, flag, value)
    if result.returncode:
        assert_one_line_error(result, flag, value, status=result.returncode)
        assert result.returncode in (1, 2)
        assert wrote_nothing(tmp_path)
    else:
        assert result.stderr == ""
        for path in (tmp_path / "models").glob("*.pth"):
            assert all(tensor.isfinite().all() for tensor in torch.load(path, weights_only=True)["state_dict"].values())


def test_the_largest_whole_numbers_prepare(prepare):
    assert_success(prepare("--max_texts", 2**63 - 1, "--max_chunks_per_class", 2**63 - 1, "--seed", 2**63 - 1))


# Texts


def test_a_text_that_is_not_utf8_is_named_with_the_place(prepare, texts, tmp_path):
    folder = shutil.copytree(texts, tmp_path / "texts")
    (folder / "text3.txt").write_bytes("The café is old.".encode("latin-1"))
    assert_one_line_error(prepare("--dataset", folder), folder / "text3.txt", "not UTF-8", "byte 0xe9 at offset 7", "iconv")
    (folder / "text3.txt").write_bytes("The door".encode("utf-16-le"))
    assert_one_line_error(prepare("--dataset", folder), folder / "text3.txt", "holds a NUL byte", "iconv")
    (folder / "text3.txt").write_bytes("The door".encode("utf-16"))
    assert_one_line_error(prepare("--dataset", folder), folder / "text3.txt", "not UTF-8", "at offset 0")
    assert wrote_nothing(tmp_path)


@pytest.mark.parametrize(
    "line, needles",
    [
        (b'{"text": "caf\xe9"}', ("not UTF-8 (byte 0xe9)", "iconv")),
        (b'{"text": "open', ("not JSON", "one JSON object a line")),
        (b"Once upon a time", ("not JSON",)),
        (b'{"body": "x", "id": 3}', ("no column 'text'", "body, id", "--text_column")),
        (b'{"text": null}', ("column 'text' holds NoneType, not text", "--text_column")),
        (b'{"text": ["a"]}', ("column 'text' holds list, not text",)),
        (b'"text"', ("no column 'text'", "found str")),
        (b"[" * 100_000, ("not JSON",)),
        (b'{"text": "a\\ud800"}', ("at character 1 is half a surrogate pair",)),
    ],
    ids=["latin-1", "open string", "prose", "other key", "null", "list", "string", "deep", "half a surrogate pair"],
)
def test_a_bad_line_of_jsonl_is_named_by_its_number(prepare, tmp_path, line, needles):
    path = tmp_path / "texts.jsonl"
    good = json.dumps({"text": prose(1, 300)}).encode()
    path.write_bytes(b"\n".join([good, b"", good, line, good]) + b"\n")
    assert_one_line_error(prepare("--dataset", path), f"{path}, line 4", *needles)
    assert wrote_nothing(tmp_path)


@pytest.fixture(scope="module")
def parquet(tmp_path_factory):
    """A folder in the layout of the Hub dataset: splits en and fr, the text in `body`."""
    import pyarrow
    import pyarrow.parquet

    folder = tmp_path_factory.mktemp("dataset")
    (folder / "data").mkdir()
    for split in ("en", "fr"):
        rows = {"id": ["1", "2", "3"], "body": [prose(seed, 300) for seed in (1, 2, 3)], "pages": [1, 2, 3]}
        pyarrow.parquet.write_table(pyarrow.table(rows), folder / "data" / f"{split}-00000.parquet")
    (folder / "README.md").write_text(
        "---\nconfigs:\n- config_name: default\n  data_files:\n"
        + "".join(f"  - split: {split}\n    path: data/{split}-*\n" for split in ("en", "fr"))
        + "---\n"
    )
    return folder


def test_a_text_column_that_is_not_there_is_answered_with_those_that_are(prepare, parquet, tmp_path):
    for source in (parquet, parquet / "data" / "en-00000.parquet"):
        assert_one_line_error(prepare("--dataset", source), source, "no column 'text'", "id, body, pages", "--text_column")
        assert_one_line_error(
            prepare("--dataset", source, "--text_column", "pages"), source, "'pages' holds int, not text", "--text_column"
        )
    assert wrote_nothing(tmp_path)


def test_a_language_that_is_not_there_is_answered_with_those_that_are(prepare, parquet, tmp_path):
    assert_one_line_error(
        prepare("--dataset", parquet, "--text_column", "body", "--language", "xx"), "--language xx", parquet, "en, fr"
    )
    assert wrote_nothing(tmp_path)


def test_a_damaged_parquet_file(prepare, parquet, tmp_path):
    whole = (parquet / "data" / "en-00000.parquet").read_bytes()
    for content in (b"", whole[:200], b"PAR1" + b"\0" * 100 + b"PAR1"):
        (tmp_path / "cut.parquet").write_bytes(content)
        assert_one_line_error(
            prepare("--dataset", tmp_path / "cut.parquet"), tmp_path / "cut.parquet", "damaged", "make it again"
        )
    assert wrote_nothing(tmp_path)


@contextlib.contextmanager
def without_rights():
    """Become an unprivileged user for a while, because root may read and write everything."""
    if os.geteuid():
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_text_that_may_not_be_read(tmp_path):
    from utils.base.errors import UserError
    from utils.data.readers.plain import read_files

    path = tmp_path / "secret.txt"
    path.write_text(prose(0, 50))
    path.chmod(0)
    with without_rights(), pytest.raises(UserError, match="secret.txt.*Permission denied; .*may read"):
        list(read_files([path], "text", "split"))


# Places that cannot be written


@pytest.mark.parametrize(
    "script, flag", [("prepare_data", "--output_dir"), ("train_probe", "--output_dir"), ("train_probe", "--results_dir")]
)
def test_an_output_folder_that_is_a_file_or_below_one(tmp_path, script, flag):
    (tmp_path / "file").write_text("mine")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        result = call(script, flag, path, cwd=tmp_path)
        assert_one_line_error(result, f"{flag}: '{path}'", "give another folder", status=2)
    assert_one_line_error(call(script, flag, tmp_path / "file", cwd=tmp_path), "is a file", status=2)
    assert (tmp_path / "file").read_text() == "mine"


def test_an_output_folder_without_the_right_to_write(tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir()
    closed.chmod(0o500)
    try:
        with without_rights():
            result = call("prepare_data", "--output_dir", closed)
        assert_one_line_error(result, "--output_dir", closed, "Permission denied", "another folder", status=2)
    finally:
        closed.chmod(0o700)
    assert list(closed.iterdir()) == []


@contextlib.contextmanager
def files_no_larger_than(size):
    """Make real writes fail: beyond `size` bytes the kernel answers EFBIG, as a full disk answers ENOSPC."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("size", [0, 1, 5000, 8000])
def test_a_full_disk_leaves_the_earlier_dataset_as_it_was(prepare, tmp_path, size):
    """At 0 and 1 nothing can be written, at larger sizes a file breaks off."""
    with nothing_written(tmp_path):
        with files_no_larger_than(size):
            result = prepare()
        assert_one_line_error(result, "cannot write", tmp_path / "out", "File too large", "another output folder")
    assert_success(prepare())
    with nothing_written(tmp_path) as before, files_no_larger_than(size):
        assert_one_line_error(prepare("--seed", 3), "cannot write", "File too large")
    assert len(before) == 4


@pytest.mark.slow
def test_a_full_disk_in_a_process_of_its_own(texts, tiny_model, tmp_path):
    result = run_script(
        "prepare_data",
        "--dataset",
        texts,
        "--model_name",
        tiny_model,
        "--context_length",
        32,
        "--output_dir",
        tmp_path / "out",
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000)),
    )
    assert_one_line_error(result, "cannot write", tmp_path / "out" / "train.pth", "File too large")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("size", [100, 3500])
def test_a_full_disk_leaves_no_part_of_probes_and_tables(prepared, train, tmp_path, size):
    """At 100 bytes no probe can be written, at 3500 every probe can and the table of metrics cannot."""
    with nothing_written(tmp_path), files_no_larger_than(size):
        assert_one_line_error(
            train(prepared, "--layer_sweep", "all"), "cannot write", "File too large", "another output folder"
        )


def test_a_full_disk_spares_the_results_that_were_to_be_overwritten(prepared, prepare, train, tmp_path):
    assert_success(prepare("--seed", 1))
    assert_success(train(prepared))
    with nothing_written(tmp_path), files_no_larger_than(100):
        assert_one_line_error(train(tmp_path / "out", "--overwrite"), "cannot write", "File too large")


def test_a_full_disk_under_the_hidden_states(prepared, train, tmp_path):
    with files_no_larger_than(3000):
        assert_one_line_error(
            train(prepared, "--cache_dir", tmp_path / "states"), "cannot write", tmp_path / "states", "File too large"
        )
    assert not list((tmp_path / "states").rglob("*.tmp"))
    assert wrote_nothing(tmp_path)


# Results that do not belong together


def test_probes_and_tables_of_another_dataset_are_refused_and_overwrite_replaces_them(prepared, prepare, train, tmp_path):
    assert_success(prepare("--seed", 1))
    assert_success(train(prepared, "--layer_sweep", "0,1"))
    ours, theirs = (
        torch.load(folder / "val.pth", weights_only=True)["metadata"]["dataset_fingerprint"]
        for folder in (tmp_path / "out", prepared)
    )
    with nothing_written(tmp_path):
        assert_one_line_error(
            train(tmp_path / "out"),
            "models/probe_layer0_next.pth",
            ours,
            theirs,
            "--output_dir",
            "--results_dir",
            "--overwrite",
        )
        assert_one_line_error(
            train(tmp_path / "out", "--output_dir", tmp_path / "new"),
            "results/probe_metrics.csv",
            ours,
            theirs,
            "--overwrite",
        )
        assert_one_line_error(
            train(tmp_path / "out", "--results_dir", tmp_path / "new"), "models/probe_layer0_next.pth", "--overwrite"
        )
    assert_success(train(tmp_path / "out", "--overwrite"))
    assert [path.name for path in (tmp_path / "models").glob("probe_*")] == ["probe_layer1_next.pth"]
    assert len(list((tmp_path / "models").iterdir())) == 2, "the probe, and the texts of its dataset"
    for table in ("probe_metrics.csv", "baselines.csv"):
        text = (tmp_path / "results" / table).read_text()
        assert ours in text
        assert theirs not in text
    assert_success(train(tmp_path / "out", "--layer", 2))
    assert {path.name for path in (tmp_path / "models").glob("probe_*")} == {
        "probe_layer1_next.pth",
        "probe_layer2_next.pth",
    }


def test_probes_of_another_model_with_the_same_tokenizer_are_refused(prepared, train, tiny_model, tmp_path):
    other = shutil.copytree(tiny_model, tmp_path / "other")
    make_model(other, 420, initializer_range=0.3)
    assert_success(train(prepared))
    with nothing_written(tmp_path):
        assert_one_line_error(
            train(prepared, "--model_name", other),
            "probe_layer1_next.pth",
            f"model '{tiny_model}'",
            f"model '{other}'",
            "--overwrite",
        )


@pytest.mark.parametrize("content", [b"", b"PK\3\4 broken", "a text: \xe9".encode("latin-1")])
def test_a_damaged_probe_is_no_dead_end(prepared, train, tmp_path, content):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "probe_layer9_next.pth").write_bytes(content)
    with nothing_written(tmp_path):
        assert_one_line_error(train(prepared), "models/probe_layer9_next.pth", "--output_dir", "--overwrite")
    assert_success(train(prepared, "--overwrite"))
    assert [path.name for path in (tmp_path / "models").glob("probe_*")] == ["probe_layer1_next.pth"]
    assert len(list((tmp_path / "models").iterdir())) == 2, "the probe, and the texts of its dataset"


def test_a_table_with_other_columns_is_refused_before_the_pass(prepared, train, tmp_path):
    assert_success(train(prepared))
    table = tmp_path / "results" / "probe_metrics.csv"
    lines = table.read_text().splitlines()
    table.write_text("\n".join([lines[0] + ",my_note", *(line + ",fine" for line in lines[1:])]) + "\n")
    with nothing_written(tmp_path):
        result = train(prepared, "--layer", 2)
        assert_one_line_error(result, table, "other columns", "my_note", "--overwrite")
    assert "one pass over" not in result.stdout


TABLES = {  # what is wrong with probe_metrics.csv, given its lines, and what is said
    "a cell that is no number": (
        lambda lines: lines.__setitem__(2, lines[2].replace(",linear,", ",linear,x")),
        "row 2: seed",
    ),
    "a cell too few": (lambda lines: lines.__setitem__(1, lines[1].rpartition(",")[0]), "number of cells"),
    "a row twice": (lambda lines: lines.append(lines[1]), "2 rows are of"),
    "a row too few": (lambda lines: lines.pop(2), "there is no row of val"),
    "no penalty chosen": (
        lambda lines: lines.__setitem__(
            slice(1, None), [re.sub(r"(train|val|test),1,", r"\1,0,", line) for line in lines[1:]]
        ),
        "not one penalty is chosen",
    ),
    "another split": (lambda lines: lines.__setitem__(1, lines[1].replace("train", "brain")), "split is 'brain'"),
    "two columns of one name": (lambda lines: lines.__setitem__(0, lines[0].replace(",auc,", ",acc,")), "two columns"),
}


@pytest.mark.parametrize("how", TABLES)
def test_a_damaged_table_is_refused_before_the_pass(prepared, train, tmp_path, how):
    assert_success(train(prepared))
    spoil, needle = TABLES[how]
    table = tmp_path / "results" / "probe_metrics.csv"
    lines = table.read_text().splitlines()
    spoil(lines)
    table.write_text("\n".join(lines) + "\n")
    with nothing_written(tmp_path):
        result = train(prepared, "--layer", 2)
        assert_one_line_error(result, table, needle, "--overwrite")
    assert "one pass over" not in result.stdout


def test_columns_that_an_older_table_lacks_are_empty(prepared, train, tmp_path):
    assert_success(train(prepared))
    table = tmp_path / "results" / "probe_metrics.csv"
    with open(table, newline="") as file:
        rows = list(csv.DictReader(file))
    names = [name for name in rows[0] if name not in ("tpr_at_1_fpr", "separable")]
    with open(table, "w", newline="") as file:
        writer = csv.DictWriter(file, names, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    assert_success(train(prepared, "--layer", 2))
    with open(table, newline="") as file:
        found = {row["layer_idx"]: row["tpr_at_1_fpr"] for row in csv.DictReader(file)}
    assert found["1"] == "" and float(found["2"]) >= 0


@pytest.mark.parametrize("how", ["a digit", "cut", "no JSON", "of another model"])
def test_damaged_directions_are_refused_before_the_pass(prepared, train, tmp_path, how):
    assert_success(train(prepared))
    path = tmp_path / "results" / "directions.json"
    text = path.read_text()
    value = json.loads(text)
    value["entries"][0]["seed"] += 1
    texts = {"a digit": json.dumps(value), "cut": text[: len(text) // 2], "no JSON": "once upon a time"}
    path.write_text(texts.get(how, text))
    if how == "of another model":
        value = json.loads(text)
        del value["checksum"]
        value["owner"]["model_fingerprint"] = "0123"
        path.write_text(json.dumps(value))
    with nothing_written(tmp_path):
        result = train(prepared, "--layer", 2)
        assert_one_line_error(result, path, "0123" if "model" in how else "damaged", "--overwrite")
    assert "one pass over" not in result.stdout
    assert_success(train(prepared, "--layer", 2, "--overwrite"))
    assert {entry["layer"] for entry in json.loads(path.read_text())["entries"]} == {2}


def test_directions_from_before_checksums_are_kept(prepared, train, tmp_path):
    assert_success(train(prepared))
    path = tmp_path / "results" / "directions.json"
    value = json.loads(path.read_text())
    del value["checksum"]
    path.write_text(json.dumps(value))
    assert_success(train(prepared, "--layer", 2))
    assert [entry["layer"] for entry in json.loads(path.read_text())["entries"]] == [1, 2]


def test_data_that_were_changed_after_they_were_made_are_refused(data, train, tmp_path):
    rewrite(data / "test.pth", lambda payload: payload["labels"].neg_().add_(1).clamp_(-1, 1))
    assert_one_line_error(train(data), data / "test.pth", "its arrays", "scripts/prepare_data.py")
    for name in ("train", "val", "test"):  # as data of before, which prove it together
        rewrite(data / f"{name}.pth", lambda payload: payload["metadata"].pop("content_hashes"))
    assert_one_line_error(train(data), data / "test.pth", "were changed", "scripts/prepare_data.py")
    assert wrote_nothing(tmp_path)


# States that mean nothing


@pytest.fixture(scope="module")
def bert(tmp_path_factory, tiny_tokenizer):
    """A bidirectional model with the tiny tokenizer, its weights large enough that later tokens are felt."""
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    folder = shutil.copytree(tiny_tokenizer, tmp_path_factory.mktemp("bert") / "model")
    BertModel(
        BertConfig(
            vocab_size=420,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=256,
            initializer_range=0.5,
        )
    ).save_pretrained(folder)
    return folder


def test_a_bidirectional_model_does_not_predict_the_token_that_it_has_seen(prepared, train, bert, tmp_path):
    assert_one_line_error(
        train(prepared, "--model_name", bert),
        "lag -1 is no prediction",
        "bidirectional",
        "--predict_current",
        "--allow_bidirectional",
    )
    assert_one_line_error(train(prepared, "--model_name", bert, "--lags", "-4,0"), "lag -4 is no prediction")
    assert wrote_nothing(tmp_path)
    assert (
        "note: the model is bidirectional"
        in assert_success(train(prepared, "--model_name", bert, "--allow_bidirectional")).stdout
    )
    assert "note:" not in assert_success(train(prepared, "--model_name", bert, "--predict_current")).stdout


def test_a_final_norm_that_overflows_is_named_with_its_share(prepared, train, tiny_model, tmp_path):
    broken = shutil.copytree(tiny_model, tmp_path / "broken")
    model = make_model(broken, 420)
    with torch.no_grad():
        model.model.norm.weight[3] = torch.inf
    model.save_pretrained(broken)
    assert_one_line_error(
        train(prepared, "--model_name", broken, "--layer_sweep", "all"),
        "100.0%",
        "final_norm",
        "not finite in float32",
        "1 of the weights in its file are not finite themselves (norm.weight)",
    )
    assert wrote_nothing(tmp_path)


def test_states_that_overflow_in_float16_only(prepared, train, tiny_model, tmp_path):
    wide = shutil.copytree(tiny_model, tmp_path / "wide")
    model = make_model(wide, 420)
    with torch.no_grad():
        model.model.layers[1].mlp.down_proj.weight *= 1e6
    model.save_pretrained(wide)
    result = train(prepared, "--model_name", wide, "--model_dtype", "float16")
    assert_one_line_error(result, "layer 1", "not finite in float16", "--model_dtype bfloat16 or float32")
    assert wrote_nothing(tmp_path)
    assert_success(train(prepared, "--model_name", wide, "--model_dtype", "float32"))


# Runs that are cut off


@pytest.fixture
def long_training(prepared, tmp_path):
    """A real training that has begun and would last for hours, with earlier results in its folders."""
    arguments = [
        "--train_data",
        prepared / "train.pth",
        "--output_dir",
        tmp_path / "models",
        "--results_dir",
        tmp_path / "results",
        "--layer",
        1,
    ]
    assert_success(call("train_probe", *arguments, "--epochs", 1))
    process = start_script("train_probe", *arguments, "--layer", 2, "--epochs", 10_000_000)
    try:
        for line in process.stdout:
            if line.startswith("pass:"):
                break
        assert process.poll() is None, process.stderr.read()
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.slow
@pytest.mark.parametrize(
    "sent, status, lines",
    [(signal.SIGINT, 130, ["train_probe.py: interrupted; nothing half written was left"]), (signal.SIGKILL, -9, [])],
)
def test_a_training_that_is_cut_off_leaves_the_earlier_results_as_they_were(long_training, tmp_path, sent, status, lines):
    before = snapshot(tmp_path)
    assert len(before) == 8  # two probes, their texts, the tables, the scores by group
    long_training.send_signal(sent)
    _, errors = long_training.communicate(timeout=30)
    assert (long_training.returncode, errors.splitlines()) == (status, lines)
    assert snapshot(tmp_path) == before


@pytest.mark.slow
@pytest.mark.parametrize(
    "sent, status, said",
    [
        (signal.SIGINT, 130, "prepare_data.py: interrupted; nothing half written was left\n"),
        (signal.SIGTERM, 143, "prepare_data.py: ended by SIGTERM; nothing half written was left\n"),
        (signal.SIGHUP, 129, "prepare_data.py: ended by SIGHUP; nothing half written was left\n"),
    ],
)
def test_a_preparation_that_is_cut_off_while_texts_are_read(tiny_model, texts, tmp_path, sent, status, said):
    """The last text is so long that the run is in the middle of it for as long as it takes."""
    folder = shutil.copytree(texts, tmp_path / "texts")
    (folder / "text9.txt").write_text(prose(9) * 3000)
    process = start_script(
        "prepare_data",
        "--dataset",
        folder / "*.txt",
        "--model_name",
        tiny_model,
        "--context_length",
        32,
        "--output_dir",
        tmp_path / "out",
    )
    try:
        assert process.stdout.readline().startswith("target ' the' is token")
        time.sleep(0.5)
        process.send_signal(sent)
        _, errors = process.communicate(timeout=30)
    finally:
        process.kill()
        process.communicate()
    assert (process.returncode, errors) == (status, said)
    assert list((tmp_path / "out").iterdir()) == []


KILLED_WHILE_WRITING = """
import os, sys
sys.path.insert(0, sys.argv[1])
from utils.base.files import WriteTogether
with WriteTogether() as files:
    for name in ("one", "two"):
        with files.open(f"{sys.argv[2]}/{name}") as file:
            file.write(b"new" * 100_000)
            file.flush()
            if name == "two":
                os.kill(os.getpid(), 9)
"""


def test_kill_9_in_the_middle_of_a_write_leaves_both_files_as_they_were(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).write_bytes(b"old")
    process = subprocess.run(
        [sys.executable, "-c", KILLED_WHILE_WRITING, str(SCRIPTS), str(tmp_path)], env=environment(), timeout=60, cwd=ROOT
    )
    assert process.returncode == -9
    assert [(tmp_path / name).read_bytes() for name in ("one", "two")] == [b"old", b"old"]
    left = [path.name for path in tmp_path.iterdir() if path.name not in ("one", "two")]
    assert left, "nothing was being written when the process was killed"
    assert all(name.startswith(".") and name.endswith(".tmp") for name in left), "a half file under a name that is read"
