"""Attention probes beside their definition, one example at a time; what mean pooling cannot see; whatever the company."""

import inspect

import numpy as np
import pytest
import torch

from utils.base.errors import UserError
from utils.probes.descent import attention as module
from utils.probes.descent.attention import Attention, AttentionInTraining, AttentionProbes, pooled_readouts, train_attention
from utils.probes.descent.ranges import Ranges, concatenated
from utils.probes.descent.training import Settings
from utils.probes.estimators import Logistic
from utils.probes.labels import LabelledStates
from utils.scores.metrics import at_threshold
from utils.scores.ranking import auroc

HIDDEN = 32


def planted(n, seed):
    """Sequences of 5 to 60 tokens, one of which is marked by one feature and says the label by another, in which all others
    are loud; where the marked tokens are; and the labels: list of [T_i, 32], [n], [n].
    """
    random = np.random.default_rng(seed)
    labels, lengths = random.integers(0, 2, n), random.integers(5, 61, n)
    where = random.integers(0, lengths)
    sequences = []
    for label, length, place in zip(labels, lengths, where, strict=True):
        states = random.standard_normal((length, HIDDEN))
        states[:, 1] *= 2
        states[place, 0] += 6
        states[place, 1] = 4 * label - 2 + random.standard_normal() / 2
        sequences.append((states @ turn() * 10.0 + 7).astype(np.float32))
    return sequences, where, labels


def turn():
    return np.linalg.qr(np.random.default_rng(99).standard_normal((HIDDEN, HIDDEN)))[0]


def made(seed, sequences=6, layers=2, columns=None, most=1, hidden_size=5, dtype=torch.float64):
    """Some examples a sequence, on random states: table rows between the sequences belong to none."""
    random = np.random.default_rng(seed)
    lengths = random.integers(2, 30, sequences)
    starts = np.cumsum(lengths + 3) - lengths
    start = np.repeat(starts, random.integers(1, most + 1, sequences))
    room = np.repeat(lengths, np.unique(start, return_counts=True)[1])
    end = start[:, None] + random.integers(1, room[:, None] + 1, (len(start), columns or 1))
    shuffle = random.permutation(len(start))
    states = torch.randn(
        layers, int(starts[-1] + lengths[-1] + 3), hidden_size, dtype=dtype, generator=torch.Generator().manual_seed(seed)
    )
    return states, Ranges.of(states, start[shuffle], (end if columns else end[:, 0])[shuffle])


def by_definition(states, ranges, query, value):
    """Pooled readouts [layers, n, columns], by the formula of the docstring, one example after the other."""
    columns = range(query.shape[1])
    return torch.stack(
        [
            torch.stack(
                [
                    torch.stack(
                        [
                            sum(
                                torch.softmax(rows @ query[layer, column, head], 0) @ (rows @ value[layer, column, head])
                                for head in range(query.shape[2])
                            )
                            for column in columns
                            for rows in [states[layer, start : end[column if len(end) > 1 else 0]]]
                        ]
                    )
                    for start, end in zip(ranges.start, ranges.ends, strict=True)
                ]
            )
            for layer in range(len(states))
        ]
    )


@pytest.mark.parametrize("most, columns, queries", [(1, None, 1), (1, 3, 2), (6, None, 2), (6, 3, 1)])
def test_readouts_and_gradients_are_those_of_the_definition(most, columns, queries):
    states, ranges = made(0, columns=columns, most=most)
    query, value = (torch.randn(2, 3, queries, 5, dtype=torch.float64, requires_grad=True) for _ in range(2))
    (part,) = ranges.parts(2, 3 * queries, "cpu")
    pooled, backward = pooled_readouts(states[:, part.index], query.detach(), value.detach(), part)
    expected = by_definition(states, ranges, query, value)[:, part.examples]
    torch.testing.assert_close(pooled, expected.detach(), rtol=1e-11, atol=1e-11)
    slope = torch.randn_like(pooled)
    for ours, theirs in zip(backward(slope), torch.autograd.grad((expected * slope).sum(), (query, value)), strict=True):
        assert theirs.abs().max() > 0.1
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


