"""Bring silent latents back: no gradient reaches a latent that never fires.

JumpReLU: the thresholds of silent latents fall, step by step, until they fire; one that is silent at threshold 0 gets a
larger encoder bias. BatchTopK has one threshold for all latents. In its first half, silent latents are lifted: when the
largest pre-activations are chosen, theirs count as larger than they are, but their values stay right. Lifts then fade out.
A latent that is silent with a lift as large as the threshold, or after the first half, gets a larger encoder bias.

A bias alone harms a latent that fires only by it: its value is much too large at every state, so its weights shrink to
nothing until the bias is all that is left. Of 256 known directions in 64 dimensions, 8 of which are in a state, BatchTopK
then finds these shares (cosine above 0.9), and JumpReLU beside it:

    states                                   bias alone   no revival   lifts first   JumpReLU
    8 in each, magnitudes .5 to 1.5              .82          .84          .98         1.00
    8 on average, magnitudes .5 to 1.5           .75          .78          .96          .94
    8 in each, half-normal magnitudes            .76          .78          .98          .96
    8 on average, half-normal magnitudes         .77          .77          .96          .94

Dead on held-out text, stories260K after the embedding, where there are only 271 different states; 512 latents, L0 4, 0.8
million states twice, seeds 0 and 1:

    batch                        512            1,024
    bias alone               10.2, 11.9 %    5.7, 2.9 %
    lifts first               6.8,  6.2 %    0.8, 0.2 %

In its layer 4 none are dead, and FVU is the same with L0 16 (.1097 for .1098) and .002 lower with L0 4. Lifts that grow 5
times as fast leave fewer dead (1.4 % for 6.8 %), but raise FVU with L0 16 to .1136.
"""

from dataclasses import dataclass

import torch

from utils.sae.steps.parameters import Parameters

SILENT_TOKENS = 5_000  # states without firing, after which a latent counts as silent
SILENT_INTERVALS = 20  # so many times the mean distance between two firings, where that is more
PUSH = (
    0.02  # how far silent latents are pushed per 1,024 states: of the first threshold, or of the one that BatchTopK has now
)


@dataclass
class Silence:
    """How long the latents of a stack have been silent.

    since  int64 [stack, latents]: states since each fired
    limit  int64 [stack, 1]: from how many on it counts as silent
    lift   [stack, latents]: what is added to pre-activations when BatchTopK chooses the largest
    """

    since: torch.Tensor
    limit: torch.Tensor
    lift: torch.Tensor

    @property
    def silent(self) -> torch.Tensor:
        """Find the silent latents: bool [stack, latents]."""
        return self.since > self.limit

    @classmethod
    def begin(cls, targets: torch.Tensor, latents: int) -> "Silence":
        """Begin to count. targets: [stack], the L0 asked for."""
        limit = (SILENT_INTERVALS * latents / targets).clamp(min=SILENT_TOKENS).long()[:, None]
        since = torch.zeros(len(targets), latents, dtype=torch.int64, device=limit.device)
        return cls(since, limit, torch.zeros(since.shape, device=limit.device))

    def count(self, fired: torch.Tensor, batch: int) -> None:
        """Note which latents fired at some of the latest `batch` states: bool [stack, latents]."""
        self.since.add_(batch).masked_fill_(fired, 0)

    def revive(self, parameters: Parameters, push: torch.Tensor, with_thresholds: bool, with_lifts: bool) -> None:
        """Bring silent latents of a stack nearer to firing, by push [stack, 1]."""
        silent = self.silent
        if with_thresholds:
            parameters.threshold.sub_(push * silent).clamp_(min=0)
            silent = silent & (parameters.threshold == 0)
        if with_lifts:
            self.lift.copy_(torch.minimum(self.lift + push * silent, parameters.threshold))
            silent = silent & (self.lift == parameters.threshold)
        parameters.encoder_bias.add_(push * silent)
