"""train_probe.py --sae: latents beside the dense probe and the baselines, in one table and two files; what does not fit is
refused before the pass.
"""

import json
import shutil

import numpy as np
import pytest
import torch

from helpers import assert_one_line_error, assert_success, call, parser_of, prose, write_jsonl
from plain_sweep import rows_of
from utils.data.tokenizer import load_tokenizer, token_text
from utils.model.language_model import load_language_model
from utils.sae.autoencoder import SparseAutoencoder
from utils.sae.files.dictionary_learning import save_dictionary
from utils.sae.files.sae_lens import save_sae

pytestmark = pytest.mark.slow

LATENTS = 48


def random_autoencoder(hidden_size, layer, **about):
    generator = torch.Generator().manual_seed(layer)
    encoder = torch.nn.functional.normalize(torch.randn(LATENTS, hidden_size, generator=generator), dim=1)
    nothing = torch.zeros(LATENTS)
    return SparseAutoencoder(
        encoder,
        nothing,
        encoder,
        torch.zeros(hidden_size),
        nothing + 0.02,
        {"layer": layer, "architecture": "jumprelu", **about},
    )


@pytest.fixture(scope="module")
def language_model(tiny_model):
    return load_language_model(str(tiny_model), "float32", "cpu", False)


@pytest.fixture(scope="module")
def saes(language_model, tmp_path_factory):
    """A folder of one run, with autoencoders of layers 0 and 2."""
    folder = tmp_path_factory.mktemp("saes") / "run"
    for layer in (0, 2):
        about = {"model_name": language_model.name, "model_fingerprint": language_model.fingerprint}
        save_sae(folder / f"sae_layer_{layer}_best", random_autoencoder(32, layer, **about))
    return folder


def train(prepared, out, *arguments):
    return call(
        "train_probe",
        *("--train_data", prepared / "train.pth", "--output_dir", out / "models", "--results_dir", out / "results"),
        *("--no_wandb", *arguments),
    )


@pytest.fixture(scope="module")
def trained(prepared, saes, tmp_path_factory):
    """The results folder of a run on two lags, and what it printed."""
    out = tmp_path_factory.mktemp("trained")
    flags = ("--layer_sweep", "0,1,2", "--lags", "-1,0", "--probe", "logistic", "--l2_grid", "0.1,0.001")
    return out, assert_success(train(prepared, out, *flags, "--sae", saes)).stdout


def test_one_table_holds_latents_the_dense_probe_and_every_baseline(trained):
    _, printed = trained
    for question in printed.split("probes on latents\n")[1:]:
        for name in ("1 latent", "2 latents", "32 latents", "dense probe", "(majority)", "(read token)", "(context)"):
            assert f"\n{name}" in question, name
        assert question.count(" *  ") + question.count(" * ") >= 2
        assert "on test not compared (no interval) with the dense probe of that layer" in question, "one test text"
        assert "better than" not in question
    assert printed.count("probes on latents\n") == 2


def test_the_tables_agree_with_the_dense_probe_and_with_each_other(trained):
    out, _ = trained
    rows, dense = rows_of(out, "sae_probes.csv"), rows_of(out, "probe_metrics.csv")
    assert {(row["layer_idx"], row["lag"]) for row in rows} == {(layer, lag) for layer in "02" for lag in ("-1", "0")}
    for row in rows:
        assert row["sae"].endswith(f"sae_layer_{row['layer_idx']}_best") and len(row["sae_fingerprint"]) == 16
        if row["features"] == "states":
            same = ("layer_idx", "lag", "split", "l2", "auc", "balanced_accuracy")
            assert [one for one in dense if one["chosen"] == "1" and all(one[name] == row[name] for name in same)]
    for features in ("latents", "dimensions"):
        for layer in "02":
            some = [row for row in rows if (row["features"], row["layer_idx"], row["lag"]) == (features, layer, "-1")]
            on_val = {int(row["count"]): float(row["auc"]) for row in some if row["split"] == "val"}
            on_test = [row for row in some if row["split"] == "test"]
            assert [int(row["count"]) for row in on_test] == [max(sorted(on_val), key=on_val.get)]
            assert on_test[0]["chosen"] == "1" and on_test[0]["minus_dense"] and on_test[0]["minus_baseline"]
            assert on_test[0]["probes_together"] == "7", "three dense probes, and two of each of two layers"
            named = rows_of(out, "sae_latents.csv")
            here = [row for row in named if (row["layer_idx"], row["lag"]) == (layer, "-1")]
            if features == "latents":
                assert [int(row["rank"]) for row in here] == list(range(1, int(on_test[0]["count"]) + 1))