def test_a_step_follows_the_loss_on_states_standardised_for_each_column(monkeypatch):
    """Against autograd on each column's own standardised rows, taken with numpy; a constant feature, weights of 0, parts."""
    monkeypatch.setattr("utils.probes.descent.ranges.PART_NUMBERS", {"cpu": 500})
    states, ranges = made(1, columns=2, most=4, sequences=8, dtype=torch.float32)
    states[:, :, 1], states[:, :, 3] = 2.5, 40 * states[:, :, 3] + 1000
    n = len(ranges)
    labels = torch.randint(0, 2, (n, 2), generator=torch.Generator().manual_seed(0)).float()
    weights = torch.rand(n, 2, generator=torch.Generator().manual_seed(1)) + 0.5
    weights[::3, 1] = 0
    generator = torch.Generator().manual_seed(2)
    model = AttentionInTraining(1, ranges, labels, weights, generator, "cpu")
    model.query.normal_(generator=generator), model.value.normal_(generator=generator)
    query, value, bias = (part.double().clone().requires_grad_() for part in (model.query, model.value, model.bias))
    logits = torch.empty(2, n, 2, dtype=torch.float64)
    for column in range(2):
        there = weights[:, column] > 0
        read = np.unique(
            np.concatenate([np.arange(*pair) for pair in zip(ranges.start[there], ranges.end[there, column], strict=True)])
        )
        own = states[:, read].double().numpy()
        deviation = np.where(own.std(1, keepdims=True) > 1e-6, own.std(1, keepdims=True), np.inf)
        standard = torch.from_numpy((states.double().numpy() - own.mean(1, keepdims=True)) / deviation)
        of_column = Ranges(ranges.table, ranges.start, ranges.end[:, column])
        one = slice(column, column + 1)
        logits[:, :, one] = by_definition(standard, of_column, query[:, one], value[:, one]) + bias[:, None, one]
    entropy = torch.nn.functional.binary_cross_entropy_with_logits(
        logits, labels.double().expand_as(logits), weight=weights.double().expand_as(logits), reduction="none"
    )
    loss = model.set_gradients(torch.arange(8))
    torch.testing.assert_close(loss.double(), entropy.sum(1).detach(), rtol=1e-4, atol=1e-4)
    gradients = torch.autograd.grad(entropy.sum() / n, (query, value, bias))
    for ours, theirs in zip((model.query.grad, model.value.grad, model.bias.grad), gradients, strict=True):
        torch.testing.assert_close(ours.double(), theirs, rtol=1e-3, atol=1e-4)
    assert (model.query.grad[..., 1] == 0).all()


@pytest.mark.slow
def test_a_planted_token_is_found_where_the_mean_does_not_show_it():
    (train, _, labels), (held_out, where, truth) = planted(1000, 0), planted(500, 1)
    pooled = Logistic(l2=1e-2).fit(np.stack([states.mean(0) for states in train]), labels)
    assert auroc(pooled.decision_function(np.stack([states.mean(0) for states in held_out])), truth) < 0.7
    probe = Attention().fit(train, labels)
    assert auroc(probe.decision_function(held_out), truth) > 0.95 and probe.score(held_out, truth) > 0.9
    weights = probe.attention(held_out)
    assert [each.shape for each in weights] == [(1, len(states)) for states in held_out]
    np.testing.assert_allclose([each.sum() for each in weights], 1, atol=1e-5)
    assert np.mean([each[0].argmax() == place for each, place in zip(weights, where, strict=True)]) > 0.9
    shuffled = Attention(epochs=5).fit(train, np.random.default_rng(2).permutation(labels))
    assert auroc(shuffled.decision_function(held_out), truth) < 0.7


def poles(n, seed):
    """The label is about the sum of what two tokens say, which lie at opposite ends of the feature that marks them."""
    random = np.random.default_rng(seed)
    states, said = random.standard_normal((n, 20, 8)), random.choice([-1, 1], (n, 2))
    states[:, :, 1] *= 2
    for example in range(n):
        places = random.choice(20, 2, replace=False)
        states[example, places, 0] += [6, -6]
        states[example, places, 1] = said[example] * [3, 2] + 0.3 * random.standard_normal(2)
    return concatenated(states, [20] * n), (said.sum(1) + random.choice([-0.5, 0.5], n) > 0).astype(int)


