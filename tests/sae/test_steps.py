"""Steps by hand against plain autograd in float64, and what a mutation of either rule does to that."""

from dataclasses import replace
from functools import partial

import pytest
import torch

from plain_sae import plain_batchtopk, plain_jumprelu
from utils.sae.steps import choice, dense, sparse
from utils.sae.steps import optimiser as optimiser_module
from utils.sae.steps.dense import DenseSteps
from utils.sae.steps.optimiser import Optimiser
from utils.sae.steps.parameters import BatchTopK, JumpReLU, Parameters
from utils.sae.steps.sparse import SparseSteps

WAYS = {"sparse": SparseSteps, "dense": DenseSteps, "screened": partial(SparseSteps, screened=True)}
SHAPES = [(2, 64, 16, 128), (3, 300, 48, 257), (1, 16, 8, 1), (2, 8, 33, 40)]  # stack, latents, hidden size, batch
LIMIT = 1e-12


def drawn(shape, seed, dtype=torch.float64):
    """(parameters, states) with decoder rows of unit norm, thresholds within the pre-activations, and biases."""
    stack, latents, hidden_size, batch = shape
    generator = torch.Generator().manual_seed(seed)

    def normal(*size):
        return torch.randn(*size, generator=generator, dtype=torch.float64)

    decoder = torch.nn.functional.normalize(normal(stack, latents, hidden_size), dim=-1)
    threshold = 0.1 + 0.3 * torch.rand(stack, latents, generator=generator, dtype=torch.float64)
    encoder = decoder + 0.02 * normal(stack, latents, hidden_size)
    parameters = Parameters(encoder, 0.05 * normal(stack, latents), decoder, 0.05 * normal(stack, hidden_size), threshold)
    parameters = Parameters(*(tensor.to(dtype) for tensor in parameters.tensors.values()))
    return parameters, (normal(stack, batch, hidden_size) / hidden_size**0.5).to(dtype)


def each(*values):
    return torch.tensor(values, dtype=torch.float64)


def jumprelu(stack, width=0.07):
    return JumpReLU(each(*[width] * stack), torch.arange(3.0, 3.0 + stack).double(), torch.arange(5.0, 5.0 + stack).double())


def batchtopk(stack, guess=0.3):
    return BatchTopK(torch.arange(3.0, 3.0 + stack).double() + 0.3, each(*[guess] * stack), torch.zeros(stack, 1).double())


def lifted(asked, latents):
    """Every third latent is lifted by little, every ninth above all cuts."""
    lift = torch.zeros(len(asked.k), latents).double()
    lift[:, ::3] = 0.2 * torch.rand(lift[:, ::3].shape, generator=torch.Generator().manual_seed(0)).double()
    lift[:, 1::9] = 50.0
    return replace(asked, lift=lift)


def worst(step, parameters, states, asked) -> float:
    """The largest difference of any gradient, loss or residual from plain autograd, each relative to its largest value."""
    differences = []
    for index, one in enumerate(parameters.members):
        if isinstance(asked, JumpReLU):
            plain = plain_jumprelu(one, states[index], asked.width[index], asked.pull[index], asked.target[index])
        else:
            plain = plain_batchtopk(one, states[index], asked.k[index], asked.lift[index])
        expected, loss, latents, residual = plain
        pairs = [(step.gradients[index].tensors[name], gradient) for name, gradient in expected.items()]
        pairs += [(step.loss[index], loss), (step.residual[index], residual)]
        active = (latents != 0).double()
        pairs += [(step.l0[index], active.sum() / len(active)), (step.fired[index].double(), active.amax(0))]
        differences += [float((ours - truth).abs().max() / truth.abs().max().clamp(min=1e-300)) for ours, truth in pairs]
    return max(differences)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("ask", [jumprelu, batchtopk])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("seed", range(3))
def test_a_step_equals_autograd(way, ask, shape, seed):
    parameters, states = drawn(shape, seed)
    asked = ask(shape[0])
    step = WAYS[way]()(parameters, states, asked)
    assert worst(step, parameters, states, asked) < LIMIT
    assert step.in_window.min() > 0 or ask is batchtopk or shape[3] == 1


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_lifted_latents_are_chosen_and_keep_their_values(way, shape):
    parameters, states = drawn(shape, 0)
    asked = lifted(batchtopk(shape[0]), shape[1])
    step = WAYS[way]()(parameters, states, asked)
    assert worst(step, parameters, states, asked) < LIMIT
    assert worst(step, parameters, states, batchtopk(shape[0])) > 1e-2  # without lifts, others are chosen


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("ask", [jumprelu, batchtopk])
def test_a_batch_without_active_latents_moves_the_decoder_bias_alone(way, ask):
    parameters, states = drawn((2, 20, 8, 16), 0)
    parameters.encoder_bias.fill_(-50.0)
    asked = ask(2)
    step = WAYS[way]()(parameters, states, asked)
    assert worst(step, parameters, states, asked) < LIMIT
    assert not step.fired.any() and not step.l0.any() and not step.in_window.any()
    for one in step.gradients:
        moved = {name for name, gradient in one.tensors.items() if gradient.abs().max() > 0}
        assert moved == {"decoder_bias"}


