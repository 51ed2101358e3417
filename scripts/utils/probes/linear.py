"""Linear probes of many layers trained at once: AdamW on standardised states, the best epoch's weights kept."""

from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from utils.errors import UserError
from utils.metrics import at_threshold, auroc, choose_threshold

STEPS, SMALLEST_BATCH, LARGEST_BATCH = 5000, 8, 1024
FIRST_WEIGHTS = 0.01  # small beside what is learnt: the first steps, not chance, give the direction
SMALL_STEP = 2**20  # numbers in a minibatch: below this, handing work to other threads costs more than it saves
CHUNK_BYTES = 2**26  # of states handled at a time where all rows are visited


@dataclass(frozen=True)
class Settings:
    """epochs, learning_rate (falls to 0 along a cosine), weight_decay (AdamW's, on the weights of standardised states),
    batch_size in examples (None: so that about STEPS steps are made in all, for a step moves a weight by no more than the
    learning rate), pos_weight_cap: the most that a positive counts more than a negative.
    """

    epochs: int = 10
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    batch_size: int | None = None
    pos_weight_cap: float = 5.0
    seed: int = 0

    def batch_size_for(self, examples) -> int:
        return self.batch_size or min(max(self.epochs * examples // STEPS, SMALLEST_BATCH), LARGEST_BATCH)


@dataclass
class LinearProbes:
    """One probe a layer, on raw states: logits = states @ weight + bias. weight float32 [layers, hidden_size]."""

    weight: torch.Tensor
    bias: torch.Tensor

    def logits(self, matrices) -> np.ndarray:
        """float32 [layers, n]"""
        result = torch.empty(len(self.weight), len(matrices))
        for which in chunks(matrices, len(self.weight)):
            rows = matrices.rows(which).to(self.weight.device)
            result[:, which] = torch.baddbmm(self.bias[:, None, None], rows, self.weight[:, :, None])[:, :, 0].cpu()
        return result.numpy()


@dataclass
class Training:
    """What `train` returns. epoch, threshold: [layers], of the weights kept; history[epoch][layer]: scores by name."""

    probes: LinearProbes
    epoch: list[int]
    threshold: list[float]
    pos_weight: float
    history: list[list[dict]] = field(default_factory=list)


def train(matrices, labels, val_matrices, val_labels, settings,
          on_epoch: Callable[[int, list[dict]], None] = lambda epoch, scores: None, device="cpu") -> Training:
    """Train every layer's probe on the same minibatches and keep, for each, the epoch with the best balanced accuracy on
    validation at its best threshold. labels: int [n] of 0 and 1. A layer's result is the same in any company.
    """
    labels = torch.as_tensor(np.asarray(labels), dtype=torch.float32)
    positives = float(labels.sum())
    pos_weight = min((len(labels) - positives) / positives, settings.pos_weight_cap)
    row_weight = torch.where(labels > 0, pos_weight, 1.0)
    mean, inverse_std = standardisation(matrices)
    layers, hidden_size = mean.shape
    generator = torch.Generator().manual_seed(settings.seed)
    start = torch.randn(hidden_size, generator=generator) * FIRST_WEIGHTS / hidden_size**0.5
    weight = start.repeat(layers, 1).to(device)
    bias = torch.zeros(layers, device=device)
    on_device = mean.float().to(device)[:, None], inverse_std.float().to(device)[:, None]
    optimizer = torch.optim.AdamW([{"params": [weight], "weight_decay": settings.weight_decay},
                                   {"params": [bias], "weight_decay": 0.0}], lr=settings.learning_rate)
    batch_size = settings.batch_size_for(len(labels))
    steps = settings.epochs * -(-len(labels) // batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps)
    best = Training(LinearProbes(torch.zeros(layers, hidden_size, device=device), torch.zeros(layers, device=device)),
                    [0] * layers, [0.0] * layers, pos_weight)
    best_scores = [-1.0] * layers
    for epoch in range(1, settings.epochs + 1):
        loss = torch.zeros(layers, device=device)
        with threads_for(layers * batch_size * hidden_size):
            for which in torch.randperm(len(labels), generator=generator).split(batch_size):
                rows = matrices.rows(which.numpy()).to(device).sub_(on_device[0]).mul_(on_device[1])
                loss += step(optimizer, weight, bias, rows, labels[which].to(device), row_weight[which].to(device))
                schedule.step()
        now = folded(weight, bias, mean, inverse_std)
        if not (now.weight.isfinite().all() and now.bias.isfinite().all()):
            raise UserError(f"a probe's weights are not finite after epoch {epoch}; use a smaller --learning_rate than "
                            f"{settings.learning_rate:g}, or a smaller --weight_decay than {settings.weight_decay:g}")
        scores = validate(now.logits(val_matrices), val_labels, pos_weight, (loss / len(labels)).tolist())
        for layer, score in enumerate(scores):
            if score["val_balanced_accuracy"] > best_scores[layer]:
                best_scores[layer] = score["val_balanced_accuracy"]
                best.epoch[layer], best.threshold[layer] = epoch, score["threshold"]
                best.probes.weight[layer], best.probes.bias[layer] = now.weight[layer], now.bias[layer]
        best.history.append(scores)
        on_epoch(epoch, scores)
    return best


@contextmanager
def threads_for(size):
    """One thread for small steps: on a busy machine each wait for a second one costs more than the step itself."""
    before = torch.get_num_threads()
    torch.set_num_threads(1 if size < SMALL_STEP else before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def step(optimizer, weight, bias, rows, labels, row_weight) -> torch.Tensor:
    """One AdamW step on the mean weighted cross-entropy of each layer; returns its sum over the rows, [layers].

    rows: standardised [layers, b, hidden_size]. The gradient of a logit is row_weight * (sigmoid(logit) - label) / b.
    """
    logits = torch.baddbmm(bias[:, None, None], rows, weight[:, :, None])[:, :, 0]
    slope = row_weight * (torch.sigmoid(logits) - labels) / len(labels)
    weight.grad = torch.bmm(slope[:, None], rows)[:, 0]
    bias.grad = slope.sum(1)
    optimizer.step()
    entropy = binary_cross_entropy_with_logits(logits, labels.expand_as(logits), reduction="none")
    return (entropy * row_weight).sum(1)


def validate(logits, labels, pos_weight, train_loss) -> list[dict]:
    """One dict of scores a layer, at the threshold that suits it best."""
    result = []
    truth = torch.as_tensor(np.asarray(labels), dtype=torch.float32)
    for layer, values in enumerate(logits):
        threshold = choose_threshold(values, labels)
        loss = binary_cross_entropy_with_logits(torch.from_numpy(values), truth, pos_weight=torch.tensor(pos_weight))
        result.append({"train_loss": train_loss[layer], "val_loss": float(loss), "threshold": threshold,
                       "val_auc": auroc(values, labels),
                       **{f"val_{name}": value for name, value in at_threshold(values, labels, threshold).items()}})
    return result


def standardisation(matrices) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and 1 / standard deviation of each feature, float64 [layers, hidden_size]; 0 for a constant feature.

    One visit of the rows; chunks are merged exactly (Chan, Golub and LeVeque 1983).
    """
    count, mean, squares = 0, 0.0, 0.0
    for which in chunks(matrices, layers=None):
        rows = matrices.rows(which).double()
        chunk_mean = rows.mean(1)
        shift = chunk_mean - mean
        total = count + rows.shape[1]
        squares = squares + (rows - chunk_mean[:, None]).square().sum(1) + shift**2 * (count * rows.shape[1] / total)
        mean = mean + shift * (rows.shape[1] / total)
        count = total
    std = (squares / count).sqrt()
    constant = std <= 1e-7 * mean.abs().clamp(min=1e-30)
    return mean, torch.where(constant, 0.0, 1 / std.clamp(min=1e-300))


def folded(weight, bias, mean, inverse_std) -> LinearProbes:
    """The probe on raw states: weight / std, and bias - weight . mean / std with the weight as it is rounded to float32."""
    raw = (weight.double().cpu() * inverse_std).float()
    return LinearProbes(raw.to(weight.device), (bias.double().cpu() - (raw.double() * mean).sum(1)).float().to(bias.device))


def chunks(matrices, layers):
    """Index arrays of consecutive rows, each small enough to be handled at once."""
    if layers is None:
        layers = matrices.rows(np.arange(1)).shape[0]
    size = max(1, CHUNK_BYTES // (4 * layers * matrices.hidden_size))
    for start in range(0, len(matrices), size):
        yield np.arange(start, min(start + size, len(matrices)))
