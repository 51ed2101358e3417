"""Load a sparse autoencoder from a path, whichever tool wrote it."""

from pathlib import Path

from utils.base.errors import UserError
from utils.sae.autoencoder import SparseAutoencoder
from utils.sae.files.checked import require_file
from utils.sae.files.dictionary_learning import AE_FILE, read_dictionary
from utils.sae.files.sae_lens import CONFIG, WEIGHTS, read_sae_lens

PICKLES = (".pt", ".pth")


def load_sae(path: str | Path) -> SparseAutoencoder:
    """Load a sparse autoencoder: a folder of ours or of SAELens, or one of dictionary_learning.

    A file in such a folder stands for it. Raise UserError, in one line, for anything else.
    """
    path = Path(path)
    if not path.is_dir():
        require_file(path)
    if path.is_file() and path.suffix in PICKLES:
        return read_dictionary(path)
    folder = path if path.is_dir() else path.parent
    if (folder / CONFIG).exists() or (folder / WEIGHTS).exists():
        return read_sae_lens(folder)
    if (folder / AE_FILE).exists():
        return read_dictionary(folder / AE_FILE)
    inside = sorted(found.parent.name for found in folder.glob(f"*/{CONFIG}"))
    remedy = f"give a folder in it, such as {folder / inside[0]}" if inside else "make one with scripts/train_sae.py"
    raise UserError(f"{path} is no sparse autoencoder: it holds neither {CONFIG} nor {AE_FILE}; {remedy}")
