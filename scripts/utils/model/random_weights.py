"""A language model that has learnt nothing: the same architecture with the weights that training would start from."""

import copy
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from utils.model.language_model import LanguageModel, wrap


def with_random_weights(language_model: LanguageModel, seed: int = 0) -> LanguageModel:
    """Make a second model of the same class, configuration, dtype and device, its weights drawn by the model's own
    initialisation, as transformers does before training. The first stays as it is. An adapter is left out.

    What a probe finds in its states is in the architecture and the tokens, not learnt. The weights are drawn in float32 on
    the processor, so that one seed gives the same model on every device, rounded to its dtype; it takes that memory.
    """
    model = language_model.model
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        drawn = type(model)._from_config(copy.deepcopy(model.config), dtype=torch.float32)
    take_dtypes(drawn, model)
    wrapped = wrap(drawn.to(language_model.device), f"{language_model.name} (random weights)")
    return replace(wrapped, largest_batch=language_model.largest_batch)


def take_dtypes(model: nn.Module, other: nn.Module) -> None:
    """Give each parameter, buffer and configuration the dtype that it has in another model of the same class."""
    theirs = {**dict(other.named_parameters()), **dict(other.named_buffers())}
    theirs = {name.replace(".base_layer.", "."): tensor for name, tensor in theirs.items()}  # as named before an adapter
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        tensor.data = tensor.data.to(theirs[name].dtype)
    configured = [[part.config for part in whole.modules() if hasattr(part, "config")] for whole in (model, other)]
    for config, counterpart in zip(*configured, strict=True):
        name_dtype(config, counterpart)


def name_dtype(config: Any, other: Any) -> None:
    """Write into a configuration, and into those inside it, the dtype that another of the same class names."""
    config.dtype = other.dtype
    for name in config.sub_configs:
        if getattr(config, name) is not None:
            name_dtype(getattr(config, name), getattr(other, name))
