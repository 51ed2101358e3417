"""Find pre-activations above thresholds by a product in bfloat16 with a proven margin, and compute those alone in full.

Where a processor has matrix units for bfloat16, its product takes a sixth to a quarter of the time of float32's. No value
that is above its threshold is missed. u = 2^-9 is the unit roundoff of bfloat16. Products of two such numbers are exact in
float32, and a sum of n of them in float32, in any order, errs by at most n * 2^-24 of the sum of their sizes (to first
order). So, by Cauchy and Schwarz,

    |<x, w> - sum| <= (2 u + u^2 + n * 2^-24) |x| |w|

`CARE` times n * 2^-24 covers that and the rounding of the value that is computed in float32 afterwards. The margin, and how
far the bias is above the threshold, enter the product as two more columns, so that the test is whether its sign is positive.
Rounding the result to bfloat16 does not change a sign.
"""

import torch

from utils.sae.steps.entries import Entries
from utils.sae.steps.selection import PlacedValues, true_places

U = 2.0**-9
CARE = 2.5
MORE = 32  # columns beside the hidden size: two are used, and the length stays a multiple of 32


class Screen:
    """Screen batches; keeps its matrices from step to step."""

    def __init__(self):
        self._left = self._right = self._product = torch.empty(0, 0)

    def take(self, centred: torch.Tensor, encoder: torch.Tensor, bias: torch.Tensor) -> None:
        """Take a batch of centred states [batch, hidden_size] and the weights."""
        (batch, hidden_size), latents = centred.shape, len(encoder)
        if self._left.shape != (batch, hidden_size + MORE) or len(self._right) != latents:
            self._left = torch.zeros(batch, hidden_size + MORE, dtype=torch.bfloat16)
            self._right = torch.zeros(latents, hidden_size + MORE, dtype=torch.bfloat16)
            self._product = torch.empty(batch, latents, dtype=torch.bfloat16)
        self._given = centred, encoder, bias
        summing = CARE * (hidden_size + MORE) * 2.0**-24
        margin = (2 * U + U**2 + summing) * (1 + 4 * U) ** 2  # rounded to bfloat16 in two factors, it is still large enough
        self._left[:, :hidden_size] = centred
        self._left[:, hidden_size] = torch.linalg.vector_norm(centred, dim=1)
        self._left[:, hidden_size + 1] = 1
        self._right[:, :hidden_size] = encoder
        self._right[:, hidden_size] = torch.linalg.vector_norm(encoder, dim=1) * margin
        self._of_lift = 1.1 * U + 2 * summing

    def above(self, low: torch.Tensor) -> PlacedValues:
        """Find the pre-activations that are above `low`, one number or one a latent."""
        centred, encoder, bias = self._given
        lift = bias - low
        self._right[:, centred.shape[1] + 1] = lift + self._of_lift * lift.abs()
        torch.mm(self._left, self._right.mT, out=self._product)
        places = true_places(self._product.view(torch.int16).numpy() > 0)
        entries = Entries(places, (len(centred), len(encoder)))
        values = entries.dots(centred, encoder).add_(entries.spread(bias))
        kept = entries.by_row(values > entries.spread(low.expand(len(bias))))
        return places[kept], entries.by_row(values)[kept]


def has_matrix_units() -> bool:
    """Tell whether products in bfloat16 are several times as fast as in float32 on this processor."""
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("amx_bf16"))
