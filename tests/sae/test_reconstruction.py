"""How well states are rebuilt, against scikit-learn, NumPy and arithmetic by hand."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.metrics import r2_score

from utils.base.errors import UserError
from utils.sae.autoencoder import SparseAutoencoder
from utils.sae.evaluation import reconstruction
from utils.sae.evaluation.moments import Moments
from utils.sae.evaluation.reconstruction import measure

HIDDEN, LATENTS = 12, 40


@pytest.fixture(scope="module")
def states():
    """Training and held-out states with correlated dimensions, another mean each, and far from 0."""
    generator = torch.Generator().manual_seed(0)
    mix = torch.randn(HIDDEN, HIDDEN, generator=generator)
    train, held_out = (torch.randn(n, HIDDEN, generator=generator) @ mix for n in (900, 700))
    return train + 100, 1.5 * held_out + 101


def random_autoencoder(states, threshold=2.0, seed=1, **about):
    generator = torch.Generator().manual_seed(seed)
    decoder = torch.nn.functional.normalize(torch.randn(LATENTS, HIDDEN, generator=generator), dim=1)
    bias = torch.randn(LATENTS, generator=generator)
    return SparseAutoencoder(decoder * 0.3, bias, decoder, states.mean(0), torch.full((LATENTS,), threshold), about)


def identity_autoencoder(states):
    """Two latents a dimension, one for each sign: it rebuilds any state, up to rounding."""
    eye = torch.cat([torch.eye(HIDDEN), -torch.eye(HIDDEN)])
    return SparseAutoencoder(eye, torch.zeros(2 * HIDDEN), eye, states.mean(0), torch.zeros(2 * HIDDEN))


def chunks(states, size):
    return lambda: iter(states.split(size))


def measured(states, *autoencoders, size=64):
    train, held_out = states
    return measure(autoencoders, chunks(held_out, size), chunks(train, size))


def test_unexplained_variance_is_one_minus_r2(states):
    autoencoder = random_autoencoder(states[0])
    (found,) = measured(states, autoencoder)
    x = states[1].double().numpy()
    y = autoencoder.decode(autoencoder.encode(states[1])).double().numpy()
    assert found.explained_variance == pytest.approx(r2_score(x, y, multioutput="variance_weighted"), rel=1e-5)
    assert found.fvu == pytest.approx(1 - found.explained_variance)
    assert found.squared_error == pytest.approx(np.square(x - y).mean(), rel=1e-5)
    about_zero = np.square(x - y).sum() / np.square(x).sum()
    assert found.fvu > 10 * about_zero, "about zero the means would hide the error"


def test_sparsity_and_directions_are_as_numpy_has_them(states):
    autoencoder = random_autoencoder(states[0])
    (found,) = measured(states, autoencoder)
    latents = autoencoder.encode(states[1])
    active = (latents > 0).numpy()
    x, y, b = (part.double().numpy() for part in (states[1], autoencoder.decode(latents), autoencoder.decoder_bias))
    assert found.tokens == len(x) and found.l0 == pytest.approx(active.sum(1).mean())
    tenths = np.percentile(active.sum(1), range(0, 101, 10), method="inverted_cdf")
    assert found.l0_deciles == tuple(tenths) and found.l0_deciles[0] < found.l0_deciles[-1]
    np.testing.assert_allclose(found.density.numpy(), active.mean(0))
    length = np.linalg.norm
    assert found.cosine == pytest.approx(((x * y).sum(1) / length(x, axis=1) / length(y, axis=1)).mean(), rel=1e-6)
    assert found.norm_ratio == pytest.approx((length(y - b, axis=1) / length(x - b, axis=1)).mean(), rel=1e-4)


def test_shrinkage_is_the_factor_that_would_mend_the_length(states):
    whole = identity_autoencoder(states[0])
    short = SparseAutoencoder(**{**whole.tensors, "decoder": 0.8 * whole.decoder})
    found = measured(states, whole, short)
    assert [one.shrinkage for one in found] == pytest.approx([0, 0.2], abs=1e-5)
    assert [one.norm_ratio for one in found] == pytest.approx([1, 0.8], abs=1e-5)
    # least squares of x - b on y - b, by another way
    autoencoder = random_autoencoder(states[0])
    (other,) = measured(states, autoencoder)
    u = (states[1] - autoencoder.decoder_bias).double().numpy().ravel()
    v = (autoencoder.decode(autoencoder.encode(states[1])) - autoencoder.decoder_bias).double().numpy().ravel()
    (factor,), *_ = np.linalg.lstsq(v[:, None], u, rcond=None)
    assert 1 / factor == pytest.approx(1 - other.shrinkage, rel=1e-4) and abs(other.shrinkage) > 0.01


def test_principal_components_are_those_of_training_states(states):
    train, held_out = (part.double().numpy() for part in states)
    autoencoders = [random_autoencoder(states[0], target_l0=k) for k in (1, 4.4, HIDDEN)]
    found = measured(states, *autoencoders)
    for one, k in zip(found, (1, 4, HIDDEN), strict=True):
        pca = PCA(k, svd_solver="full").fit(train)
        rebuilt = pca.inverse_transform(pca.transform(held_out))
        assert one.pca_components == k
        assert one.pca_fvu == pytest.approx(1 - r2_score(held_out, rebuilt, multioutput="variance_weighted"), abs=1e-9)
    own = PCA(4).fit(held_out)
    flattered = 1 - r2_score(held_out, own.inverse_transform(own.transform(held_out)), multioutput="variance_weighted")
    assert found[1].pca_fvu > flattered + 1e-3, "fitted to the held-out states it would look better"
    assert found[0].fvu_over_pca == pytest.approx(found[0].fvu / found[0].pca_fvu) and np.isnan(found[2].fvu_over_pca)


def test_without_a_target_as_many_components_as_are_active(states):
    (found,) = measured(states, random_autoencoder(states[0]))
    assert found.pca_components == round(found.l0)


def test_an_identity_leaves_nothing_unexplained_and_a_silent_one_everything(states):
    whole = identity_autoencoder(states[0])
    silent = SparseAutoencoder(**{**whole.tensors, "threshold": torch.full((2 * HIDDEN,), 1e6)})
    at_mean = SparseAutoencoder(**{**silent.tensors, "decoder_bias": states[1].mean(0)})
    perfect, dead, mean = measured(states, whole, silent, at_mean)
    assert perfect.fvu < 1e-10 and perfect.l0 == pytest.approx(HIDDEN) and perfect.dead == 0
    assert mean.fvu == pytest.approx(1, rel=1e-5), "the held-out mean alone explains nothing"
    assert dead.fvu > 1 and dead.dead == 1 and dead.l0_deciles == (0,) * 11 and sum(dead.density_histogram()[1]) == 0


def test_figures_do_not_depend_on_the_chunks_nor_on_who_else_is_measured(states, monkeypatch):
    autoencoders = [random_autoencoder(states[0], seed=seed) for seed in (1, 2)]
    first, second = measured(states, *autoencoders)
    monkeypatch.setattr(reconstruction, "CODE_BYTES", 4 * LATENTS * 7)
    (alone,) = measured(states, autoencoders[1], size=101)
    for name in ("fvu", "squared_error", "cosine", "shrinkage", "l0", "pca_fvu"):
        assert getattr(alone, name) == pytest.approx(getattr(second, name), rel=1e-5)
        assert name in ("pca_fvu", "l0") or getattr(first, name) != pytest.approx(getattr(second, name), rel=1e-5)
    assert torch.equal(alone.density, second.density)


def test_densities_are_counted_in_half_decades(states):
    (found,) = measured(states, random_autoencoder(states[0], threshold=5.0))
    ends, counts = found.density_histogram()
    log10 = np.log10(found.density.numpy()[found.density.numpy() > 0])
    assert counts == np.histogram(log10, bins=[*ends, 0 + 1e-9])[0].tolist() and max(counts) < sum(counts)
    assert found.dead == pytest.approx(1 - sum(counts) / LATENTS) and 0 < found.dead < 1 and found.few_tokens


def test_bfloat16_states_are_measured_as_they_are(states):
    train, held_out = (part.bfloat16() for part in states)
    (found,) = measured((train, held_out), random_autoencoder(states[0]))
    (again,) = measured((train.float(), held_out.float()), random_autoencoder(states[0]))
    assert found.fvu == again.fvu and found.pca_fvu == again.pca_fvu


def test_states_that_do_not_vary_are_refused(states):
    train, held_out = states
    for few in (held_out[:0], held_out[:1], held_out[:1].expand(5, -1)):
        with pytest.raises(UserError, match="hold out more text"):
            measure([random_autoencoder(train)], chunks(few, 3), chunks(train, 64))


def test_moments_lose_no_digits_to_a_large_mean():
    generator = torch.Generator().manual_seed(3)
    states = 1e6 + torch.randn(500, 4, generator=generator, dtype=torch.float64)
    moments = Moments()
    for chunk in states.split(17):
        moments.add(chunk)
    np.testing.assert_allclose(moments.mean.numpy(), states.mean(0).numpy(), rtol=1e-14)
    covariance = moments.scatter(moments.mean).numpy() / (len(states) - 1)
    np.testing.assert_allclose(covariance, np.cov(states.numpy().T), rtol=1e-7, atol=1e-10)
