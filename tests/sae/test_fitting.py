"""A sparse autoencoder of another model, width or layer is refused in one line that names both sides."""

import dataclasses

import pytest

from some_autoencoder import some_autoencoder
from utils.base.errors import UserError
from utils.model.language_model import load_language_model
from utils.sae.files.fitting import plain_name, require_fitting


@pytest.fixture(scope="module")
def model(tiny_model):
    """A model of 3 layers and hidden size 32, called as on the Hub."""
    return dataclasses.replace(load_language_model(str(tiny_model), device="cpu"), name="someone/gpt2")


def of(hidden_size=32, **about):
    return some_autoencoder(latents=8, hidden_size=hidden_size, about=about)


@pytest.mark.parametrize("layer", [0, 2, "embed", "final_norm"])
def test_one_of_this_model_gives_its_layer(model, layer):
    known = {"model_name": "another folder", "model_fingerprint": model.fingerprint}
    assert require_fitting(of(layer=layer, **known), model) == layer
    assert require_fitting(of(layer=layer, **known), model, layer) == layer


def test_one_that_names_the_model_as_former_versions_did_fits(model):
    assert require_fitting(of(layer=1, model_fingerprint=model.former_fingerprint), model) == 1


@pytest.mark.parametrize("name", ["gpt2", "openai-community/gpt2", "gpt2-small", "GPT2", None])
def test_one_of_another_tool_is_told_by_name(model, name):
    assert require_fitting(of(layer=1, model_name=name), model) == 1


def test_one_that_says_nothing_fits_the_layer_that_is_asked_for(model):
    assert require_fitting(of(), model, 2) == 2


REFUSED = {
    "another model": (
        {"layer": 1, "model_name": "gpt2", "model_fingerprint": "0123456789abcdef"},
        None,
        ("was trained on gpt2 (0123456789abcdef), someone/gpt2 is another model (", "; give the model"),
    ),
    "another name": (
        {"layer": 1, "model_name": "pythia-70m"},
        None,
        ("was trained on pythia-70m, not on someone/gpt2; give that model",),
    ),
    "a very long name": (
        {"layer": 1, "model_name": "a" * 4000},
        None,
        ("was trained on aaa", "...aaa", ", not on someone/gpt2; give that model"),
    ),
    "another width": (
        {"hidden_size": 48, "model_name": "gpt2", "layer": 1},
        None,
        ("reads states of 48 numbers, of gpt2; those of someone/gpt2 have 32: give the model",),
    ),
    "a layer too deep": (
        {"layer": 3},
        None,
        ("reads layer3; someone/gpt2 has layers 0 to 2, embed and final_norm: give the model",),
    ),
    "another layer": ({"layer": 1}, 2, ("was trained on layer1, not layer2; give one of layer2",)),
    "another layer by name": ({"layer": "embed"}, 0, ("was trained on embed, not layer0; give one of layer0",)),
    "no layer": ({}, None, ("does not say which layer it reads; ask for that layer alone",)),
    "no layer, and one too deep": ({}, 7, ("reads layer7; someone/gpt2 has layers 0 to 2",)),
}


@pytest.mark.parametrize("case", REFUSED)
def test_one_that_does_not_fit_is_refused(model, case):
    about, layer, said = REFUSED[case]
    with pytest.raises(UserError) as error:
        require_fitting(of(**about), model, layer, path="saes/sae_layer_1_best")
    assert str(error.value).startswith("saes/sae_layer_1_best ") and "\n" not in str(error.value)
    assert len(str(error.value)) < 600
    assert all(part in str(error.value) for part in said), error.value


def test_a_name_is_the_same_for_both_libraries():
    names = ("openai-community/gpt2", "/models/gpt2/", "gpt2-small", "EleutherAI/pythia-70m-deduped")
    assert [plain_name(name) for name in names] == ["gpt2", "gpt2", "gpt2", "pythia-70m-deduped"]