@pytest.mark.parametrize("way", WAYS)
def test_values_that_tie_with_the_cut_are_all_kept(way):
    """Four equal states: each of their latents ties with three others."""
    parameters, states = drawn((1, 30, 8, 4), 1)
    states = states[:, :1].expand(1, 4, 8).contiguous()
    step = WAYS[way]()(
        parameters, states, BatchTopK(each(1.5), each(0.1), each(0.0)[None])
    )  # six of 120; eight tie in two fours
    assert step.l0.item() == 2.0
    z = (states[0] - parameters.decoder_bias[0]) @ parameters.encoder[0].T + parameters.encoder_bias[0]
    two = z[0].sort(descending=True).values[:2]
    torch.testing.assert_close(step.cut, two[1:], rtol=1e-12, atol=0)
    same = WAYS[way]()(parameters, states, BatchTopK(each(2.0), each(0.1), each(0.0)[None]))
    torch.testing.assert_close(step.gradients[0].encoder, same.gradients[0].encoder, rtol=0, atol=0)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("guess", [0.0, 1e-9, 0.2, 5.0, 1e9, -1.0])
def test_a_wrong_guess_changes_nothing(way, guess):
    parameters, states = drawn((2, 40, 16, 32), 2)
    asked = batchtopk(2, guess)
    step = WAYS[way]()(parameters, states, asked)
    assert worst(step, parameters, states, asked) < LIMIT
    assert step.cut.min() > 0


@pytest.mark.parametrize("way", WAYS)
def test_fewer_positive_values_than_asked_are_all_kept(way):
    parameters, states = drawn((1, 20, 8, 16), 0)
    asked = BatchTopK(each(19.0), each(0.1), each(0.0)[None])
    step = WAYS[way]()(parameters, states, asked)
    assert 5 < step.l0.item() < 15
    assert worst(step, parameters, states, asked) < LIMIT


def the_pull_is_turned_round(monkeypatch):
    on_l0 = JumpReLU.on_l0
    monkeypatch.setattr(JumpReLU, "on_l0", lambda self, l0: -on_l0(self, l0))


def the_window_is_left_out(monkeypatch):
    """Every latent above the lower edge counts as in the window."""
    for module in (sparse, dense):
        monkeypatch.setattr(module, "edges", lambda threshold, width: (threshold - width / 2, threshold + 1e9))


def the_window_is_shifted(monkeypatch):
    for module in (sparse, dense):
        monkeypatch.setattr(module, "edges", lambda threshold, width: (threshold, threshold + width))


def a_row_keeps_its_part(monkeypatch):
    """The decoder's gradient is not projected."""
    monkeypatch.setattr(torch.Tensor, "addcmul_", lambda self, *_, **__: self)


MUTATIONS = [the_pull_is_turned_round, the_window_is_left_out, the_window_is_shifted, a_row_keeps_its_part]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("mutate", MUTATIONS)
def test_the_comparison_finds_mutations(way, mutate, monkeypatch):
    parameters, states = drawn(SHAPES[0], 0)
    asked = jumprelu(2)
    mutate(monkeypatch)
    step = WAYS[way]()(parameters, states, asked)
    monkeypatch.undo()
    assert worst(step, parameters, states, asked) > 1e-3
    assert worst(WAYS[way]()(parameters, states, asked), parameters, states, asked) < LIMIT


@pytest.mark.parametrize("ask", [jumprelu, batchtopk])
def test_short_products_stay_near_the_full_ones(ask):
    """bfloat16 has 8 bits: gradients keep their direction, and their type is the parameters'."""
    parameters, states = drawn((2, 300, 48, 257), 0, torch.float32)
    asked = type(ask(2))(*(tensor.float() for tensor in ask(2).tensors.values()))
    full, short = DenseSteps()(parameters, states, asked), DenseSteps(torch.bfloat16)(parameters, states, asked)
    for ours, theirs in zip(short.gradients, full.gradients, strict=True):
        for name in ("encoder", "encoder_bias", "decoder", "decoder_bias"):
            left, right = ours.tensors[name], theirs.tensors[name]
            assert left.dtype == torch.float32
            assert torch.cosine_similarity(left.flatten(), right.flatten(), dim=0) > 0.99
            assert not torch.equal(left, right)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("ask", [jumprelu, batchtopk])
def test_a_stack_equals_its_members(way, ask):
    parameters, states = drawn((3, 40, 16, 64), 0)
    asked = ask(3)
    together = WAYS[way]()(parameters, states, asked)
    for index, member in enumerate(parameters.members):
        one = type(asked).stacked(asked.members[index : index + 1])
        alone = WAYS[way]()(Parameters.stacked([member]), states[index : index + 1], one)
        for name, gradient in alone.gradients[0].tensors.items():
            torch.testing.assert_close(gradient, together.gradients[index].tensors[name], rtol=1e-12, atol=1e-15)
        assert torch.equal(alone.fired[0], together.fired[index])
        assert alone.in_window[0] == together.in_window[index]


