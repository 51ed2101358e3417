"""interpret_sae.py, whole: its files against what transformers itself gives for every token of the texts."""

import json
import re
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from helpers import ROOT, assert_one_line_error, assert_success, call, make_model, make_tokenizer, prose, snapshot
from utils.base.files import with_checksum, write_json
from utils.sae.autoencoder import SparseAutoencoder
from utils.sae.files.dictionary_learning import save_dictionary
from utils.sae.files.sae_lens import save_sae

pytestmark = pytest.mark.slow

LATENTS, TOKENS, WIDTH = 48, 10**6, 64  # more tokens than there are
LAYERS = (0, "final_norm")


def made_sae(layer, model_name, hidden_size=32, seed=0):
    """Random directions that are active at about a tenth of the states of a tiny model; the first two never."""
    random = torch.Generator().manual_seed(seed)
    rows = torch.nn.functional.normalize(torch.randn(LATENTS, hidden_size, generator=random), dim=1)
    threshold = torch.full((LATENTS,), 0.03 if layer == 0 else 1.3)
    threshold[:2] = 1e6
    about = {
        "architecture": "jumprelu",
        "layer": layer,
        "target_l0": 4,
        "seed": 0,
        "model_name": str(model_name),
        "context_size": WIDTH + 1,
        "prepend_bos": True,
    }
    return SparseAutoencoder(rows, torch.zeros(LATENTS), rows.clone(), torch.zeros(hidden_size), threshold, about)


@pytest.fixture(scope="module")
def saes(tmp_path_factory, tiny_model):
    folder = tmp_path_factory.mktemp("saes")
    save_sae(folder / "sae_layer_0_best", made_sae(0, tiny_model))
    save_sae(folder / "sae_final_norm_best", made_sae("final_norm", tiny_model))
    return folder


@pytest.fixture(scope="module")
def interpreted(saes, texts, tmp_path_factory):
    folder = tmp_path_factory.mktemp("interpreted")
    (folder / "labels.csv").write_text("layer,latent,label\n0,5,=1+1\nfinal_norm,6,words\n3,1,of another layer\n")
    arguments = ("--sae", saes, "--dataset", texts, "--num_tokens", TOKENS, "--output_dir", folder / "out")
    result = assert_success(call("interpret_sae", *arguments, "--labels", folder / "labels.csv"))
    return SimpleNamespace(folder=folder / "out", said=result.stdout)


