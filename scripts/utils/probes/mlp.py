"""Probes with one hidden layer, of many layers and label columns at once: AdamW on standardised states, the best epoch kept.

logit = out.weight . relu(hidden.weight @ x + hidden.bias) + out.bias

trained = train_mlp(matrices, labels, val_matrices, val_labels, Settings(epochs=20), width=32)
trained.probes.logits(matrices)              # [layers, columns, n]
trained.probes.tensors(layer=3, column=0)    # {"hidden.weight": [32, hidden_size], ...}, on raw states
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from utils.base.errors import UserError
from utils.probes.linear import Training, fold, train_together
from utils.states.matrices import chunks

WIDTH = 64
NAMES = {"hidden.weight": "hidden_weight", "hidden.bias": "hidden_bias", "out.weight": "out_weight", "out.bias": "out_bias"}


@dataclass
class MLPProbes:
    """On raw states. hidden_weight float32 [layers, columns, width, hidden_size], hidden_bias and out_weight
    [layers, columns, width], out_bias [layers, columns]; all without `columns` where labels were [n].
    """

    hidden_weight: torch.Tensor
    hidden_bias: torch.Tensor
    out_weight: torch.Tensor
    out_bias: torch.Tensor

    @classmethod
    def of(cls, tensors) -> "MLPProbes":
        """One probe, from what `tensors` gave."""
        return cls(*(tensors[name][None, None] for name in NAMES))

    def tensors(self, layer, column=None) -> dict[str, torch.Tensor]:
        """What is saved of one probe: hidden.weight [width, hidden_size], hidden.bias and out.weight [width], out.bias [].
        column: None where labels were [n].
        """
        which = layer if column is None else (layer, column)
        return {name: getattr(self, field)[which] for name, field in NAMES.items()}

    def logits(self, matrices) -> np.ndarray:
        """float32 [layers, columns, n], or [layers, n]"""
        tensors = [getattr(self, field) for field in NAMES.values()]
        if self.out_bias.ndim == 1:
            tensors = [part[:, None] for part in tensors]
        layers, columns, width = tensors[1].shape
        result = torch.empty(layers, columns, len(matrices))
        for which in chunks(matrices, layers, columns * width):
            result[:, :, which] = forward(matrices.rows(which).to(tensors[0].device), *tensors).mT.cpu()
        return result.reshape(*self.out_bias.shape, -1).numpy()


def forward(rows, hidden_weight, hidden_bias, out_weight, out_bias) -> torch.Tensor:
    """Logits [layers, b, columns] of rows [layers, b, hidden_size]; one product for the hidden layers of all columns."""
    hidden = torch.baddbmm(hidden_bias.flatten(1)[:, None], rows, hidden_weight.flatten(1, 2).mT).relu()
    hidden = hidden.unflatten(2, hidden_bias.shape[1:])
    return (hidden * out_weight[:, None]).sum(3) + out_bias[:, None]


def train_mlp(
    matrices,
    labels,
    val_matrices,
    val_labels,
    settings,
    row_weights=None,
    width=WIDTH,
    on_epoch: Callable[[int, list], None] | None = None,
    device="cpu",
    val_row_weights=None,
) -> Training:
    """An MLP probe, whose hidden units are max(0, .), for every layer and label column; its `probes` are MLPProbes.

    labels, weights, the best epoch and errors: as for a linear probe, see `linear.train_together`. Of a layer and column
    alone, float32 rounds otherwise than in company, and the order of sums is all that differs. Memory for a step:
    about 12 bytes * layers * columns * width * batch size, beside the states.
    """
    if width < 1:
        raise UserError(f"width {width} leaves no hidden unit; give at least 1")
    return train_together(
        partial(MLPInTraining, width),
        matrices,
        labels,
        val_matrices,
        val_labels,
        settings,
        on_epoch,
        device,
        row_weights,
        val_row_weights,
    )


class MLPInTraining:
    """Weights on standardised states; the same at the start for every layer and column (He et al. 2015, for ReLU)."""

    def __init__(self, width, layers, columns, hidden_size, generator, device):
        hidden = torch.randn(width, hidden_size, generator=generator) * (2 / hidden_size) ** 0.5
        out = torch.randn(width, generator=generator) * width**-0.5
        first = hidden, torch.zeros(width), out, torch.tensor(0.0)
        self.tensors = [part.repeat(layers, columns, *[1] * part.ndim).to(device).requires_grad_() for part in first]
        self.decayed, self.free, self.outputs = self.tensors[0::2], self.tensors[1::2], columns * width

    def step(self, optimizer, rows, labels, row_weight) -> torch.Tensor:
        """One AdamW step on the mean weighted cross-entropy of each probe; returns its sum over the rows [layers, columns].

        rows: standardised [layers, b, hidden_size]; labels, row_weight [b, columns].
        """
        logits = forward(rows, *self.tensors)
        entropy = row_weight * binary_cross_entropy_with_logits(logits, labels.expand_as(logits), reduction="none")
        optimizer.zero_grad()
        (entropy.sum() / len(labels)).backward()
        optimizer.step()
        return entropy.detach().sum(1)

    def folded(self, mean, inverse_std) -> MLPProbes:
        hidden_weight, hidden_bias, out_weight, out_bias = self.tensors
        return MLPProbes(
            *fold(hidden_weight, hidden_bias, mean[:, None, None], inverse_std[:, None, None]),
            out_weight.detach().clone(),
            out_bias.detach().clone(),
        )
