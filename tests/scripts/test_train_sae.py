"""train_sae.py from its command line: states kept, streamed or found again; what it leaves; one line for what is wrong."""

import contextlib
import csv
import json
import os
import random
import shlex
import shutil
import time

import pytest

from forked import start
from helpers import assert_one_line_error, assert_success, call, make_model, make_tokenizer, prose, snapshot, write_jsonl
from utils.sae.files.loading import load_sae

pytestmark = pytest.mark.slow
FULL = pytest.mark.skipif(not os.environ.get("PROBE_FAULTS"), reason="some minutes: set PROBE_FAULTS=1")
SMALL = ("--num_tokens", 3000, "--context_length", 31, "--d_hidden", 64, "--target_l0", 4, "--batch_size", 64, "--no_wandb")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_jsonl(tmp_path_factory.mktemp("corpus") / "texts.jsonl", [{"text": prose(seed, 250)} for seed in range(16)])


@pytest.fixture(scope="module")
def common(tiny_model, corpus):
    return ("--model_name", tiny_model, "--dataset", corpus, *SMALL)


@pytest.fixture(scope="module")
def extracted(common, tmp_path_factory):
    """The folder of states of two layers."""
    folder = tmp_path_factory.mktemp("states")
    told = call("train_sae", *common, "--layers", "0,2", "--extract_only", "--cache_dir", folder, "--epochs", 2)
    assert f"next: python scripts/train_sae.py --train_only --cache_dir {folder} --layers 0,2" in assert_success(told).stdout
    return folder


def weights_of(folder):
    return {path.removeprefix(str(folder)): digest for path, digest in snapshot(folder).items() if "run_record" not in path}


def test_the_next_command_repeats_how_the_states_were_read(common, tmp_path):
    kept = ("--layers", "2", "--cache_dir", tmp_path / "states", "--model_dtype", "bfloat16", "--keep_special")
    told = assert_success(call("train_sae", *common, *kept, "--extract_only")).stdout
    (line,) = [line for line in told.splitlines() if line.startswith("next: ")]
    again = [
        *shlex.split(line.partition("train_sae.py ")[2]),
        "--save_dir",
        tmp_path / "out",
        "--epochs",
        2,
        "--d_hidden",
        64,
    ]
    assert_success(call("train_sae", *again, "--batch_size", 64, "--target_l0", 4, "--no_wandb"))


