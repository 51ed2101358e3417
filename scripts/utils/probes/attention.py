"""Attention probes of many layers and label columns at once: a learned query pools a sequence's tokens, then a readout.

    a_t = softmax_t(query . x_t),    logit = sum_t a_t (value . x_t) + bias,    t over the rows of one example

    probe = Attention().fit(sequences, labels)          # sequences: list of [T_i, hidden_size]; labels: [n] of 0 and 1
    probe.predict_proba(sequences)[:, 1]                # [n]
    probe.score(sequences, labels)                      # accuracy, at the threshold that suits the held-out fifth best
    probe.attention(sequences)[0]                       # [queries, T_0], rows sum to 1: where sequence 0 is read
    probe.probes.tensors(0, 0)["query"]                 # [queries, hidden_size], on raw states

With several queries their readouts are summed. A token costs two products a query, so that only scalars are ever padded.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from utils.base.errors import UserError
from utils.probes.linear import Settings, threads_for
from utils.probes.ragged import Ragged, concatenated, standardisation
from utils.scores.metrics import at_threshold
from utils.scores.ranking import auroc
from utils.scores.thresholds import choose_threshold

FIRST_WEIGHTS = 0.01  # as in the linear probe; with a query of about 0 it starts as mean pooling
FIRST_QUERIES = 1.0  # of several, so that their first scores have a deviation of 1: queries that start alike stay alike
NEIGHBOURS = 4  # sequences that are drawn together, for their rows lie together on the disk
HELD_OUT = 5  # of so many examples Attention.fit keeps one to choose the epoch by


def forward(rows, query, value, part):
    """Pooled readouts [layers, e, columns] of a part, and a function from their gradient to those of query and value.

    rows: [layers, k, hidden_size]; query, value: [layers, columns, queries, hidden_size].
    """
    layers, columns, queries, hidden_size = query.shape
    weights = torch.stack([query, value], dim=1).flatten(1, 3)
    both = torch.bmm(rows, weights.mT).view(layers, -1, 2, columns, queries)
    pooled, back = part.pool(part.padded(both[:, :, 0]), part.padded(both[:, :, 1]))

    def backward(slope):
        gradient = torch.stack([part.unpadded(each) for each in back(slope[..., None].expand_as(pooled))], dim=2)
        return torch.bmm(gradient.flatten(2).mT, rows).view(layers, 2, columns, queries, hidden_size).unbind(1)

    return pooled.sum(-1), backward


@dataclass
class AttentionProbes:
    """One probe for each layer and label column, on raw states. query, value: float32 [layers, columns, queries,
    hidden_size]; bias [layers, columns].
    """

    query: torch.Tensor
    value: torch.Tensor
    bias: torch.Tensor

    @classmethod
    def of(cls, tensors) -> "AttentionProbes":
        """One probe, from what `tensors` gave."""
        return cls(*(tensors[name][None, None] for name in ("query", "value", "bias")))

    def tensors(self, layer, column) -> dict[str, torch.Tensor]:
        """What is saved of one probe: query and value [queries, hidden_size], bias []."""
        return {name: getattr(self, name)[layer, column].cpu().clone() for name in ("query", "value", "bias")}

    def logits(self, ragged: Ragged) -> np.ndarray:
        """float32 [layers, columns, n]. Raises UserError where they are not finite, for neither are states then."""
        layers, columns, queries, _ = self.query.shape
        ragged.require_columns(columns)
        result = torch.empty(layers, columns, len(ragged))
        for part in ragged.parts(layers, columns * queries, self.query.device):
            pooled, _ = forward(ragged.table.rows(part.index).to(self.query.device), self.query, self.value, part)
            result[:, :, part.examples] = (pooled + self.bias[:, None]).mT.cpu()
        wrong = int((~result.isfinite()).any(1).any(0).sum())
        if wrong:
            raise UserError(
                f"the logits of {wrong} of {len(ragged)} examples are not finite, for their states are not; "
                "leave them out, or read states in bfloat16 or float32"
            )
        return result.numpy()

    def attention(self, ragged: Ragged, layer=0, column=0) -> list[np.ndarray]:
        """What one probe makes of the tokens of each example: n arrays [queries, end - start], whose rows sum to 1."""
        query = self.query[layer, column]
        result = [None] * len(ragged)
        lengths = ragged.ends[:, column if ragged.ends.shape[1] > 1 else 0] - ragged.start
        for part in ragged.parts(len(self.query), len(query), query.device):
            rows = ragged.table.rows(part.index)[layer].to(query.device)
            scores = part.padded((rows @ query.mT)[None, :, None])[0, :, :, 0].mT[part.sequence]
            beyond = torch.arange(part.width) >= torch.from_numpy(lengths[part.examples])[:, None]
            weights = scores.masked_fill(beyond.to(query.device)[:, None], -torch.inf).softmax(2).cpu().numpy()
            for example, each in zip(part.examples, weights, strict=True):
                result[example] = each[:, : lengths[example]]
        return result


@dataclass
class AttentionTraining:
    """What `train_attention` returns. epoch, threshold: [layers][columns], of the weights kept; pos_weight: [columns];
    history[epoch][layer][column]: scores by name.
    """

    probes: AttentionProbes
    epoch: list[list[int]]
    threshold: list[list[float]]
    pos_weight: list[float]
    history: list[list[list[dict]]]


def train_attention(
    ragged,
    labels,
    val_ragged,
    val_labels,
    settings,
    row_weights=None,
    queries=1,
    on_epoch: Callable[[int, list], None] | None = None,
    device="cpu",
    val_row_weights=None,
) -> AttentionTraining:
    """Train the probes of every layer and label column on the same minibatches, which are sets of whole sequences, and keep,
    for each, the epoch with the best balanced accuracy on validation at its best threshold.

    labels: 0 and 1, [n] or [n, columns]; row_weights: >= 0, likewise (0: the example is not in that column, whose mean
    weight is made 1); val_row_weights: of 0 where an example is not in that column. settings.batch_size counts sequences.
    on_epoch(epoch, scores[layer][column]). A probe's result is the same in any company, up to rounding: its states are
    standardised over the rows that its own examples read.

    Raises UserError for labels that are not 0 or 1 or of one class, states or weights that are not finite, wrong shapes.
    """
    labels, weights = checked(ragged, labels, row_weights, "train")
    val_labels, val_weights = checked(val_ragged, val_labels, val_row_weights, "validation")
    columns = labels.shape[1]
    positive = (weights * labels).sum(0)
    pos_weight = (weights.sum(0) - positive) / positive if settings.balance else torch.ones_like(positive)
    if settings.balance and settings.pos_weight_cap is not None:
        pos_weight = pos_weight.clamp(max=settings.pos_weight_cap)
    weights = (weights / weights.mean(0) * torch.where(labels > 0, pos_weight, 1.0)).float().to(device)
    scales = standardisation(ragged, weights.cpu().numpy() > 0)
    model = Model(scales, columns, queries, settings, device)
    labels, batch_size = labels.float().to(device), settings.batch_size_for(len(ragged.sequences))
    steps = settings.epochs * -(-len(ragged.sequences) // batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(model.optimizer, T_max=steps)
    best, thresholds, epochs = (np.full((len(scales.mean), columns), fill) for fill in (-1.0, 0.0, 0))
    kept, history = model.folded(), []
    for epoch in range(1, settings.epochs + 1):
        loss = 0.0
        for chosen in shuffled(len(ragged.sequences), model.generator).split(batch_size):
            loss = loss + model.step(ragged, np.sort(chosen.numpy()), labels, weights)
            schedule.step()
        now = model.folded()
        if not all(bool(part.isfinite().all()) for part in (now.query, now.value, now.bias)):
            raise UserError(
                f"an attention probe's weights are not finite after epoch {epoch}; use a smaller "
                f"--learning_rate than {settings.learning_rate:g}"
            )
        scores = validate(now.logits(val_ragged), val_labels, val_weights > 0, pos_weight, loss / len(ragged))
        score, threshold = (
            np.array([[one[name] for one in layer] for layer in scores]) for name in ("val_balanced_accuracy", "threshold")
        )
        better = score > best
        best[better], thresholds[better], epochs[better] = score[better], threshold[better], epoch
        for old, new in zip(vars(kept).values(), vars(now).values(), strict=True):
            old[better] = new[better]
        history.append(scores)
        if on_epoch:
            on_epoch(epoch, scores)
    return AttentionTraining(kept, epochs.tolist(), thresholds.tolist(), pos_weight.tolist(), history)


class Model:
    """The probes in training, on standardised states. Rows are standardised alike for all columns, and what a column's own
    standardisation adds to that (see Scales) is taken into the weights.
    """

    def __init__(self, scales, columns, queries, settings, device):
        layers, hidden_size = scales.common_mean.shape
        self.scales, self.generator = scales, torch.Generator().manual_seed(settings.seed)
        first = torch.randn(2, 1, 1, queries, hidden_size, generator=self.generator) / hidden_size**0.5
        size = FIRST_WEIGHTS if queries == 1 else FIRST_QUERIES, FIRST_WEIGHTS
        self.query, self.value = (
            (part * by).repeat(layers, columns, 1, 1).to(device) for part, by in zip(first, size, strict=True)
        )
        self.bias = torch.zeros(layers, columns, device=device)
        self.mean, self.inverse = (part.float().to(device)[:, None] for part in (scales.common_mean, scales.common_inverse))
        self.ratio, self.offset = (part.float().to(device) for part in scales.relative())
        self.optimizer = torch.optim.AdamW(
            [
                {"params": [self.query, self.value], "weight_decay": settings.weight_decay},
                {"params": [self.bias], "weight_decay": 0.0},
            ],
            lr=settings.learning_rate,
            fused=str(device).startswith(("cpu", "cuda")),
        )

    def step(self, ragged, chosen, labels, weights) -> torch.Tensor:
        """One AdamW step on the mean weighted cross-entropy of the chosen sequences' examples; its sum [layers, columns].

        The gradient of a logit is weight * (sigmoid(logit) - label) / examples.
        """
        layers, columns, queries, hidden_size = self.query.shape
        query, value = self.query * self.ratio, self.value * self.ratio
        bias = self.bias - (value.sum(2) * self.offset).sum(-1)
        examples = int(ragged.sequences.count[chosen].sum())
        loss, of_query, of_value, of_bias = 0.0, 0.0, 0.0, 0.0
        for part in ragged.parts(layers, columns * queries, self.bias.device, chosen):
            with threads_for(layers * len(part.index) * max(hidden_size, 2 * columns * queries)):
                rows = ragged.table.rows(part.index).to(self.bias.device).sub_(self.mean).mul_(self.inverse)
                pooled, backward = forward(rows, query, value, part)
                logits, truth, weight = pooled + bias[:, None], labels[part.examples], weights[part.examples]
                slope = weight * (torch.sigmoid(logits) - truth) / examples
                gradient = backward(slope)
                of_query, of_value, of_bias = of_query + gradient[0], of_value + gradient[1], of_bias + slope.sum(1)
            entropy = binary_cross_entropy_with_logits(logits, truth.expand_as(logits), reduction="none")
            loss = loss + (entropy * weight).sum(1)
        self.query.grad, self.bias.grad = of_query * self.ratio, of_bias
        self.value.grad = (of_value - (of_bias[..., None] * self.offset)[:, :, None]) * self.ratio
        self.optimizer.step()
        return loss

    def folded(self) -> AttentionProbes:
        """On raw states. A softmax does not see what is added to all of its scores, so that the query needs no mean."""
        device, inverse = self.bias.device, self.scales.inverse[:, :, None]
        query, value = ((part.double().cpu() * inverse).float() for part in (self.query, self.value))
        bias = self.bias.double().cpu() - (value.double().sum(2) * self.scales.mean).sum(-1)
        return AttentionProbes(query.to(device), value.to(device), bias.float().to(device))


def shuffled(count, generator) -> torch.Tensor:
    """The numbers 0 to count - 1 in blocks of neighbours whose borders and order are random."""
    block = (torch.arange(count) + int(torch.randint(NEIGHBOURS, (1,), generator=generator))) // NEIGHBOURS
    turn = torch.randperm(int(block[-1]) + 1, generator=generator)
    return torch.argsort(turn[block], stable=True)


def validate(logits, labels, there, pos_weight, train_loss) -> list[list[dict]]:
    """Scores by name of each layer and column, at the threshold that suits it best, on the examples that are there."""
    result = [[] for _ in logits]
    for layer, column in np.ndindex(*logits.shape[:2]):
        here = there[:, column]
        values, truth = logits[layer, column][here.numpy()], labels[here, column]
        threshold = choose_threshold(values, truth)
        loss = binary_cross_entropy_with_logits(torch.from_numpy(values).double(), truth, pos_weight=pos_weight[column])
        result[layer].append(
            {
                "train_loss": float(train_loss[layer, column]),
                "val_loss": float(loss),
                "threshold": threshold,
                "val_auc": auroc(values, truth),
                **{f"val_{name}": value for name, value in at_threshold(values, truth, threshold).items()},
            }
        )
    return result


def checked(ragged, labels, row_weights, split) -> tuple[torch.Tensor, torch.Tensor]:
    """Labels and row weights, float64 [n, columns]."""
    labels = torch.as_tensor(np.asarray(labels)).double()
    labels = labels[:, None] if labels.ndim == 1 else labels
    if len(labels) != len(ragged):
        raise UserError(
            f"{split} has {len(ragged)} examples and labels of shape {list(labels.shape)}; give [n] or [n, columns]"
        )
    ragged.require_columns(labels.shape[1])
    weights = torch.ones_like(labels) if row_weights is None else torch.as_tensor(np.asarray(row_weights)).double()
    weights = (weights[:, None] if weights.ndim == 1 else weights).expand_as(labels)
    if not (weights.isfinite().all() and (weights >= 0).all()):
        raise UserError(f"row weights of {split} are negative or not finite; give numbers of at least 0")
    labels = torch.where(weights > 0, labels, 0.0)  # where an example is not in a column its label may be anything
    if not ((labels == 0) | (labels == 1)).all():
        raise UserError(f"labels of {split} are not all 0 or 1; leave out examples of unknown truth, or give them weight 0")
    for column in range(labels.shape[1]):
        there = labels[weights[:, column] > 0, column]
        if len(there.unique()) < 2:
            raise UserError(
                f"label column {column} holds one class only in its {len(there)} examples of {split}; a probe needs both"
            )
    return labels, weights


class Attention:
    """One probe on one layer's states, with scikit-learn's method names. X: a list of arrays [T_i, hidden_size], or one
    array [n, T, hidden_size] with lengths [n], the rows beyond which are padding.

    A fifth of the examples, drawn evenly of each class, is held out to choose the epoch and the threshold of `predict`.
    """

    def __init__(self, queries=1, epochs=20, learning_rate=1e-3, weight_decay=1e-4, pos_weight_cap=5.0, seed=0):
        self.queries = queries
        self.settings = Settings(epochs, learning_rate, weight_decay, None, pos_weight_cap, seed)

    def fit(self, X, y, lengths=None, sample_weight=None) -> "Attention":
        ragged, labels = concatenated(X, lengths), np.asarray(y)
        weights = np.ones(len(labels)) if sample_weight is None else np.asarray(sample_weight)
        random, held_out = np.random.default_rng(self.settings.seed), np.zeros(len(labels), dtype=bool)
        for label in np.unique(labels):
            rows = random.permutation(np.flatnonzero(labels == label))
            held_out[rows[: -(-len(rows) // HELD_OUT)]] = True
        trained = train_attention(
            ragged[~held_out],
            labels[~held_out],
            ragged[held_out],
            labels[held_out],
            self.settings,
            weights[~held_out],
            self.queries,
            val_row_weights=weights[held_out],
        )
        self.probes, self.epoch, self.threshold = trained.probes, trained.epoch[0][0], trained.threshold[0][0]
        return self

    def decision_function(self, X, lengths=None) -> np.ndarray:
        """Logits float32 [n]."""
        return self.probes.logits(concatenated(X, lengths))[0, 0]

    def predict(self, X, lengths=None) -> np.ndarray:
        return (self.decision_function(X, lengths) > self.threshold).astype(np.int64)

    def predict_proba(self, X, lengths=None) -> np.ndarray:
        """float64 [n, 2]"""
        positive = torch.sigmoid(torch.from_numpy(self.decision_function(X, lengths)).double()).numpy()
        return np.stack([1 - positive, positive], axis=1)

    def score(self, X, y, lengths=None) -> float:
        """Accuracy."""
        return float((self.predict(X, lengths) == np.asarray(y)).mean())

    def attention(self, X, lengths=None) -> list[np.ndarray]:
        """n arrays [queries, T_i]."""
        return self.probes.attention(concatenated(X, lengths))