def test_a_probe_can_be_computed_again_from_the_tables(trained, prepared, language_model, saes):
    """Logit = sum of weight x latent + bias, on states as transformers gives them; and the tokens at the top are those."""
    out, _ = trained
    data = torch.load(prepared / "test.pth", weights_only=True)
    ids, lengths = data["input_ids"].long(), data["lengths"]
    hidden = language_model.model(ids, output_hidden_states=True).hidden_states[1].detach()  # layer 0
    place = torch.arange(len(ids)), lengths.long() - 2  # one token before the labelled one
    latents = random_autoencoder(32, 0).encode(hidden[place])
    named = [row for row in rows_of(out, "sae_latents.csv") if (row["layer_idx"], row["lag"]) == ("0", "-1")]
    (row,) = (
        row
        for row in rows_of(out, "sae_probes.csv")
        if (row["layer_idx"], row["lag"], row["features"], row["split"]) == ("0", "-1", "latents", "test")
    )
    weight = torch.tensor([float(one["weight"]) for one in named])
    logits = latents[:, [int(one["latent"]) for one in named]] @ weight + float(row["bias"])
    labels = data["labels"][torch.arange(len(ids)), lengths.long() - 1]
    true_positives = int(((logits > float(row["threshold"])) & (labels == 1)).sum())
    assert abs(true_positives - int(row["tp"])) <= 1 and len(labels) == int(row["n"])


def test_the_tokens_of_a_latent_are_those_at_its_largest_activations(trained, prepared, language_model, tiny_model):
    out, _ = trained
    named = [row for row in rows_of(out, "sae_latents.csv") if (row["layer_idx"], row["lag"]) == ("0", "-1")]
    data = torch.load(prepared / "train.pth", weights_only=True)
    ids, read = data["input_ids"].long(), data["lengths"].long() - 2
    rows = torch.arange(len(ids))
    hidden = torch.cat(
        [language_model.model(part, output_hidden_states=True).hidden_states[1].detach() for part in ids.split(100)]
    )
    latents, tokenizer = random_autoencoder(32, 0).encode(hidden[rows, read]), load_tokenizer(str(tiny_model))
    for one in named[:5]:
        column = latents[:, int(one["latent"])]
        top = [token_text(tokenizer, token) for token in ids[rows, read][column.argsort(descending=True)[:20]].tolist()]
        reads = json.loads(one["reads"])
        assert sum(count for _, count in reads) <= 20
        assert all(abs(top.count(text) - count) <= 1 for text, count in reads)
        assert float(one["density_all"]) == pytest.approx(float((column > 0).float().mean()), abs=2e-3)
        assert len(json.loads(one["promotes"])) == 5


def test_one_folder_is_one_layer_and_the_dense_probe_is_fitted_where_the_sweep_has_none(prepared, saes, tmp_path):
    flags = ("--layer", 2, "--epochs", 1, "--sae", saes / "sae_layer_2_best")
    result = assert_success(train(prepared, tmp_path, *flags))
    assert "\ndense probe" in result.stdout
    rows = rows_of(tmp_path, "sae_probes.csv")
    assert {row["layer_idx"] for row in rows} == {"2"} and {row["features"] for row in rows if row["count"] == "32"} == {
        "latents",
        "states",
    }
    assert {row["probes_together"] for row in rows if row["split"] == "test"} == {"4"}, "the linear probe of the sweep too"


def test_a_file_alone_is_of_the_layer_that_is_asked_for(prepared, tmp_path):
    save_dictionary(tmp_path, random_autoencoder(32, 2))
    (tmp_path / "config.json").unlink()
    flags = ("--epochs", 1, "--sae", tmp_path / "ae.pt")
    told = train(prepared, tmp_path, *flags, "--layer_sweep", "0,2")
    assert_one_line_error(told, "ae.pt does not say which layer it reads", "of train_probe.py --layer 6")
    assert_success(train(prepared, tmp_path, *flags, "--layer", 2))
    assert {row["layer_idx"] for row in rows_of(tmp_path, "sae_probes.csv")} == {"2"}


def test_without_test_data_nothing_is_said_of_differences(prepared, saes, tmp_path):
    for name in ("train.pth", "val.pth"):
        shutil.copy(prepared / name, tmp_path / name)
    flags = ("--layer", 0, "--epochs", 1, "--sae", saes)
    result = assert_success(train(tmp_path, tmp_path / "out", *flags))
    assert "no test data, so nothing is said" in result.stdout and "better than" not in result.stdout
    assert {row["split"] for row in rows_of(tmp_path / "out", "sae_probes.csv")} == {"train", "val"}