@pytest.mark.slow
def test_several_queries_read_what_one_cannot():
    (train, labels), (val, truth) = poles(800, 0), poles(500, 1)
    settings, labelled = Settings(epochs=12, learning_rate=2e-3), (LabelledStates(train, labels), LabelledStates(val, truth))
    scores = {
        queries: auroc(train_attention(*labelled, settings, queries).probes.logits(val)[0, 0], truth) for queries in (1, 4)
    }
    assert scores[1] < 0.78 and scores[4] > 0.83, scores


def random_probes(layers=2, columns=3, queries=2, hidden_size=5, strength=1.0):
    generator = torch.Generator().manual_seed(5)
    shape = layers, columns, queries, hidden_size
    return AttentionProbes(
        strength * torch.randn(shape, generator=generator),
        torch.randn(shape, generator=generator),
        torch.randn(layers, columns, generator=generator),
    )


@pytest.mark.parametrize("strength", [1, 60])
def test_an_examples_logit_is_the_same_in_any_company(strength, monkeypatch):
    """Alone, with all others, with longer prefixes of its own sequence whose scores are far higher, in small parts."""
    states, ranges = made(3, sequences=20, most=5, columns=3, dtype=torch.float32)
    probes = random_probes(strength=strength)
    together = probes.logits(ranges)
    alone = np.concatenate([probes.logits(ranges[one : one + 1]) for one in range(len(ranges))], axis=2)
    np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-4)
    expected = by_definition(states.double(), ranges, probes.query.double(), probes.value.double()) + probes.bias[:, None]
    np.testing.assert_allclose(together, expected.mT, rtol=1e-3, atol=2e-3)
    monkeypatch.setattr("utils.probes.descent.ranges.PART_NUMBERS", {"cpu": 400})
    assert len(list(ranges.parts(2, 6, "cpu"))) > 10
    np.testing.assert_allclose(probes.logits(ranges), together, rtol=1e-4, atol=1e-4)


def test_rows_outside_a_range_are_never_used():
    states, ranges = made(4, most=3, dtype=torch.float32)
    before = random_probes().logits(ranges)
    used = np.unique(np.concatenate([np.arange(*pair) for pair in zip(ranges.start, ranges.end, strict=True)]))
    states[:, np.setdiff1d(np.arange(states.shape[1]), used)] = torch.nan
    np.testing.assert_array_equal(random_probes().logits(ranges), before)
    states[:, used[0]] = torch.nan
    with pytest.raises(UserError, match="examples are not finite"):
        random_probes().logits(ranges)


class Counting:
    """A table that notes what is read of it."""

    def __init__(self, states):
        self.states, self.read, self.hidden_size = states, [], states.shape[2]

    def rows(self, index):
        self.read.append(np.asarray(index))
        return self.states[:, index]


def test_an_epoch_reads_each_row_once_whatever_the_number_of_examples_and_columns():
    states, ranges = made(5, sequences=200, most=5, columns=3, dtype=torch.float32)
    table = Counting(states)
    ranges = Ranges(table, ranges.start, ranges.end)
    labels, generator = torch.randint(0, 2, (len(ranges), 3)).float(), torch.Generator().manual_seed(0)
    model = AttentionInTraining(1, ranges, labels, torch.ones_like(labels), generator, "cpu")
    table.read.clear()
    order = model.order(generator)
    assert sorted(order.tolist()) == list(range(200)) and 130 < int((order.diff() == 1).sum()) < 170
    for chosen in order.split(16):
        model.set_gradients(chosen)
    read = np.concatenate(table.read)
    assert len(table.read) == 13 and len(read) == len(np.unique(read)) == ranges.sequences.length.sum()


