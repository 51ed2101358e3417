"""Train linear probes of many layers and label columns at once, by AdamW on standardised states.

trained = train(LabelledStates(matrices, labels), LabelledStates(val_matrices, val_labels), Settings(epochs=20))
trained.probes.logits(matrices)              # [layers, columns, n]
trained.probes.tensors(layer=3, column=0)    # {"weight": [hidden_size], "bias": []}, on raw states
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from utils.probes.descent.training import FIRST_WEIGHTS, OnEpoch, Settings, Training, train_probes
from utils.probes.labels import LabelledStates
from utils.probes.standardised import fold, standardisation
from utils.states.matrices import Matrices, chunks


@dataclass
class LinearProbes:
    """Linear probes on raw states: logits = states @ weight + bias.

    weight: float32 [layers, columns, hidden_size]; bias: [layers, columns].
    """

    weight: torch.Tensor
    bias: torch.Tensor

    def logits(self, matrices: Matrices) -> np.ndarray:
        """Compute logits float32 [layers, columns, n]."""
        result = torch.empty(*self.bias.shape, len(matrices))
        for which in chunks(matrices, *self.bias.shape):
            rows = matrices.rows(which).to(self.weight.device)
            result[:, :, which] = transposed(torch.baddbmm(self.bias[:, None], rows, transposed(self.weight))).cpu()
        return result.numpy()

    def tensors(self, layer: int, column: int) -> dict[str, torch.Tensor]:
        """Give what is saved of one probe: weight [hidden_size] and bias []."""
        return {"weight": self.weight[layer, column], "bias": self.bias[layer, column]}


def train(
    train: LabelledStates[Matrices],
    val: LabelledStates[Matrices],
    settings: Settings,
    on_epoch: OnEpoch | None = None,
    device: str | torch.device = "cpu",
) -> Training:
    """Train a linear probe for every layer and label column; arguments and errors as in `training.train_probes`.

    Rows of weight 0 still count in the mean and scale of the states, and in the minibatches, which all columns share.
    """
    return train_probes(LinearInTraining, train, val, settings, on_epoch, device)


class RowsInTraining(ABC):
    """The minibatches of standardised rows that all probes on single states share in training.

    A subclass makes the first weights and gives `gradients(rows, labels, weights)`.

    matrices: of the training examples; labels, weights: [n, columns]; outputs: numbers that each probe makes of a row.
    """

    def __init__(
        self, matrices: Matrices, labels: torch.Tensor, weights: torch.Tensor, outputs: int, device: str | torch.device
    ):
        self.matrices, self.labels, self.weights, self.outputs, self.device = matrices, labels, weights, outputs, device
        self.units = len(labels)
        self.mean, self.inverse_std = standardisation(matrices)
        self.layers, self.hidden_size = self.mean.shape
        self.shift, self.factor = (part.float().to(device)[:, None] for part in (self.mean, self.inverse_std))

    def order(self, generator: torch.Generator) -> torch.Tensor:
        return torch.randperm(self.units, generator=generator)

    def step_size(self, batch_size: int) -> float:
        return self.layers * batch_size * self.hidden_size * self.outputs

    def set_gradients(self, which: torch.Tensor) -> torch.Tensor:
        rows = self.matrices.rows(which.numpy()).to(self.device).sub_(self.shift).mul_(self.factor)
        return self.gradients(rows, self.labels[which].to(self.device), self.weights[which].to(self.device))

    @abstractmethod
    def gradients(self, rows: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """Set the gradients, as `set_gradients` does.

        rows: standardised, [layers, b, hidden_size]; labels, weights: [b, columns].
        """


class LinearInTraining(RowsInTraining):
    """Weights [layers, columns, hidden_size] and biases on standardised states, which start the same for all."""

    def __init__(
        self,
        matrices: Matrices,
        labels: torch.Tensor,
        weights: torch.Tensor,
        generator: torch.Generator,
        device: str | torch.device,
    ):
        columns = labels.shape[1]
        super().__init__(matrices, labels, weights, columns, device)
        start = torch.randn(self.hidden_size, generator=generator) * FIRST_WEIGHTS / self.hidden_size**0.5
        self.weight = start.repeat(self.layers, columns, 1).to(device)
        self.bias = torch.zeros(self.layers, columns, device=device)
        self.decayed, self.free = [self.weight], [self.bias]

    def gradients(self, rows: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """Set the gradients; that of a logit is weight * (sigmoid(logit) - label) / b."""
        logits = transposed(torch.baddbmm(self.bias[:, None], rows, transposed(self.weight)))
        labels, weights = transposed(labels), transposed(weights)
        slope = weights * (torch.sigmoid(logits) - labels) / labels.shape[1]
        self.weight.grad = torch.bmm(slope, rows)
        self.bias.grad = slope.sum(2)
        entropy = binary_cross_entropy_with_logits(logits, labels.expand_as(logits), reduction="none")
        return (entropy * weights).sum(2)

    def folded(self) -> LinearProbes:
        return LinearProbes(*fold(self.weight, self.bias, self.mean[:, None], self.inverse_std[:, None]))


def transposed(matrices: torch.Tensor) -> torch.Tensor:
    """Transpose [..., a, b] to [..., b, a]. A single column is laid out as a vector, for which products are quicker."""
    *others, height, width = matrices.shape
    return matrices.reshape(*others, width, height) if 1 in (height, width) else matrices.mT
