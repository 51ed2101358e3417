"""Which sparse autoencoders are asked for, and how they are trained."""

from dataclasses import dataclass

from utils.states.sites import Layer

ARCHITECTURES = ("jumprelu", "batchtopk")
USUAL_TOKENS, USUAL_EPOCHS = 1_000_000, 2  # states that a training draws from the text, and how often it sees each
USUAL_BATCH = 512  # more steps help more than larger ones: see Recipe.rate
LATENTS_PER_DIMENSION = 8
USUAL_RATE, USUAL_WIDTH, FASTEST = 2e-3, 6144, 1e-2  # the learning rate, at so many latents; the largest


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
        """The learning rate falls with the square root of the number of latents, as in Gao et al. (2024, arXiv:2406.04093).

        Share of the variance left unexplained, on held-out text of stories260K, layer 4, 512 latents, 0.8 million states:

            batch and rate    512, .002    512, .004    512, .008    1,024, .002    1,024, .004    2,048, .004
            JumpReLU, L0 4         .254         .240         .233           .273           .248           .268
            BatchTopK, L0 16       .134         .120         .109           .152           .135           .153
        """
        return self.learning_rate or min(FASTEST, USUAL_RATE * (USUAL_WIDTH / self.latents) ** 0.5)


def usual_latents(hidden_size: int) -> int:
    """Give the number of latents that is trained where none is asked for."""
    return LATENTS_PER_DIMENSION * hidden_size


def sae_name(layer: Layer) -> str:
    """Name a layer as the files do: 5 -> 'sae_layer_5', 'embed' -> 'sae_embed'."""
    return f"sae_layer_{layer}" if isinstance(layer, int) else f"sae_{layer}"
