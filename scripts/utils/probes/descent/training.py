"""Train probes in one loop: AdamW on minibatches along a cosine, keeping each probe's best epoch on validation."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from typing import Any, Protocol

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from utils.base.errors import UserError
from utils.probes.labels import LabelledStates, label_columns, loss_weights
from utils.scores.metrics import at_threshold
from utils.scores.ranking import auroc
from utils.scores.thresholds import choose_thresholds

STEPS, SMALLEST_BATCH, LARGEST_BATCH = 5000, 8, 1024
FIRST_WEIGHTS = 0.01  # small beside what is learnt: the first steps, not chance, give the direction
SMALL_STEP = 2**20  # numbers in a minibatch: below this, handing work to other threads costs more than it saves

Scores = list[list[dict[str, float]]]  # [layer][column], by name
OnEpoch = Callable[[int, Scores], Any]


@dataclass(frozen=True)
class Settings:
    """The settings of training.

    epochs: at least 1.
    learning_rate: falls to 0 along a cosine.
    weight_decay: AdamW's, on the weights of standardised states.
    batch_size: in examples (sequences, for probes that read them). None: so that about STEPS steps are made in all, for a
        step moves a weight by no more than the learning rate.
    pos_weight_cap: the most that a positive weighs relative to a negative; None: no cap.
    seed: of the first weights and the order of examples.
    balance: positives weigh more, the fewer they are, so that both classes weigh the same; without it all examples weigh
        alike.
    """

    epochs: int = 10
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    batch_size: int | None = None
    pos_weight_cap: float | None = 5.0
    seed: int = 0
    balance: bool = True

    def batch_size_for(self, examples: int) -> int:
        """Give the batch size that suits so many examples."""
        return self.batch_size or min(max(self.epochs * examples // STEPS, SMALLEST_BATCH), LARGEST_BATCH)


class InTraining(Protocol):
    """Probes of every layer and label column in training, on standardised states.

    decayed, free: the weights that AdamW moves, with weight decay and without; units: how many examples or sequences there
    are, of which minibatches are made.
    """

    decayed: list[torch.Tensor]
    free: list[torch.Tensor]
    units: int

    def order(self, generator: torch.Generator) -> torch.Tensor:
        """Draw the order of the units in an epoch, int64 [units]."""
        ...

    def step_size(self, batch_size: int) -> float:
        """Count the numbers in a step, by which threads are chosen; infinite where the step chooses them itself."""
        ...

    def set_gradients(self, which: torch.Tensor) -> torch.Tensor:
        """Set the gradients of the mean weighted cross-entropy of some units; return its sum over their examples.

        The sum is [layers, columns].
        """
        ...

    def folded(self) -> Any:
        """Give the probes on raw states: a dataclass of tensors [layers, columns, ...] with `logits(states)`."""
        ...


StartTraining = Callable[[Any, torch.Tensor, torch.Tensor, torch.Generator, Any], InTraining]


@dataclass
class Training:
    """The result of training: the probes of the best epochs.

    epoch, threshold: [layers][columns], of the weights kept; pos_weight: [columns]; history[epoch][layer][column]: scores by
    name.
    """

    probes: Any
    epoch: list[list[int]]
    threshold: list[list[float]]
    pos_weight: list[float]
    history: list[Scores] = field(default_factory=list)


def train_probes(
    start: StartTraining,
    train: LabelledStates,
    val: LabelledStates,
    settings: Settings,
    on_epoch: OnEpoch | None = None,
    device: str | torch.device = "cpu",
) -> Training:
    """Train every probe on the same minibatches, and keep its epoch with the best balanced accuracy on validation.

    Validation is scored at its best threshold. A layer's or column's result is the same in any company, up to rounding.

    start: makes the first weights, from states, labels, weights in the loss, generator and device.
    train: its row weights count in a column's loss, scaled so that their mean is 1.
    val: of the same layers and columns.
    on_epoch: called with the epoch and its scores[layer][column].

    Raises UserError for labels that are not 0 or 1 or of one class, for wrong shapes, and for weights that overflow.
    """
    labels, weights = label_columns(train.labels, train.row_weights, len(train.states))
    val_labels, val_weights = label_columns(val.labels, val.row_weights, len(val.states), "validation", labels.shape[1])
    pos_weight, in_loss = loss_weights(labels, weights, settings.balance, settings.pos_weight_cap)
    generator = torch.Generator().manual_seed(settings.seed)
    model = start(train.states, labels, in_loss, generator, device)
    optimizer, batch_size = adamw(model, settings, device), settings.batch_size_for(model.units)
    steps = settings.epochs * -(-model.units // batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps)
    best = BestEpochs(pos_weight)
    for epoch in range(1, settings.epochs + 1):
        loss = torch.tensor(0.0, device=device)
        with threads_for(model.step_size(batch_size)):
            for which in model.order(generator).split(batch_size):
                loss = loss + model.set_gradients(which)
                optimizer.step()
                schedule.step()
        probes = model.folded()
        require_finite(probes, epoch, settings)
        scores = validation_scores(probes.logits(val.states), val_labels, val_weights > 0, pos_weight, loss / len(labels))
        best.take(epoch, probes, scores)
        if on_epoch is not None:
            on_epoch(epoch, scores)
    return best.training()


def adamw(model: InTraining, settings: Settings, device: str | torch.device) -> torch.optim.Optimizer:
    """Make the optimizer of a model's weights."""
    return torch.optim.AdamW(
        [{"params": model.decayed, "weight_decay": settings.weight_decay}, {"params": model.free, "weight_decay": 0.0}],
        lr=settings.learning_rate,
        fused=str(device).startswith(("cpu", "cuda")),
    )