def task(seed, n=120, columns=3):
    """Examples of 3 label columns that read to different ends, with labels that two features of the states show."""
    random = np.random.default_rng(seed)
    lengths = random.integers(4, 20, n)
    start = np.cumsum(lengths) - lengths
    end = start[:, None] + np.maximum(lengths[:, None] - np.arange(columns), 1)
    labels = random.integers(0, 2, (n, columns))
    states = random.standard_normal((2, lengths.sum(), 6)) * [1, 1, 10, 1, 0.1, 1] + [0, 5, 0, 100, 0, 0]
    states[:, start, :columns] += 3 * (labels - 0.5) * states.std((0, 1))[:columns]
    return Ranges.of(torch.from_numpy(states).float(), start, end), labels


def test_a_layer_and_a_column_alone_give_the_probe_they_give_in_company():
    (train, labels), (val, truth) = task(0), task(1)
    weights = np.stack([np.ones(120), np.arange(120) % 3, np.arange(120) % 4 > 0], axis=1)
    settings = Settings(epochs=4, learning_rate=0.01)
    labelled, validated = LabelledStates(train, labels, weights), LabelledStates(val, truth)
    together = train_attention(labelled, validated, settings, 2)
    assert together.probes.query.shape == together.probes.value.shape == (2, 3, 2, 6)
    for layer, column in ((0, 0), (1, 1), (0, 2)):
        one = [Ranges.of(each.table.states[layer : layer + 1], each.start, each.end[:, column]) for each in (train, val)]
        own = LabelledStates(one[0], labels[:, column], weights[:, column])
        alone = train_attention(own, LabelledStates(one[1], truth[:, column]), settings, 2)
        assert alone.epoch[0][0] == together.epoch[layer][column]
        for name, tensor in alone.probes.tensors(0, 0).items():
            torch.testing.assert_close(tensor, together.probes.tensors(layer, column)[name], rtol=2e-3, atol=2e-4)
    again = train_attention(labelled, validated, settings, 2)
    assert all(torch.equal(*pair) for pair in zip(vars(again.probes).values(), vars(together.probes).values(), strict=True))
    other = train_attention(labelled, validated, Settings(epochs=4, learning_rate=0.01, seed=1), 2)
    assert not torch.equal(other.probes.query, together.probes.query)


def test_what_has_weight_0_does_not_matter_to_its_column():
    (train, labels), (val, truth) = task(0), task(1)
    weights, val_weights = (np.random.default_rng(seed).random((120, 3)) < 0.7 for seed in (0, 1))
    unknown, val_unknown = np.where(weights, labels, -1), np.where(val_weights, truth, -1)
    settings = Settings(epochs=3, learning_rate=0.01)
    known = train_attention(LabelledStates(train, labels, weights), LabelledStates(val, truth, val_weights), settings)
    found = train_attention(LabelledStates(train, unknown, weights), LabelledStates(val, val_unknown, val_weights), settings)
    assert torch.equal(known.probes.query, found.probes.query) and known.threshold == found.threshold
    positives = (weights * labels).sum(0)
    counted = [sum(found.history[0][1][column][f"val_{name}"] for name in ("tp", "fp", "tn", "fn")) for column in range(3)]
    assert counted == val_weights.sum(0).tolist()
    np.testing.assert_allclose(found.pos_weight, (weights.sum(0) - positives) / positives)
    capped = train_attention(
        LabelledStates(train, labels), LabelledStates(val, truth), Settings(epochs=1, pos_weight_cap=0.1)
    )
    assert capped.pos_weight == [0.1] * 3


def test_the_weights_kept_are_those_of_the_best_epoch_and_fold_into_what_is_saved():
    (train, labels), (val, truth) = task(0, n=60), task(1)
    seen = []
    trained = train_attention(
        LabelledStates(train, labels),
        LabelledStates(val, truth),
        Settings(epochs=12, learning_rate=0.1),
        on_epoch=lambda epoch, scores: seen.append((epoch, scores)),
    )
    assert [epoch for epoch, _ in seen] == list(range(1, 13)) and [scores for _, scores in seen] == trained.history
    logits = trained.probes.logits(val)
    assert np.min(trained.epoch) < 12, "nothing to tell apart: every best epoch is the last"
    for layer, column in np.ndindex(2, 3):
        history = [scores[layer][column]["val_balanced_accuracy"] for scores in trained.history]
        assert trained.epoch[layer][column] == np.argmax(history) + 1
        measured = at_threshold(logits[layer, column], truth[:, column], trained.threshold[layer][column])
        assert measured["balanced_accuracy"] == pytest.approx(max(history), abs=1e-12)
        saved = AttentionProbes.of({name: part[None] for name, part in trained.probes.tensors(layer, column).items()})
        one = Ranges.of(val.table.states[layer : layer + 1], val.start, val.end[:, column])
        np.testing.assert_allclose(saved.logits(one)[0, 0], logits[layer, column], rtol=1e-4, atol=1e-3)


