"""Which sparse autoencoders are asked for, and how they are trained."""

from dataclasses import dataclass

from utils.states.sites import Layer

ARCHITECTURES = ("jumprelu", "batchtopk")
USUAL_TOKENS, USUAL_EPOCHS, USUAL_BATCH = (
    1_000_000,
    2,
    1024,
)  # states are drawn once from the text, and each is trained on twice
LATENTS_PER_DIMENSION = 8
USUAL_RATE, USUAL_WIDTH = 2e-3, 2048


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
    """How sparse autoencoders are trained. What is measured of the defaults stands in docs/measured.md.

    latents        how many each has; a good number is `usual_latents`
    steps          in all, over all epochs: USUAL_EPOCHS times over about USUAL_TOKENS states
    batch_size     states a step
    learning_rate  of weights and biases; None: it follows the number of latents
    """

    latents: int
    steps: int
    batch_size: int = USUAL_BATCH
    learning_rate: float | None = None

    @property
    def rate(self) -> float:
        """The learning rate: USUAL_RATE up to USUAL_WIDTH latents, then falling with the square root of their number.

        The more latents there are, the farther a step in all of their weights moves what they rebuild together.
        """
        return self.learning_rate or USUAL_RATE * min(1.0, (USUAL_WIDTH / self.latents) ** 0.5)


def usual_latents(hidden_size: int) -> int:
    """Give the number of latents that is trained where none is asked for."""
    return LATENTS_PER_DIMENSION * hidden_size