def require_finite(probes: Any, epoch: int, settings: Settings):
    """Raise UserError for weights that overflowed."""
    if not all(bool(part.isfinite().all()) for part in tensors_of(probes)):
        raise UserError(
            f"a probe's weights are not finite after epoch {epoch}; use a smaller --learning_rate than "
            f"{settings.learning_rate:g}, or a smaller --weight_decay than {settings.weight_decay:g}"
        )


class BestEpochs:
    """The best epoch of each probe so far, by balanced accuracy on validation; the first of equal ones."""

    def __init__(self, pos_weight: list[float]):
        self.pos_weight, self.history = pos_weight, []

    def take(self, epoch: int, probes: Any, scores: Scores):
        """Keep the weights of the probes that are better now than in all epochs before."""
        score, threshold = (
            np.array([[one[name] for one in layer] for layer in scores]) for name in ("val_balanced_accuracy", "threshold")
        )
        if not self.history:
            self.probes = probes
            self.score, self.epoch, self.threshold = (np.full(score.shape, fill) for fill in (-1.0, 0, 0.0))
        better = score > self.score
        self.score[better], self.epoch[better], self.threshold[better] = score[better], epoch, threshold[better]
        which = torch.from_numpy(better)
        for kept, new in zip(tensors_of(self.probes), tensors_of(probes), strict=True):
            kept[which.to(kept.device)] = new[which.to(new.device)]
        self.history.append(scores)

    def training(self) -> Training:
        """Sum up after the last epoch."""
        return Training(self.probes, self.epoch.tolist(), self.threshold.tolist(), self.pos_weight, self.history)


def tensors_of(probes: Any) -> list[torch.Tensor]:
    """List the tensors of a dataclass of them."""
    return [getattr(probes, part.name) for part in fields(probes)]


@contextmanager
def threads_for(size: float) -> Iterator[None]:
    """Use one thread for small steps: on a busy machine each wait for a second one costs more than the step itself."""
    before = torch.get_num_threads()
    torch.set_num_threads(1 if size < SMALL_STEP else before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def validation_scores(
    logits: np.ndarray, labels: torch.Tensor, there: torch.Tensor, pos_weight: list[float], train_loss: torch.Tensor
) -> Scores:
    """Score every layer and column on validation, each at the threshold that suits it best.

    logits: [layers, columns, n]; labels: [n, columns]; there: likewise, False where an example is not in a column;
    train_loss: [layers, columns].
    """
    result = [[] for _ in logits]
    for column, (weight, here) in enumerate(zip(pos_weight, there.mT.numpy(), strict=True)):
        values, truth = logits[:, column][:, here], labels[here, column]
        thresholds = choose_thresholds(values, truth.numpy()).tolist()
        for layer, (of_layer, threshold) in enumerate(zip(values, thresholds, strict=True)):
            loss = binary_cross_entropy_with_logits(torch.from_numpy(of_layer), truth, pos_weight=torch.tensor(weight))
            result[layer].append(
                {
                    "train_loss": float(train_loss[layer, column]),
                    "val_loss": float(loss),
                    "threshold": threshold,
                    "val_auc": auroc(of_layer, truth.numpy()),
                    **{f"val_{name}": value for name, value in at_threshold(of_layer, truth.numpy(), threshold).items()},
                }
            )
    return result
