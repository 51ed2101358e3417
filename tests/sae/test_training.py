"""Training on batches of states: the recipe holds at any scale, in company, and after a stop."""

from dataclasses import replace

import pytest
import torch

from utils.base.errors import UserError
from utils.sae.goals import Goal, Recipe
from utils.sae.training.revival import Silence
from utils.sae.training.training import NonFiniteLoss, Training

pytestmark = pytest.mark.slow

RECIPE = Recipe(latents=96, steps=160, batch_size=256, learning_rate=2e-3)
JUMPRELU, BATCHTOPK = Goal("jumprelu", 4, 0, 1), Goal("batchtopk", 4, 0, 1)


@pytest.fixture(scope="module")
def states():
    """Sums of a few of 64 directions in 24 dimensions, off centre: float32 [n, 24]."""
    generator = torch.Generator().manual_seed(1)
    directions = torch.randn(64, 24, generator=generator)
    uses = (torch.rand(16_384, 64, generator=generator) < 4 / 64) * torch.rand(16_384, 64, generator=generator)
    return uses @ directions + 3


def trained(goals, states, recipe=RECIPE, steps=None, training=None):
    """Take steps in a fixed order of the states, the same for each goal."""
    goals = list(goals)
    training = training or Training.begin(goals, alike(states[:4096], goals), recipe, "cpu")
    for step in range(training.steps_taken, recipe.steps if steps is None else steps):
        training.step(alike(batch_of(states, step, recipe), goals))
    return training


def alike(states, goals):
    return states.expand(len(goals), -1, -1)


def batch_of(states, step, recipe=RECIPE):
    start = step * recipe.batch_size % (len(states) - recipe.batch_size)
    return states[start : start + recipe.batch_size]


def same(one, other):
    return all(torch.equal(one.tensors[name], other.tensors[name]) for name in one.tensors)


def active(sae, states):
    return float((sae.encode(states) > 0).sum()) / len(states)


@pytest.mark.parametrize("goal", [JUMPRELU, BATCHTOPK], ids=lambda goal: goal.architecture)
def test_l0_is_hit_at_any_scale_of_the_states(states, goal):
    for scale in (1e-3, 1.0, 1e3):
        (sae,) = trained([goal], states * scale).autoencoders()
        assert active(sae, states * scale) == pytest.approx(goal.target_l0, rel=0.05), scale
        assert active(sae, states * scale * 2) > 1.2 * goal.target_l0  # not a count that any states would give


def test_each_trains_alone_as_it_does_in_company(states):
    goals = [BATCHTOPK, JUMPRELU, replace(JUMPRELU, seed=1), replace(JUMPRELU, target_l0=8)]
    together = trained(goals, states).autoencoders()
    for goal, sae in zip(goals, together, strict=True):
        (alone,) = trained([goal], states).autoencoders()
        assert same(alone, sae), goal
    assert not same(together[1], together[2])  # a seed makes a difference


def test_a_stopped_training_goes_on_as_if_it_had_not_stopped(states, tmp_path):
    from safetensors.torch import load_file, save_file

    goals = [JUMPRELU, BATCHTOPK]

    def begun():
        training = Training.begin(goals, alike(states[:4096], goals), RECIPE, "cpu")
        for stack in training.stacks.values():
            stack.parameters.encoder_bias[0, :5] -= 0.5  # silent, so that the revival has work
        return training

    whole = trained(goals, states, training=begun())
    for stop in (1, 60, 110):
        stopped = trained(goals, states, steps=stop, training=begun())
        assert bool(stopped.state()["batchtopk/lift"].any()) == (stop > 1)
        save_file(stopped.state(), tmp_path / "state.safetensors")
        trained(goals, states, steps=stop + 5, training=stopped)  # what is lost must not reach into the copy
        resumed = Training.resumed(goals, RECIPE, load_file(tmp_path / "state.safetensors"), "cpu")
        assert resumed.steps_taken == stop
        trained(goals, states, training=resumed)
        assert all(map(same, whole.autoencoders(), resumed.autoencoders())), stop
        assert resumed.progress() == whole.progress()


