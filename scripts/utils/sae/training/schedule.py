"""How learning rate and pull change over a run: in shares of its steps, so that runs of any length do."""

WARM_UP, DECAY = 0.02, 0.2  # of the steps: the learning rate rises over the first, falls over the last
PULL, PULL_WARM_UP = 10.0, 0.1  # weight of (L0 / target - 1)^2 beside a loss that begins near 1
LIFTED, LOWERED = 0.5, 0.8  # silent latents are lifted until the first share of the steps; at the second none is any more
RUNNING = 20  # running values hold about the last 1 / RUNNING of all steps


def settling(step: int, steps: int) -> bool:
    """Say whether learning rates fall already. Thresholds then close in on L0."""
    return step >= (1 - DECAY) * steps


def rate_scale(step: int, steps: int) -> float:
    """Give the factor on all learning rates at a step, counted from 0: a short rise, a plateau, a linear fall to 0."""
    rise = (step + 1) / (WARM_UP * steps)
    fall = (steps - step) / (DECAY * steps)
    return max(0.0, min(1.0, rise, fall))


def pull_at(step: int, steps: int) -> float:
    """Give the weight of the pull at a step."""
    return PULL * min(1.0, step / (PULL_WARM_UP * steps))


def lifting(step: int, steps: int) -> bool:
    """Say whether BatchTopK lifts its silent latents at a step."""
    return step < LIFTED * steps


def lift_scale(step: int, steps: int) -> float:
    """Give the factor on lifts at a step: 1, then a linear fall to 0 before thresholds settle."""
    return max(0.0, min(1.0, (LOWERED - step / steps) / (LOWERED - LIFTED)))


def forgetting(steps: int) -> float:
    """Give the weight of the newest value in running means."""
    return min(0.5, RUNNING / steps)
