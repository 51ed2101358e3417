"""What follows the states from step to step, in plain numbers: the kernel's width, thresholds that give the L0 asked for."""

import math
from dataclasses import asdict, dataclass

from utils.sae.training.schedule import forgetting, pull_at

WINDOW = 0.25  # the kernel's window holds so many latents for each that is active
FIRST_WIDTH = 0.3  # of the first threshold
GAIN, LARGEST_CHANGE = 0.05, 1.1  # how fast the width follows, as a power of the ratio; the largest factor in one step
SETTLING = 0.2  # how fast thresholds follow L0 in the end: their relative change for each relative error
RECENT = 0.05  # weight of the newest step in what is reported; the least share of SETTLING


@dataclass
class Steering:
    """The numbers of one autoencoder.

    first_threshold   that training began with; the unit of other steps
    width             of the kernel's window around thresholds
    cut               the smallest value that the latest BatchTopK step kept
    threshold         the running mean of such cuts, with which BatchTopK ends its training and is used
    loss, l0, fvu     running means over about 20 steps
    """

    first_threshold: float
    width: float
    cut: float
    threshold: float
    loss: float = float("nan")
    l0: float = float("nan")
    fvu: float = float("nan")

    @classmethod
    def begin(cls, threshold: float) -> "Steering":
        return cls(threshold, FIRST_WIDTH * threshold, threshold, threshold)

    def follow_window(self, l0: float, in_window: float) -> None:
        """Adapt the kernel. in_window: latents of a state that lie in its window, on average."""
        wanted = WINDOW * max(l0, 1e-9)
        ratio = wanted / max(in_window, wanted / 1000)
        self.width *= min(LARGEST_CHANGE, max(1 / LARGEST_CHANGE, ratio**GAIN))

    def follow_cut(self, cut: float, step: int, steps: int) -> None:
        """Keep the cut of a BatchTopK step."""
        self.cut = cut
        self.threshold += max(forgetting(steps), 1 / (step + 1)) * (cut - self.threshold)

    def settle(self, l0: float, target: float, rate: float) -> float:
        """Give the factor on all thresholds that brings L0 nearer to the target. rate: the factor on learning rates.

        The pull alone leaves L0 where it balances the loss, some percent off; a mean of cuts is not the cut of the mean.
        """
        factor = math.exp(SETTLING * max(rate, RECENT) * min(1.0, l0 / target - 1))
        self.threshold *= factor
        return factor

    def report(self, fvu: float, l0: float, target: float, step: int, steps: int) -> None:
        """Keep what progress shows. fvu: the squared error, since scaled states vary by 1."""
        loss = fvu + pull_at(step, steps) * (l0 / target - 1) ** 2
        for name, value in (("loss", loss), ("l0", l0), ("fvu", fvu)):
            kept = getattr(self, name)
            setattr(self, name, value if kept != kept else kept + RECENT * (value - kept))

    @property
    def numbers(self) -> list[float]:
        """Give all numbers, in order: Steering(*numbers) is the same."""
        return list(asdict(self).values())
