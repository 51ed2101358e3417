"""Fit one probe on one matrix of states [n, hidden_size], numpy or torch, with scikit-learn's method names.

>>> import numpy as np
>>> from utils.probes.estimators import Logistic, MassMean
>>> states = np.random.default_rng(0).normal(size=(400, 16))
>>> labels = (states[:, 0] + states[:, 1] > 0).astype(int)
>>> [round(probe.fit(states, labels).score(states, labels), 1) for probe in (Logistic(), MassMean(tilted=True))]
[1.0, 1.0]
"""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.special import expit

from utils.base.errors import UserError
from utils.probes.affine import exact_logits
from utils.probes.descent.linear import LinearProbes
from utils.probes.descent.linear import train as train_linear
from utils.probes.descent.mlp import WIDTH, MLPProbes, train_mlp
from utils.probes.descent.training import SMALLEST_BATCH, STEPS, Settings, Training
from utils.probes.labels import LabelledStates, held_out
from utils.probes.logistic.solver import GRADIENT_TOLERANCE, solve
from utils.probes.mass_mean import mass_mean
from utils.states.matrices import Matrices

FEWEST_EPOCHS, MOST_EPOCHS = 10, 200


class Estimator(ABC):
    """The methods that all families share. A subclass gives `fit` and `logits`.

    After fit: threshold, the logit above which `predict` says 1: 0, or the best on validation where the family has one.
    Raises UserError for states that are not finite or not [n, hidden_size], labels that are not 0 and 1 or of one class.
    """

    threshold = 0.0
    features: int | None = None

    @abstractmethod
    def logits(self, states: torch.Tensor) -> np.ndarray:
        """Compute logits float64 [n] of checked states [n, hidden_size]."""

    def decision_function(self, X: ArrayLike) -> np.ndarray:
        """Compute logits float64 [n]."""
        if self.features is None:
            raise UserError(f"this {type(self).__name__} is not fitted; call fit(X, y) first")
        states = matrix(X)
        if states.shape[1] != self.features:
            raise UserError(
                f"X has {states.shape[1]} features, the probe was fitted on {self.features}; give states of the "
                "same model and layer"
            )
        return self.logits(states)

    def predict(self, X: ArrayLike) -> np.ndarray:
        """Say 1 where the logit is above `threshold`, else 0: int64 [n]."""
        return (self.decision_function(X) > self.threshold).astype(np.int64)

    def predict_proba(self, X: ArrayLike) -> np.ndarray:
        """Give the probabilities of label 0 and of 1, by the sigmoid of the logits: float64 [n, 2]."""
        positive = expit(self.decision_function(X))
        return np.stack([1 - positive, positive], axis=1)

    def score(self, X: ArrayLike, y: ArrayLike) -> float:
        """Compute the accuracy of `predict`."""
        predicted = self.predict(X)
        return float((predicted == label_array(y, len(predicted))).mean())


class Affine(Estimator):
    """A probe of one weight and one bias.

    After fit: weight float64 [hidden_size] and bias, on raw states; the logit is states @ weight + bias.
    """

    weight: np.ndarray
    bias: float

    def logits(self, states: torch.Tensor) -> np.ndarray:
        return exact_logits(states, self.weight, np.asarray(self.bias))


class Solved(Affine):
    """A family whose weight and bias are solved for, exactly or in closed form. A subclass gives `learn`."""

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> "Estimator":
        """Fit the probe.

        X: [n, hidden_size]; y: 0 and 1, [n]; sample_weight: >= 0, [n]; a row of weight 0 counts as left out.
        """
        states, labels, weights = checked_rows(X, y, sample_weight)
        self.features = states.shape[1]
        self.learn(states, labels, weights)
        return self

    @abstractmethod
    def learn(self, states: torch.Tensor, labels: np.ndarray, weights: np.ndarray):
        """Fit the probe to states [n, hidden_size], labels [n] and weights [n], all checked."""


class Logistic(Solved):
    """Logistic regression at its exact minimum: see `logistic.solver.solve`.

    It minimises mean loss + l2 / 2 * |weight|^2 on standardised states. After fit: gradient, its largest entry; converged;
    separable: without a penalty there is no minimum.
    """

    def __init__(self, l2: float = 1e-3, tolerance: float = GRADIENT_TOLERANCE):
        self.l2, self.tolerance = l2, tolerance

    def learn(self, states: torch.Tensor, labels: np.ndarray, weights: np.ndarray):
        found = solve(states, labels, weights, [self.l2], self.tolerance)
        self.weight, self.bias = np.asarray(found.weight[0, 0], dtype=np.float64), float(found.bias[0, 0])
        self.gradient, self.converged, self.separable = (
            float(found.gradient[0, 0]),
            bool(found.converged[0, 0]),
            bool(found.separable[0, 0]),
        )


class MassMean(Solved):
    """The difference of the classes' means; tilted: times the inverse within-class covariance: see `mass_mean.mass_mean`.

    The plain form's logit has no scale, so its probabilities rank and separate the classes but are not calibrated; the
    tilted form's are those of normal classes that are equally frequent. After fit: shrinkage of the covariance, 0 where none
    was needed; with fewer rows than features there is some.
    """

    def __init__(self, tilted: bool = False):
        self.tilted = tilted

    def learn(self, states: torch.Tensor, labels: np.ndarray, weights: np.ndarray):
        found = mass_mean(states, labels, weights, self.tilted)
        self.weight, self.bias, self.shrinkage = found.weight[0], float(found.bias[0]), float(found.shrinkage[0])


