"""Which states are left out: special tokens, padding and position 0; massive norms; what is not finite.

Some models give a few tokens, mostly the first one, a state of some hundred times the usual norm (Sun et al. 2024). Squared
errors would be about those alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from utils.data.sequences import Sequences
from utils.model.language_model import LanguageModel
from utils.states.extraction import require_few_non_finite
from utils.states.matrices import Matrices, chunks
from utils.states.positions import ReadPlan
from utils.states.sites import Layer
from utils.states.store import StateTable

MASSIVE = 10  # times the median norm


@dataclass(frozen=True)
class Excluding:
    """What is left out.

    special   special tokens and position 0
    massive   states of more than MASSIVE times the median norm of their layer
    """

    special: bool = True
    massive: bool = True


def plan_of_text(sequences: Sequences, layers: Sequence[Layer], excluding: Excluding) -> ReadPlan:
    """Plan to read every token of the sequences; of text only where special tokens and position 0 are left out."""
    columns = np.arange(sequences.input_ids.shape[1])
    wanted = columns < sequences.lengths[:, None]
    if excluding.special:
        wanted &= (columns >= max(1, sequences.text_start)) & (columns < sequences.text_ends[:, None])
        wanted &= ~np.isin(sequences.input_ids, sequences.metadata["tokenizer"]["special"])
    sequence, position = np.nonzero(wanted)
    return ReadPlan(sequence, position, tuple(layers))


@dataclass(frozen=True)
class Limits:
    """The largest norm of a state that is kept, of each layer: float32 [layers]. layers: their names."""

    layers: tuple[Layer, ...]
    most: torch.Tensor

    @classmethod
    def of(cls, layers: Sequence[Layer], norms: torch.Tensor, excluding: Excluding) -> "Limits":
        """Take them from norms [layers, rows]: MASSIVE times the median of the finite ones, or any finite norm."""
        if not excluding.massive:
            return cls(tuple(layers), torch.full((len(layers),), torch.finfo(torch.float32).max))
        finite = norms.where(norms.isfinite(), torch.nan)
        return cls(tuple(layers), MASSIVE * finite.nanmedian(1).values)

    def massive(self, norms: torch.Tensor) -> torch.Tensor:
        """Find the finite states above the limits: bool [layers, rows], of norms of the same shape."""
        return norms.isfinite() & (norms > self.most[:, None])

    def allow(self, norms: torch.Tensor) -> torch.Tensor:
        """Find the rows that are finite and below the limit in every layer: bool [rows]."""
        return (norms.isfinite() & (norms <= self.most[:, None])).all(0)


def norms_of(table: StateTable) -> torch.Tensor:
    """Compute the norm of every state of a table: float32 [layers, rows], not finite where the state is not."""
    every = Matrices(table, np.arange(len(table)))
    norms = torch.empty(len(table.layers), len(table))
    for rows in chunks(every, len(table.layers)):
        norms[:, rows] = every.rows(rows).norm(dim=2)
    return norms


def kept_rows(split: str, norms: torch.Tensor, limits: Limits, language_model: LanguageModel) -> np.ndarray:
    """Find the rows of a table that are kept: int64. Print how many are not, layer by layer.

    A row that one layer leaves out is left out of all, so that all train on the same tokens. Raise UserError where many
    states are not finite.
    """
    require_few_non_finite(split, ~norms.isfinite(), limits.layers, language_model)
    wrong, massive = int((~norms.isfinite().all(0)).sum()), limits.massive(norms)
    if wrong:
        print(f"{split}: {wrong:,} of {norms.shape[1]:,} states are not finite and were dropped", flush=True)
    if massive.any():
        of_layers = ", ".join(
            f"layer {layer}: {int(count):,}" for layer, count in zip(limits.layers, massive.sum(1), strict=True) if count
        )
        print(
            f"{split}: {int(massive.any(0).sum()):,} of {norms.shape[1]:,} states have more than {MASSIVE} times the median "
            f"norm and are left out ({of_layers}); --keep_outliers keeps them",
            flush=True,
        )
    return np.flatnonzero(limits.allow(norms).numpy())
