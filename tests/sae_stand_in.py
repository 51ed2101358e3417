"""A simple trainee with the interface of `utils.sae.training`: each state is rebuilt from its largest pre-activations."""

import torch

from utils.base.errors import UserError
from utils.sae.autoencoder import SparseAutoencoder


class StandIn:
    """Plain gradient descent with momentum, float32; learns slowly, and is the same to the last bit."""

    def __init__(self, goals, recipe, weights, momentum, mean, steps):
        self.goals, self.recipe, self.weights, self.momentum, self.mean = goals, recipe, weights, momentum, mean
        self.steps, self.latest = steps, torch.zeros(len(goals))

    @classmethod
    def begin(cls, goals, sample, recipe, device):
        generator = torch.Generator().manual_seed(goals[0].seed)
        weights = torch.randn(len(goals), recipe.latents, sample.shape[2], generator=generator)
        weights /= weights.norm(dim=2, keepdim=True)
        return cls(goals, recipe, weights.to(device), torch.zeros_like(weights).to(device), sample.mean(1).to(device), 0)

    @classmethod
    def resumed(cls, goals, recipe, state, device):
        tensors = [state[name].to(device) for name in ("weights", "momentum", "mean")]
        return cls(goals, recipe, *tensors, state["steps"])

    def step(self, states):
        weights = self.weights.clone().requires_grad_()
        centred = states - self.mean[:, None]
        before = centred @ weights.mT
        kept = before.topk(int(self.goals[0].target_l0), dim=2)
        latents = torch.zeros_like(before).scatter(2, kept.indices, kept.values.relu())
        losses = (latents @ weights - centred).square().mean((1, 2))
        if not losses.isfinite().all():
            raise UserError(f"{self.goals[0].run}: the loss is not finite at step {self.steps + 1}")
        (gradient,) = torch.autograd.grad(losses.sum(), weights)
        self.momentum = 0.9 * self.momentum + gradient
        self.weights = self.weights - 0.05 * self.momentum
        self.steps, self.latest = self.steps + 1, losses.detach()

    def progress(self):
        return [{"loss": float(loss), "l0": 1.0, "fvu": 0.5, "dead": 0.0, "learning_rate": 0.05} for loss in self.latest]

    def state(self):
        return {"weights": self.weights, "momentum": self.momentum, "mean": self.mean, "steps": self.steps}

    def autoencoders(self):
        bias = torch.zeros(self.recipe.latents)
        return [
            SparseAutoencoder(weights.clone(), bias, weights.clone(), mean.clone(), bias + 0.1)
            for weights, mean in zip(self.weights, self.mean, strict=True)
        ]
