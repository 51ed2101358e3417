"""How sparsely and how well sparse autoencoders rebuild held-out states: all of one layer in one visit."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch

from utils.base.errors import UserError
from utils.sae.autoencoder import SparseAutoencoder
from utils.sae.evaluation.moments import Moments, unexplained_by_pca

Chunks = Callable[[], Iterator[torch.Tensor]]  # begins anew with each call: raw states [n, hidden_size], a chunk at a time

CODE_BYTES = 2**27  # of the latents of one SAE that are computed together
PCA_STATES = 200_000  # training states that the principal components are fitted to
ENOUGH_TOKENS = 100_000  # a latent that is silent on fewer may only be rare
DENSE = 0.1  # share of the tokens above which a latent counts as dense
DECADES = 7  # densities are counted from 1e-7 on, in halves of a decade


@dataclass(frozen=True)
class Reconstruction:
    """What one sparse autoencoder makes of n held-out states x, rebuilt as y; b is its decoder's bias.

    tokens          n
    l0              active latents at a token, on average; l0_deciles: 11 values from the least to the most
    fvu             fraction of variance unexplained: sum ||x - y||^2 / sum ||x - mean||^2, about the held-out mean
    squared_error   mean of (x - y)^2 over tokens and elements, of raw states
    cosine          mean cosine of x and y
    shrinkage       1 - gamma with gamma = E||y - b||^2 / E[(y - b).(x - b)], the factor by which the rebuilt part is too
                    short (relative reconstruction bias, Rajamanoharan et al. 2024, Gated SAEs); 0 for a projection
    norm_ratio      mean of ||y - b|| / ||x - b||
    density         float64 [latents]: share of the tokens at which each latent is active
    pca_components  how many principal components stand beside it: the target, or the measured L0 where none is known
    pca_fvu         the FVU that these leave, fitted to training states; 0 where there are as many as dimensions
    """

    tokens: int
    l0: float
    l0_deciles: tuple[int, ...]
    fvu: float
    squared_error: float
    cosine: float
    shrinkage: float
    norm_ratio: float
    density: torch.Tensor
    pca_components: int
    pca_fvu: float

    @property
    def explained_variance(self) -> float:
        """Give 1 - FVU: R^2 over all dimensions together, weighted by their variance."""
        return 1 - self.fvu

    @property
    def fvu_over_pca(self) -> float:
        """Divide the FVU by that of PCA; NaN where as many components leave nothing."""
        return self.fvu / self.pca_fvu if self.pca_fvu > 1e-12 else math.nan

    @property
    def dead(self) -> float:
        """Give the share of latents that are silent on all of the held-out text."""
        return float((self.density == 0).double().mean())

    @property
    def dense(self) -> float:
        """Give the share of latents that are active at more than a tenth of the tokens."""
        return float((self.density > DENSE).double().mean())

    @property
    def few_tokens(self) -> bool:
        """Say whether the text is too short to call a silent latent dead."""
        return self.tokens < ENOUGH_TOKENS

    def density_histogram(self) -> tuple[list[float], list[int]]:
        """Count the latents that are not dead by log10 of their density: (lower ends of the bins, counts), half decades."""
        bins = (self.density[self.density > 0].log10() * 2).floor().clamp(-2 * DECADES, -1).long() + 2 * DECADES
        ends = [-DECADES + number / 2 for number in range(2 * DECADES)]
        return ends, torch.bincount(bins, minlength=2 * DECADES).tolist()


def measure(autoencoders: Sequence[SparseAutoencoder], held_out: Chunks, train: Chunks) -> list[Reconstruction]:
    """Measure sparse autoencoders of one layer on its held-out states, all in one visit, beside PCA of training states.

    Of `train` the first PCA_STATES are read, so it should not give text after text. Sums are taken in float64. Raise
    UserError where there are no held-out states, or where they do not vary.
    """
    of_train, moments = Moments(), Moments()
    device = autoencoders[0].encoder.device
    for chunk in train():
        of_train.add(chunk[: PCA_STATES - of_train.count].to(device))
        if of_train.count == PCA_STATES:
            break
    tallies = [Tally(autoencoder) for autoencoder in autoencoders]
    for chunk in held_out():
        states = chunk.to(device)
        moments.add(states)
        for tally in tallies:
            tally.add(states)
    if moments.count < 2 or moments.variation == 0:
        raise UserError(
            f"{moments.count} held-out states that do not vary tell nothing of a sparse autoencoder: hold out more text"
        )
    left = unexplained_by_pca(of_train, moments, [tally.components for tally in tallies])
    return [tally.result(moments, share) for tally, share in zip(tallies, left, strict=True)]


def coded(autoencoder: SparseAutoencoder, states: torch.Tensor) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Yield (states float32, latents, rebuilt), part by part, so that the latents stay within CODE_BYTES."""
    for part in states.split(max(1, CODE_BYTES // (4 * autoencoder.latents))):
        latents = autoencoder.encode(part)
        yield part.float(), latents, autoencoder.decode(latents)


class Tally:
    """The sums of one sparse autoencoder over the states so far."""

    def __init__(self, autoencoder: SparseAutoencoder) -> None:
        """Begin without any state."""
        self.autoencoder, device = autoencoder, autoencoder.encoder.device
        self.tokens = 0
        self.active = torch.zeros(autoencoder.latents, dtype=torch.int64, device=device)  # tokens, of each latent
        self.tokens_with = torch.zeros(autoencoder.latents + 1, dtype=torch.int64, device=device)  # 0, 1, ... active latents
        self.sums = torch.zeros(5, dtype=torch.float64, device=device)

    def add(self, states: torch.Tensor) -> None:
        """Add raw states [n, hidden_size]."""
        bias = self.autoencoder.decoder_bias
        for x, latents, y in coded(self.autoencoder, states):
            active = latents != 0
            self.tokens += len(x)
            self.active += active.sum(0)
            self.tokens_with += torch.bincount(active.sum(1), minlength=len(self.tokens_with))
            centred, rebuilt = x - bias, y - bias
            ratio = rebuilt.norm(dim=1) / centred.norm(dim=1).clamp(min=torch.finfo(x.dtype).tiny)
            rows = (
                (x - y).square().sum(1),
                torch.cosine_similarity(x, y, dim=1),
                rebuilt.square().sum(1),
                (rebuilt * centred).sum(1),
                ratio,
            )
            self.sums += torch.stack([row.double().sum() for row in rows])

    @property
    def l0(self) -> float:
        """Give the mean number of active latents."""
        return float(self.active.sum()) / max(1, self.tokens)

    @property
    def components(self) -> int:
        """Say how many principal components are comparable."""
        return max(1, round(float(self.autoencoder.about.get("target_l0") or self.l0)))

    def result(self, moments: Moments, left: float) -> Reconstruction:
        """Turn the sums into figures. moments: of the same states; left: what PCA leaves unexplained."""
        error, cosine, length, product, ratio = self.sums.tolist()
        n = self.tokens
        upto = self.tokens_with.cumsum(0)
        ranks = torch.tensor([max(1, math.ceil(n * tenth / 10)) for tenth in range(11)], device=upto.device)
        return Reconstruction(
            tokens=n,
            l0=self.l0,
            l0_deciles=tuple(torch.searchsorted(upto, ranks).tolist()),
            fvu=error / moments.variation,
            squared_error=error / n / self.autoencoder.hidden_size,
            cosine=cosine / n,
            shrinkage=1 - length / product if product else math.nan,
            norm_ratio=ratio / n,
            density=(self.active.double() / n).cpu(),
            pca_components=self.components,
            pca_fvu=left,
        )
