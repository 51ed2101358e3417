"""Whatever lies where an autoencoder should: one line that names the file and what is wrong with it."""

import json
import os
import pickle

import pytest
import torch
from safetensors.torch import load_file, save_file

from some_autoencoder import ABOUT, some_autoencoder
from utils.base.errors import UserError
from utils.sae.files.dictionary_learning import save_dictionary
from utils.sae.files.loading import load_sae
from utils.sae.files.sae_lens import save_sae

SMALL = some_autoencoder(latents=3, hidden_size=2)
CONFIG, WEIGHTS, DICTIONARY, SETTINGS = "cfg.json", "sae_weights.safetensors", "ae.pt", "config.json"


def refused(path, *needles):
    """Loading fails with one line that holds every needle and a remedy."""
    with pytest.raises(UserError) as error:
        load_sae(path)
    said = str(error.value)
    assert "\n" not in said and len(said) < 700, said
    assert all(str(needle) in said for needle in needles), (needles, said)
    assert any(word in said.replace(str(path), "") for word in ("give", "make", "get", "save", "fold", "only")), said


def loads_as(path, wanted):
    """Whether it loads, and as what it was; a failure must be one line."""
    try:
        found = load_sae(path)
    except UserError as error:
        assert "\n" not in str(error) and str(path) in str(error)
        return False
    assert found.about == wanted.about
    assert all(torch.equal(tensor, wanted.tensors[name]) for name, tensor in found.tensors.items())
    return True


# Paths


def test_what_is_no_autoencoder_is_refused(tmp_path):
    refused(tmp_path / "nowhere", "nowhere does not exist")
    refused(tmp_path, "holds neither cfg.json nor ae.pt", "make one with scripts/train_sae.py")
    (tmp_path / "notes.txt").write_text("x")
    refused(tmp_path / "notes.txt", "is no sparse autoencoder")
    os.mkfifo(tmp_path / "cfg.json")
    refused(tmp_path, "cfg.json' is a pipe")


def test_the_folder_above_names_one_to_give(tmp_path):
    for name in ("sae_layer_6_best", "sae_layer_6_final"):
        save_sae(tmp_path / name, SMALL)
    refused(tmp_path, f"such as {tmp_path / 'sae_layer_6_best'}")


@pytest.mark.parametrize("save, gone", [(save_sae, CONFIG), (save_sae, WEIGHTS)])
def test_half_of_a_folder_is_refused(tmp_path, save, gone):
    save(tmp_path, SMALL)
    (tmp_path / gone).unlink()
    refused(tmp_path, f"{gone} does not exist")
    (tmp_path / gone).mkdir()
    refused(tmp_path, gone, "is a folder, not a file")


# Damage of ours


@pytest.mark.parametrize(
    "save, name", [(save_sae, CONFIG), (save_sae, WEIGHTS), (save_dictionary, DICTIONARY), (save_dictionary, SETTINGS)]
)
def test_a_file_cut_off_anywhere_is_refused(tmp_path, save, name):
    save(tmp_path, SMALL)
    data = (tmp_path / name).read_bytes()
    for length in {*range(0, len(data) - 1, 11), len(data) - 2}:  # the last byte of JSON ends its line
        (tmp_path / name).write_bytes(data[:length])
        with pytest.raises(UserError) as error:
            load_sae(tmp_path)
        assert "\n" not in str(error.value) and name in str(error.value)


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS])
def test_a_changed_byte_changes_nothing_or_is_found(tmp_path, name):
    save_sae(tmp_path, SMALL)
    data = (tmp_path / name).read_bytes()
    read = 0
    for place in range(len(data)):
        changed = bytearray(data)
        changed[place] ^= 1 << place % 8
        (tmp_path / name).write_bytes(changed)
        read += loads_as(tmp_path, SMALL)
    assert read < len(data) / 2  # spaces, and what is said for SAELens alone


# cfg.json of others

