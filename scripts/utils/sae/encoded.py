"""The latents of many states, of which only the active ones are kept."""

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from scipy.sparse import csr_array, vstack

from utils.base.errors import UserError
from utils.sae.autoencoder import SparseAutoencoder
from utils.states.matrices import Matrices, chunks

MOST_ACTIVE = 2**28  # latents that are kept, 2 GB: 5,000 active ones at each of 50,000 states


@dataclass(frozen=True)
class Encoded:
    """The latents of n states: a table that probes read as they read states.

    matrix: float32 [n, latents], sparse by rows; a row of it becomes dense only while it is read.
    """

    matrix: csr_array

    @classmethod
    def of(cls, autoencoder: SparseAutoencoder, states: Matrices, device: str = "cpu") -> "Encoded":
        """Encode states of one layer, a chunk of rows at a time. Raise UserError where far too many latents are active."""
        moved, parts, active = autoencoder.to(device), [], 0
        for which in chunks(states, 1, autoencoder.latents):
            latents = moved.encode(states.rows(which)[0].to(device)).cpu().numpy()
            parts.append(csr_array(latents))
            active += parts[-1].nnz
            if active > MOST_ACTIVE:
                mean = active / (which[-1] + 1)
                raise UserError(
                    f"{mean:,.0f} of {autoencoder.latents:,} latents are active at a state on average: the latents of "
                    f"{len(states):,} states do not fit into memory; take a sparser autoencoder, or fewer examples with "
                    "--max_train_docs and --max_val_docs"
                )
        return cls(csr_array(vstack(parts, format="csr")))

    @property
    def shape(self) -> tuple[int, int]:
        """Give how many states and latents there are."""
        return cast("tuple[int, int]", self.matrix.shape)

    def __len__(self):
        return self.shape[0]

    @property
    def hidden_size(self) -> int:
        return self.shape[1]

    def rows(self, index: Any) -> torch.Tensor:
        """Read the latents of some states: float32 [1, len(index), latents]."""
        return torch.from_numpy(self.matrix[np.asarray(index)].toarray())[None]

    def only(self, which: np.ndarray) -> "Encoded":
        """Keep only these latents, in this order."""
        return Encoded(csr_array(self.matrix[:, which]))
