"""Attention probes of many layers and label columns at once: a learned query pools a sequence's tokens, then a readout.

    a_t = softmax_t(query . x_t),    logit = sum_t a_t (value . x_t) + bias,    t over the rows of one example

    probe = Attention().fit(sequences, labels)          # sequences: list of [T_i, hidden_size]; labels: [n] of 0 and 1
    probe.predict_proba(sequences)[:, 1]                # [n]
    probe.score(sequences, labels)                      # accuracy, at the threshold that suits the held-out fifth best
    probe.attention(sequences)[0]                       # [queries, T_0], rows sum to 1: where sequence 0 is read
    probe.probes.tensors(0, 0)["query"]                 # [queries, hidden_size], on raw states

With several queries their readouts are summed. A token costs two products a query, so that only scalars are ever padded.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import inf

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.special import expit
from torch.nn.functional import binary_cross_entropy_with_logits

from utils.base.errors import UserError
from utils.probes.descent.ranges import Backward, Part, Ranges, Scales, concatenated
from utils.probes.descent.training import FIRST_WEIGHTS, OnEpoch, Settings, Training, threads_for, train_probes
from utils.probes.labels import LabelledStates, held_out

FIRST_QUERIES = 1.0  # of several, so that their first scores have a deviation of 1: queries that start alike stay alike
NEIGHBOURS = 4  # sequences that are drawn together, for their rows lie together on the disk


def pooled_readouts(
    rows: torch.Tensor, query: torch.Tensor, value: torch.Tensor, part: Part
) -> tuple[torch.Tensor, Backward]:
    """Compute the pooled readouts [layers, e, columns] of a part, and how their gradient passes back.

    rows: [layers, k, hidden_size]; query, value: [layers, columns, queries, hidden_size]. Also returns a function that turns
    the gradient of the readouts into those of query and value.
    """
    layers, columns, queries, hidden_size = query.shape
    weights = torch.stack([query, value], dim=1).flatten(1, 3)
    both = torch.bmm(rows, weights.mT).view(layers, -1, 2, columns, queries)
    pooled, back = part.pool(part.padded(both[:, :, 0]), part.padded(both[:, :, 1]))

    def backward(slope: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        gradient = torch.stack([part.unpadded(each) for each in back(slope[..., None].expand_as(pooled))], dim=2)
        of_query, of_value = torch.bmm(gradient.flatten(2).mT, rows).view(layers, 2, columns, queries, hidden_size).unbind(1)
        return of_query, of_value

    return pooled.sum(-1), backward


@dataclass
class AttentionProbes:
    """One probe for each layer and label column, on raw states.

    query, value: float32 [layers, columns, queries, hidden_size]; bias: [layers, columns].
    """

    query: torch.Tensor
    value: torch.Tensor
    bias: torch.Tensor

    @classmethod
    def of(cls, tensors: Mapping[str, torch.Tensor]) -> "AttentionProbes":
        """Make the probes of one layer from what `tensors` gave of each, stacked: {name: [columns, ...]}."""
        return cls(*(tensors[name][None] for name in ("query", "value", "bias")))

    def tensors(self, layer: int, column: int) -> dict[str, torch.Tensor]:
        """Give what is saved of one probe: query and value [queries, hidden_size], bias []."""
        return {name: getattr(self, name)[layer, column].cpu().clone() for name in ("query", "value", "bias")}

    def logits(self, ranges: Ranges) -> np.ndarray:
        """Compute logits float32 [layers, columns, n]. Raises UserError where states, and so logits, are not finite."""
        layers, columns, queries, _ = self.query.shape
        ranges.require_columns(columns)
        result = torch.empty(layers, columns, len(ranges))
        for part in ranges.parts(layers, columns * queries, self.query.device):
            pooled, _ = pooled_readouts(ranges.table.rows(part.index).to(self.query.device), self.query, self.value, part)
            result[:, :, part.examples] = (pooled + self.bias[:, None]).mT.cpu()
        wrong = int((~result.isfinite()).any(1).any(0).sum())
        if wrong:
            raise UserError(
                f"the logits of {wrong} of {len(ranges)} examples are not finite, for their states are not; "
                "leave them out, or read states in bfloat16 or float32"
            )
        return result.numpy()

    def attention(self, ranges: Ranges, layer: int = 0, column: int = 0) -> list[np.ndarray]:
        """Show where one probe reads each example: n arrays [queries, end - start], whose rows sum to 1."""
        query = self.query[layer, column]
        result = [np.empty(0)] * len(ranges)
        lengths = ranges.ends[:, column if ranges.ends.shape[1] > 1 else 0] - ranges.start
        for part in ranges.parts(len(self.query), len(query), query.device):
            rows = ranges.table.rows(part.index)[layer].to(query.device)
            scores = part.padded((rows @ query.mT)[None, :, None])[0, :, :, 0].mT[part.sequence]
            beyond = torch.arange(part.width) >= torch.from_numpy(lengths[part.examples])[:, None]
            weights = scores.masked_fill(beyond.to(query.device)[:, None], -torch.inf).softmax(2).cpu().numpy()
            for example, each in zip(part.examples, weights, strict=True):
                result[example] = each[:, : lengths[example]]
        return result


def train_attention(
    train: LabelledStates[Ranges],
    val: LabelledStates[Ranges],
    settings: Settings,
    queries: int = 1,
    on_epoch: OnEpoch | None = None,
    device: str | torch.device = "cpu",
) -> Training:
    """Train an attention probe for every layer and label column; arguments and errors as in `training.train_probes`.

    Minibatches are sets of whole sequences, which settings.batch_size counts. A probe's states are standardised over the
    rows that its own examples read.
    """
    for each in (train, val):
        each.states.require_columns(each.columns)
    return train_probes(partial(AttentionInTraining, queries), train, val, settings, on_epoch, device)


class AttentionInTraining:
    """Attention probes in training, on standardised states.

    Rows are standardised alike for all columns. What a column's own standardisation adds to that (see Scales) is taken into
    the weights.
    """

    def __init__(
        self,
        queries: int,
        ranges: Ranges,
        labels: torch.Tensor,
        weights: torch.Tensor,
        generator: torch.Generator,
        device: str | torch.device,
    ):
        self.ranges, self.scales, self.units = ranges, Scales.of(ranges, weights.numpy() > 0), len(ranges.sequences)
        self.labels, self.weights = labels.to(device), weights.to(device)
        layers, hidden_size = self.scales.common_mean.shape
        first = torch.randn(2, 1, 1, queries, hidden_size, generator=generator) / hidden_size**0.5
        size = FIRST_WEIGHTS if queries == 1 else FIRST_QUERIES, FIRST_WEIGHTS  # a query of about 0 starts as mean pooling
        self.query, self.value = (
            (part * by).repeat(layers, labels.shape[1], 1, 1).to(device) for part, by in zip(first, size, strict=True)
        )
        self.bias = torch.zeros(layers, labels.shape[1], device=device)
        self.decayed, self.free = [self.query, self.value], [self.bias]
        common = self.scales.common_mean, self.scales.common_inverse
        self.mean, self.inverse = (part.float().to(device)[:, None] for part in common)
        self.ratio, self.offset = (part.float().to(device) for part in self.scales.relative())

    def order(self, generator: torch.Generator) -> torch.Tensor:
        """Draw the sequences in blocks of neighbours whose borders and order are random."""
        first = int(torch.randint(NEIGHBOURS, (1,), generator=generator))
        block = (torch.arange(self.units) + first) // NEIGHBOURS
        turn = torch.randperm(int(block[-1]) + 1, generator=generator)
        return torch.argsort(turn[block], stable=True)

    def step_size(self, batch_size: int) -> float:
        return inf

    def set_gradients(self, which: torch.Tensor) -> torch.Tensor:
        """Set the gradients; that of a logit is weight * (sigmoid(logit) - label) / examples."""
        layers, columns, queries, hidden_size = self.query.shape
        query, value = self.query * self.ratio, self.value * self.ratio
        bias = self.bias - (value.sum(2) * self.offset).sum(-1)
        chosen = np.sort(which.numpy())
        examples = int(self.ranges.sequences.count[chosen].sum())
        loss, of_query, of_value, of_bias = torch.zeros(4, device=self.bias.device)
        for part in self.ranges.parts(layers, columns * queries, self.bias.device, chosen):
            with threads_for(layers * len(part.index) * max(hidden_size, 2 * columns * queries)):
                rows = self.ranges.table.rows(part.index).to(self.bias.device).sub_(self.mean).mul_(self.inverse)
                pooled, backward = pooled_readouts(rows, query, value, part)
                logits, truth, weight = pooled + bias[:, None], self.labels[part.examples], self.weights[part.examples]
                slope = weight * (torch.sigmoid(logits) - truth) / examples
                gradient = backward(slope)
                of_query, of_value, of_bias = of_query + gradient[0], of_value + gradient[1], of_bias + slope.sum(1)
            entropy = binary_cross_entropy_with_logits(logits, truth.expand_as(logits), reduction="none")
            loss = loss + (entropy * weight).sum(1)
        self.query.grad, self.bias.grad = of_query * self.ratio, of_bias
        self.value.grad = (of_value - (of_bias[..., None] * self.offset)[:, :, None]) * self.ratio
        return loss

    def folded(self) -> AttentionProbes:
        """Give the probes on raw states.

        A softmax ignores what is added to all of its scores, so the query needs no mean.
        """
        device, inverse = self.bias.device, self.scales.inverse[:, :, None]
        query, value = ((part.double().cpu() * inverse).float() for part in (self.query, self.value))
        bias = self.bias.double().cpu() - (value.double().sum(2) * self.scales.mean).sum(-1)
        return AttentionProbes(query.to(device), value.to(device), bias.float().to(device))


class Attention:
    """One attention probe on one layer's states, with scikit-learn's method names.

    X: a list of arrays [T_i, hidden_size], or one array [n, T, hidden_size] with lengths [n], the rows beyond which are
    padding. A fifth of the examples, drawn evenly of each class, is held out to choose the epoch and the threshold of
    `predict`.
    """

    def __init__(
        self,
        queries: int = 1,
        epochs: int = 20,
        learning_rate: float = 1e-3,
        weight_decay: float = 1e-4,
        pos_weight_cap: float | None = 5.0,
        seed: int = 0,
    ):
        self.queries = queries
        self.settings = Settings(epochs, learning_rate, weight_decay, None, pos_weight_cap, seed)

    def fit(
        self,
        X: Sequence[np.ndarray] | np.ndarray,
        y: ArrayLike,
        lengths: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> "Attention":
        """Fit the probe. y: 0 and 1, [n]; sample_weight: >= 0, [n]."""
        ranges, labels = concatenated(X, lengths), np.asarray(y)
        weights = np.ones(len(labels)) if sample_weight is None else np.asarray(sample_weight)
        out = held_out(labels, self.settings.seed)
        train, val = (LabelledStates(ranges[which], labels[which], weights[which]) for which in (~out, out))
        found = train_attention(train, val, self.settings, self.queries)
        self.probes, self.epoch, self.threshold = found.probes, found.epoch[0][0], found.threshold[0][0]
        return self

    def decision_function(self, X: Sequence[np.ndarray] | np.ndarray, lengths: ArrayLike | None = None) -> np.ndarray:
        """Compute logits float32 [n]."""
        return self.probes.logits(concatenated(X, lengths))[0, 0]

    def predict(self, X: Sequence[np.ndarray] | np.ndarray, lengths: ArrayLike | None = None) -> np.ndarray:
        """Say 1 where the logit is above `threshold`, else 0: int64 [n]."""
        return (self.decision_function(X, lengths) > self.threshold).astype(np.int64)

    def predict_proba(self, X: Sequence[np.ndarray] | np.ndarray, lengths: ArrayLike | None = None) -> np.ndarray:
        """Give the probabilities of label 0 and of 1: float64 [n, 2]."""
        positive = expit(self.decision_function(X, lengths).astype(np.float64))
        return np.stack([1 - positive, positive], axis=1)

    def score(self, X: Sequence[np.ndarray] | np.ndarray, y: ArrayLike, lengths: ArrayLike | None = None) -> float:
        """Compute the accuracy of `predict`."""
        return float((self.predict(X, lengths) == np.asarray(y)).mean())

    def attention(self, X: Sequence[np.ndarray] | np.ndarray, lengths: ArrayLike | None = None) -> list[np.ndarray]:
        """Show where each sequence is read: n arrays [queries, T_i]."""
        return self.probes.attention(concatenated(X, lengths))
