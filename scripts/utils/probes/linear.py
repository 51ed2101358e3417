"""Linear probes of many layers and label columns trained at once: AdamW on standardised states, the best epoch kept."""

from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field, fields

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from utils.base.errors import UserError
from utils.probes.labels import label_columns, loss_weights
from utils.scores.metrics import at_threshold
from utils.scores.ranking import auroc
from utils.scores.thresholds import choose_thresholds
from utils.states.matrices import chunks

STEPS, SMALLEST_BATCH, LARGEST_BATCH = 5000, 8, 1024
FIRST_WEIGHTS = 0.01  # small beside what is learnt: the first steps, not chance, give the direction
SMALL_STEP = 2**20  # numbers in a minibatch: below this, handing work to other threads costs more than it saves


@dataclass(frozen=True)
class Settings:
    """epochs, learning_rate (falls to 0 along a cosine), weight_decay (AdamW's, on the weights of standardised states),
    batch_size in examples (None: so that about STEPS steps are made in all, for a step moves a weight by no more than the
    learning rate), balance: a positive counts as much more than a negative as there are fewer of them, at most
    pos_weight_cap (None: no cap); without it both count alike.
    """

    epochs: int = 10
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    batch_size: int | None = None
    pos_weight_cap: float | None = 5.0
    seed: int = 0
    balance: bool = True

    def batch_size_for(self, examples) -> int:
        return self.batch_size or min(max(self.epochs * examples // STEPS, SMALLEST_BATCH), LARGEST_BATCH)


@dataclass
class LinearProbes:
    """Probes on raw states: logits = states @ weight + bias. weight float32 [layers, columns, hidden_size], bias
    [layers, columns]; both without `columns` where there was one column of labels, [n].
    """

    weight: torch.Tensor
    bias: torch.Tensor

    def logits(self, matrices) -> np.ndarray:
        """float32 [layers, columns, n], or [layers, n]"""
        weight = self.weight if self.weight.ndim == 3 else self.weight[:, None]
        bias = self.bias.reshape(weight.shape[:2])[:, None]
        result = torch.empty(*weight.shape[:2], len(matrices))
        for which in chunks(matrices, len(weight), weight.shape[1]):
            rows = matrices.rows(which).to(weight.device)
            result[:, :, which] = transposed(torch.baddbmm(bias, rows, transposed(weight))).cpu()
        return result.reshape(*self.bias.shape, -1).numpy()

    def tensors(self, layer, column=None) -> dict[str, torch.Tensor]:
        """{"weight": [hidden_size], "bias": []} of one probe, as it is saved. column: None where there was one, [n]."""
        which = layer if column is None else (layer, column)
        return {"weight": self.weight[which], "bias": self.bias[which]}


@dataclass
class Training:
    """What training returns: the probes of the best epochs. epoch, threshold: [layers][columns], of the weights kept;
    pos_weight: [columns]; history[epoch][layer][column]: scores by name. No `columns` where labels were [n].
    """

    probes: LinearProbes
    epoch: list
    threshold: list
    pos_weight: float | list[float]
    history: list = field(default_factory=list)


def train(
    matrices,
    labels,
    val_matrices,
    val_labels,
    settings,
    on_epoch: Callable[[int, list], None] | None = None,
    device="cpu",
    row_weights=None,
    val_row_weights=None,
) -> Training:
    """A linear probe for every layer and label column; arguments and errors as in `train_together`."""
    return train_together(
        LinearInTraining,
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


def train_together(
    kind,
    matrices,
    labels,
    val_matrices,
    val_labels,
    settings,
    on_epoch=None,
    device="cpu",
    row_weights=None,
    val_row_weights=None,
) -> Training:
    """Train every probe on the same minibatches and keep, for each, the epoch with the best balanced accuracy on validation
    at its best threshold. A layer's or column's result is the same in any company, up to rounding.
    labels: 0 and 1, [n] or [n, columns]; row_weights: >= 0, likewise (0: the row is not in that column's loss, though in the
    mean and scale of the states and in the minibatches, which all columns share; the mean weight of a column is made 1);
    val_row_weights: of 0 where a row is not in that column. on_epoch(epoch, scores[layer][column]). kind(layers, columns,
    hidden_size, generator, device): the weights in training, such as LinearInTraining.

    Raises UserError for labels that are not 0 or 1 or of one class, for wrong shapes, and for weights that overflow.
    """
    squeeze = np.ndim(labels) == 1
    labels, weights = label_columns(labels, row_weights, len(matrices))
    val_labels, val_weights = label_columns(val_labels, val_row_weights, len(val_matrices), "validation", labels.shape[1])
    pos_weight, row_weight = loss_weights(labels, weights, settings)
    mean, inverse_std = standardisation(matrices)
    layers, hidden_size = mean.shape
    generator = torch.Generator().manual_seed(settings.seed)
    probes = kind(layers, labels.shape[1], hidden_size, generator, device)
    on_device = mean.float().to(device)[:, None], inverse_std.float().to(device)[:, None]
    optimizer = torch.optim.AdamW(
        [{"params": probes.decayed, "weight_decay": settings.weight_decay}, {"params": probes.free, "weight_decay": 0.0}],
        lr=settings.learning_rate,
        fused=str(device).startswith(("cpu", "cuda")),
    )
    batch_size = settings.batch_size_for(len(labels))
    steps = settings.epochs * -(-len(labels) // batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps)
    best = Best(pos_weight, layers)
    for epoch in range(1, settings.epochs + 1):
        loss = torch.zeros(layers, labels.shape[1], device=device)
        with threads_for(layers * batch_size * hidden_size * probes.outputs):
            for which in torch.randperm(len(labels), generator=generator).split(batch_size):
                rows = matrices.rows(which.numpy()).to(device).sub_(on_device[0]).mul_(on_device[1])
                loss += probes.step(optimizer, rows, labels[which].to(device), row_weight[which].to(device))
                schedule.step()
        now = probes.folded(mean, inverse_std)
        if not all(bool(part.isfinite().all()) for part in parts(now)):
            raise UserError(
                f"a probe's weights are not finite after epoch {epoch}; use a smaller --learning_rate than "
                f"{settings.learning_rate:g}, or a smaller --weight_decay than {settings.weight_decay:g}"
            )
        found = validate_columns(now.logits(val_matrices), val_labels, val_weights > 0, pos_weight, loss / len(labels))
        best.take(epoch, now, found)
        if on_epoch is not None:
            on_epoch(epoch, first_columns(found) if squeeze else found)
    return best.training(squeeze)


class LinearInTraining:
    """Weights [layers, columns, hidden_size] and biases on standardised states; the same at the start for all."""

    def __init__(self, layers, columns, hidden_size, generator, device):
        start = torch.randn(hidden_size, generator=generator) * FIRST_WEIGHTS / hidden_size**0.5
        self.weight, self.bias = start.repeat(layers, columns, 1).to(device), torch.zeros(layers, columns, device=device)
        self.decayed, self.free, self.outputs = [self.weight], [self.bias], columns

    def step(self, optimizer, rows, labels, row_weight) -> torch.Tensor:
        """One AdamW step on the mean weighted cross-entropy of each probe; returns its sum over the rows [layers, columns].

        rows: standardised [layers, b, hidden_size]; labels, row_weight [b, columns]. The gradient of a logit is
        row_weight * (sigmoid(logit) - label) / b.
        """
        logits = transposed(torch.baddbmm(self.bias[:, None], rows, transposed(self.weight)))
        labels, row_weight = transposed(labels), transposed(row_weight)
        slope = row_weight * (torch.sigmoid(logits) - labels) / labels.shape[1]
        self.weight.grad = torch.bmm(slope, rows)
        self.bias.grad = slope.sum(2)
        optimizer.step()
        entropy = binary_cross_entropy_with_logits(logits, labels.expand_as(logits), reduction="none")
        return (entropy * row_weight).sum(2)

    def folded(self, mean, inverse_std) -> LinearProbes:
        return folded(self.weight, self.bias, mean[:, None], inverse_std[:, None])


class Best:
    """Of each probe, the epoch with the best balanced accuracy on validation so far; the first of equal ones."""

    def __init__(self, pos_weight, layers):
        self.probes, self.pos_weight, self.history = None, pos_weight, []
        self.score, self.epoch, self.threshold = (np.full((layers, len(pos_weight)), fill) for fill in (-1.0, 0, 0.0))

    def take(self, epoch, probes, scores):
        """scores[layer][column], by name."""
        score, threshold = (
            np.array([[one[name] for one in layer] for layer in scores]) for name in ("val_balanced_accuracy", "threshold")
        )
        better = score > self.score
        self.score[better], self.epoch[better], self.threshold[better] = score[better], epoch, threshold[better]
        if self.probes is None:
            self.probes = probes
        for kept, new in zip(parts(self.probes), parts(probes), strict=True):
            kept[better] = new[better]
        self.history.append(scores)

    def training(self, squeeze) -> Training:
        epoch, threshold = self.epoch.tolist(), self.threshold.tolist()
        if not squeeze:
            return Training(self.probes, epoch, threshold, self.pos_weight, self.history)
        probes = type(self.probes)(*(part[:, 0] for part in parts(self.probes)))
        return Training(
            probes,
            first_columns(epoch),
            first_columns(threshold),
            self.pos_weight[0],
            [first_columns(scores) for scores in self.history],
        )


def transposed(matrices) -> torch.Tensor:
    """[..., a, b] -> [..., b, a]. A single column is laid out as a vector is, for which products are quicker."""
    *others, height, width = matrices.shape
    return matrices.reshape(*others, width, height) if 1 in (height, width) else matrices.mT


def parts(probes) -> list[torch.Tensor]:
    return [getattr(probes, part.name) for part in fields(probes)]


def first_columns(nested) -> list:
    return [row[0] for row in nested]


@contextmanager
def threads_for(size):
    """One thread for small steps: on a busy machine each wait for a second one costs more than the step itself."""
    before = torch.get_num_threads()
    torch.set_num_threads(1 if size < SMALL_STEP else before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def validate_columns(logits, labels, there, pos_weight, train_loss) -> list[list[dict]]:
    """scores[layer][column]. logits [layers, columns, n]; labels, there: [n, columns]; train_loss [layers, columns]."""
    by_column = [
        validate(logits[:, column][:, here], labels[here, column].numpy(), weight, train_loss[:, column].tolist())
        for column, (weight, here) in enumerate(zip(pos_weight, there.mT.numpy(), strict=True))
    ]
    return [list(of_layer) for of_layer in zip(*by_column, strict=True)]


def validate(logits, labels, pos_weight, train_loss) -> list[dict]:
    """One dict of scores a layer, at the threshold that suits it best."""
    result = []
    truth = torch.as_tensor(np.asarray(labels), dtype=torch.float32)
    thresholds = choose_thresholds(logits, labels)
    for layer, (values, threshold) in enumerate(zip(logits, thresholds.tolist(), strict=True)):
        loss = binary_cross_entropy_with_logits(torch.from_numpy(values), truth, pos_weight=torch.tensor(pos_weight))
        result.append(
            {
                "train_loss": train_loss[layer],
                "val_loss": float(loss),
                "threshold": threshold,
                "val_auc": auroc(values, labels),
                **{f"val_{name}": value for name, value in at_threshold(values, labels, threshold).items()},
            }
        )
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
    return LinearProbes(*fold(weight, bias, mean, inverse_std))


def fold(weight, bias, mean, inverse_std) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights [..., hidden_size] and bias [...] for raw states: weight / std, and bias - weight . mean / std with the
    weight as it is rounded to float32. mean and inverse_std: float64, of a shape that broadcasts to weight's.
    """
    raw = (weight.detach().double().cpu() * inverse_std).float()
    shifted = bias.detach().double().cpu() - (raw.double() * mean).sum(-1)
    return raw.to(weight.device), shifted.float().to(bias.device)
