"""Does a sparse autoencoder belong to this model and layer?"""

from pathlib import PurePath
from typing import TYPE_CHECKING

from utils.base.errors import UserError
from utils.base.paths import shortened
from utils.sae.autoencoder import SparseAutoencoder
from utils.states.sites import FINAL_NORM, Layer, every_layer, layer_name

if TYPE_CHECKING:
    from utils.model.language_model import LanguageModel

ALIASES = {"gpt2-small": "gpt2"}  # TransformerLens' own names of models -> the Hub's


def require_fitting(
    autoencoder: SparseAutoencoder, language_model: "LanguageModel", layer: Layer | None = None, path: str = ""
) -> Layer:
    """Give the layer whose states the autoencoder reads. Raise UserError where it is another model's, or another layer's.

    layer: the one that is to be read; None: the autoencoder's own. path: names the autoencoder in the error.
    The model is told by its fingerprint; files of other tools have none, so there its name and hidden size must be the same.
    """
    named = path or "the sparse autoencoder"
    require_model(autoencoder, language_model, named)
    own: Layer | None = autoencoder.about.get("layer")
    if own is not None and layer is not None and own != layer:
        raise UserError(
            f"{named} was trained on {layer_name(own)}, not {layer_name(layer)}; give one of {layer_name(layer)}"
        )
    chosen = layer if own is None else own
    if chosen is None:
        raise UserError(
            f"{named} does not say which layer it reads; ask for that layer alone, such as --layers 6 (of train_probe.py "
            "--layer 6)"
        )
    if chosen not in (known := every_layer(language_model.anatomy)):
        rest = " and final_norm" if FINAL_NORM in known else ""
        raise UserError(
            f"{named} reads {layer_name(chosen)}; {language_model.name} has layers 0 to "
            f"{len(language_model.anatomy.blocks) - 1}, embed{rest}: give the model that it was trained on"
        )
    return chosen


def require_model(autoencoder: SparseAutoencoder, language_model: "LanguageModel", named: str) -> None:
    """Raise UserError for an autoencoder of another model or width. named: it, in the error."""
    theirs, ours = autoencoder.about.get("model_fingerprint"), language_model.fingerprint
    model = autoencoder.about.get("model_name")
    shown = model and shortened(model)
    width, wanted = autoencoder.hidden_size, language_model.anatomy.hidden_size
    if width != wanted:
        raise UserError(
            f"{named} reads states of {width} numbers{f', of {shown}' if shown else ''}; those of {language_model.name} "
            f"have {wanted}: give the model that it was trained on"
        )
    if theirs and language_model.named_in([theirs]) != theirs:
        raise UserError(
            f"{named} was trained on {shown} ({theirs}), {language_model.name} is another model ({ours}); give the model "
            "that it was trained on, in its precision"
        )
    if not theirs and model and plain_name(model) != plain_name(language_model.name):
        raise UserError(
            f"{named} was trained on {shown}, not on {language_model.name}; give that model, or change the name "
            "in its cfg.json or config.json where both are the same model"
        )


def plain_name(model: str) -> str:
    """Name a model without its owner or folder, as TransformerLens does: 'openai-community/gpt2' -> 'gpt2'."""
    name = PurePath(model).name.lower()
    return ALIASES.get(name, name)