@pytest.fixture(scope="module")
def truth(saes, texts, tiny_model):
    """{layer: codes [rows, latents]} of transformers' own states, and the token, document and position of each row."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model, tokenizer = AutoModelForCausalLM.from_pretrained(tiny_model).eval(), AutoTokenizer.from_pretrained(tiny_model)
    codes, rows = {layer: [] for layer in LAYERS}, []
    for path in sorted(texts.iterdir()):
        name, ids = path.name, tokenizer(path.read_text(encoding="utf-8"), add_special_tokens=False)["input_ids"]
        for start in range(0, len(ids), WIDTH):
            window = ids[start : start + WIDTH]
            if len(window) < 2:
                continue
            with torch.inference_mode():
                found = model(torch.tensor([[tokenizer.bos_token_id, *window]]), output_hidden_states=True).hidden_states
            for layer, states in ((0, found[1][0, 1:]), ("final_norm", found[-1][0, 1:])):
                codes[layer].append(made_sae(layer, tiny_model).encode(states))
            rows += [(token, name, position + 1) for position, token in enumerate(window)]
    return {layer: torch.cat(parts).numpy() for layer, parts in codes.items()}, rows, tokenizer


def entries_of(interpreted, layer):
    name = f"layer_{layer}" if isinstance(layer, int) else layer
    return json.loads((interpreted.folder / f"{name}_interpretations.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("layer", LAYERS)
def test_numbers_are_those_of_transformers_own_states(layer, interpreted, truth):
    codes, _, _ = truth
    entries = entries_of(interpreted, layer)
    assert list(entries) == [str(latent) for latent in range(LATENTS)]
    active = 0
    for latent, entry in enumerate(entries.values()):
        own = codes[layer][:, latent]
        assert entry["feature_id"] == latent and entry["active"] == bool((own > 0).any())
        assert abs(entry["num_activations"] - (own > 0).sum()) <= 1  # a threshold may lie within rounding
        assert entry["density"] == entry["num_activations"] / len(own)
        if entry["active"]:
            active += 1
            assert entry["top_activation"] == pytest.approx(own.max(), rel=1e-4)
            assert entry["mean_activation"] == pytest.approx(own[own > 0].mean(), rel=2e-3)
            assert sum(entry["histogram"]["counts"]) == entry["num_activations"]
    assert LATENTS - 10 < active < LATENTS and not entries["0"]["active"] and entries["0"]["top_examples"] == []


@pytest.mark.parametrize("layer", LAYERS)
def test_examples_stand_where_they_say_and_are_the_strongest(layer, interpreted, truth):
    codes, rows, _ = truth
    place = {}
    for number, (_, document, position) in enumerate(rows):
        place.setdefault((document, position), []).append(number)
    for latent, entry in entries_of(interpreted, layer).items():
        own = codes[layer][:, int(latent)]
        for example in [*entry["top_examples"], *(one for each in entry["interval_examples"] for one in each["examples"])]:
            candidates = own[place[example["document"], example["position"]]]
            assert np.abs(candidates - example["activation"]).min() < 1e-4 * max(1, example["activation"])
            assert max(value for value in example["activations"] if value is not None) <= entry["top_activation"] * 1.0001
        if entry["active"]:
            assert entry["top_examples"][0]["activation"] == entry["top_activation"]
        for each in entry["interval_examples"]:
            for example in each["examples"]:
                assert each["from"] <= example["activation"] * 1.0001 and example["activation"] * 0.9999 < each["to"]


def test_common_tokens_and_lifts_are_counted_anew(interpreted, truth):
    from utils.data.tokenizer import token_text

    codes, rows, tokenizer = truth
    tokens = np.array([token for token, _, _ in rows])
    base = np.bincount(tokens)
    for latent, entry in entries_of(interpreted, 0).items():
        there = np.bincount(tokens[codes[0][:, int(latent)] > 0], minlength=len(base))
        by_name = {token_text(tokenizer, token): token for token in np.flatnonzero(there)}
        assert [count for _, count in entry["common_tokens"]] == pytest.approx(sorted(there[there > 0])[::-1][:10], abs=1)
        for (name, count), (_, lift) in zip(entry["common_tokens"], entry["common_token_lifts"], strict=True):
            assert abs(there[by_name[name]] - count) <= 1
            expected = there[by_name[name]] / there.sum() / (base[by_name[name]] / len(tokens))
            assert lift == pytest.approx(expected, rel=0.02)


def test_promoted_tokens_are_those_of_the_models_own_head(interpreted, tiny_model):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    head = AutoModelForCausalLM.from_pretrained(tiny_model).get_output_embeddings().weight
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    from utils.data.tokenizer import token_text

    logits = made_sae("final_norm", tiny_model).decoder @ head.detach().T
    for latent, entry in entries_of(interpreted, "final_norm").items():
        best = token_text(tokenizer, int(logits[int(latent)].argmax()))
        assert entry["promoted"][0][0] == best and len(entry["suppressed"]) == 10


def test_own_labels_stand_in_the_file_and_automatic_ones_elsewhere(interpreted):
    first, last = entries_of(interpreted, 0), entries_of(interpreted, "final_norm")
    assert (first["5"]["label"], first["5"]["label_by"]) == ("=1+1", "user")
    assert (last["6"]["label"], last["5"]["label_by"]) == ("words", "automatic")


def test_every_key_is_documented(interpreted):
    section = (ROOT / "docs/tables.md").read_text(encoding="utf-8").partition("## Interpretations")[2].partition("\n## ")[0]
    documented = set(re.findall(r"`(\w+)`", section))
    entry = entries_of(interpreted, 0)["5"]
    keys = {*entry, *entry["histogram"], *entry["interval_examples"][0], *entry["top_examples"][0]}
    assert keys <= documented and "sequence" in keys
    rows = set(re.findall(r"`(\w+)`", " ".join(re.findall(r"^\| (.*?) \|", section, re.MULTILINE))))
    assert rows == set(entry)


def test_pages_and_a_record_lie_beside_the_files_and_the_last_line_names_a_page(interpreted):
    names = {"layer_0_interpretations", "final_norm_interpretations"}
    expected = {f"{name}.{ending}" for name in names for ending in ("json", "html")}
    assert {path.name for path in interpreted.folder.iterdir()} == {*expected, "run_record.json"}
    record = json.loads((interpreted.folder / "run_record.json").read_text())
    assert record["layers"]["0"]["silent"][:2] == [0, 1] and 6e4 < record["layers"]["0"]["read"] < TOKENS
    assert (interpreted.folder / "final_norm_interpretations.html").resolve().as_uri() in interpreted.said.splitlines()[-1]


def test_another_batch_size_gives_the_same_and_the_draw_follows_the_seed(interpreted, saes, texts, tmp_path):
    arguments = ("--sae", saes / "sae_layer_0_best", "--dataset", texts, "--num_tokens", TOKENS, "--output_dir")
    assert_success(call("interpret_sae", *arguments, tmp_path / "a", "--batch_size", 5))
    assert_success(call("interpret_sae", *arguments, tmp_path / "b", "--batch_size", 5, "--seed", 1))
    before, after, other = (
        entries_of(SimpleNamespace(folder=folder), 0) for folder in (interpreted.folder, tmp_path / "a", tmp_path / "b")
    )
    rows = [
        [
            [(one["sequence"], one["position"]) for each in entry["interval_examples"] for one in each["examples"]]
            for entry in found.values()
        ]
        for found in (before, after, other)
    ]
    same = sum(a == b for a, b in zip(rows[0], rows[1], strict=True))
    assert same >= LATENTS - 2 and sum(a == b for a, b in zip(rows[0], rows[2], strict=True)) < LATENTS / 2
    for latent in before:
        assert before[latent]["num_activations"] == pytest.approx(after[latent]["num_activations"], abs=1)


def test_what_cannot_be_read_is_one_line(saes, texts, tiny_model, tmp_path):
    def refused(*more, sae=saes, status=1):
        folder = tmp_path / "out"
        return call("interpret_sae", "--sae", sae, "--dataset", texts, "--output_dir", folder, *more), status

    make_model(tmp_path / "other", len(make_tokenizer(tmp_path / "other")), hidden_size=16)
    (tmp_path / "empty").mkdir()
    for run in ("one", "two"):
        (tmp_path / "runs" / run / "sae_layer_0_best").mkdir(parents=True)
    (tmp_path / "labels.json").write_text('{"0": {"48": "beyond"}}')
    (tmp_path / "flat.json").write_text('{"5": "of which layer?"}')
    for (result, status), *needles in (
        (refused(sae=tmp_path / "missing"), "missing does not exist; give the folder of a sparse autoencoder"),
        (refused(sae=tmp_path / "runs"), "holds several runs, one, two"),
        (refused(sae=tmp_path / "empty"), "empty"),
        (refused("--model_name", tmp_path / "other"), "32", "16"),
        (refused("--layers", "1"), "layer1", "sae_layer_0_best"),
        (refused("--layers", "x", status=2), "--layers x"),
        (refused("--labels", tmp_path / "labels.json"), "labels.json", "'48'", "0 to 47"),
        (refused("--labels", tmp_path / "flat.json"), "which layer", "2 layers"),
        (refused("--labels", tmp_path / "nowhere.csv"), "nowhere.csv"),
        (refused("--top_examples", "300", status=2), "255"),
        (refused("--dataset", tmp_path / "none.txt"), "none.txt"),
    ):
        assert_one_line_error(result, *needles, status=status)
    assert snapshot(tmp_path / "out") == {}


def test_a_file_alone_is_of_the_layer_that_is_asked_for_and_shows_no_more_than_a_window(tiny_model, tmp_path):
    (tmp_path / "one.txt").write_text(prose(9, 300), encoding="utf-8")
    save_dictionary(tmp_path / "theirs", made_sae(0, tiny_model))
    (tmp_path / "theirs/config.json").unlink()
    flags = ("--sae", tmp_path / "theirs/ae.pt", "--dataset", tmp_path / "one.txt", "--context_length", WIDTH - 1)
    flags = (*flags, "--output_dir", tmp_path / "out", "--context", 2**63 - 1)
    assert_one_line_error(
        call("interpret_sae", *flags), "ae.pt does not say which model it is of; give it with --model_name"
    )
    flags = (*flags, "--model_name", tiny_model)
    assert_one_line_error(call("interpret_sae", *flags), "does not say which layer it reads", "such as --layers 6")
    assert_success(call("interpret_sae", *flags, "--layers", 0))
    examples = [
        one for entry in entries_of(SimpleNamespace(folder=tmp_path / "out"), 0).values() for one in entry["top_examples"]
    ]
    assert WIDTH // 2 < max(len(one["tokens"]) for one in examples) <= WIDTH + 1


@pytest.mark.parametrize(("key", "flag"), [("dataset", "--dataset"), ("model_name", "--model_name")])
def test_a_name_that_no_file_can_have_is_refused_with_the_flag_that_replaces_it(tiny_model, tmp_path, key, flag):
    sae = made_sae(0, tiny_model)
    save_sae(tmp_path, replace(sae, about={**sae.about, key: "a" * 4000}))
    told = call("interpret_sae", "--sae", tmp_path, "--output_dir", tmp_path / "out")
    assert_one_line_error(told, "File name too long", f"give another name or path with {flag}")
    assert len(told.stderr) < 600


def test_a_file_in_a_folder_stands_for_it(saes, texts, tmp_path):
    file = saes / "sae_layer_0_best/sae_weights.safetensors"
    flags = ("--dataset", texts, "--num_tokens", 2000, "--output_dir", tmp_path, "--top_examples", 1)
    assert_success(call("interpret_sae", "--sae", file, *flags))
    assert len(entries_of(SimpleNamespace(folder=tmp_path), 0)) == LATENTS


def test_a_single_text_is_enough(saes, tmp_path):
    (tmp_path / "one.txt").write_text(prose(9, 300), encoding="utf-8")
    arguments = ("--sae", saes / "sae_layer_0_best", "--dataset", tmp_path / "one.txt", "--output_dir", tmp_path)
    assert "these are fewer tokens than" in assert_success(call("interpret_sae", *arguments)).stdout


def test_a_training_that_has_not_ended_is_told_apart(saes, texts, tmp_path):
    half = shutil.copytree(saes, tmp_path / "half")
    arguments = ("--sae", half, "--dataset", texts, "--num_tokens", 300, "--layers", 0, "--output_dir", tmp_path / "out")
    for finished in (True, False):
        write_json(half / "sae_layer_0_history.json", with_checksum({"finished": finished}))
        said = assert_success(call("interpret_sae", *arguments)).stdout
        assert ("is of a training that has not ended; train_sae.py --resume goes on" in said) != finished
