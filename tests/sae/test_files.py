"""What is saved comes back, for us and in the layouts of SAELens and dictionary_learning, and theirs become ours exactly."""

import json
import warnings

import pytest
import torch
from safetensors.torch import load_file, save_file

from some_autoencoder import ABOUT, some_autoencoder, some_states
from utils.base import files as base_files
from utils.base.errors import UserError
from utils.sae.files.dictionary_learning import save_dictionary
from utils.sae.files.hook_names import hook_of_layer, layer_of_hook
from utils.sae.files.loading import load_sae
from utils.sae.files.sae_lens import save_sae

OURS = some_autoencoder()


def assert_same(found, wanted):
    for name, tensor in wanted.tensors.items():
        assert torch.equal(found.tensors[name], tensor), name
        assert found.tensors[name].dtype == torch.float32 and found.tensors[name].is_contiguous()


def assert_encodes(found, latents, rebuilt):
    """Latents and rebuilt states are these, to rounding, with the same support."""
    ours = found.encode(some_states())
    assert torch.equal(ours > 0, latents > 0) and 0 < (latents > 0).float().mean() < 0.9
    assert torch.allclose(ours, latents, rtol=1e-4, atol=1e-4)
    assert torch.allclose(found.decode(ours), rebuilt, rtol=1e-4, atol=1e-3)


# Ours


def test_what_is_saved_comes_back(tmp_path):
    save_sae(tmp_path / "made" / "sae", OURS)
    found = load_sae(tmp_path / "made" / "sae")
    assert_same(found, OURS)
    assert found.about == ABOUT and list(found.about) == list(ABOUT)
    assert torch.equal(found.encode(some_states()), OURS.encode(some_states()))
    assert sorted(path.name for path in (tmp_path / "made/sae").iterdir()) == ["cfg.json", "sae_weights.safetensors"]


@pytest.mark.parametrize("name", ["cfg.json", "sae_weights.safetensors"])
def test_a_file_in_the_folder_stands_for_it(tmp_path, name):
    save_sae(tmp_path, OURS)
    assert_same(load_sae(str(tmp_path / name)), OURS)


def test_sae_lens_finds_what_it_asks_for(tmp_path):
    """That it loads the folder is what tests/interop shows."""
    save_sae(tmp_path, OURS)
    config, weights = json.loads((tmp_path / "cfg.json").read_text()), load_file(tmp_path / "sae_weights.safetensors")
    assert {name: tuple(tensor.shape) for name, tensor in weights.items()} == {
        "W_enc": (16, 64),
        "b_enc": (64,),
        "W_dec": (64, 16),
        "b_dec": (16,),
        "threshold": (64,),
    }
    metadata = config.pop("metadata")
    assert config == {
        "architecture": "jumprelu",
        "d_in": 16,
        "d_sae": 64,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": True,
        "normalize_activations": "none",
        "reshape_activations": "none",
    }
    del metadata["probe_sae"]
    assert metadata.pop("sae_lens_version") >= "6."
    assert metadata == {
        "model_name": "gpt2",
        "context_size": 128,
        "prepend_bos": True,
        "dataset_path": "wikipedia",
        "hook_name": "blocks.6.hook_resid_post",
    }


@pytest.mark.parametrize("layer, hook", [("embed", "blocks.0.hook_resid_pre"), ("final_norm", None)])
def test_a_named_layer_has_its_hook_if_there_is_one_and_comes_back(tmp_path, layer, hook):
    save_sae(tmp_path, some_autoencoder(about={"layer": layer}))
    assert json.loads((tmp_path / "cfg.json").read_text())["metadata"].get("hook_name") == hook
    assert load_sae(tmp_path).about == {"layer": layer}


def test_an_autoencoder_of_which_nothing_is_known_comes_back(tmp_path):
    save_sae(tmp_path, some_autoencoder(about={}))
    assert load_sae(tmp_path).about == {}


def test_half_precision_and_transposed_tensors_are_saved_as_they_are(tmp_path):
    odd = some_autoencoder(
        encoder=lambda values: values["encoder"].T.contiguous().T, decoder=lambda values: values["decoder"].bfloat16()
    )
    save_sae(tmp_path, odd)
    assert torch.equal(load_sae(tmp_path).decoder, odd.decoder.float())
    assert torch.equal(load_sae(tmp_path).encoder, odd.encoder)


def test_a_loaded_autoencoder_does_not_change_with_its_file(tmp_path):
    save_sae(tmp_path, OURS)
    found = load_sae(tmp_path)
    with open(tmp_path / "sae_weights.safetensors", "r+b") as file:
        file.seek(1000)
        file.write(b"\xff" * 9000)
    assert_same(found, OURS)


# Whole or not at all