CHANGES = {  # what is changed in a sound cfg.json -> what the line says
    "topk": ({"architecture": "topk", "k": 8}, "its architecture is 'topk'"),
    "gated": ({"architecture": "gated"}, "its architecture is 'gated'"),
    "transcoder": ({"architecture": "jumprelu_transcoder"}, "its architecture is 'jumprelu_transcoder'"),
    "batchtopk in training": ({"architecture": "batchtopk"}, "save_inference_model"),
    "no architecture": ({"architecture": None}, "its architecture is None"),
    "a list of architectures": ({"architecture": ["jumprelu"]}, "its architecture is ['jumprelu']"),
    "scaled by a layer norm": ({"normalize_activations": "layer_norm"}, "its normalize_activations is 'layer_norm'"),
    "scaled by the average": ({"normalize_activations": "expected_average_only_in"}, "its normalize_activations"),
    "scaled": ({"normalize_activations": True}, "its normalize_activations is True"),
    "scaled by 0": ({"normalize_activations": 0}, "its normalize_activations is 0"),
    "heads": ({"reshape_activations": "hook_z"}, "its reshape_activations is 'hook_z'"),
    "scaled by the decoder": ({"rescale_acts_by_decoder_norm": True}, "its rescale_acts_by_decoder_norm"),
    "finetuned": ({"finetuning_scaling_factor": True}, "its finetuning_scaling_factor"),
    "tanh": ({"activation_fn": "tanh-relu"}, "its activation_fn is 'tanh-relu'"),
    "centred or not": ({"apply_b_dec_to_input": "yes"}, "its apply_b_dec_to_input is 'yes'"),
    "no size": ({"d_in": None}, "its d_in is None"),
    "a size of text": ({"d_sae": "3"}, "its d_sae is '3'"),
    "a size of truth": ({"d_sae": True}, "its d_sae is True"),
    "a size below 1": ({"d_in": 0}, "its d_in is 0"),
    "a fraction": ({"d_in": 2.0}, "its d_in is 2.0"),
    "another width": ({"d_in": 4}, "its W_enc has shape [2, 3], not [4, 3]"),
    "more latents": ({"d_sae": 4}, "its W_enc has shape [2, 3], not [2, 4]"),
    "a threshold that it does not have": ({"architecture": "standard"}, "holds 'threshold'"),
    "no metadata": ({"metadata": ["blocks.6.hook_resid_post"]}, "its metadata is"),
    "another hook": ({"metadata": {"hook_name": "blocks.6.hook_mlp_out"}}, "its hook is 'blocks.6.hook_mlp_out'"),
    "a hook that is no text": ({"metadata": {"hook_name": {"a": 1}}}, "its hook is"),
    "a model that is no text": ({"metadata": {"model_name": 3}}, "its model_name is 3"),
    "a model of two lines": ({"metadata": {"model_name": "a\nb"}}, "its model_name is 'a\\nb'"),
    "a context of text": ({"metadata": {"context_size": "128"}}, "its context_size is '128'"),
    "a list of contexts": ({"metadata": {"context_size": [1]}}, "its context_size is [1]"),
    "half a token": ({"metadata": {"context_size": 128.5}}, "its context_size is 128.5"),
    "no context": ({"metadata": {"context_size": 0}}, "its context_size is 0"),
    "a true context": ({"metadata": {"context_size": True}}, "its context_size is True"),
    "a context beyond all": ({"metadata": {"context_size": 2**63}}, f"its context_size is {2**63}"),
    "a number of texts": ({"metadata": {"dataset_path": 5}}, "its dataset is 5"),
    "two texts": ({"metadata": {"dataset_path": ["a", "b"]}}, "its dataset is ['a', 'b']"),
    "texts by name": ({"metadata": {"dataset_path": {"a": 1}}}, "its dataset is {'a': 1}"),
    "a very long path": ({"metadata": {"dataset_path": "a" * 100_000}}, "its dataset is 'aaaaa"),
    "a very long hook": ({"metadata": {"hook_name": "a" * 100_000}}, "its hook is 'aaaaa"),
    "a very long model": ({"metadata": {"model_name": "a" * 100_000}}, "its model_name is 'aaaaa"),
    "columns of ours": (
        {"metadata": {"probe_sae": {"version": 1, "about": {"text_column": ["a"]}}}},
        "its text_column is ['a']",
    ),
    "centred states": (
        {"metadata": {"model_from_pretrained_kwargs": {"center_writing_weights": True}}},
        "center_writing_weights",
    ),
    "a later version of ours": ({"metadata": {"probe_sae": {"version": 2, "about": {}}}}, "has version 2"),
    "ours without contents": ({"metadata": {"probe_sae": {"version": 1}}}, "its probe_sae is"),
    "ours that is nothing": ({"metadata": {"probe_sae": None}}, "its probe_sae is None"),
    "a layer that is none": ({"metadata": {"probe_sae": {"version": 1, "about": {"layer": -1}}}}, "its layer is -1"),
    "attention": ({"metadata": {"probe_sae": {"version": 1, "about": {"layer": "attention"}}}}, "its layer is 'att"),
    "layers": ({"metadata": {"probe_sae": {"version": 1, "about": {"layer": [6]}}}}, "its layer is [6]"),
}