class Descended(Estimator):
    """A family trained by AdamW, which keeps the epoch with the best balanced accuracy on validation.

    epochs: None for about STEPS steps, from FEWEST_EPOCHS to MOST_EPOCHS; balance: both classes have the same total weight;
    others as in `training.Settings`. After fit: epoch, threshold (the best on validation), history[epoch]: scores by name.
    """

    def __init__(
        self,
        epochs: int | None = None,
        learning_rate: float = 1e-3,
        weight_decay: float = 1e-4,
        batch_size: int | None = None,
        balance: bool = False,
        seed: int = 0,
        device: str = "cpu",
    ):
        self.epochs, self.learning_rate, self.weight_decay, self.batch_size = epochs, learning_rate, weight_decay, batch_size
        self.balance, self.seed, self.device = balance, seed, device

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        validation: tuple[ArrayLike, ArrayLike] | None = None,
    ) -> "Estimator":
        """Fit the probe.

        validation: (X, y). Without it a fifth of the rows of each class, drawn at random by the seed, is held out.
        """
        states, labels, weights = checked_rows(X, y, sample_weight)
        if validation is None:
            out = held_out(labels, self.seed)
            val_states, val_labels = states[out], labels[out]
            states, labels, weights = states[~out], labels[~out], weights[~out]
        else:
            val_states, val_labels, _ = checked_rows(*validation, None)
            if val_states.shape[1] != states.shape[1]:
                raise UserError(f"validation has {val_states.shape[1]} features, X {states.shape[1]}; give the same")
        self.features = states.shape[1]
        found = self.train(
            LabelledStates(Matrices.of(states[None]), labels, weights),
            LabelledStates(Matrices.of(val_states[None]), val_labels),
            self.settings(len(labels)),
        )
        self.epoch, self.threshold = found.epoch[0][0], found.threshold[0][0]
        self.history = [scores[0][0] for scores in found.history]
        self.take(found.probes)
        return self

    def settings(self, examples: int) -> Settings:
        """Choose the settings of training on so many examples."""
        enough = -(-STEPS * SMALLEST_BATCH // examples)
        epochs = self.epochs or min(max(enough, FEWEST_EPOCHS), MOST_EPOCHS)
        return Settings(epochs, self.learning_rate, self.weight_decay, self.batch_size, None, self.seed, self.balance)

    @abstractmethod
    def train(self, train: LabelledStates, val: LabelledStates, settings: Settings) -> Training:
        """Train the family's probe."""

    @abstractmethod
    def take(self, probes: LinearProbes | MLPProbes):
        """Keep what training gave, of one layer and column."""


class Linear(Descended, Affine):
    """A linear probe: see `linear.train`."""

    def train(self, train: LabelledStates, val: LabelledStates, settings: Settings) -> Training:
        return train_linear(train, val, settings, device=self.device)

    def take(self, probes: LinearProbes):
        self.weight, self.bias = probes.weight[0, 0].double().cpu().numpy(), float(probes.bias[0, 0])


class MLP(Descended):
    """One hidden layer of `width` units max(0, .): see `mlp.train_mlp`. After fit: probes, an MLPProbes of one layer."""

    def __init__(self, width: int = WIDTH, **settings: Any):
        super().__init__(**settings)
        self.width = width

    def train(self, train: LabelledStates, val: LabelledStates, settings: Settings) -> Training:
        return train_mlp(train, val, settings, self.width, device=self.device)

    def take(self, probes: MLPProbes):
        self.probes = probes

    def logits(self, states: torch.Tensor) -> np.ndarray:
        return self.probes.logits(Matrices.of(states[None]))[0, 0].astype(np.float64)


def checked_rows(X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None) -> tuple[torch.Tensor, np.ndarray, np.ndarray]:
    """Check states [n, hidden_size], labels int64 [n] and weights float64 [n], and leave out the rows of weight 0."""
    states = matrix(X)
    labels = label_array(y, len(states))
    weights = np.ones(len(labels)) if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)
    if weights.shape != labels.shape or not np.isfinite(weights).all() or (weights < 0).any():
        raise UserError(
            f"sample_weight has shape {list(weights.shape)}, or numbers that are negative or not finite; give "
            f"{len(labels)} numbers of at least 0"
        )
    if (weights == 0).any():
        kept = np.flatnonzero(weights)
        states, labels, weights = states[torch.from_numpy(kept)], labels[kept], weights[kept]
    if len(np.unique(labels)) < 2:
        raise UserError(f"y holds one class only in its {len(labels)} rows; a probe needs both")
    return states, labels, weights


def matrix(X: ArrayLike) -> torch.Tensor:
    """Check states: float32 or float64 [n, hidden_size], on the processor."""
    states = X.detach().cpu() if isinstance(X, torch.Tensor) else torch.as_tensor(np.asarray(X))
    if states.ndim != 2 or states.is_complex():
        raise UserError(f"X has shape {list(states.shape)} and type {states.dtype}; give real numbers [n, hidden_size]")
    if states.dtype != torch.float64:
        states = states.float()
    wrong = int((~states.isfinite()).any(1).sum())
    if wrong:
        raise UserError(f"{wrong} of {len(states)} rows of X are not finite; drop them, or read bfloat16 or float32 states")
    return states


def label_array(y: ArrayLike, examples: int) -> np.ndarray:
    """Check labels: int64 [n]."""
    labels = y.detach().cpu().numpy() if isinstance(y, torch.Tensor) else np.asarray(y)
    if labels.shape != (examples,):
        raise UserError(f"y has shape {list(labels.shape)} for {examples} rows of X; give one label a row")
    if not np.isin(labels, (0, 1)).all():
        raise UserError("y is not all 0 or 1; leave out rows of unknown truth")
    return labels.astype(np.int64)