@pytest.mark.parametrize(
    "save, names", [(save_sae, ("sae_weights.safetensors", "cfg.json")), (save_dictionary, ("ae.pt", "config.json"))]
)
@pytest.mark.parametrize("failing", [0, 1])
def test_a_write_that_fails_leaves_what_was_there(tmp_path, monkeypatch, save, names, failing):
    save(tmp_path, OURS)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    opened = base_files.WriteTogether.open

    def full(self, path):
        if path.name == names[failing]:
            raise UserError("no room")
        return opened(self, path)

    monkeypatch.setattr(base_files.WriteTogether, "open", full)
    for folder in (tmp_path, tmp_path / "another"):
        with pytest.raises(UserError, match="no room"):
            save(folder, some_autoencoder(about={"layer": 1}, threshold=lambda values: values["threshold"] + 1))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before
    assert not (tmp_path / "another").exists() or not list((tmp_path / "another").iterdir())


def test_files_of_two_writings_are_not_taken_for_one(tmp_path):
    """As a run leaves them that is killed between the names of both."""
    save_sae(tmp_path, OURS)
    old = (tmp_path / "cfg.json").read_text()
    save_sae(tmp_path, some_autoencoder(about={**ABOUT, "tokens": 2000}, decoder=lambda values: values["decoder"] + 1))
    (tmp_path / "cfg.json").write_text(old)
    with pytest.raises(UserError, match="sae_weights.safetensors was changed, or its cfg.json is another's"):
        load_sae(tmp_path)


# dictionary_learning


def test_a_dictionary_comes_back(tmp_path):
    save_dictionary(tmp_path, OURS)
    for path in (tmp_path, tmp_path / "ae.pt"):
        found = load_sae(path)
        assert found.about == ABOUT
        assert_encodes(found, OURS.encode(some_states()), OURS.decode(OURS.encode(some_states())))


def test_a_dictionary_sees_the_states_themselves(tmp_path):
    """Its own encoder is x @ W_enc + b_enc; torch reads the file without running anything."""
    save_dictionary(tmp_path, OURS)
    state, x = torch.load(tmp_path / "ae.pt", weights_only=True), some_states()
    before = x @ state["W_enc"] + state["b_enc"]
    latents = torch.relu(before * (before > state["threshold"]))
    assert_encodes(OURS, latents, latents @ state["W_dec"] + state["b_dec"])
    unfolded = x @ state["W_enc"] + OURS.encoder_bias
    assert not torch.equal(unfolded > state["threshold"], latents > 0)
    trainer = json.loads((tmp_path / "config.json").read_text())["trainer"]
    wanted = {"dict_class": "JumpReluAutoEncoder", "activation_dim": 16, "dict_size": 64, "layer": 6, "lm_name": "gpt2"}
    assert trainer.items() >= wanted.items()


def write_dictionary(folder, state, **trainer):
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(state, folder / "ae.pt")
    if trainer:
        (folder / "config.json").write_text(json.dumps({"trainer": trainer, "buffer": {}}))
    return folder


def jumprelu_state():
    draw = torch.Generator().manual_seed(2)
    return {
        "W_enc": torch.randn(64, 16, generator=draw).T,  # transposed, as dictionary_learning makes it
        "b_enc": torch.randn(64, generator=draw),
        "W_dec": torch.randn(64, 16, generator=draw),
        "b_dec": torch.randn(16, generator=draw),
        "threshold": torch.randn(64, generator=draw) * 9,
    }


@pytest.mark.parametrize("trainer", [{}, {"dict_class": "JumpReluAutoEncoder", "layer": 2, "lm_name": "gpt2", "seed": 3}])
def test_their_jumprelu_becomes_ours(tmp_path, trainer):
    state, x = jumprelu_state(), some_states()
    found = load_sae(write_dictionary(tmp_path, state, **trainer))
    before = x @ state["W_enc"] + state["b_enc"]
    latents = torch.relu(before * (before > state["threshold"]))  # a threshold below 0 lets nothing more through
    assert (state["threshold"] < 0).any() and not (found.threshold < 0).any()
    assert_encodes(found, latents, latents @ state["W_dec"] + state["b_dec"])
    known = {"layer": 2, "model_name": "gpt2", "seed": 3} if trainer else {}
    assert found.about == {"architecture": "jumprelu", **known}


def batchtopk_state(threshold=9.0):
    draw = torch.Generator().manual_seed(2)
    return {
        "encoder.weight": torch.randn(64, 16, generator=draw),
        "encoder.bias": torch.randn(64, generator=draw),
        "decoder.weight": torch.randn(16, 64, generator=draw),
        "b_dec": torch.randn(16, generator=draw),
        "k": torch.tensor(8, dtype=torch.int),
        "threshold": torch.tensor(threshold),
    }


