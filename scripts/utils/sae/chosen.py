"""Find the sparse autoencoder of each layer below a path that a user gives."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from utils.base.errors import UserError
from utils.base.files import fingerprint
from utils.base.paths import require_path
from utils.sae.autoencoder import SparseAutoencoder
from utils.sae.files.fitting import require_fitting
from utils.sae.files.loading import load_sae
from utils.sae.goals import sae_name
from utils.sae.supply.folders import history_path, read_history
from utils.states.sites import Layer, layer_name

if TYPE_CHECKING:
    from utils.model.language_model import LanguageModel

BEST = "sae_*_best"  # folders that train_sae.py writes, one a layer


@dataclass(frozen=True)
class LayerAutoencoder:
    """The sparse autoencoder of one layer, and where it came from."""

    layer: Layer
    path: Path
    autoencoder: SparseAutoencoder

    @property
    def columns(self) -> dict[str, str]:
        """Give what tables say of it: its path, and a hash of its weights."""
        weights = (tensor.numpy() for tensor in self.autoencoder.tensors.values())
        return {"sae": str(self.path), "sae_fingerprint": fingerprint(*weights)}


def best_inside(path: str | Path) -> dict[str, Path]:
    """Find the best autoencoders of a run of train_sae.py, {name: folder}; {} where the path is an autoencoder itself.

    Raise UserError where nothing is there, and where several runs are.
    """
    path = Path(path)
    if not path.exists():
        raise UserError(f"{path} does not exist; give the folder of a sparse autoencoder, or --save_dir of train_sae.py")
    require_path(path, "folder" if path.is_dir() else "file", "give the folder of a sparse autoencoder")
    inside = {found.name: found for found in sorted(path.glob(BEST))}
    if not inside and (runs := sorted({found.parent.name for found in path.glob(f"*/{BEST}")})):
        raise UserError(f"{path} holds several runs, {', '.join(runs)}; give one of them, such as {path / runs[0]}")
    return inside


def autoencoders_at(path: str | Path, language_model: "LanguageModel", layers: Sequence[Layer]) -> list[LayerAutoencoder]:
    """Load the sparse autoencoders of these layers, in their order.

    path: one autoencoder, or a folder of one run of train_sae.py, which holds one for each layer. Those of other layers are
    left alone; one that names no layer is of the one that is asked for. Raise UserError where there is none for any of the
    layers, or where one is of another model.
    """
    path, inside = Path(path), best_inside(path)
    if inside:
        found = [(layer, inside[name]) for layer in layers if (name := f"{sae_name(layer)}_best") in inside]
        loaded = [LayerAutoencoder(layer, where, load_sae(where)) for layer, where in found]
        for one in loaded:
            require_fitting(one.autoencoder, language_model, one.layer, str(one.path))
            history = history_path(path, one.layer)
            if history.exists() and not read_history(history).get("finished"):
                print(
                    f"note: {one.path} is of a training that has not ended; train_sae.py --resume goes on with it",
                    flush=True,
                )
    else:
        autoencoder = load_sae(path)
        unnamed = autoencoder.about.get("layer") is None and len(layers) == 1
        layer = require_fitting(autoencoder, language_model, layers[0] if unnamed else None, str(path))
        loaded = [LayerAutoencoder(layer, path, autoencoder)] if layer in layers else []
        inside = {layer_name(layer): path}
    if not loaded:
        raise UserError(
            f"{path} holds {', '.join(inside)}, this run reads {', '.join(map(layer_name, layers))}; ask for a layer that "
            "it has"
        )
    return loaded
