"""What the scripts share, in rooms that import one way: each only from those above it.

    base      errors, whole-or-absent files, the Hub, progress, tracking, the command line
    data      texts become labelled token sequences
    model     the language model: loading, its blocks, its head, whether machine and tokenizer are fit
    states    which hidden states are read, the one pass that reads them, and where they are kept
    scores    logits and labels become thresholds, scores, intervals and baselines
    probes    the kinds of probe, on matrices of states
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
    "scores": "utils.scores.metrics",
    "choose_threshold": "utils.scores.thresholds",
    "paired_difference": "utils.scores.differences",
    "load_probes": "utils.saved.saved_probes",
    "promoted_tokens": "utils.model.unembedding",
}


def __getattr__(name: str) -> object:
    if name not in PUBLIC_NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(PUBLIC_NAMES[name]), name)


def __dir__() -> list[str]:
    return sorted(PUBLIC_NAMES)


class LazyNames(ModuleType):
    """`scores` is a function and a room. Importing the room would bind its name here, over the function, so the function is
    a property. The room is reached as ever: `from utils.scores.metrics import ...`.
    """

    @property
    def scores(self) -> object:
        return __getattr__("scores")

    @scores.setter
    def scores(self, room: ModuleType) -> None:
        """Ignore the room, which the import system finds by its full name."""


sys.modules[__name__].__class__ = LazyNames