def test_one_run_leaves_what_the_documents_say(common, tmp_path):
    told = assert_success(call("train_sae", *common, "--layers", "embed,1", "--save_dir", tmp_path, "--epochs", 8))
    for end in ("best", "final"):
        for name in ("embed", "layer_1"):
            autoencoder = load_sae(tmp_path / f"sae_{name}_{end}")
            assert (autoencoder.latents, autoencoder.hidden_size) == (64, 32)
            assert autoencoder.about["context_size"] == 33 and autoencoder.about["target_l0"] == 4
    with open(tmp_path / "sae_evaluation.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["layer"] for row in rows] == ["embed", "1"] and all(0 < float(row["fvu"]) < 2 for row in rows)
    assert float(rows[1]["recovered"]) > 0  # to zero the embedding of a random model may cost it nothing
    record = json.loads((tmp_path / "run_record.json").read_text())
    assert (
        record["versions"]["torch"]
        and record["states_beside_transformers"]
        and {"pass", "train", "evaluate"} <= set(record["seconds"])
    )
    assert "FVU/PCA" in told.stdout and "next: python scripts/interpret_sae.py" in told.stdout


def test_several_goals_have_a_folder_each_and_seeds_are_compared(common, tmp_path):
    options = (
        "--layers",
        "1",
        "--architecture",
        "jumprelu,batchtopk",
        "--seeds",
        "0,1",
        "--save_dir",
        tmp_path,
        "--epochs",
        1,
    )
    told = assert_success(call("train_sae", *common, *options))
    names = {f"{architecture}_l0_4_seed_{seed}" for architecture in ("jumprelu", "batchtopk") for seed in (0, 1)}
    assert {path.name for path in tmp_path.iterdir()} == {*names, "sae_seeds.json"}
    assert "chance" in told.stdout


def test_states_that_were_kept_give_the_same_autoencoders(common, extracted, tmp_path):
    flags = ("--layers", "0,2", "--epochs", 2)
    assert_success(call("train_sae", *common, *flags, "--save_dir", tmp_path / "memory"))
    before = snapshot(extracted)
    only = ("--train_only", "--cache_dir", extracted, *SMALL[4:])
    told = assert_success(call("train_sae", *only, *flags, "--save_dir", tmp_path / "cache"))
    assert "copies left out" not in told.stdout and snapshot(extracted) == before
    assert weights_of(tmp_path / "memory") == weights_of(tmp_path / "cache")
    assert_success(call("train_sae", *only, "--layers", "2", "--save_dir", tmp_path / "one_layer", "--epochs", 2))


def test_a_stream_trains_too(common, tmp_path):
    told = assert_success(
        call("train_sae", *common, "--buffer_gb", 1e-4, "--save_dir", tmp_path, "--epochs", 2, "--layers", "1")
    )
    assert "are not kept: each epoch runs the model once" in told.stdout
    assert (tmp_path / "sae_layer_1_best/cfg.json").exists()
    assert "0.0 GB" not in told.stdout


def test_a_buffer_larger_than_any_number_of_bytes_and_one_layer_and_epoch(common, tmp_path):
    flags = ("--buffer_gb", 1e300, "--layers", "all,0", "--epochs", 1)
    told = assert_success(call("train_sae", *common, *flags, "--save_dir", tmp_path)).stdout
    assert " steps of 64, 1 epoch\n" in told and len(list(tmp_path.glob("sae_layer_*_best"))) == 3


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (("--num_tokens", 2000), "num_tokens was 3000 (model"),
        (("--context_length", 63), "context_length was 31"),
        (("--layers", "0,1"), "their layers are 0, 2, without 1"),
        (("--keep_special",), "keep_special was False"),
        (("--dataset", "wikimedia/wikipedia"), "dataset was "),
    ],
)
def test_a_cache_of_other_states_is_refused(extracted, changes, said, tmp_path):
    flags = ("--train_only", "--cache_dir", extracted, "--layers", "0", "--save_dir", tmp_path, "--no_wandb", *changes)
    assert_one_line_error(call("train_sae", *flags), f"the states in {extracted} are not those that are asked for", said)


def test_a_cache_of_another_model_is_refused(extracted, tmp_path):
    make_model(tmp_path / "model", len(make_tokenizer(tmp_path / "model")), hidden_size=48)
    told = call(
        "train_sae", "--train_only", "--cache_dir", extracted, "--model_name", tmp_path / "model", "--save_dir", tmp_path
    )
    assert_one_line_error(told, "model_fingerprint was ", "read them with --extract_only")


def test_a_cache_of_texts_that_have_changed_is_refused(common, tmp_path, corpus):
    changed = shutil.copy(corpus, tmp_path / "texts.jsonl")
    flags = ("--layers", "0", "--cache_dir", tmp_path / "states", "--save_dir", tmp_path / "out", "--no_wandb")
    assert_success(call("train_sae", *common, *flags, "--dataset", changed, "--extract_only"))
    with open(changed, "a") as file:
        file.write(json.dumps({"text": "one more"}) + "\n")
    assert_one_line_error(call("train_sae", *flags, "--train_only"), "texts.jsonl has changed since")
    again = assert_success(call("train_sae", *common, *flags, "--dataset", changed, "--extract_only"))  # as the line says
    follow = shlex.split(again.stdout.splitlines()[-1].partition("train_sae.py ")[2])
    assert_success(call("train_sae", *follow, *flags[4:], "--d_hidden", 64, "--target_l0", 4, "--batch_size", 128))
    assert_one_line_error(
        call("train_sae", "--train_only", "--cache_dir", tmp_path, "--no_wandb"), "holds no states of texts; read them with"
    )


def test_one_of_several_passes_is_chosen_by_the_flag_that_tells_them_apart(common, tmp_path):
    flags = ("--layers", "0", "--cache_dir", tmp_path / "states", "--no_wandb")
    for most in (3, 5):
        told = assert_success(call("train_sae", *common, *flags, "--extract_only", "--max_texts", most)).stdout
        assert f"--max_texts {most}" in told.splitlines()[-1]
    refused = call("train_sae", *flags, "--train_only", "--save_dir", tmp_path)
    assert_one_line_error(refused, "holds 2 passes; choose one with --max_texts (3, 5)")


