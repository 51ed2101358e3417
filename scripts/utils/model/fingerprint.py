"""The fingerprint of a model: a hash of its configuration and of the weights that the pass reads."""

from collections.abc import Collection
from typing import Any

import torch

from utils.base.files import fingerprint

WEIGHTS_SAMPLED = 64  # of each parameter, for the fingerprint
WEIGHTS_AT_A_TIME = 2**22  # added up together, so that no second copy of a large matrix is made


def model_fingerprints(model: Any, unused: Collection[str]) -> tuple[str, str]:
    """Hash the configuration and every weight, rounded to bfloat16: a float32 model loaded as bfloat16, on any device, is
    the same model (as float16 it is another: there the weights are rounded twice).

    Of each tensor a sample and the sum of all bit patterns, which is exact in whatever order it is added up. unused: the
    names of the weights that the pass does not read. Return two fingerprints: of what the pass reads, its buffers included;
    and as versions before this rule took it, of all parameters. They are equal where nothing is unused, as they were.
    """
    config = without_passing_things(model.config.to_dict())
    parameters = {name: digest(name, parameter) for name, parameter in sorted(model.named_parameters())}
    buffers = {
        name: digest(name, tensor)
        for name, tensor in sorted(model.state_dict(keep_vars=True).items())
        if not isinstance(tensor, torch.nn.Parameter) and tensor.is_floating_point()
    }
    used = [entry for name, entry in (*parameters.items(), *buffers.items()) if name not in unused]
    return fingerprint(config, *entries_of(used)), fingerprint(config, *entries_of(parameters.values()))


def entries_of(entries: Any) -> list:
    return [part for entry in entries for part in entry]


def digest(name: str, weights: torch.Tensor) -> list:
    """A tensor's name, shape, sample, and the sum of its bit patterns."""
    values = weights.detach().reshape(-1)
    total = sum(int(bits(piece).sum(dtype=torch.int64)) for piece in values.split(WEIGHTS_AT_A_TIME))
    return [name, list(weights.shape), bits(values[:: max(1, len(values) // WEIGHTS_SAMPLED)]).tolist(), total]


def bits(weights: torch.Tensor) -> torch.Tensor:
    return weights.to(torch.bfloat16).view(torch.int16)


def without_passing_things(config: Any) -> Any:
    """The configuration without what changes from one loading to the next, in its parts too."""
    if not isinstance(config, dict):
        return config
    return {
        key: without_passing_things(value)
        for key, value in config.items()
        if key not in ("_name_or_path", "dtype", "torch_dtype", "transformers_version", "use_cache")
    }
