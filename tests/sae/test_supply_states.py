"""States to train on: which are kept, and that memory, disk and a stream give the same ones, at any time again."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from utils.base.errors import UserError
from utils.data.preparation.settings import PlainTexts
from utils.model.language_model import load_language_model
from utils.sae.supply.dealing import Corpus
from utils.sae.supply.gathered import Gathering, batches_of, gather
from utils.sae.supply.left_out import Excluding
from utils.sae.supply.texts import read_sequences

pytestmark = pytest.mark.slow

LAYERS = (0, 2)


@pytest.fixture(scope="module")
def language_model(tiny_model):
    return load_language_model(str(tiny_model), "float32", "cpu")


@pytest.fixture(scope="module")
def splits(tiny_model, texts):
    corpus = Corpus(PlainTexts(str(texts), "text", "train", None), 6000, 31, 0.1)
    return read_sequences(corpus, str(tiny_model), False)


def gathering(**changes):
    return replace(Gathering(LAYERS, 8, None, 1.0, Excluding()), **changes)


def epoch_of(batches, epoch=0, seed=0):
    """All states of an epoch, sorted: [rows, layers * hidden_size]."""
    steps = range(epoch * batches.order.steps_an_epoch, (epoch + 1) * batches.order.steps_an_epoch)
    rows = torch.cat([batches.batch(step, seed) for step in steps], dim=1).transpose(0, 1).flatten(1)
    return rows[np.lexsort(rows.numpy()[:, 2::-1].T)]


def test_the_states_are_those_of_transformers_without_position_0(language_model, splits):
    how = gathering(layers=(0, 1))
    supply = gather(how, language_model, splits)
    assert supply.train.rows == int((splits["train"].lengths - 1).sum())
    batches = batches_of(supply, how, 32, 1, 1)
    truth = []
    for row, length in zip(splits["train"].input_ids, splits["train"].lengths, strict=True):
        with torch.no_grad():
            states = language_model.body(torch.from_numpy(row[None, :length].astype(np.int64)), output_hidden_states=True)
        truth.append(torch.cat([states.hidden_states[1][0, 1:], states.hidden_states[2][0, 1:]], dim=1))
    truth = torch.cat(truth)
    assert torch.allclose(epoch_of(batches), truth[np.lexsort(truth.numpy()[:, 2::-1].T)], atol=1e-4)


def test_memory_and_disk_give_the_same_batches(language_model, splits, tmp_path):
    here = gather(gathering(), language_model, splits)
    there = gather(gathering(cache_dir=str(tmp_path), buffer_gb=1e-4), language_model, splits)
    for buffer in (1.0, 1e-4):
        one, other = (batches_of(supply, gathering(buffer_gb=buffer), 32, 64, 3) for supply in (here, there))
        for step in (0, 5, 100, 17, 5):
            assert torch.equal(one.batch(step, 3), other.batch(step, 3))


def test_a_stream_gives_the_same_states_in_another_order_each_epoch(language_model, splits):
    how = gathering(buffer_gb=4e-4)
    stored, streamed = (gather(each, language_model, splits) for each in (gathering(), how))
    assert streamed.streamed and not stored.streamed
    one, other = batches_of(stored, how, 32, 1, 2), batches_of(streamed, how, 32, 1, 2)
    assert other.order.group_rows < other.source.rows / 2, "there are several groups"
    orders = [torch.cat([found.batch(step, 0) for step in range(3)], dim=1) for found in (one, other)]
    assert not torch.allclose(*orders)
    for epoch in (0, 1):
        norms = [epoch_of(found, epoch).norm(dim=1).sort().values for found in (one, other)]
        firsts = [epoch_of(found, epoch)[:, 0] for found in (one, other)]
        assert torch.allclose(*norms, atol=1e-4) and torch.allclose(*firsts, atol=1e-4)
    assert not torch.allclose(other.batch(0, 0), other.batch(other.order.steps_an_epoch, 0))


def test_a_batch_of_a_stream_can_be_made_again(language_model, splits):
    how = gathering(buffer_gb=4e-4)
    first, again = (batches_of(gather(how, language_model, splits), how, 32, 8, 2) for _ in range(2))
    steps = (0, 50, first.order.steps_an_epoch + 3)
    before = [first.batch(step, 1) for step in steps]
    for step, batch in list(zip(steps, before, strict=True))[::-1]:
        assert torch.equal(again.batch(step, 1), batch)


@pytest.fixture
def massive(language_model, splits):
    """A token whose state is a hundred times as long, as attention sinks are; how often it stands in the texts."""
    token = np.bincount(splits["train"].input_ids[:, 1:].ravel()).argsort()[-12]
    weight = language_model.body.get_input_embeddings().weight
    kept = weight[token].clone()
    weight[token] *= 1000
    yield int((splits["train"].input_ids[:, 1:] == token).sum())
    weight[token] = kept


@pytest.mark.parametrize("buffer", (1.0, 4e-4))
def test_massive_states_are_left_out(language_model, splits, massive, buffer, capsys):
    how, keeps = gathering(buffer_gb=buffer), gathering(buffer_gb=buffer, excluding=Excluding(massive=False))
    supply, whole = gather(how, language_model, splits), gather(keeps, language_model, splits)
    assert "more than 10 times the median norm" in capsys.readouterr().out
    norms = [epoch_of(batches_of(each, how, 32, 8, 1)).norm(dim=1) for each in (supply, whole)]
    assert norms[0].max() < 20 * norms[0].median() and norms[1].max() > 20 * norms[1].median()
    if buffer == 1.0:
        assert whole.train.rows - supply.train.rows == massive > 10


@pytest.mark.parametrize("buffer", (1.0, 4e-4))
def test_states_that_are_not_finite_end_the_run(language_model, splits, buffer):
    token = np.bincount(splits["train"].input_ids[:, 1:].ravel()).argmax()
    weight = language_model.body.get_input_embeddings().weight
    kept = weight[token].clone()
    weight[token] = torch.nan
    try:
        with pytest.raises(UserError, match="of the train states of layer 0 are not finite in float32"):
            how = gathering(buffer_gb=buffer)
            epoch_of(batches_of(gather(how, language_model, splits), how, 32, 8, 1))
    finally:
        weight[token] = kept


def test_texts_too_short_for_a_batch(language_model, splits):
    how = gathering()
    with pytest.raises(UserError, match=r"--batch_size 100000: the texts give [\d,]+ states to train on, too few for one"):
        batches_of(gather(how, language_model, splits), how, 32, 100_000, 1)


def windows_behind(sample, states_of_windows):
    """How many windows the states of a sample come from. states_of_windows: [rows, hidden_size] with the window of each."""
    states, windows = states_of_windows
    place = {tuple(state): window for state, window in zip(states.tolist(), windows.tolist(), strict=True)}
    return len({place[tuple(state)] for state in sample[0].tolist()})


@pytest.mark.parametrize("buffer_gb", [1.0, 1e-6], ids=["stored", "streamed"])
def test_a_sample_is_of_many_windows(language_model, splits, buffer_gb):
    supply = gather(gathering(buffer_gb=buffer_gb), language_model, splits)
    assert supply.streamed == (buffer_gb < 1)
    kept = gather(gathering(), language_model, splits).train
    every = torch.cat(list(kept.of_layer(0)()))
    windows = np.repeat(np.arange(len(splits["train"])), splits["train"].lengths - 1)
    count = 10 * 31  # as many states as 10 windows have
    sample = supply.train.sample(count)
    assert sample.shape == (2, count, 32) and len(sample[0].unique(dim=0)) > 0.95 * count  # some windows begin alike
    assert windows_behind(sample, (every, windows)) >= 38  # of windows that are read whole it would be 10
