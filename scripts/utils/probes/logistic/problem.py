"""Compute the mean logistic loss of many label columns on the same states: its gradients, and how exact they are."""

import torch

from utils.probes.logistic.rows import Scale, StateRows

TINY = 1e-38


class Problem:
    """Label columns on standardised states. No standardised copy is made: means and deviations are folded into the weights.

    rows and scale: of the states; labels [columns, n] of 0 and 1, row_weights [columns, n] >= 0. Coefficients are float64
    [columns, d + 1]: weights on standardised states, then the bias.
    """

    def __init__(self, rows: StateRows, scale: Scale, labels: torch.Tensor, row_weights: torch.Tensor):
        self.rows, self.scale = rows, scale
        self.labels, self.weights = labels.to(rows.dtype), row_weights.to(rows.dtype)
        self.total = self.weights.sum(1, dtype=torch.float64)

    def columns(self, which: torch.Tensor) -> "Problem":
        """Keep only these columns."""
        return Problem(self.rows, self.scale, self.labels[which], self.weights[which])

    def exact(self) -> "Problem":
        """Give the same in float64."""
        return Problem(self.rows.doubled(), self.scale, self.labels, self.weights)

    def start(self) -> torch.Tensor:
        """Start from weights of 0, and the bias that is best then."""
        share = (self.weights * self.labels).sum(1, dtype=torch.float64) / self.total
        return torch.cat([torch.zeros(len(share), self.rows.hidden_size), torch.log(share / (1 - share))[:, None]], dim=1)

    def folded(self, coefficients: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Give weights [columns, d] and bias [columns, 1] on the states as they are read."""
        weights = coefficients[:, :-1] * self.scale.inverse
        return weights, coefficients[:, -1:] - (weights @ self.scale.mean)[:, None]

    def gradient(self, coefficients: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Compute the gradient of the mean loss, float64 [columns, d + 1], and its curvature mean(p (1 - p)) [columns].

        One visit of the states: a block is in the cache for the second product with it. Blocks are summed in float64.
        """
        weights, bias = (part.to(self.rows.dtype) for part in self.folded(coefficients))

        def visit(blocks):
            product = torch.zeros(weights.shape, dtype=torch.float64)
            residuals, curvature = torch.zeros(2, len(weights), dtype=torch.float64)
            for rows, block in blocks:
                probability = torch.addmm(bias, weights, block.mT).sigmoid_()
                residual = (probability - self.labels[:, rows]).mul_(self.weights[:, rows])
                product += residual @ block
                residuals += residual.sum(1)
                curvature += probability.addcmul_(probability, probability, value=-1).mul_(self.weights[:, rows]).sum(1)
            return product, residuals, curvature

        product, residuals, curvature = self.rows.across(visit)
        product = (product - residuals[:, None] * self.scale.mean) * self.scale.inverse
        gradient = torch.cat([product, residuals[:, None]], dim=1) / self.total[:, None]
        return gradient, (curvature / self.total).clamp(min=TINY)

    def rounding(self, coefficients: torch.Tensor, column: torch.Tensor) -> torch.Tensor:
        """Bound, from a sample of the rows, how far rounding may have moved an entry of the gradient: float64 [pairs].

        By Cauchy and Schwarz this is at most the root mean square error of the probabilities, since the mean square of a
        feature is 1. That error is at most the error of the logits / 4 plus that of the sigmoid. The rounding of the product
        with the residuals is added. coefficients: [pairs, d + 1]; column: of each pair.
        """
        if self.rows.dtype == torch.float64:
            return torch.zeros(len(column), dtype=torch.float64)
        index = self.rows.sample()
        block, labels = self.rows.read(index), self.labels[:, index][column]
        weights, bias = self.folded(coefficients)
        exact = torch.addmm(bias, weights, block.double().mT)
        logits = torch.addmm(bias.float(), weights.float(), block.mT)
        probability = logits.sigmoid()
        errors = (logits - exact) / 4, probability - logits.double().sigmoid()
        residual = probability - labels
        lost = (residual @ block - residual.double() @ block.double()) * self.scale.inverse / len(index)
        return sum(error.square().mean(1).sqrt() for error in errors) + lost.abs().amax(1)

    def all_right(self, coefficients: torch.Tensor) -> torch.Tensor:
        """Say of each column whether every row of some weight is on its label's side: bool [columns]."""
        weights, bias = (part.to(self.rows.dtype) for part in self.folded(coefficients))

        def wrong(blocks):
            count = torch.zeros(len(weights))
            for rows, block in blocks:
                margin = (2 * self.labels[:, rows] - 1) * torch.addmm(bias, weights, block.mT)
                count += ((margin <= 0) & (self.weights[:, rows] > 0)).sum(1)
            return [count]

        return self.rows.across(wrong)[0] == 0
