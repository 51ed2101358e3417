"""Which sparse autoencoders are asked for, and how they are trained."""

from dataclasses import dataclass

from utils.states.sites import Layer

ARCHITECTURES = ("jumprelu", "batchtopk")


@dataclass(frozen=True)
class Goal:
    """One sparse autoencoder that is asked for: of which layer, how sparse, from which first weights.

    architecture  "jumprelu" or "batchtopk"
    target_l0     how many latents shall be active at a token, on average
    seed          draws the first weights and the order of the states
    """

    architecture: str
    target_l0: float
    seed: int
    layer: Layer

    @property
    def run(self) -> str:
        """Name what the layers have in common, as folders do: 'jumprelu_l0_16_seed_0'."""
        return f"{self.architecture}_l0_{self.target_l0:g}_seed_{self.seed}"


@dataclass(frozen=True)
class Recipe:
    """How sparse autoencoders are trained.

    latents        how many each has
    steps          in all, over all epochs
    batch_size     states a step
    learning_rate  of weights and biases; None: it follows the number of latents
    """

    latents: int
    steps: int
    batch_size: int
    learning_rate: float | None = None