def foreign(folder):
    """A sound folder as another tool writes it, without a checksum: its weights by name."""
    save_sae(folder, SMALL)
    weights = load_file(folder / WEIGHTS)
    save_file(weights, folder / WEIGHTS)
    config = json.loads((folder / CONFIG).read_text())
    del config["metadata"]["probe_sae"]
    (folder / CONFIG).write_text(json.dumps(config))
    return {name: tensor.clone() for name, tensor in weights.items()}


def test_what_another_tool_leaves_empty_is_not_said(tmp_path):
    foreign(tmp_path)
    config = json.loads((tmp_path / CONFIG).read_text())
    (tmp_path / CONFIG).write_text(json.dumps({**config, "metadata": {"model_name": "", "dataset_path": ""}}))
    assert load_sae(tmp_path).about == {"architecture": "jumprelu"}


def test_the_folder_that_is_changed_below_is_sound(tmp_path):
    foreign(tmp_path)
    assert torch.equal(load_sae(tmp_path).encoder, SMALL.encoder)


@pytest.mark.parametrize("name", CHANGES)
def test_a_foreign_configuration_is_refused_by_name(tmp_path, name):
    foreign(tmp_path)
    changes, said = CHANGES[name]
    config = json.loads((tmp_path / CONFIG).read_text())
    (tmp_path / CONFIG).write_text(json.dumps({**config, **changes}))
    refused(tmp_path, said, CONFIG if "W_enc" not in said and "holds" not in said else WEIGHTS)


@pytest.mark.parametrize(
    "text", ["", "null", "[]", "3", "{", '{"a": 1', "\ufeff{}", "[" * 100_000, '{"d_in": 1' + "0" * 5000 + "}"]
)
def test_what_is_no_configuration_is_refused(tmp_path, text):
    foreign(tmp_path)
    (tmp_path / CONFIG).write_text(text)
    refused(tmp_path, CONFIG)
    (tmp_path / CONFIG).write_bytes(b"\xff\xfe" + text.encode())
    refused(tmp_path, CONFIG, "not JSON")


# Weights of others


def with_value(value):
    def change(weights):
        weights["W_dec"][1, 1] = value

    return change


WRONG = {  # what is done to sound weights -> what the line says
    "nan": (with_value(float("nan")), "its W_dec is not finite"),
    "infinite": (with_value(float("inf")), "its W_dec is not finite"),
    "one more": (lambda weights: weights.update(scale=torch.ones(3)), "holds 'scale'"),
    "a scale": (lambda weights: weights.update(scaling_factor=torch.ones(3) * 2), "holds 'scaling_factor'"),
    "one less": (lambda weights: weights.pop("b_enc"), "lacks b_enc"),
    "none": (lambda weights: weights.clear(), "lacks W_enc, b_enc"),
    "turned": (lambda weights: weights.update(W_enc=weights["W_enc"].T.contiguous()), "its W_enc has shape [3, 2]"),
    "one threshold": (lambda weights: weights.update(threshold=torch.tensor(1.0)), "its threshold has shape []"),
    "whole numbers": (lambda weights: weights.update(b_dec=torch.tensor([1, 2])), "its b_dec is not a tensor of float"),
    "complex": (lambda weights: weights.update(b_dec=torch.ones(2) * 1j), "b_dec"),
    "beyond float32": (lambda weights: weights.update(b_dec=torch.ones(2).double() * 1e300), "its b_dec is not finite"),
}


@pytest.mark.parametrize("name", WRONG)
def test_foreign_weights_are_refused_by_name(tmp_path, name):
    weights = foreign(tmp_path)
    change, said = WRONG[name]
    change(weights)
    save_file(weights, tmp_path / WEIGHTS)
    refused(tmp_path, WEIGHTS, said)


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04", b"\xff" * 64, (10**15).to_bytes(8, "little") + b"{}"])
def test_what_is_no_safetensors_file_is_refused(tmp_path, data):
    foreign(tmp_path)
    (tmp_path / WEIGHTS).write_bytes(data)
    refused(tmp_path, WEIGHTS, "cut off, damaged or not a safetensors file")


# dictionary_learning


def state_of(folder):
    save_dictionary(folder, SMALL)
    return torch.load(folder / DICTIONARY, weights_only=True)


