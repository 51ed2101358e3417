"""What the scripts share, in rooms that import one way: each only from those above it.

    base      errors, whole-or-absent files, the Hub, progress, tracking, the command line
    data      texts become labelled token sequences
    model     the language model: loading, its blocks, its head, whether machine and tokenizer are fit
    states    which hidden states are read, the one pass that reads them, and where they are kept
    scores    logits and labels become thresholds, scores, intervals and baselines
    probes    the kinds of probe, on matrices of states
    sae       sparse autoencoders: trained, measured, named, saved
    saved     probe files and tables on disk, and saved probes used again
    sweep     fit, choose, score, save: the steps of train_probe.py
    pages     charts and HTML; pages and sweep do not import each other

A notebook imports the names that it wants from here, `from utils import load_language_model, Logistic, scores`, and none
of them is loaded before it is asked for: see docs/notebook.md.
"""

import sys
from importlib import import_module
from types import ModuleType

PUBLIC_NAMES = {
    "load_language_model": "utils.model.language_model",
    "load_tokenizer": "utils.data.tokenizer",
    "load_sequences": "utils.data.sequences",
    "read_states": "utils.states.extraction",
    "Matrices": "utils.states.matrices",
    "Linear": "utils.probes.estimators",
    "Logistic": "utils.probes.estimators",
    "MassMean": "utils.probes.estimators",
    "MLP": "utils.probes.estimators",
    "Attention": "utils.probes.descent.attention",
    "scores": "utils.scores",
    "choose_threshold": "utils.scores.thresholds",
    "paired_difference": "utils.scores.differences",
    "load_probes": "utils.saved.saved_probes",
    "promoted_tokens": "utils.model.unembedding",
}


def __getattr__(name: str) -> object:
    if name not in PUBLIC_NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = import_module(PUBLIC_NAMES[name])
    return found if name == "scores" else getattr(found, name)


def __dir__() -> list[str]:
    return sorted(PUBLIC_NAMES)


class CallableRoom(ModuleType):
    """`scores` is a function and a room: the room, when it is called, is the function `utils.scores.metrics.scores`."""

    def __call__(self, *values: object, **named: object) -> object:
        return import_module(f"{self.__name__}.metrics").scores(*values, **named)


class LazyNames(ModuleType):
    """This package. The import system sets each room on it as an attribute, when the room is first imported."""

    def __setattr__(self, name: str, value: object) -> None:
        if name == "scores" and isinstance(value, ModuleType):
            value.__class__ = CallableRoom
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = LazyNames
