"""Our sparse autoencoders in SAELens and dictionary_learning, and theirs in ours: the same latents from the same states.

The other tools run as processes, in the environments that `make interop` makes. Without these the tests are skipped.
"""

import os
import subprocess
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from helpers import ROOT, environment
from some_autoencoder import ABOUT, some_autoencoder, some_states
from utils.sae.files.dictionary_learning import save_dictionary
from utils.sae.files.loading import load_sae
from utils.sae.files.sae_lens import save_sae

pytestmark = pytest.mark.slow  # importing SAELens alone takes seconds

NEAR = 1e-4  # no pre-activation lies so near a threshold: rounding changes no support
SAE_LENS = ("jumprelu", "raw", "standard", "batchtopk_plain", "batchtopk_scaled")
DICTIONARIES = ("jumprelu", "batchtopk")


OURS = some_autoencoder()
SPOILED = {  # what the comparison must find
    "other_threshold": some_autoencoder(threshold=lambda values: -values["threshold"]),
    "no_fold": some_autoencoder(
        encoder_bias=lambda values: values["encoder_bias"] + values["encoder"] @ values["decoder_bias"]
    ),
    "other_decoder": some_autoencoder(decoder=lambda values: values["decoder"].flip(0)),
}


def python_of(tool):
    path = ROOT / ".interop" / tool / "bin" / "python"
    if not path.exists():
        missing = f"no {tool}: make interop installs it into .interop"
        if os.environ.get("PROBE_REQUIRE_INTEROP"):
            pytest.fail(missing)
        pytest.skip(missing)
    return path


def exchanged(tool, side, folder, save):
    """Write ours, let the other tool work on them and write its own."""
    python = python_of(tool)
    save_file({"states": some_states()}, folder / "states.safetensors")
    for name, one in {"sound": OURS, **SPOILED}.items():
        save(folder / "ours" / name, one)
    command = [python, Path(__file__).with_name(side), folder]
    found = subprocess.run(command, env=environment(), text=True, capture_output=True, timeout=300)
    assert found.returncode == 0, found.stderr
    return folder


@pytest.fixture(scope="module")
def sae_lens(tmp_path_factory):
    return exchanged("sae-lens", "sae_lens_side.py", tmp_path_factory.mktemp("sae_lens"), save_sae)


@pytest.fixture(scope="module")
def dictionaries(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dictionary_learning")
    return exchanged("dictionary-learning", "dictionary_learning_side.py", folder, save_dictionary)


def margin(ours):
    """How near the pre-activation of a state comes to a threshold, in float64."""
    before = (some_states().double() - ours.decoder_bias.double()) @ ours.encoder.mT.double() + ours.encoder_bias.double()
    return float((before - ours.threshold).abs().min())


def difference(ours, answers):
    """Say how the encodings differ from a tool's answers: None, or what is another."""
    assert margin(ours) > NEAR, margin(ours)
    theirs, latents = load_file(answers), ours.encode(some_states())
    if not torch.equal(latents > 0, theirs["latents"] > 0):
        return "support"
    if not torch.allclose(latents, theirs["latents"], rtol=1e-4, atol=1e-4):
        return "values"
    return None if torch.allclose(ours.decode(latents), theirs["rebuilt"], rtol=1e-4, atol=1e-3) else "rebuilt"


def test_some_latents_are_active_and_others_not():
    assert 0.05 < (OURS.encode(some_states()) > 0).float().mean() < 0.5


def test_ours_encode_the_same_in_sae_lens(sae_lens):
    assert difference(OURS, sae_lens / "ours/sound.safetensors") is None


def test_ours_encode_the_same_in_dictionary_learning(dictionaries):
    assert difference(OURS, dictionaries / "ours/sound.safetensors") is None


@pytest.mark.parametrize(
    "name, found", [("other_threshold", "support"), ("no_fold", "support"), ("other_decoder", "rebuilt")]
)
def test_the_comparison_finds_what_is_wrong(sae_lens, dictionaries, name, found):
    for folder in (sae_lens, dictionaries):
        assert difference(OURS, folder / "ours" / f"{name}.safetensors") == found


@pytest.mark.parametrize("name", SAE_LENS)
def test_theirs_of_sae_lens_encode_the_same_in_ours(sae_lens, name):
    theirs = load_sae(sae_lens / "theirs" / name)
    assert difference(theirs, sae_lens / "theirs" / f"{name}.safetensors") is None
    about = {"layer": 2, "model_name": "gpt2-small", "context_size": 128, "prepend_bos": True}
    assert theirs.about.items() >= about.items()


@pytest.mark.parametrize("name", DICTIONARIES)
def test_theirs_of_dictionary_learning_encode_the_same_in_ours(dictionaries, name):
    theirs = load_sae(dictionaries / "theirs" / name)
    assert difference(theirs, dictionaries / "theirs" / f"{name}.safetensors") is None
    assert theirs.about == {"architecture": name, "layer": 3, "model_name": "EleutherAI/pythia-70m-deduped"}


def test_what_sae_lens_saves_again_is_ours_unchanged(sae_lens):
    again = load_sae(sae_lens / "again/sound")
    assert again.about == ABOUT
    assert all(torch.equal(tensor, OURS.tensors[name]) for name, tensor in again.tensors.items())