def test_spans_of_several_targets_lags_and_seeds_each_have_their_latents(tiny_model, saes, tmp_path):
    random, rows = np.random.default_rng(0), []
    for number in range(40):
        text = prose(number, 60)
        starts = sorted(random.choice(len(text) - 12, 6, replace=False).tolist())
        rows.append({"text": text, "spans": [[at, at + 6, label] for at, label in zip(starts, "xy" * 3, strict=True)]})
    write_jsonl(tmp_path / "marked.jsonl", rows)
    flags = ("--task", "spans", "--input", tmp_path / "marked.jsonl", "--context_length", 40, "--overlap", 10)
    assert_success(call("prepare_data", *flags, "--model_name", tiny_model, "--output_dir", tmp_path))
    flags = ("--layer_sweep", "0,2", "--probe", "logistic", "--lags", "-1,0", "--train_seeds", "0,1", "--max_train_docs", 20)
    result = assert_success(train(tmp_path, tmp_path / "out", *flags, "--sae", saes))
    rows = rows_of(tmp_path / "out", "sae_probes.csv")
    wanted = {(target, lag, layer) for target in "xy" for lag in ("-1", "0") for layer in "02"}
    assert {(row["target"], row["lag"], row["layer_idx"]) for row in rows} == wanted
    dense = {
        tuple(row[name] for name in ("target", "lag", "layer_idx", "split")): row
        for row in rows
        if row["features"] == "states"
    }
    for row in rows_of(tmp_path / "out", "probe_metrics.csv"):
        if row["chosen"] == "1" and row["seed"] == "0" and row["split"] != "train":
            same = dense[tuple(row[name] for name in ("target", "lag", "layer_idx", "split"))]
            assert (row["auc"], row["n"]) == (same["auc"], same["n"])
    assert {row["seed"] for row in rows} == {"0"} and result.stdout.count("probes on latents\n") == 4
    of_train = {row["n"] for row in rows if row["split"] == "train" and row["target"] == "x" and row["lag"] == "0"}
    assert len(of_train) == 1, "all on the sample of the first seed"


def other_model(saes, folder):
    save_sae(folder / "foreign", random_autoencoder(32, 0, model_name="other/model", model_fingerprint="0" * 16))
    return folder / "foreign"


def other_width(saes, folder):
    save_sae(folder / "narrow", random_autoencoder(16, 0))
    return folder / "narrow"


def several_runs(saes, folder):
    for run in ("jumprelu_l0_4_seed_0", "jumprelu_l0_8_seed_0"):
        shutil.copytree(saes, folder / "runs" / run)
    return folder / "runs"


WRONG = {
    "a missing folder": (lambda saes, folder: folder / "nowhere", ("nowhere", "does not exist", "train_sae.py")),
    "an empty folder": (lambda saes, folder: folder, ("no sparse autoencoder", "cfg.json")),
    "another model": (other_model, ("foreign", "other/model", "give the model that it was trained on")),
    "another width": (other_width, ("narrow", "16", "32")),
    "several runs": (several_runs, ("jumprelu_l0_4_seed_0, jumprelu_l0_8_seed_0", "give one of them")),
    "a layer that is not read": (
        lambda saes, folder: saes / "sae_layer_2_best",
        ("layer2", "layer0, layer1", "ask for a layer"),
    ),
}


@pytest.mark.parametrize("make, needles", WRONG.values(), ids=WRONG)
def test_what_does_not_fit_is_refused_before_the_pass(prepared, saes, tmp_path, make, needles):
    path = make(saes, tmp_path)
    result = train(prepared, tmp_path / "out", "--layer_sweep", "0,1", "--sae", path)
    assert_one_line_error(result, *needles)
    assert not list((tmp_path / "out").rglob("*.csv"))


@pytest.mark.parametrize(
    "flags, needle", [(("--pool", "mean"), "--pool mean"), (("--probe", "attention_features"), "reads layers")]
)
def test_flags_that_contradict_are_wrong_usage(prepared, saes, tmp_path, flags, needle):
    assert_one_line_error(train(prepared, tmp_path, "--layer", 0, "--sae", saes, *flags), "--sae", needle, status=2)


def test_penalties_may_be_given_for_latents_alone():
    parser_of("train_probe").parse_args(["--sae", "folder", "--l2_grid", "0.1"])
