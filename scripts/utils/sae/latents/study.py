"""Study the latents of sparse autoencoders on one stream of states: one pass of the model, whatever their number."""

import math
from collections.abc import Callable, Mapping

import numpy as np
import torch

from utils.base.errors import UserError
from utils.sae.autoencoder import SparseAutoencoder
from utils.sae.latents.activity import Activity
from utils.sae.latents.codes import encode_sparse
from utils.sae.latents.examples import ExampleChoice, KeptExamples
from utils.sae.latents.text_rows import TextRows
from utils.sae.latents.token_counts import TokenCounts
from utils.sae.supply.left_out import Excluding, Limits
from utils.sae.supply.states import StreamedStates
from utils.states.forward_pass import Pass, read_batches
from utils.states.sites import Layer

NORMS_OF = 2**12  # states from which the median norm is taken
MOST_UNREAD = 0.01  # of the states may be not finite: more is no accident


class LatentStudy:
    """What is found out about the latents of one sparse autoencoder while states stream by.

    activity     how often and how strongly each is active
    tokens       at which tokens; following: before which tokens
    examples     of each
    read         how many states were read
    not_finite, massive  how many were left out: those that overflowed, and those of a norm above `most_norm`
    """

    def __init__(
        self, autoencoder: SparseAutoencoder, text: TextRows, choice: ExampleChoice, most_norm: float = math.inf
    ) -> None:
        self.autoencoder, self.text, self.choice, self._most_norm = autoencoder, text, choice, most_norm
        latents, vocabulary = autoencoder.latents, int(text.sequences.input_ids.max()) + 1
        self.activity = Activity(latents)
        self.tokens, self.following = TokenCounts(latents, vocabulary), TokenCounts(latents, vocabulary)
        self.examples = KeptExamples(text, choice, latents)
        self.read = self.not_finite = self.massive = 0

    def add(self, first_row: int, states: torch.Tensor) -> None:
        """Study a batch: the states [n, hidden_size] of rows first_row to first_row + n - 1, of whole sequences."""
        norms = states.float().norm(dim=1)
        fine = (norms.isfinite() & (norms <= self._most_norm)).numpy()
        self.read += int(fine.sum())
        self.not_finite += int((~norms.isfinite()).sum())
        self.massive += int((norms.isfinite() & (norms > self._most_norm)).sum())
        if not fine.any():
            return
        codes = encode_sparse(self.autoencoder, states, fine)
        rows = slice(first_row, first_row + len(states))
        for counts, tokens in ((self.tokens, self.text.tokens), (self.following, self.text.following)):
            counts.add(np.where(fine, tokens[rows], -1), codes.latent, codes.row)
        if len(codes.latent):
            wider = self.activity.add(codes)
            self.examples.add(codes, first_row, self.activity, wider)

    @property
    def silent(self) -> np.ndarray:
        """List the latents that were active nowhere: int64."""
        return np.flatnonzero(self.activity.number == 0)

    @property
    def density(self) -> np.ndarray:
        """Give the share of the states at which each latent was active: float64 [latents]."""
        return self.activity.number / max(1, self.read)


def study_latents(
    run: Pass,
    autoencoders: Mapping[Layer, SparseAutoencoder],
    choice: ExampleChoice,
    excluding: Excluding,
    tick: Callable[[int], None],
) -> dict[Layer, LatentStudy]:
    """Study the latents of one sparse autoencoder a layer in one pass. tick(tokens) is called as sequences are done.

    run: its plan reads these layers. excluding: whether massive states are left out, by the median norm of a few windows
    that are read beforehand. Raise UserError where many states are not finite.
    """
    text, layers = TextRows(run.sequences, run.plan), run.plan.layers
    norms = StreamedStates(run).sample(NORMS_OF).norm(dim=2) if excluding.massive else torch.zeros(len(layers), 1)
    most = dict(zip(layers, Limits.of(layers, norms, excluding).most.tolist(), strict=True))
    studies = {layer: LatentStudy(autoencoder, text, choice, most[layer]) for layer, autoencoder in autoencoders.items()}
    for layer, rows, states in read_batches(run):
        studies[layer].add(rows.start, states)
        if layer == run.plan.layers[-1]:
            tick(int(run.sequences.lengths[np.unique(run.plan.sequence[rows])].sum()))
    for layer, study in studies.items():
        lost = study.not_finite / len(text)
        if lost > MOST_UNREAD:
            raise UserError(
                f"{lost:.1%} of the states of layer {layer} are not finite in "
                f"{str(run.model.dtype).removeprefix('torch.')}; {run.model.against_overflow}"
            )
    return studies
