"""Autoencoders of one architecture that take their steps together."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch

from utils.sae.autoencoder import SparseAutoencoder
from utils.sae.goals import Goal, Recipe
from utils.sae.steps.choice import fastest_steps
from utils.sae.steps.optimiser import Optimiser
from utils.sae.steps.parameters import BatchTopK, JumpReLU, Parameters, TrainingStep
from utils.sae.training.beginning import first_parameters
from utils.sae.training.revival import PUSH, Silence
from utils.sae.training.scaling import Scaling
from utils.sae.training.schedule import lift_scale, lifting, pull_at, rate_scale, settling
from utils.sae.training.steering import Steering

UNUSED_WIDTH = 1e-3  # of the threshold: a window that holds next to nothing
THRESHOLD_RATE = 0.01  # learning rate of thresholds, as a share of the first


@dataclass
class TrainedStack:
    """Autoencoders of one architecture, one for each goal.

    Each is computed as if it were alone: what one number of it depends on is only its own.
    """

    goals: Sequence[Goal]
    recipe: Recipe
    scalings: list[Scaling]
    parameters: Parameters
    steerings: list[Steering]

    def __post_init__(self):
        device = self.parameters.encoder.device
        first = [one.first_threshold for one in self.steerings]
        learnt = THRESHOLD_RATE if self.jumprelu else 0.0
        rates = [self.recipe.rate] * len(first)
        self.optimiser = Optimiser(self.parameters, rates, [learnt * one for one in first])
        targets = torch.tensor([goal.target_l0 for goal in self.goals], device=device)
        self.silence = Silence.begin(targets, self.recipe.latents)
        self.compute = fastest_steps(device, self.recipe.latents, max(goal.target_l0 for goal in self.goals))
        self.scale = torch.tensor([one.scale for one in self.scalings], device=device)[:, None, None]

    @classmethod
    def begin(cls, goals: Sequence[Goal], sample: torch.Tensor, recipe: Recipe, device: torch.device) -> "TrainedStack":
        """Begin on a sample of raw states [goals, n, hidden_size]."""
        scalings = [Scaling.of(goal, states) for goal, states in zip(goals, sample, strict=True)]
        each = zip(goals, sample, scalings, strict=True)
        members = [first_parameters(goal, recipe.latents, states, scaling) for goal, states, scaling in each]
        steerings = [Steering.begin(float(one.threshold[0])) for one in members]
        stacked = Parameters.stacked(members)
        on_device = Parameters(*(tensor.to(device) for tensor in stacked.tensors.values()))
        return cls(goals, recipe, scalings, on_device, steerings)

    @property
    def jumprelu(self) -> bool:
        return self.goals[0].architecture == "jumprelu"

    def gradients(self, states: torch.Tensor, step: int) -> TrainingStep:
        """Compute one step over raw states [goals, batch, hidden_size]. Nothing is changed."""
        return self.compute(self.parameters, states.float() * self.scale, self._asked(step))

    def _asked(self, step):
        each = list(zip(self.goals, self.steerings, strict=True))
        if self.jumprelu:
            pull = pull_at(step, self.recipe.steps)
            rows = [(one.width, pull, goal.target_l0) for goal, one in each]
            return JumpReLU(*self._columns(rows))
        if settling(step, self.recipe.steps):  # one threshold, as in use later; the optimiser holds it
            return JumpReLU(*self._columns([(UNUSED_WIDTH * one.threshold, 0.0, goal.target_l0) for goal, one in each]))
        lift = self.silence.lift * lift_scale(step, self.recipe.steps)
        k, guess = self._columns([(goal.target_l0, one.cut) for goal, one in each])
        return BatchTopK(k, guess, lift)

    def _columns(self, rows):
        return torch.tensor(rows, device=self.scale.device, dtype=torch.float32).unbind(1)

    @torch.no_grad()
    def follow(self, taken: TrainingStep, numbers: Sequence[Sequence[float]], batch: int, step: int) -> None:
        """Update by a step that was computed. numbers: its loss, L0, latents in the window and cut for each goal."""
        steps = self.recipe.steps
        self.optimiser.step(taken.gradients, rate_scale(step, steps))
        self.silence.count(taken.fired, batch)
        for goal, one, (loss, l0, in_window, cut) in zip(self.goals, self.steerings, numbers, strict=True):
            one.report(loss, l0, goal.target_l0, step if self.jumprelu else 0, steps)
            if self.jumprelu:
                one.follow_window(l0, in_window / batch)
            elif not settling(step, steps):
                one.follow_cut(cut, step, steps)
        if settling(step, steps):
            each = zip(self.goals, self.steerings, numbers, strict=True)
            rate = rate_scale(step, steps)
            factors = [one.settle(l0, goal.target_l0, rate) for goal, one, (_, l0, *_) in each]
            self.parameters.threshold.mul_(self._column(factors))
        unit = [one.first_threshold if self.jumprelu else one.threshold for one in self.steerings]
        if not self.jumprelu:
            self.parameters.threshold.copy_(self._column(unit))
        push = self._column(unit) * (PUSH * batch / 1024)
        self.silence.revive(self.parameters, push, self.jumprelu, not self.jumprelu and lifting(step, steps))

    def _column(self, values):
        return torch.tensor(values, device=self.scale.device, dtype=torch.float32)[:, None]

    def state(self) -> dict[str, torch.Tensor]:
        """Copy all that a resume needs, by name."""
        return {
            **{f"parameters.{name}": tensor.clone() for name, tensor in self.parameters.tensors.items()},
            **{f"optimiser.{name}": tensor for name, tensor in self.optimiser.state().items()},
            "since": self.silence.since.clone(),
            "lift": self.silence.lift.clone(),
            "steering": torch.tensor([one.numbers for one in self.steerings], dtype=torch.float64),
            "mean": torch.stack([one.mean for one in self.scalings]),
            "scale": torch.tensor([one.scale for one in self.scalings], dtype=torch.float64),
        }

    @classmethod
    def resumed(cls, goals: Sequence[Goal], recipe: Recipe, state: dict[str, torch.Tensor], device: torch.device):
        """Go on from a state."""

        def under(prefix):
            return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}

        parameters = Parameters(**{name: tensor.to(device).clone() for name, tensor in under("parameters.").items()})
        scalings = [Scaling(mean, scale) for mean, scale in zip(state["mean"], state["scale"].tolist(), strict=True)]
        steerings = [Steering(*numbers) for numbers in state["steering"].tolist()]
        stack = cls(goals, recipe, scalings, parameters, steerings)
        stack.optimiser.restore(under("optimiser."))
        stack.silence.since.copy_(state["since"])
        stack.silence.lift.copy_(state["lift"])
        return stack

    def autoencoders(self) -> list[SparseAutoencoder]:
        """Fold the scale into each."""
        each = zip(self.goals, self.scalings, self.parameters.members, strict=True)
        return [scaling.fold(one, asdict(goal)) for goal, scaling, one in each]
