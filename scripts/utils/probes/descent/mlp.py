"""Train probes with one hidden layer, many layers and label columns at once, by AdamW on standardised states.

logit = out.weight . relu(hidden.weight @ x + hidden.bias) + out.bias

train, val = LabelledStates(matrices, labels), LabelledStates(val_matrices, val_labels)
trained = train_mlp(train, val, Settings(epochs=20), width=32)
trained.probes.logits(matrices)              # [layers, columns, n]
trained.probes.tensors(layer=3, column=0)    # {"hidden.weight": [32, hidden_size], ...}, on raw states
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from utils.base.errors import UserError
from utils.probes.descent.linear import RowsInTraining
from utils.probes.descent.training import OnEpoch, Settings, Training, train_probes
from utils.probes.labels import LabelledStates
from utils.probes.standardised import fold
from utils.states.matrices import Matrices, chunks

WIDTH = 64
MLP_TENSORS = {
    "hidden.weight": "hidden_weight",
    "hidden.bias": "hidden_bias",
    "out.weight": "out_weight",
    "out.bias": "out_bias",
}


@dataclass
class MLPProbes:
    """MLP probes on raw states, one for each layer and label column.

    hidden_weight: float32 [layers, columns, width, hidden_size]; hidden_bias, out_weight: [layers, columns, width];
    out_bias: [layers, columns].
    """

    hidden_weight: torch.Tensor
    hidden_bias: torch.Tensor
    out_weight: torch.Tensor
    out_bias: torch.Tensor

    @classmethod
    def of(cls, tensors: Mapping[str, torch.Tensor]) -> "MLPProbes":
        """Make the probes of one layer from what `tensors` gave of each, stacked: {name: [columns, ...]}."""
        return cls(*(tensors[name][None] for name in MLP_TENSORS))

    def tensors(self, layer: int, column: int) -> dict[str, torch.Tensor]:
        """Give what is saved of one probe.

        hidden.weight [width, hidden_size], hidden.bias and out.weight [width], out.bias [].
        """
        return {name: getattr(self, field)[layer, column] for name, field in MLP_TENSORS.items()}

    def logits(self, matrices: Matrices) -> np.ndarray:
        """Compute logits float32 [layers, columns, n]."""
        tensors = [getattr(self, field) for field in MLP_TENSORS.values()]
        layers, columns, width = self.hidden_bias.shape
        result = torch.empty(layers, columns, len(matrices))
        for which in chunks(matrices, layers, columns * width):
            result[:, :, which] = mlp_logits(matrices.rows(which).to(self.out_bias.device), *tensors).mT.cpu()
        return result.numpy()


def mlp_logits(
    rows: torch.Tensor,
    hidden_weight: torch.Tensor,
    hidden_bias: torch.Tensor,
    out_weight: torch.Tensor,
    out_bias: torch.Tensor,
) -> torch.Tensor:
    """Compute logits [layers, b, columns] of rows [layers, b, hidden_size].

    One product does for the hidden layers of all columns.
    """
    hidden = torch.baddbmm(hidden_bias.flatten(1)[:, None], rows, hidden_weight.flatten(1, 2).mT).relu()
    hidden = hidden.unflatten(2, hidden_bias.shape[1:])
    return (hidden * out_weight[:, None]).sum(3) + out_bias[:, None]


def train_mlp(
    train: LabelledStates[Matrices],
    val: LabelledStates[Matrices],
    settings: Settings,
    width: int = WIDTH,
    on_epoch: OnEpoch | None = None,
    device: str | torch.device = "cpu",
) -> Training:
    """Train an MLP probe, whose hidden units are max(0, .), for every layer and label column.

    Arguments and errors as in `training.train_probes`. A layer or column trained alone differs from the same in company by
    float32 rounding only, since the order of sums differs. Memory for a step: about 12 bytes * layers * columns * width *
    batch size, besides the states.
    """
    if width < 1:
        raise UserError(f"width {width} leaves no hidden unit; give at least 1")
    return train_probes(partial(MLPInTraining, width), train, val, settings, on_epoch, device)


class MLPInTraining(RowsInTraining):
    """Weights on standardised states; the same at the start for every layer and column (He et al. 2015, for ReLU)."""

    def __init__(
        self,
        width: int,
        matrices: Matrices,
        labels: torch.Tensor,
        weights: torch.Tensor,
        generator: torch.Generator,
        device: str | torch.device,
    ):
        columns = labels.shape[1]
        super().__init__(matrices, labels, weights, columns * width, device)
        hidden = torch.randn(width, self.hidden_size, generator=generator) * (2 / self.hidden_size) ** 0.5
        out = torch.randn(width, generator=generator) * width**-0.5
        first = hidden, torch.zeros(width), out, torch.tensor(0.0)
        self.tensors = [part.repeat(self.layers, columns, *[1] * part.ndim).to(device).requires_grad_() for part in first]
        self.decayed, self.free = self.tensors[0::2], self.tensors[1::2]

    def gradients(self, rows: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        logits = mlp_logits(rows, *self.tensors)
        entropy = weights * binary_cross_entropy_with_logits(logits, labels.expand_as(logits), reduction="none")
        for part in self.tensors:
            part.grad = None
        (entropy.sum() / len(labels)).backward()
        return entropy.detach().sum(1)

    def folded(self) -> MLPProbes:
        hidden_weight, hidden_bias, out_weight, out_bias = self.tensors
        return MLPProbes(
            *fold(hidden_weight, hidden_bias, self.mean[:, None, None], self.inverse_std[:, None, None]),
            out_weight.detach().clone(),
            out_bias.detach().clone(),
        )
