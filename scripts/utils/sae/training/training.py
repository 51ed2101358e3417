"""Train several sparse autoencoders on the same batches of states."""

import math
from collections.abc import Mapping, Sequence

import torch

from utils.base.errors import UserError
from utils.sae.autoencoder import SparseAutoencoder
from utils.sae.goals import Goal, Recipe
from utils.sae.training.schedule import rate_scale
from utils.sae.training.stack import TrainedStack

DIVERGED = 1e6  # times the variance of the states: a squared error above it is on its way to infinity


class NonFiniteLoss(UserError):
    """A step whose loss is not finite, or has left all bounds. It was not taken: the parameters are the last good ones.

    goal: which autoencoder; step: counted from 0
    """

    def __init__(self, goal: Goal, step: int, cause: str):
        super().__init__(f"layer {goal.layer}, {goal.run}, step {step:,}: {cause}")
        self.goal, self.step = goal, step


class Training:
    """Sparse autoencoders of equal width and hidden size, one for each goal, that train on the same batches.

    Each trains as it would alone: on CPU to the last bit, where all of an architecture take sparse steps (`fastest_steps`).
    """

    def __init__(self, goals: Sequence[Goal], recipe: Recipe, stacks: Mapping[str, TrainedStack], steps_taken: int = 0):
        self.goals, self.recipe, self.stacks, self.steps_taken = list(goals), recipe, dict(stacks), steps_taken

    @classmethod
    def begin(cls, goals: Sequence[Goal], sample: torch.Tensor, recipe: Recipe, device: torch.device | str) -> "Training":
        """Begin with a sample of raw training states [goals, n, hidden_size]: some thousands suffice.

        Raise UserError where states are not finite or do not vary, and where a target is not below the number of latents.
        """
        for goal in goals:
            if not 0 < goal.target_l0 < recipe.latents:
                raise UserError(
                    f"a target L0 of {goal.target_l0:g} needs more latents than {recipe.latents:,}: lower --target_l0, or "
                    "raise --d_hidden"
                )
        stacks = {}
        for architecture, members in _by_architecture(goals).items():
            chosen = [goals[index] for index in members]
            stacks[architecture] = TrainedStack.begin(chosen, sample[members], recipe, torch.device(device))
        return cls(goals, recipe, stacks)

    @classmethod
    def resumed(
        cls, goals: Sequence[Goal], recipe: Recipe, state: Mapping[str, torch.Tensor], device: torch.device | str
    ) -> "Training":
        """Go on from a `state` of the same goals and recipe, as if nothing had stopped."""
        stacks = {}
        for architecture, members in _by_architecture(goals).items():
            own = {key.partition("/")[2]: value for key, value in state.items() if key.startswith(architecture + "/")}
            chosen = [goals[index] for index in members]
            stacks[architecture] = TrainedStack.resumed(chosen, recipe, own, torch.device(device))
        return cls(goals, recipe, stacks, int(state["steps_taken"]))

    def step(self, states: torch.Tensor) -> None:
        """Learn from raw states [goals, batch, hidden_size]. Raise NonFiniteLoss before anything is changed."""
        computed = []
        for architecture, members in _by_architecture(self.goals).items():
            stack = self.stacks[architecture]
            own = states if len(members) == len(self.goals) else states[members]
            own = own.to(stack.scale.device, non_blocking=True)
            taken = stack.gradients(own, self.steps_taken)
            numbers = torch.stack([taken.loss, taken.l0, taken.in_window.to(taken.loss.dtype), taken.cut], dim=1).tolist()
            for goal, (loss, *_), one in zip(stack.goals, numbers, own, strict=True):
                self._require_good(goal, loss, one)
            computed.append((stack, taken, numbers))
        for stack, taken, numbers in computed:
            stack.follow(taken, numbers, states.shape[1], self.steps_taken)
        self.steps_taken += 1

    def _require_good(self, goal, loss, states):
        if loss < DIVERGED:
            return
        if not states.isfinite().all():
            cause = "the states are not finite; read them with another --model_dtype (float32), or leave the layer out"
        else:
            shown = f"{loss:.1e} times the variance" if math.isfinite(loss) else "not finite"
            rate = f"a lower --learning_rate (now {self.recipe.rate:g})"
            cause = f"the loss is {shown}; use {rate}"
        raise NonFiniteLoss(goal, self.steps_taken, cause)

    def progress(self) -> list[dict[str, float]]:
        """Report on each goal, from running means over about 20 steps: loss, l0, fvu, dead, learning_rate.

        loss   squared error and pull, with states that vary by 1
        fvu    the squared error alone: the unexplained share of the variance
        dead   share of latents that have been silent for long, on the states trained on
        """
        rate = self.recipe.rate * rate_scale(max(0, self.steps_taken - 1), self.recipe.steps)
        found = {}
        for stack in self.stacks.values():
            dead = stack.silence.silent.float().mean(1).tolist()
            for goal, one, share in zip(stack.goals, stack.steerings, dead, strict=True):
                found[goal] = {"loss": one.loss, "l0": one.l0, "fvu": one.fvu, "dead": share, "learning_rate": rate}
        return [found[goal] for goal in self.goals]

    def state(self) -> dict[str, torch.Tensor]:
        """Copy everything that `resumed` needs: tensors by name."""
        inside = {f"{kind}/{name}": value for kind, stack in self.stacks.items() for name, value in stack.state().items()}
        return {"steps_taken": torch.tensor(self.steps_taken), **inside}

    def autoencoders(self) -> list[SparseAutoencoder]:
        """Give one on raw states for each goal, on the CPU, as far as they are trained."""
        stacks = self.stacks.values()
        found = {goal: one for stack in stacks for goal, one in zip(stack.goals, stack.autoencoders(), strict=True)}
        return [found[goal] for goal in self.goals]


def _by_architecture(goals) -> dict[str, list[int]]:
    """Find which goals each architecture has: {architecture: their places}."""
    found: dict[str, list[int]] = {}
    for index, goal in enumerate(goals):
        found.setdefault(goal.architecture, []).append(index)
    return found