@pytest.mark.parametrize("threshold", [9.0, -1.0])  # -1: it was never set
@pytest.mark.parametrize("trainer", [{}, {"dict_class": "BatchTopKSAE", "dict_size": 64, "activation_dim": 16}])
def test_their_batchtopk_becomes_ours(tmp_path, threshold, trainer):
    state, x = batchtopk_state(threshold), some_states()
    found = load_sae(write_dictionary(tmp_path, state, **trainer))
    latents = torch.relu((x - state["b_dec"]) @ state["encoder.weight"].T + state["encoder.bias"])
    latents = latents * (latents > threshold)
    assert_encodes(found, latents, latents @ state["decoder.weight"].T + state["b_dec"])
    assert found.about == {"architecture": "batchtopk"}


# SAELens


def write_sae_lens(folder, weights, **config):
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in weights.items()}, folder / "sae_weights.safetensors")
    (folder / "cfg.json").write_text(json.dumps({"d_in": 16, "d_sae": 64, "dtype": "float32", **config}))
    return folder


@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize("architecture", ["jumprelu", "standard"])
def test_theirs_become_ours(tmp_path, architecture, centred):
    weights, x = jumprelu_state(), some_states()
    threshold = weights["threshold"] if architecture == "jumprelu" else weights.pop("threshold") * 0
    metadata = {"sae_lens_version": "6.0.0", "hook_name": "blocks.4.hook_resid_post", "model_name": "gpt2-small"}
    config = {"architecture": architecture, "apply_b_dec_to_input": centred, "metadata": metadata}
    found = load_sae(write_sae_lens(tmp_path, weights, **config))
    before = (x - weights["b_dec"] * centred) @ weights["W_enc"] + weights["b_enc"]
    latents = torch.relu(before) * (before > threshold)
    assert_encodes(found, latents, latents @ weights["W_dec"] + weights["b_dec"])
    hook = metadata["hook_name"]
    assert found.about == {"architecture": architecture, "model_name": "gpt2-small", "layer": 4, "hook_name": hook}


def test_a_folder_of_sae_lens_before_6_is_read(tmp_path):
    """There all keys are at one level, and so are names of before."""
    weights = {**jumprelu_state(), "scaling_factor": torch.ones(64)}
    del weights["threshold"]
    config = {"hook_point": "blocks.8.hook_resid_pre", "activation_fn_str": "relu", "normalize_activations": False}
    found = load_sae(write_sae_lens(tmp_path, weights, model_name="gpt2-small", context_size=128, **config))
    wanted = {"model_name": "gpt2-small", "context_size": 128, "layer": 7, "hook_name": "blocks.8.hook_resid_pre"}
    assert found.about == {"architecture": "standard", **wanted}
    assert not found.threshold.any()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_other_precisions_become_float32(tmp_path, dtype):
    weights = {name: tensor.to(dtype) for name, tensor in jumprelu_state().items()}
    found = load_sae(write_sae_lens(tmp_path, weights, architecture="jumprelu", metadata={}))
    assert torch.equal(found.encoder, weights["W_enc"].T.float()) and found.about == {"architecture": "jumprelu"}


# Hooks


@pytest.mark.parametrize(
    "name, layer",
    [
        ("blocks.6.hook_resid_post", 6),
        ("blocks.0.hook_resid_post", 0),
        ("blocks.0.hook_resid_pre", "embed"),
        ("blocks.1.hook_resid_pre", 0),
        ("blocks.11.hook_resid_pre", 10),
    ],
)
def test_a_hook_of_the_stream_is_a_layer(name, layer):
    assert layer_of_hook(name) == layer and type(layer_of_hook(name)) is type(layer)


@pytest.mark.parametrize(
    "name",
    [
        "blocks.6.hook_mlp_out",
        "blocks.6.hook_resid_mid",
        "blocks.6.attn.hook_z",
        "blocks.-1.hook_resid_post",
        "blocks.\u0666.hook_resid_post",
        "blocks.6.hook_resid_post\n",
        "ln_final.hook_normalized",
        "",
    ],
)
def test_any_other_hook_is_refused_by_name(name):
    with pytest.raises(UserError) as refused:
        layer_of_hook(name)
    assert repr(name) in str(refused.value) and "blocks.6.hook_resid_post" in str(refused.value)


def test_the_hook_of_a_layer_is_that_layer_again():
    assert [layer_of_hook(hook_of_layer(layer)) for layer in ("embed", 0, 11)] == ["embed", 0, 11]


def test_reading_says_nothing(tmp_path, capsys):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        save_sae(tmp_path / "one", OURS)
        save_dictionary(tmp_path / "other", OURS)
        load_sae(tmp_path / "one")
        load_sae(tmp_path / "other")
    assert capsys.readouterr() == ("", "")