@pytest.mark.parametrize(
    ("device", "latents", "units", "chosen"),
    [
        ("cpu", 4096, True, ("screened", None)),
        ("cpu", 4096, False, ("sparse", None)),
        ("cpu", 1024, True, ("sparse", None)),
        ("cpu", 256, True, ("dense", None)),
        ("cuda", 4096, True, ("dense", torch.bfloat16)),
        ("mps", 4096, True, ("dense", None)),
    ],
)
def test_the_faster_way_is_chosen_and_named(device, latents, units, chosen, monkeypatch):
    monkeypatch.setattr(choice, "has_matrix_units", lambda: units)
    steps = choice.fastest_steps(torch.device(device), latents, 64)
    assert (steps.name, steps.products) == chosen
    exact = choice.fastest_steps(torch.device(device), latents, 64, exact=True)
    assert (exact.name, exact.products) == (chosen[0].replace("screened", "sparse"), None)


def test_an_autoencoder_trains_alike_alone_and_in_company():
    parameters, states = drawn((3, 40, 16, 64), 0)
    alone = Parameters.stacked(parameters.members[1:2])
    together, apart = Optimiser(parameters, [1e-2] * 3, [1e-3] * 3, clip=0.1), Optimiser(alone, [1e-2], [1e-3], clip=0.1)
    steps = SparseSteps()
    for _ in range(5):
        norms = together.step(steps(parameters, states, jumprelu(3)).gradients)
        asked = JumpReLU.stacked(jumprelu(3).members[1:2])
        norm = apart.step(steps(alone, states[1:2], asked).gradients)
        assert norm[0] == norms[1] > 0.1  # it is clipped, and not by its neighbours' norms
    for name, tensor in alone.tensors.items():
        assert torch.equal(tensor[0], parameters.tensors[name][1])


def trained(parameters, optimiser, states, steps):
    for _ in range(steps):
        optimiser.step(SparseSteps()(parameters, states, jumprelu(2)).gradients, scale=0.5)
    return parameters


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_restored_optimiser_goes_on_bit_by_bit(dtype):
    parameters, states = drawn((2, 40, 16, 64), 0, dtype)
    optimiser = Optimiser(parameters, [1e-2, 2e-2], [1e-3, 0.0])
    trained(parameters, optimiser, states, 3)
    kept = Parameters.stacked(parameters.members)
    state = optimiser.state()
    expected = trained(parameters, optimiser, states, 3)
    again = Optimiser(kept, [1e-2, 2e-2], [1e-3, 0.0])
    again.restore(state)
    trained(kept, again, states, 3)
    for name, tensor in kept.tensors.items():
        assert torch.equal(tensor, expected.tensors[name]), name
    assert torch.equal(kept.threshold[1], drawn((2, 40, 16, 64), 0, dtype)[0].threshold[1])  # its rate is 0
    assert not torch.equal(kept.threshold[0], drawn((2, 40, 16, 64), 0, dtype)[0].threshold[0])


@pytest.mark.parametrize("scaled_inside", [("cpu",), ()])
def test_an_update_is_that_of_plain_adam_on_clipped_gradients(scaled_inside, monkeypatch):
    """Against torch's unfused Adam on scaled gradients; then rows are normalised and thresholds kept from below 0."""
    monkeypatch.setattr(optimiser_module, "SCALED_INSIDE", scaled_inside)
    parameters, states = drawn((2, 40, 16, 64), 3)
    parameters.threshold[0, :5] = 1e-4
    leaves = [[tensor.clone().requires_grad_() for tensor in one.tensors.values()] for one in parameters.members]
    optimiser = Optimiser(parameters, [1e-2, 1e-3], [1e-2, 1e-3], clip=0.05)
    adams = [torch.optim.Adam(leaf, lr=rate, foreach=False) for leaf, rate in zip(leaves, (1e-2, 1e-3), strict=True)]
    asked = JumpReLU(each(0.07, 0.07), each(3.0, 3.0), each(30.0, 30.0))
    for _ in range(4):
        step = SparseSteps()(parameters, states, asked)
        for leaf, adam, one in zip(leaves, adams, step.gradients, strict=True):
            gradients = [gradient.clone() for gradient in one.tensors.values()]
            norm = torch.cat([gradient.flatten() for gradient in gradients[:-1]]).norm()
            assert norm > 0.05
            for tensor, gradient in zip(leaf, gradients, strict=True):
                tensor.grad = gradient * (0.05 / norm)
            adam.step()
            with torch.no_grad():
                leaf[2].div_(leaf[2].norm(dim=1, keepdim=True))
                leaf[4].clamp_(min=0)
        optimiser.step(step.gradients)
    for leaf, one in zip(leaves, parameters.members, strict=True):
        for tensor, ours in zip(leaf, one.tensors.values(), strict=True):
            torch.testing.assert_close(ours, tensor.detach(), rtol=1e-6, atol=1e-9)  # the factor is float32
    assert (parameters.threshold[0, :5] == 0).any()
    torch.testing.assert_close(parameters.decoder.norm(dim=-1), torch.ones(2, 40).double(), rtol=1e-12, atol=0)