@pytest.mark.parametrize(
    ("flags", "said", "status"),
    [
        (("--target_l0", "4,4.0000001"), "--target_l0 names 4 twice", 2),
        (("--target_l0", "4,64"), "--target_l0 64: there are only 64 latents", 2),
        (("--layers", "0,7"), "--layers 0,7: layer 7: this model has layers 0 to 2", 1),
        (("--layers", "0,x"), "--layers 0,x: 'x' is no layer", 2),
        (("--layers", "1,0,01"), "--layers 1,0,01 names a layer twice", 2),
        (("--target_l0", "0"), "'0' is not a list such as 10,1: '0' is not a number of at least 1", 2),
        (("--d_hidden", 2**63 - 1), f"--d_hidden {2**63 - 1}: weights and Adam's moments of 3 autoencoders take", 1),
        (("--d_hidden", 10**11, "--seeds", "0,1", "--layers", "0"), "of 2 autoencoders take 158,400.0 GB", 1),
        (
            ("--batch_size", 100_000),
            "--batch_size 100000: the texts give 3,000 states to train on, too few for one batch",
            1,
        ),
        (("--extract_only", "--train_only"), "contradict each other", 2),
        (("--context_length", 500), "has 256 positions; use at most", 1),
        (("--dataset_config", "en"), "have no configurations; leave it out", 1),
    ],
)
def test_bad_input(common, tmp_path, flags, said, status):
    told = call("train_sae", *common, "--save_dir", tmp_path, *flags)
    assert_one_line_error(told, said, status=status)
    assert "pass: " not in told.stdout  # before the long work


def test_no_room_on_the_disk(common, tmp_path, monkeypatch):
    from utils.states import extraction

    monkeypatch.setattr(extraction.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1000}))
    kept = tmp_path / "sae_layer_0_best"
    kept.mkdir()
    told = call("train_sae", *common, "--cache_dir", tmp_path / "states", "--save_dir", tmp_path, "--overwrite")
    assert kept.is_dir()  # nothing is deleted before there is something to put in its place
    assert_one_line_error(told, "GB of hidden states do not fit into", "read fewer layers, a smaller --num_tokens, or give")


def changes_seen(process, folder, most=float("inf")):
    """Count the changes of files in a folder until the process ends, or there are `most`."""
    count, before = 0, {}
    while process.running and count < most:
        time.sleep(0.002)
        found = {}
        for path in folder.rglob("*"):
            with contextlib.suppress(FileNotFoundError):
                found[path] = path.stat().st_mtime_ns
        count += found != before
        before = found
    return count


def killed_and_resumed(command, changes, folder):
    """Kill the command after so many changes of its files, run it again with --resume; say whether it was running."""
    folder.mkdir()
    process = start(*command, cwd=folder)
    changes_seen(process, folder, changes)
    running = process.running
    process.kill()
    process.finish()
    assert_success(start(*command, "--resume", cwd=folder).finish())
    return running


@pytest.fixture(scope="module")
def undisturbed(common, tmp_path_factory):
    """(the command, its files, how many changes of files were seen on the way)"""
    folder = tmp_path_factory.mktemp("undisturbed")
    flags = ("--layers", "0,2", "--cache_dir", "states", "--save_dir", "out", "--epochs", 20, "--seeds", "0,1")
    process = start("train_sae", *common, *flags, cwd=folder)
    changes = changes_seen(process, folder)
    assert_success(process.finish())
    return ("train_sae", *common, *flags), weights_of(folder), changes


def test_kill_9_and_resume_give_the_same_bytes(undisturbed, tmp_path):
    command, files, changes = undisturbed
    assert killed_and_resumed(command, changes // 2, tmp_path / "run")
    assert weights_of(tmp_path / "run") == files


@FULL
def test_10_kills(undisturbed, tmp_path):
    command, files, changes = undisturbed
    draw, running = random.Random(0), 0
    for number in range(10):
        folder = tmp_path / str(number)
        running += killed_and_resumed(command, draw.randrange(changes), folder)
        assert weights_of(folder) == files
    assert running >= 5, "most kills came after the end"
