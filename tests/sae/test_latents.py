"""Test what is found out about latents against all codes, dense and in memory, sorted and counted plainly."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from utils.data.sequences import unlabelled_sequences
from utils.sae.autoencoder import SparseAutoencoder
from utils.sae.latents import token_counts
from utils.sae.latents.activity import HISTOGRAM_BINS, merged_bins
from utils.sae.latents.decoder import nearest_latents
from utils.sae.latents.examples import INTERVALS, ExampleChoice, drawn_numbers
from utils.sae.latents.labels import automatic_labels, token_lists
from utils.sae.latents.study import LatentStudy
from utils.sae.latents.text_rows import SAME_TOKENS, TextRows
from utils.states.positions import ReadPlan

LATENTS, HIDDEN, SEQUENCES, VOCABULARY = 40, 6, 60, 30
CHOICE = ExampleChoice(top=5, of_interval=2, before=4, after=2, seed=3)


def short(numbers):
    """Round to sixteenths."""
    return np.round(16 * numbers) / 16


def made(seed=0):
    """Sequences of unequal length with a first token that is not read, states of many scales, and latents: some dead, some
    that are almost always active. Numbers have few digits: float32 has every activation exactly, in whatever order a
    processor adds.
    """
    random = np.random.default_rng(seed)
    lengths = random.integers(2, 25, SEQUENCES)
    texts = [random.integers(5, VOCABULARY, length) for length in lengths]
    texts[57] = texts[53]  # the same text twice
    sequences = unlabelled_sequences(texts, ([1], [2]))
    sequences.metadata = {"tokenizer": {"before": [1], "after": [2]}}
    columns = np.arange(sequences.input_ids.shape[1])
    plan = ReadPlan(*np.nonzero((columns >= 1) & (columns < sequences.text_ends[:, None])), layers=(0,))
    text = TextRows(sequences, plan)
    states = random.normal(size=(VOCABULARY, HIDDEN))[text.tokens] + 0.5 * random.normal(size=(len(text), HIDDEN))
    states = short(states) * 2.0 ** np.linspace(-3, 4, len(text)).round()[:, None]  # larger and larger: intervals must widen
    twice = [np.flatnonzero(plan.sequence == number) for number in (53, 57)]
    states[twice[1]] = states[twice[0]]  # equal activations
    encoder = short(random.normal(size=(LATENTS, HIDDEN)))
    bias = short(random.normal(size=LATENTS))
    bias[:3], bias[3] = -4096, 4096  # three that are never active and one that always is
    sae = SparseAutoencoder(
        *(
            torch.tensor(array, dtype=torch.float32)
            for array in (encoder, bias, encoder / 2, short(encoder[0] / 9), np.full(LATENTS, 0.3))
        )
    )
    return sae, text, torch.tensor(states, dtype=torch.float32)


def studied(sae, text, states, sequences_a_batch, choice=CHOICE):
    study = LatentStudy(sae, text, choice)
    for first in range(0, SEQUENCES, sequences_a_batch):
        start, end = np.searchsorted(text.plan.sequence, [first, first + sequences_a_batch])
        if end > start:
            study.add(int(start), states[start:end])
    return study


@pytest.fixture(scope="module")
def stream():
    sae, text, states = made()
    return SimpleNamespace(sae=sae, text=text, states=states, codes=sae.encode(states).numpy())


@pytest.fixture(scope="module", params=[1, 7, SEQUENCES])
def study(stream, request):
    return studied(stream.sae, stream.text, stream.states, request.param)


def kept_of(kept, slot):
    """{row: value} of one slot"""
    there = kept.row[slot] >= 0
    return dict(zip(kept.row[slot][there].tolist(), kept.value[slot][there].tolist(), strict=True))


def true_top(stream, latent, text=None):
    """The rows of the strongest activations: of each sequence the first strongest, of equal contexts the best."""
    text, codes = text or stream.text, stream.codes[:, latent]
    best = {}
    for row in np.flatnonzero(codes > 0):
        sequence = text.plan.sequence[row]
        if sequence not in best or codes[row] > codes[best[sequence]]:
            best[sequence] = row
    found, contexts = [], set()
    for row in sorted(best.values(), key=lambda row: (-codes[row], row)):
        sequence, position = text.plan.sequence[row], text.plan.position[row]
        ids = text.sequences.input_ids[sequence, max(0, position - SAME_TOKENS + 1) : position + 1]
        if tuple(ids) not in contexts:
            contexts.add(tuple(ids))
            found.append(int(row))
    return found[: CHOICE.top]


def test_counts_sums_and_densities_are_those_of_all_codes(stream, study):
    active = stream.codes > 0
    assert np.array_equal(study.activity.number, active.sum(0))
    np.testing.assert_allclose(study.activity.total, stream.codes.astype(float).sum(0), rtol=1e-12)
    assert np.array_equal(study.activity.largest, stream.codes.max(0))
    np.testing.assert_allclose(study.density, active.mean(0), rtol=1e-15)
    assert study.silent.tolist() == [0, 1, 2] and study.activity.number[3] == len(stream.text)


def test_histograms_are_those_whose_range_was_known_beforehand(stream, study):
    for latent in range(3, LATENTS):
        values = stream.codes[:, latent][stream.codes[:, latent] > 0]
        power = 2.0 ** np.floor(np.log2(values.max()) + 1)
        assert values.max() < power <= 2 * values.max()
        assert study.activity.histogram[latent].tolist() == np.histogram(values, HISTOGRAM_BINS, (0, power))[0].tolist()
    assert not study.activity.histogram[:3].any()


def test_top_examples_are_the_strongest_of_distinct_sequences_and_contexts(stream, study):
    for latent in range(LATENTS):
        kept = study.examples.top
        assert [row for row in kept.row[latent].tolist() if row >= 0] == true_top(stream, latent)
        for row, value in kept_of(kept, latent).items():
            assert value == stream.codes[row, latent]


def test_equal_contexts_are_one_example(stream, study):
    """The control: without that rule the two equal texts would both stand there, for some latent."""
    shown = [set(stream.text.plan.sequence[rows[rows >= 0]]) for rows in study.examples.top.row]
    assert any({53, 57} & found for found in shown) and not any({53, 57} <= found for found in shown)


def test_the_activations_around_an_example_are_those_of_its_latent(stream, study):
    plan, examples = stream.text.plan, study.examples
    for kept, slots in ((examples.top, 1), (examples.drawn, INTERVALS)):
        for slot, place in np.argwhere(kept.row >= 0):
            row = kept.row[slot, place]
            for step, value in zip(range(-4, 3), kept.windows[slot, place], strict=True):
                position = plan.position[row] + step
                at = np.flatnonzero((plan.sequence == plan.sequence[row]) & (plan.position == position))
                assert (value == stream.codes[at[0], slot // slots]) if len(at) else np.isnan(value)


def test_drawn_examples_lie_in_their_intervals_and_are_those_with_the_highest_numbers(stream, study):
    for latent in range(3, LATENTS):
        codes = stream.codes[:, latent]
        width = 2.0 ** np.floor(np.log2(codes.max()) + 1) / INTERVALS
        for interval in range(INTERVALS):
            rows = np.flatnonzero((codes > 0) & (codes >= interval * width) & (codes < (interval + 1) * width))
            numbers = drawn_numbers(CHOICE.seed, np.full(len(rows), latent), rows)
            expected = rows[np.argsort(-numbers)][: CHOICE.of_interval]
            found = kept_of(study.examples.drawn, latent * INTERVALS + interval)
            assert list(found) == expected.tolist() and all(found[row] == codes[row] for row in found)


def test_drawing_gives_every_activation_an_equal_chance_and_another_seed_draws_others():
    latent, row = np.meshgrid(np.arange(50), np.arange(2000), indexing="ij")
    numbers = drawn_numbers(0, latent.ravel(), row.ravel())
    assert 0 <= numbers.min() < 1e-3 and 0.999 < numbers.max() < 1
    counts = np.histogram(numbers, 20, (0, 1))[0]
    assert abs(counts / 5000 - 1).max() < 0.06  # 4 standard deviations
    by_row = numbers.reshape(50, 2000)
    assert abs(np.corrcoef(by_row)[np.triu_indices(50, 1)]).max() < 0.1
    first, second = (np.argsort(drawn_numbers(seed, np.zeros(2000), np.arange(2000)))[:20] for seed in (0, 1))
    assert len(set(first) & set(second)) < 5


def test_the_tokens_of_a_latent_and_their_lift_are_counted_plainly(stream, study):
    common, speaking = token_lists(study.tokens, 4)
    _, following = token_lists(study.following, 4)
    text, active = stream.text, stream.codes > 0
    after = np.array(
        [
            text.sequences.input_ids[sequence, position + 1] if position + 1 < text.sequences.text_ends[sequence] else -1
            for sequence, position in zip(text.plan.sequence, text.plan.position, strict=True)
        ]
    )
    for lists, tokens, by in ((common, text.tokens, "count"), (speaking, text.tokens, "score"), (following, after, "score")):
        base = np.bincount(tokens[tokens >= 0], minlength=VOCABULARY)
        for latent in range(LATENTS):
            there = tokens[active[:, latent] & (tokens >= 0)]
            count = np.bincount(there, minlength=VOCABULARY)
            share = count / max(1, len(there))
            with np.errstate(divide="ignore", invalid="ignore"):
                lift = share / (base / base.sum())
                score = np.where(count > 0, share * np.log(lift), -np.inf)
            tells = np.flatnonzero(count > 0 if by == "count" else score > 0)  # only what is read more often than usual
            ranked = sorted(tells, key=lambda token: (-(count if by == "count" else score)[token], token))[:4]
            listed = lists.token[latent][lists.token[latent] >= 0]
            np.testing.assert_allclose(score[listed], score[ranked], rtol=1e-9)
            assert by == "count" or (lists.lift[latent][: len(listed)] > 1).all()
            np.testing.assert_allclose(lists.lift[latent][: len(listed)], lift[listed], rtol=1e-12)
            assert lists.count[latent][: len(listed)].tolist() == count[listed].tolist()
            if by == "count":
                assert listed.tolist() == ranked


def test_a_label_names_what_a_latent_reads_or_what_comes_after():
    """Latent 0 reads token 1, latent 1 whatever stands before token 2, latent 2 nothing."""
    read, following = (token_counts.TokenCounts(3, 5) for _ in range(2))
    tokens = np.array([1, 3, 4, 0, 1, 3, 4, 0])
    after = np.array([0, 2, 2, 3, 4, 2, 2, 1])
    latent, row = np.array([0, 0, 1, 1, 1, 1]), np.array([0, 4, 1, 2, 5, 6])
    read.add(tokens, latent, row)
    following.add(after, latent, row)
    names = {token: f" w{token}" for token in range(5)}
    assert automatic_labels(token_lists(read, 3)[1], token_lists(following, 3)[1], names) == ["w1", "before w2", ""]


def test_rare_tokens_are_forgotten_within_the_bound(monkeypatch):
    monkeypatch.setattr(token_counts, "ROOM", 8)
    monkeypatch.setattr(token_counts, "SMALL", 0)
    monkeypatch.setattr(token_counts, "BUFFER", 64)
    random = np.random.default_rng(0)
    counts, tokens = token_counts.TokenCounts(4, 200), np.minimum(random.geometric(0.1, 6000), 199)
    for start in range(0, 6000, 500):
        rows = np.arange(500)
        counts.add(tokens[start : start + 500], np.repeat([0, 2], 500), np.tile(rows, 2))
    latent, token, count = counts.pairs()
    truth = np.bincount(tokens, minlength=200)
    assert len(latent) <= 8 * 4 < 2 * (truth > 0).sum() and set(latent) == {0, 2}
    assert counts.missed[[1, 3]].tolist() == [0, 0] and 0 < counts.missed[0] <= 6000 / 9
    kept = dict(zip(token[latent == 0].tolist(), count[latent == 0].tolist(), strict=True))
    assert all(truth[one] - counts.missed[0] <= kept.get(one, 0) <= truth[one] for one in range(200))
    assert counts.active.tolist() == [6000, 0, 6000, 0], "what is forgotten of a token still counts for its latent"
    common, _ = token_lists(counts, 5)
    share = common.count[0] / 6000
    assert np.allclose(common.lift[0], share / (truth[common.token[0]] / 6000)) and (common.lift[0] <= 1).all()


def test_states_that_are_not_finite_are_left_out(stream):
    states = stream.states.clone()
    lost = np.array([5, 90, 200])
    states[lost[0]], states[lost[1], 2], states[lost[2], 0] = torch.inf, torch.nan, -torch.inf
    study = studied(stream.sae, stream.text, states, 9)
    codes = stream.codes.copy()
    codes[lost] = 0
    assert study.not_finite == 3 and study.read == len(codes) - 3
    assert np.array_equal(study.activity.number, (codes > 0).sum(0))
    assert study.tokens.base.sum() == len(codes) - 3


def test_neighbours_are_the_rows_with_the_largest_cosines(monkeypatch):
    from utils.sae.latents import decoder

    monkeypatch.setattr(decoder, "COSINE_BYTES", 4 * 30 * 7)  # several portions
    rows = torch.randn(30, 8, generator=torch.Generator().manual_seed(0))
    rows[4] = 3 * rows[9] + 0.01 * rows[0]
    numbers, cosines = nearest_latents(rows, 5)
    lengths = rows.norm(dim=1)
    true = (rows @ rows.T / lengths / lengths[:, None]).numpy()
    np.fill_diagonal(true, -np.inf)
    assert numbers[4, 0] == 9 and numbers[9, 0] == 4
    assert np.array_equal(numbers.numpy(), np.argsort(-true, axis=1)[:, :5])
    np.testing.assert_allclose(cosines.numpy(), np.take_along_axis(true, numbers.numpy(), 1), rtol=1e-5)
    assert nearest_latents(rows[:3], 5)[0].shape == (3, 2)


def test_bins_become_wider_in_pairs():
    assert merged_bins(np.array([[1, 2, 3, 4]]), 1).tolist() == [[3, 7, 0, 0]]
    assert merged_bins(np.array([[1, 2, 3, 4]]), 9).tolist() == [[10, 0, 0, 0]]
