"""Steps by hand against plain autograd in float64, and what a mutation of either rule does to that."""

import pytest
import torch

from plain_sae import plain_batchtopk, plain_jumprelu
from utils.sae.steps.optimiser import Optimiser
from utils.sae.steps.parameters import BatchTopK, JumpReLU, Parameters
from utils.sae.steps.sparse import SparseSteps

WAYS = {"sparse": SparseSteps}
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
    return BatchTopK(torch.arange(3.0, 3.0 + stack).double() + 0.3, each(*[guess] * stack))


def worst(step, parameters, states, asked) -> float:
    """The largest difference of any gradient, loss or residual from plain autograd, each relative to its largest value."""
    differences = []
    for index, one in enumerate(parameters.members):
        if isinstance(asked, JumpReLU):
            plain = plain_jumprelu(one, states[index], asked.width[index], asked.pull[index], asked.target[index])
        else:
            plain = plain_batchtopk(one, states[index], asked.k[index])
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


def test_an_autoencoder_trains_alike_alone_and_in_company():
    parameters, states = drawn((3, 40, 16, 64), 0)
    alone = Parameters.stacked(parameters.members[1:2])
    together, apart = Optimiser(parameters, [1e-2] * 3, [1e-3] * 3, clip=0.1), Optimiser(alone, [1e-2], [1e-3], clip=0.1)
    steps = SparseSteps()
    for _ in range(5):
        norms = together.step(steps(parameters, states, jumprelu(3)).gradients)
        asked = JumpReLU(*(tensor[1:2] for tensor in vars(jumprelu(3)).values()))
        norm = apart.step(steps(alone, states[1:2], asked).gradients)
        assert norm[0] == norms[1] > 0.1  # it is clipped, and not by its neighbours' norms
    for name, tensor in alone.tensors.items():
        assert torch.equal(tensor[0], parameters.tensors[name][1])
