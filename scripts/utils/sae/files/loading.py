"""Load a sparse autoencoder from a path, whichever tool wrote it."""

from pathlib import Path

from utils.base.errors import UserError
from utils.base.paths import require_path
from utils.sae.autoencoder import SparseAutoencoder
from utils.sae.files.checked import require_file
from utils.sae.files.sae_lens import CONFIG, WEIGHTS, read_sae_lens


def load_sae(path: str | Path) -> SparseAutoencoder:
    """Load a sparse autoencoder: a folder of ours or of SAELens, or one of dictionary_learning.

    A file in such a folder stands for it. Raise UserError, in one line, for anything else.
    """
    path = Path(path)
    require_path(path, "folder" if path.is_dir() else "file", "give the folder of a sparse autoencoder")
    if not path.is_dir():
        require_file(path)
    folder = path if path.is_dir() else path.parent
    if (folder / CONFIG).exists() or (folder / WEIGHTS).exists():
        return read_sae_lens(folder)
    inside = sorted(found.parent.name for found in folder.glob(f"*/{CONFIG}"))
    remedy = f"give a folder in it, such as {folder / inside[0]}" if inside else "make one with scripts/train_sae.py"
    raise UserError(f"{path} is no sparse autoencoder: it holds no {CONFIG}; {remedy}")