def test_folding_changes_no_logit():
    train, _ = task(0)
    generator = torch.Generator().manual_seed(0)
    model = AttentionInTraining(1, train, torch.zeros(120, 3), torch.ones(120, 3), generator, "cpu")
    scales = model.scales
    model.query.normal_(generator=generator), model.value.normal_(generator=generator)
    raw = model.folded().logits(train)
    for column in range(3):
        mean, inverse = scales.mean[:, column, None], scales.inverse[:, column, None]
        standard = (train.table.states.double() - mean) * inverse
        one = slice(column, column + 1)
        expected = by_definition(
            standard,
            Ranges(None, train.start, train.end[:, column]),
            model.query[:, one].double(),
            model.value[:, one].double(),
        )
        np.testing.assert_allclose(raw[:, column], expected[..., 0], atol=2e-3)
        assert expected.std() > 0.3


def test_the_example_in_the_docstring_runs():
    lines = inspect.getdoc(module).split("\n\n")[2].splitlines()
    assert len(lines) == 5
    sequences, _, labels = planted(60, 0)
    names = {"Attention": lambda: Attention(epochs=1), "sequences": sequences, "labels": labels}
    for line in lines:
        exec(line.strip(), names)
    assert isinstance(names["probe"], Attention)


def test_padded_states_with_lengths_are_the_list_and_padding_may_be_anything():
    sequences, _, labels = planted(80, 0)
    lengths = np.array([len(each) for each in sequences])
    padded = np.full((80, 60, HIDDEN), np.nan, dtype=np.float32)
    for each, states in zip(padded, sequences, strict=True):
        each[: len(states)] = states
    probe = Attention(epochs=2).fit(sequences, labels)
    of_padded = Attention(epochs=2).fit(padded, labels, lengths)
    np.testing.assert_array_equal(of_padded.decision_function(padded, lengths), probe.decision_function(sequences))
    proba = probe.predict_proba(sequences)
    np.testing.assert_allclose(proba.sum(1), 1)
    np.testing.assert_allclose(np.log(proba[:, 1] / proba[:, 0]), probe.decision_function(sequences), rtol=1e-5, atol=1e-6)
    assert probe.score(sequences, labels) == (probe.predict(sequences) == labels).mean()


@pytest.mark.parametrize(
    "change, said",
    [
        ({"labels": np.zeros((120, 3))}, "label column 0 holds one class only in its 120 examples of train"),
        ({"val_labels": np.ones((120, 3))}, "label column 0 holds one class only in its 120 examples of validation"),
        ({"labels": np.arange(360).reshape(120, 3)}, "labels of train are not all 0 or 1"),
        ({"labels": np.zeros((119, 3))}, "train has 120 examples and labels of shape [119, 3]"),
        ({"labels": np.arange(240).reshape(120, 2) % 3 % 2}, "ends for 3 label columns, not 2"),
        ({"row_weights": -np.ones(120)}, "row weights of train are negative"),
        ({"settings": Settings(epochs=1, learning_rate=1e30)}, "not finite after epoch 1"),
        ({"nan": 1}, "1 of 1"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_what_cannot_be_trained_is_an_error_that_says_why(change, said):
    (train, labels), (val, truth) = task(0), task(1)
    if change.pop("nan", None):
        train.table.states[1, 7, 2] = torch.nan
    given = {"labels": labels, "val_labels": truth, "settings": Settings(epochs=1), **change}
    with pytest.raises(UserError) as error:
        some = LabelledStates(train, given["labels"], given.get("row_weights"))
        train_attention(some, LabelledStates(val, given["val_labels"]), given["settings"])
    assert said in str(error.value)
