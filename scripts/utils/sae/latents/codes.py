"""The active latents of a batch of states, as sparse columns."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from scipy import sparse

from utils.sae.autoencoder import SparseAutoencoder

DENSE_BYTES = {"cpu": 2**23, "other": 2**28}  # of dense codes at a time: on a processor, what its caches hold


@dataclass(frozen=True)
class Codes:
    """Every activation of a batch, latent by latent; those of a latent in the order of their rows.

    latent  int64 [n], rising
    row     int64 [n]: counted from the first row of the batch
    value   float32 [n], above 0
    rows    how many the batch has
    """

    latent: np.ndarray
    row: np.ndarray
    value: np.ndarray
    rows: int

    @cached_property
    def _places(self) -> np.ndarray:
        return self.latent * self.rows + self.row

    def at(self, latent: np.ndarray, row: np.ndarray) -> np.ndarray:
        """Look up activations: float32, of the shape that latent and row have together; NaN where row is negative."""
        wanted = latent * self.rows + row
        found = np.minimum(np.searchsorted(self._places, wanted), len(self.latent) - 1)
        active = np.where(self._places[found] == wanted, self.value[found], np.float32(0))
        return np.where(row < 0, np.float32(np.nan), active)


@torch.inference_mode()
def encode_sparse(autoencoder: SparseAutoencoder, states: torch.Tensor, read: np.ndarray) -> Codes:
    """Encode states [n, hidden_size] of the rows that are `read`, bool [n]; no latent is active at the others.

    Dense codes are held of a few rows at a time only.
    """
    parts, device, kept = [], autoencoder.encoder.device, np.flatnonzero(read)
    room = DENSE_BYTES.get(device.type, DENSE_BYTES["other"])
    for some in states[torch.from_numpy(kept)].split(max(1, room // (4 * autoencoder.latents))):
        dense = autoencoder.encode(some.to(device))
        if device.type == "cpu":  # numpy finds them several times as fast as torch
            dense = dense.numpy()
            flat = np.flatnonzero(dense)
            values = dense.ravel()[flat]
        else:
            index = torch.nonzero(dense.flatten())[:, 0]
            flat, values = index.cpu().numpy(), dense.flatten()[index].cpu().numpy()
        row, latent = np.divmod(flat, autoencoder.latents)
        parts.append(sparse.csr_array((values, (row, latent)), shape=(len(some), autoencoder.latents)))
    columns = sparse.csc_array(sparse.vstack(parts))  # a counting sort
    latent = np.repeat(np.arange(autoencoder.latents), np.diff(columns.indptr))
    return Codes(latent, kept[columns.indices], columns.data, len(states))
