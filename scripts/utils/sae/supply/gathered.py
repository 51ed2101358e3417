"""Read the states that trainings share: kept in memory or on disk, or streamed where there is no room and no folder."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from utils.base.errors import UserError
from utils.base.text_table import gigabytes
from utils.data.sequences import Sequences
from utils.model.language_model import LanguageModel
from utils.sae.goals import USUAL_EPOCHS, USUAL_TOKENS
from utils.sae.supply.left_out import MASSIVE, Excluding, Limits, kept_rows, norms_of, plan_of_text
from utils.sae.supply.order import BlockOrder
from utils.sae.supply.states import SeededBatches, StateSource, StoredStates, StreamedStates
from utils.sae.supply.texts import SPLITS_OF_TEXTS
from utils.states.comparison import require_same_states
from utils.states.extraction import Reading, read_plans
from utils.states.forward_pass import Pass
from utils.states.positions import ReadPlan
from utils.states.sites import Layer
from utils.states.store import StateTable, table_bytes

MEDIAN_OF = 2**15  # streamed states from which the median norm is taken
MOST_USUAL_EPOCHS = 20  # over few states, where the user does not say how many
FEWER_TOKENS = "a smaller --num_tokens"


@dataclass(frozen=True)
class Gathering:
    """How states are read and kept.

    layers      which are read
    batch_size  sequences per forward pass
    cache_dir   folder that keeps them; None: in memory where buffer_gb hold them all, else they are streamed
    buffer_gb   GB of hidden states that memory holds
    excluding   which states are left out
    """

    layers: tuple[Layer, ...]
    batch_size: int
    cache_dir: str | None
    buffer_gb: float
    excluding: Excluding


@dataclass(frozen=True)
class Supply:
    """The states to train on, those of validation and those that are held out, with what is kept of them.

    plan        which states of the held-out sequences are read
    limits      their largest norms
    streamed    whether each epoch runs the model once more
    comparison  how far states lay from those of transformers
    """

    train: StateSource
    validation: StateSource
    held_out: StateSource
    plan: ReadPlan
    limits: Limits
    streamed: bool
    comparison: Mapping[str, Any]


def gather(how: Gathering, language_model: LanguageModel, splits: Mapping[str, Sequences]) -> Supply:
    """Run the one pass over "train", "validation" and "held_out", or make ready to stream."""
    plans = {name: plan_of_text(sequences, how.layers, how.excluding) for name, sequences in splits.items()}
    for name, plan in plans.items():
        if not len(plan):
            raise UserError(f"the {name} texts hold no token whose state is read; give more texts or a larger --num_tokens")
    needed = sum(table_bytes(language_model, plan) for plan in plans.values())
    if how.cache_dir is None and needed > how.buffer_gb * 1e9:
        return stream(how, language_model, splits, plans)
    reading = Reading(how.layers, batch_size=how.batch_size, cache_dir=how.cache_dir, memory_gb=how.buffer_gb)
    states = read_plans(reading, language_model, splits, plans, FEWER_TOKENS)
    norms = {name: norms_of(table) for name, table in states.tables.items()}
    limits = Limits.of(how.layers, norms["train"], how.excluding)
    train, validation, held_out = (
        stored(name, states.tables[name], norms[name], limits, language_model) for name in SPLITS_OF_TEXTS
    )
    return Supply(train, validation, held_out, plans["held_out"], limits, False, states.comparison)


def stored(name: str, table: StateTable, norms: Any, limits: Limits, language_model: LanguageModel) -> StoredStates:
    """Leave out of a table what is left out. Raise UserError where nothing remains."""
    kept = kept_rows(name, norms, limits, language_model)
    if not len(kept):
        raise UserError(f"all {name} states are left out; --keep_outliers keeps those of massive norm, or give more texts")
    return StoredStates(table, kept)


def stream(
    how: Gathering, language_model: LanguageModel, splits: Mapping[str, Sequences], plans: Mapping[str, ReadPlan]
) -> Supply:
    """Make ready to read states while they are trained on; held-out ones are kept where half of the buffer holds them."""
    passes = {name: Pass(language_model, splits[name], plan, how.batch_size) for name, plan in plans.items()}
    needed = {name: table_bytes(language_model, plan) for name, plan in plans.items()}
    print(
        f"{gigabytes(sum(needed.values()))} of hidden states are more than --buffer_gb {how.buffer_gb:g} and are not "
        "kept: each epoch runs the model once (--cache_dir keeps them on disk)",
        flush=True,
    )
    comparison = require_same_states(language_model, splits.values(), how.layers)
    train = StreamedStates(passes["train"])
    norms = train.sample(MEDIAN_OF).norm(dim=2)
    limits = train.limits = Limits.of(how.layers, norms, how.excluding)
    if (massive := limits.massive(norms).any(0)).any():
        print(
            f"train: {int(massive.sum()):,} of {len(massive):,} states that were looked at have more than {MASSIVE} times "
            "the median norm; such are left out, and others stand in their place; --keep_outliers keeps them",
            flush=True,
        )
    others = [name for name in SPLITS_OF_TEXTS if name != "train"]
    if sum(needed[name] for name in others) > how.buffer_gb * 1e9 / 2:
        kept: Mapping[str, StateSource] = {name: StreamedStates(passes[name], limits) for name in others}
        return Supply(train, kept["validation"], kept["held_out"], plans["held_out"], limits, True, comparison)
    reading = Reading(how.layers, batch_size=how.batch_size, memory_gb=how.buffer_gb)
    of_others, own = {name: splits[name] for name in others}, {name: plans[name] for name in others}
    states = read_plans(reading, language_model, of_others, own, FEWER_TOKENS)
    kept = {name: stored(name, table, norms_of(table), limits, language_model) for name, table in states.tables.items()}
    return Supply(train, kept["validation"], kept["held_out"], plans["held_out"], limits, True, comparison)


def batches_of(supply: Supply, how: Gathering, hidden_size: int, batch_size: int, epochs: int | None) -> SeededBatches:
    """Order the states of training into batches. Raise UserError where they fill none.

    epochs: None: as many as see USUAL_EPOCHS times USUAL_TOKENS states, at most MOST_USUAL_EPOCHS
    """
    rows = supply.train.rows
    require_batch(rows, batch_size)
    order = BlockOrder.within(rows, batch_size, 4 * len(how.layers) * hidden_size, how.buffer_gb * 1e9)
    usual = min(max(1, round(USUAL_EPOCHS * USUAL_TOKENS / rows)), MOST_USUAL_EPOCHS)
    return SeededBatches(supply.train, order, epochs or usual)


def require_batch(rows: int, batch_size: int) -> None:
    """Raise UserError where the states fill no batch."""
    if rows < batch_size:
        raise UserError(
            f"--batch_size {batch_size}: the texts give {rows:,} states to train on, too few for one batch; give more "
            "texts, a larger --num_tokens or a smaller --batch_size"
        )
