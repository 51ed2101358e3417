"""Adam for a stack of sparse autoencoders: each is clipped by itself, and decoder rows keep unit norm."""

from collections.abc import Sequence

import torch

from utils.sae.steps.parameters import Parameters

SCALED_INSIDE = ("cpu", "cuda")  # where fused Adam divides gradients by `grad_scale` in its own pass over them


class Optimiser:
    """Update parameters in place by the gradients of a step.

    Each autoencoder has an Adam of its own (fused), so it trains alike alone and in company. Where the norm of its
    gradients, those of the thresholds left out, is above `clip`, all its gradients are divided by norm / clip.

    learning_rates            one an autoencoder, for weights and biases
    threshold_learning_rates  one an autoencoder; 0 holds its thresholds
    """

    def __init__(
        self,
        parameters: Parameters,
        learning_rates: Sequence[float],
        threshold_learning_rates: Sequence[float],
        clip: float = 1.0,
        betas: tuple[float, float] = (0.9, 0.999),
    ):
        self.parameters, self.clip = parameters, clip
        self._rates = list(zip(learning_rates, threshold_learning_rates, strict=True))
        self._adams = []
        for one, rates in zip(parameters.members, self._rates, strict=True):
            *weights, threshold = (torch.nn.Parameter(tensor) for tensor in one.tensors.values())
            groups = [{"params": params, "lr": rate} for params, rate in zip((weights, [threshold]), rates, strict=True)]
            self._adams.append(torch.optim.Adam(groups, betas=betas, fused=True))

    @torch.no_grad()
    def step(self, gradients: Sequence[Parameters], scale: float = 1.0) -> torch.Tensor:
        """Update by the gradients of each autoencoder, with `scale` times its learning rates. They are used up.

        Returns the norms [stack] before clipping.
        """
        norms = []
        for adam, rates, one in zip(self._adams, self._rates, gradients, strict=True):
            *weights, threshold = one.tensors.values()
            norms.append(torch.nn.utils.get_total_norm(weights))
            excess = (norms[-1] / self.clip).clamp(min=1).float()
            if norms[-1].device.type in SCALED_INSIDE:
                adam.grad_scale = excess
            else:
                torch._foreach_div_([*weights, threshold], excess)
            given = iter((*weights, threshold))
            for group, rate in zip(adam.param_groups, rates, strict=True):
                group["lr"] = rate * scale
                for parameter in group["params"]:
                    parameter.grad = next(given)
            adam.step()
            adam.zero_grad()
        decoder = self.parameters.decoder
        decoder.div_(torch.linalg.vector_norm(decoder, dim=-1, keepdim=True))
        self.parameters.threshold.clamp_(min=0)
        return torch.stack(norms)

    def state(self) -> dict[str, torch.Tensor]:
        """Copy what a resume needs beside the parameters: the moments and the number of steps, by name."""
        return {
            f"{index}.{number}.{name}": value.clone()
            for index, adam in enumerate(self._adams)
            for number, kept in adam.state_dict()["state"].items()
            for name, value in kept.items()
        }

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        """Go on from a state; the parameters must be those that stood beside it."""
        for index, adam in enumerate(self._adams):
            kept: dict[int, dict[str, torch.Tensor]] = {}
            for key, value in state.items():
                member, number, name = key.split(".")
                if int(member) == index:
                    kept.setdefault(int(number), {})[name] = value.clone()
            adam.load_state_dict({"state": kept, "param_groups": adam.state_dict()["param_groups"]})
