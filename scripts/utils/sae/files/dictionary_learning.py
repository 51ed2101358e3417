"""Folders of dictionary_learning, ae.pt and config.json, written and read.

Its JumpReLU never subtracts b_dec from what it encodes, and ours does: b_enc makes up for it. Its files are pickles,
which are parsed as every file of tensors is, and never unpickled.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from utils.base.errors import UserError
from utils.base.files import WriteTogether, json_text
from utils.base.tensor_files import read_plain
from utils.sae.autoencoder import SparseAutoencoder
from utils.sae.files.checked import SAE_REMEDY, read_object, sound_tensors, value_shown
from utils.sae.files.described import ours_in, ours_of, sound_about
from utils.sae.files.sae_lens import NOT_SAID, from_weights

SETTINGS, AE_FILE = "config.json", "ae.pt"
JUMPRELU, BATCHTOPK = "JumpReluAutoEncoder", "BatchTopKSAE"
BLOCK_OUTPUT = re.compile(r"resid_post(_layer_\d+)?", re.ASCII)  # submodule_name of a block's output; None is that too


def save_dictionary(folder: str | Path, autoencoder: SparseAutoencoder) -> None:
    """Write a folder that dictionary_learning and `load_sae` read, whole or not at all."""
    about = dict(autoencoder.about)
    tensors = {name: tensor.detach().cpu().float() for name, tensor in autoencoder.tensors.items()}
    encoder, decoder_bias = tensors["encoder"], tensors["decoder_bias"]
    shift = encoder.double() @ decoder_bias.double()
    weights = {
        "W_enc": encoder.mT.contiguous(),
        "b_enc": (tensors["encoder_bias"].double() - shift).float(),
        "W_dec": tensors["decoder"].contiguous(),
        "b_dec": decoder_bias.contiguous(),
        "threshold": tensors["threshold"].contiguous(),
    }
    layer = about.get("layer")
    trainer = {
        "dict_class": JUMPRELU,
        "activation_dim": autoencoder.hidden_size,
        "dict_size": autoencoder.latents,
        "layer": layer,
        "lm_name": about.get("model_name"),
        "submodule_name": f"resid_post_layer_{layer}" if isinstance(layer, int) else layer,
        "target_l0": about.get("target_l0"),
        "seed": about.get("seed"),
    }
    with WriteTogether() as files:
        with files.open(Path(folder) / AE_FILE) as file:
            torch.save(weights, file)
        with files.open(Path(folder) / SETTINGS) as file:
            file.write(json_text({"trainer": trainer, **ours_of(about)}).encode("utf-8"))


def read_dictionary(path: Path) -> SparseAutoencoder:
    """Read a file of weights, and the config.json beside it where there is one.

    Raise UserError for what is damaged, and for each class of dictionary_learning that is no JumpReLU.
    """
    found = read_plain(path, SAE_REMEDY)
    if not isinstance(found, dict):
        raise UserError(f"{path} holds no tensors by name; {SAE_REMEDY}")
    config = path.parent / SETTINGS
    trainer, about = read_trainer(config) if config.exists() else ({}, {})
    kind = trainer.get("dict_class") or (BATCHTOPK if "encoder.weight" in found else JUMPRELU)
    if kind not in (JUMPRELU, BATCHTOPK):
        raise UserError(
            f"{config}: its dict_class is {value_shown(kind)}, which is no JumpReLU; only {JUMPRELU} and "
            f"{BATCHTOPK} are read"
        )
    weights = batchtopk_weights(path, found) if kind == BATCHTOPK else jumprelu_weights(path, found)
    hidden_size, latents = weights["W_enc"].shape
    for name, size in (("activation_dim", hidden_size), ("dict_size", latents)):
        if trainer.get(name, size) != size:
            raise UserError(f"{config}: its {name} is {value_shown(trainer[name])}, {path.name} has {size}; {SAE_REMEDY}")
    about = {"architecture": "batchtopk" if kind == BATCHTOPK else "jumprelu", **about}
    return from_weights(weights, centred=kind == BATCHTOPK, about=about)


def read_trainer(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read config.json: what its trainer was told, and what that says of the autoencoder in our words."""
    config = read_object(path)
    trainer = config.get("trainer")
    if not isinstance(trainer, dict):
        raise UserError(f"{path}: its trainer is {value_shown(trainer)}; {SAE_REMEDY}")
    if (ours := ours_in(path, config)) is not None:
        return trainer, ours
    place = trainer.get("submodule_name")
    if place is not None and not BLOCK_OUTPUT.fullmatch(str(place)):
        raise UserError(
            f"{path}: its submodule_name is {value_shown(place)}, whose states are not read here; give one of the residual "
            "stream, such as resid_post_layer_6"
        )
    words = {"layer": "layer", "model_name": "lm_name", "seed": "seed"}
    about = {ours: trainer[theirs] for ours, theirs in words.items() if trainer.get(theirs) not in NOT_SAID}
    return trainer, sound_about(path, about)


def jumprelu_weights(path: Path, found: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """Check the tensors of a JumpReluAutoEncoder."""
    hidden_size, latents = matrix_size(path, found, "W_enc")
    shapes = {
        "W_enc": (hidden_size, latents),
        "b_enc": (latents,),
        "W_dec": (latents, hidden_size),
        "b_dec": (hidden_size,),
        "threshold": (latents,),
    }
    return sound_tensors(path, found, shapes)


def batchtopk_weights(path: Path, found: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """Check the tensors of a BatchTopKSAE, and name them as those of the other. At inference it has one threshold, no k."""
    latents, hidden_size = matrix_size(path, found, "encoder.weight")
    shapes = {
        "encoder.weight": (latents, hidden_size),
        "encoder.bias": (latents,),
        "decoder.weight": (hidden_size, latents),
        "b_dec": (hidden_size,),
        "threshold": (),
    }
    sound = sound_tensors(path, {name: tensor for name, tensor in found.items() if name != "k"}, shapes)
    return {
        "W_enc": sound["encoder.weight"].mT,
        "b_enc": sound["encoder.bias"],
        "W_dec": sound["decoder.weight"].mT,
        "b_dec": sound["b_dec"],
        "threshold": sound["threshold"].repeat(latents),
    }


def matrix_size(path: Path, found: Mapping[str, Any], name: str) -> tuple[int, int]:
    """Give the shape of the encoder, by which the other tensors are checked."""
    tensor = found.get(name)
    if not isinstance(tensor, torch.Tensor) or tensor.ndim != 2 or not tensor.numel():
        raise UserError(f"{path} holds no matrix {name}; {SAE_REMEDY}")
    return tensor.shape[0], tensor.shape[1]
