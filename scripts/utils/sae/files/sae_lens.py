"""Folders of SAELens, cfg.json and sae_weights.safetensors: ours are such folders, and those of SAELens are read.

What SAELens does not know of ours lies in cfg.json under metadata, where it is kept when SAELens saves the folder again.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from utils.base.errors import UserError
from utils.base.files import WriteTogether, json_text
from utils.base.tensor_files import CHECKSUM, checksum
from utils.sae.autoencoder import SparseAutoencoder
from utils.sae.files.checked import SAE_REMEDY, read_object, read_safetensors, require_size, sound_tensors, value_shown
from utils.sae.files.described import ours_in, ours_of, sound_about
from utils.sae.files.hook_names import hook_of_layer, layer_of_hook

CONFIG, WEIGHTS = "cfg.json", "sae_weights.safetensors"
LAYOUT = "6.54.12"  # the version of SAELens whose layout this is; it takes a folder that names none for one before 6.0
WORDS = {  # ours -> those of SAELens
    "model_name": "model_name",
    "context_size": "context_size",
    "prepend_bos": "prepend_bos",
    "dataset": "dataset_path",
}
NOT_SAID = (None, "")
READ_ARCHITECTURES = ("standard", "jumprelu")
INSTEAD = {  # of architectures whose latents depend on each other
    "batchtopk": "save it with SAELens' save_inference_model, which turns it into a jumprelu",
    "matryoshka_batchtopk": "save it with SAELens' save_inference_model, which turns it into a jumprelu",
}
AS_THEY_ARE = {  # key of cfg.json -> values with which the states are read as they are
    "normalize_activations": (None, False, "none"),
    "reshape_activations": (None, "none"),
    "finetuning_scaling_factor": (None, False),
    "rescale_acts_by_decoder_norm": (None, False),
    "activation_fn": (None, "relu"),
    "activation_fn_str": (None, "relu"),
}


def save_sae(folder: str | Path, autoencoder: SparseAutoencoder) -> None:
    """Write a folder that SAELens and `load_sae` read, whole or not at all."""
    about = dict(autoencoder.about)
    tensors = {name: tensor.detach().cpu().float() for name, tensor in autoencoder.tensors.items()}
    weights = {
        "W_enc": tensors["encoder"].mT.contiguous(),
        "b_enc": tensors["encoder_bias"].contiguous(),
        "W_dec": tensors["decoder"].contiguous(),
        "b_dec": tensors["decoder_bias"].contiguous(),
        "threshold": tensors["threshold"].contiguous(),
    }
    hook = about.get("hook_name") or (hook_of_layer(about["layer"]) if about.get("layer") is not None else None)
    config = {
        "architecture": "jumprelu",
        "d_in": autoencoder.hidden_size,
        "d_sae": autoencoder.latents,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": True,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "metadata": {
            "sae_lens_version": LAYOUT,
            **{theirs: about[name] for name, theirs in WORDS.items() if name in about},
            **({"hook_name": hook} if hook else {}),
            **ours_of(about),
        },
    }
    with WriteTogether() as files:  # the weights first: without cfg.json there is no autoencoder
        with files.open(Path(folder) / WEIGHTS) as file:
            file.write(save(weights, {CHECKSUM: sum_of(weights, about)}))
        with files.open(Path(folder) / CONFIG) as file:
            file.write(json_text(config).encode("utf-8"))


def read_sae_lens(folder: Path) -> SparseAutoencoder:
    """Read a folder that SAELens or `save_sae` wrote. Raise UserError for what is damaged or no JumpReLU."""
    path = folder / CONFIG
    config = read_object(path)
    metadata = config.get("metadata", config)  # before SAELens 6.0 both were one
    if not isinstance(metadata, dict):
        raise UserError(f"{path}: its metadata is {value_shown(metadata)}; {SAE_REMEDY}")
    architecture = exact_architecture(path, config, metadata)
    hidden_size, latents = require_size(path, config, "d_in"), require_size(path, config, "d_sae")
    about = read_about(path, metadata, architecture)
    found, header = read_safetensors(folder / WEIGHTS)
    if CHECKSUM in header and header[CHECKSUM] != sum_of(found, about):
        raise UserError(f"{folder}: its {WEIGHTS} was changed, or its {CONFIG} is another's; {SAE_REMEDY}")
    if is_ones(found.get("scaling_factor")):  # SAELens once wrote it without a use
        del found["scaling_factor"]
    shapes = {
        "W_enc": (hidden_size, latents),
        "b_enc": (latents,),
        "W_dec": (latents, hidden_size),
        "b_dec": (hidden_size,),
        **({"threshold": (latents,)} if architecture == "jumprelu" else {}),
    }
    weights = sound_tensors(folder / WEIGHTS, found, shapes)
    centred = config.get("apply_b_dec_to_input", True)
    return from_weights(weights, centred=centred, about=about)


def from_weights(weights: Mapping[str, torch.Tensor], centred: bool, about: Mapping[str, Any]) -> SparseAutoencoder:
    """Make an autoencoder of weights in the names and shapes that SAELens and dictionary_learning share.

    centred: its encoder sees x - b_dec. Else it sees x itself, and b_enc + W_enc.T @ b_dec makes up for what ours subtracts.
    A ReLU is a threshold of 0, and so is a negative threshold, since both let what is below 0 through a ReLU.
    """
    encoder, bias = weights["W_enc"].mT.contiguous(), weights["b_enc"]
    if not centred:
        bias = (bias.double() + encoder.double() @ weights["b_dec"].double()).float()
    threshold = weights.get("threshold", torch.zeros_like(bias)).clamp(min=0)
    return SparseAutoencoder(encoder, bias, weights["W_dec"].contiguous(), weights["b_dec"], threshold, about)


def exact_architecture(path: Path, config: Mapping[str, Any], metadata: Mapping[str, Any]) -> str:
    """Give the architecture. Raise UserError, by name, for all that JumpReLU on the states themselves cannot express."""
    architecture = config.get("architecture", "standard" if metadata is config else None)  # its name before SAELens 6.0
    if architecture not in READ_ARCHITECTURES:
        remedy = INSTEAD.get(str(architecture), f"only {' and '.join(READ_ARCHITECTURES)} are read")
        raise UserError(f"{path}: its architecture is {value_shown(architecture)}, which is no JumpReLU; {remedy}")
    for name, plain in AS_THEY_ARE.items():
        if repr(value := config.get(name)) not in map(repr, plain):
            raise UserError(
                f"{path}: its {name} is {value_shown(value)}, by which it does not read the states as they are; fold it in "
                "with SAELens, or give one without"
            )
    if not isinstance(config.get("apply_b_dec_to_input", True), bool):
        raise UserError(f"{path}: its apply_b_dec_to_input is {value_shown(config['apply_b_dec_to_input'])}; {SAE_REMEDY}")
    options = metadata.get("model_from_pretrained_kwargs")
    if isinstance(options, dict) and options.get("center_writing_weights"):
        raise UserError(
            f"{path}: it was trained on states that TransformerLens had centred (center_writing_weights), which are not the "
            "model's own; give one that was trained without"
        )
    return architecture


def read_about(path: Path, metadata: Mapping[str, Any], architecture: str) -> dict[str, Any]:
    """Read what the folder says of its autoencoder: ours as it was written, else what SAELens tells in our words."""
    if (ours := ours_in(path, metadata)) is not None:
        return ours
    hook = metadata.get("hook_name", metadata.get("hook_point"))
    found = {name: metadata[theirs] for name, theirs in WORDS.items() if metadata.get(theirs) not in NOT_SAID}
    about = {"architecture": architecture, **found}
    if hook is not None:
        try:
            about |= {"layer": layer_of_hook(str(hook)), "hook_name": hook}
        except UserError as error:
            raise UserError(f"{path}: {error}") from error
    return sound_about(path, about)


def sum_of(weights: Mapping[str, torch.Tensor], about: Mapping[str, Any]) -> str:
    """Compute the checksum of weights and what is said of them: it tells the files of two writings apart."""
    return checksum(weights, json.dumps(about, sort_keys=True))


def is_ones(tensor: torch.Tensor | None) -> bool:
    return tensor is not None and bool((tensor == 1).all())