def test_folded_weights_give_the_codes_of_training_on_scaled_states(states):
    training = trained([JUMPRELU, BATCHTOPK], states)
    for stack, sae in zip(training.stacks.values(), training.autoencoders(), strict=True):
        one, scale = stack.parameters.members[0], stack.scalings[0].scale
        before = (states * scale - one.decoder_bias) @ one.encoder.mT + one.encoder_bias
        codes = before * (before > one.threshold)
        far = (before - one.threshold).abs() > 1e-4  # elsewhere rounding decides
        assert torch.allclose((sae.encode(states) * scale)[far], codes[far], atol=1e-4)
        rebuilt = (codes @ one.decoder + one.decoder_bias) / scale
        assert float((sae.decode(codes / scale) - rebuilt).abs().max()) < 1e-3
        assert abs(scale - 1) > 0.1  # else nothing was folded


@pytest.mark.parametrize("goal", [JUMPRELU, BATCHTOPK], ids=lambda goal: goal.architecture)
def test_a_silent_latent_comes_back_and_does_not_by_itself(states, goal, monkeypatch):
    recipe = replace(RECIPE, steps=480, batch_size=1024)

    def fires(revive):
        with monkeypatch.context() as patch:
            if not revive:
                patch.setattr(Silence, "revive", lambda *rest: None)
            training = trained([goal], states, recipe, steps=20)
            (stack,) = training.stacks.values()
            stack.parameters.encoder_bias[0, :5] -= 0.9
            trained([goal], states, recipe, training=training)
            return (training.autoencoders()[0].encode(states) > 0).any(0)[:5].tolist(), training.progress()[0]["dead"]

    assert fires(revive=True) == ([True] * 5, 0)
    assert fires(revive=False) == ([False] * 5, pytest.approx(5 / 96))


def test_a_loss_that_is_not_finite_leaves_the_last_good_state(states):
    goals = [JUMPRELU, replace(BATCHTOPK, layer="embed")]
    training = trained(goals, states, steps=10)
    before = training.autoencoders()
    batch = alike(batch_of(states, 10), goals).clone()
    batch[1, 3, 2] = torch.nan
    with pytest.raises(
        NonFiniteLoss, match="^layer embed, batchtopk_l0_4_seed_0, step 10: the states are not finite.*dtype"
    ) as found:
        training.step(batch)
    assert found.value.goal == goals[1] and found.value.step == 10
    assert training.steps_taken == 10 and all(map(same, before, training.autoencoders()))
    with pytest.raises(NonFiniteLoss, match="layer 1, .*--learning_rate .now 0.002."):
        training.step(batch.nan_to_num() * 1e9)
    training.step(batch.nan_to_num())
    assert training.steps_taken == 11 and not same(before[0], training.autoencoders()[0])


def test_states_that_teach_nothing_are_refused(states):
    constant = torch.ones(1, 100, 24)
    for sample, goal, words in (
        (constant, JUMPRELU, "all states of layer 1 are the same"),
        (constant * torch.nan, JUMPRELU, "not finite"),
        (states[None, :100], replace(JUMPRELU, target_l0=96), "--target_l0"),
    ):
        with pytest.raises(UserError, match=words) as found:
            Training.begin([goal], sample, RECIPE, "cpu")
        assert "\n" not in str(found.value)


def test_progress_reports_what_was_asked(states):
    training = trained([JUMPRELU, BATCHTOPK], states, steps=128)
    for goal, told, sae in zip(training.goals, training.progress(), training.autoencoders(), strict=True):
        rebuilt = sae.decode(sae.encode(states))
        fvu = float((rebuilt - states).square().sum() / (states - states.mean(0)).square().sum())
        assert told["fvu"] == pytest.approx(fvu, rel=0.2)
        assert told["l0"] == pytest.approx(goal.target_l0, rel=0.1)
        assert told["loss"] >= told["fvu"] and 0 <= told["dead"] <= 1
        assert told["learning_rate"] == pytest.approx(2e-3)


def test_the_learning_rate_follows_the_number_of_latents():
    assert Recipe(6144, 10).rate == 2e-3
    assert Recipe(4 * 6144, 10).rate == 1e-3 and Recipe(8, 10).rate == 1e-2
    assert Recipe(8192, 10, learning_rate=3e-4).rate == 3e-4