def batchtopk(state):
    """The same in the names of a BatchTopKSAE, and a threshold of them all."""
    names = {"encoder.weight": state["W_enc"].T, "encoder.bias": state["b_enc"], "decoder.weight": state["W_dec"].T}
    return {**names, "b_dec": state["b_dec"], "threshold": torch.tensor(1.0), "k": torch.tensor(2)}


STATES = {
    "nan": (lambda state: {**state, "b_enc": state["b_enc"] * torch.nan}, "its b_enc is not finite"),
    "one more": (lambda state: {**state, "group_sizes": torch.tensor([1, 2])}, "holds 'group_sizes'"),
    "one less": (lambda state: {"W_enc": state["W_enc"]}, "lacks b_enc"),
    "none": (lambda state: {}, "holds no matrix W_enc"),
    "a vector": (lambda state: {**state, "W_enc": torch.ones(3)}, "holds no matrix W_enc"),
    "no latents": (lambda state: {**state, "W_enc": torch.ones(2, 0)}, "holds no matrix W_enc"),
    "turned": (lambda state: {**state, "W_dec": torch.ones(2, 3)}, "its W_dec has shape [2, 3], not [3, 2]"),
    "a list": (lambda state: list(state.values()), "holds no tensors by name"),
    "numbers": (lambda state: {**state, "b_enc": [1.0, 2.0, 3.0]}, "its b_enc is not a tensor"),
    "keys of numbers": (lambda state: {**state, 3: torch.ones(3)}, "holds '3'"),
    "a ReLU": (lambda state: {"encoder.weight": torch.ones(3, 2), "encoder.bias": torch.ones(3)}, "lacks decoder.weight"),
    "many thresholds": (lambda state: {**batchtopk(state), "threshold": torch.ones(3)}, "its threshold has shape [3]"),
}


@pytest.mark.parametrize("name", STATES)
def test_a_foreign_dictionary_is_refused_by_name(tmp_path, name):
    change, said = STATES[name]
    torch.save(change(state_of(tmp_path)), tmp_path / DICTIONARY)
    (tmp_path / SETTINGS).unlink()
    refused(tmp_path, DICTIONARY, said)


TRAINERS = {
    "top k": ({"dict_class": "AutoEncoderTopK"}, "its dict_class is 'AutoEncoderTopK'"),
    "gated": ({"dict_class": "GatedAutoEncoder"}, "its dict_class is 'GatedAutoEncoder'"),
    "a list": ({"dict_class": ["JumpReluAutoEncoder"]}, "its dict_class is ["),
    "another width": ({"activation_dim": 4}, "its activation_dim is 4, ae.pt has 2"),
    "more latents": ({"dict_size": 4}, "its dict_size is 4, ae.pt has 3"),
    "an MLP": ({"submodule_name": "mlp_out_layer_3"}, "its submodule_name is 'mlp_out_layer_3'"),
    "a layer that is none": ({"layer": -1}, "its layer is -1"),
    "a model that is none": ({"lm_name": 3}, "its model_name is 3"),
}


@pytest.mark.parametrize("name", TRAINERS)
def test_a_foreign_trainer_is_refused_by_name(tmp_path, name):
    save_dictionary(tmp_path, SMALL)
    trainer, said = TRAINERS[name]
    (tmp_path / SETTINGS).write_text(json.dumps({"trainer": trainer}))
    refused(tmp_path, SETTINGS, said)


def test_a_configuration_without_a_trainer_is_refused(tmp_path):
    save_dictionary(tmp_path, SMALL)
    (tmp_path / SETTINGS).write_text("{}")
    refused(tmp_path, "its trainer is None")


class Hostile:
    def __reduce__(self):
        return os.mkdir, ("ran",)


def test_no_code_of_a_dictionary_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"W_enc": Hostile()}, tmp_path / DICTIONARY)
    refused(tmp_path, DICTIONARY, "would run code when loaded")
    (tmp_path / DICTIONARY).write_bytes(pickle.dumps(Hostile()))
    refused(tmp_path, DICTIONARY, "was not opened")
    assert not (tmp_path / "ran").exists()
    pickle.loads((tmp_path / DICTIONARY).read_bytes())  # noqa: S301
    assert (tmp_path / "ran").exists(), "there was no code to run"


def test_the_about_of_these_tests_is_the_one_that_is_saved(tmp_path):
    save_sae(tmp_path, SMALL)
    assert load_sae(tmp_path).about == ABOUT
