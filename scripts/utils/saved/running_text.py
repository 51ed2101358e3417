"""Compute the logits of saved probes for texts: of every token, each read with context before it, or of whole texts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from utils.base.errors import UserError
from utils.data.position_limit import position_limit
from utils.data.sequences import Sequences, unlabelled_sequences
from utils.data.windows import Stretch, overlapping_windows
from utils.model.language_model import LanguageModel
from utils.saved.probe_sets import ProbeSet
from utils.states.comparison import require_same_states
from utils.states.forward_pass import OWN_LOGITS, Pass, read_batches
from utils.states.positions import ReadPlan, at_labelled
from utils.states.sites import sort_layers

LONGEST_WINDOW = 1024  # text tokens: context enough, and memory that every machine has


@dataclass(frozen=True)
class Windowing:
    """How whole texts are cut for the model: windows of at most `width` text tokens, each of which shares `overlap` tokens
    with the next one and stands inside `frame`, the ids of the special tokens before and after a text.
    """

    width: int
    overlap: int
    frame: tuple[list[int], list[int]]


def fitting_windows(
    language_model: LanguageModel, width: int | None, overlap: int | None, frame: tuple[list[int], list[int]]
) -> Windowing:
    """Choose how many text tokens are read together, and how many of them windows share.

    width, overlap: as they were asked for; None: as wide as the model and memory allow, and half of that
    """
    limit = position_limit(language_model.name, language_model.trust_remote_code)
    most = limit - len(frame[0]) - len(frame[1]) if limit else None
    width = width or min(most or LONGEST_WINDOW, LONGEST_WINDOW)
    if most and width > most:
        raise UserError(
            f"--window {width} is too long: {language_model.name} has {limit} positions, {most} of them for "
            "text; make it smaller"
        )
    overlap = width // 2 if overlap is None else overlap
    if overlap >= width:
        raise UserError(f"--overlap {overlap} must be smaller than the window of {width} tokens")
    return Windowing(width, overlap, frame)


def whole_logits(
    language_model: LanguageModel,
    texts: list[np.ndarray],
    sets: Sequence[ProbeSet],
    windows: Windowing,
    batch_size: int,
    tick: Callable[[int], object],
) -> list[np.ndarray]:
    """Compute the logits of each set of probes of whole texts: float32 [probes, texts + tokens of all texts].

    First what is said of each text; then of each token: where states are averaged its own logit, so that a text's is the
    mean of its tokens'; else what would be said if the text ended there. Arguments are those of `probe_logits`; each text
    is read whole, as long as it is.
    """
    windows = replace(windows, width=max(map(len, texts)), overlap=0)
    ends = np.cumsum([len(text) for text in texts]) - 1
    so_far, _ = probe_logits(language_model, texts, sets, windows, batch_size, tick)
    of_tokens = so_far
    if sets[0].pool == "mean":
        of_tokens, _ = probe_logits(language_model, texts, sets, windows, batch_size, tick, pool="last")
    return [np.concatenate([said[:, ends], own], axis=1) for said, own in zip(so_far, of_tokens, strict=True)]


def probe_logits(
    language_model: LanguageModel,
    texts: list[np.ndarray],
    sets: Sequence[ProbeSet],
    windows: Windowing,
    batch_size: int,
    tick: Callable[[int], object],
    pool: str | None = None,
) -> tuple[list[np.ndarray], dict[str, np.ndarray]]:
    """Compute the logits of each set of probes in one pass, float32 [probes, tokens of all texts]; column p is the answer
    about token p, from the state at p + lag. And the model's own log-odds that token p is the target, {target: float32
    [tokens]}, of the first set that asks for the next token; none where no set does, or the model cannot say.

    texts: token ids without special tokens, int32 [tokens] each
    windows: how the texts are cut for the model
    tick: called with the number of tokens that were read since the last call
    pool: what of a window is read, up to each token; None: what the probes read

    NaN where p + lag is outside the text, or where the state overflowed.
    """
    stretches, sequences = overlapping_sequences(texts, windows, language_model.anatomy.causal)
    plan = replace(plan_of(stretches, len(windows.frame[0])), pool=pool or sets[0].pool)
    predicts = next((one.common for one in sets if says_itself(language_model, one)), None)
    own = np.full((1, len(plan)), np.nan, dtype=np.float32)
    if predicts:
        plan = replace(plan, own_targets=np.full(len(plan), predicts["token"]))
    layers = sort_layers({layer for one in sets for layer in one.layers}, language_model.anatomy)
    readers = {
        layer: [(number, one.layers.index(layer)) for number, one in enumerate(sets) if layer in one.layers]
        for layer in layers
    }
    at_state = [np.full((len(one.layers), len(plan)), np.nan, dtype=np.float32) for one in sets]
    if len(sequences):
        require_same_states(language_model, [sequences], layers)
    run = Pass(language_model, sequences, replace(plan, layers=tuple(layers)), batch_size)
    for layer, rows, states in read_batches(run):
        if layer == OWN_LOGITS:
            own[0, rows] = states.cpu().numpy()
            continue
        of_batch = states.float()
        for number, index in readers[layer]:
            at_state[number][index, rows] = (of_batch @ sets[number].weight[index] + sets[number].bias[index]).numpy()
        if layer == layers[-1]:
            tick(rows.stop - rows.start)
    found = [at_tokens(texts, logits, one.common["lag"]) for one, logits in zip(sets, at_state, strict=True)]
    return found, {predicts["target"]: at_tokens(texts, own, predicts["lag"])[0]} if predicts else {}


def at_tokens(texts: list[np.ndarray], logits: np.ndarray, lag: int) -> np.ndarray:
    """Move logits [n, tokens of all texts] from the states to the tokens that they speak of; NaN where there is none."""
    logits[~np.isfinite(logits)] = np.nan
    ends = np.cumsum([len(text) for text in texts])[:-1]
    return np.concatenate([at_labelled(part, lag) for part in np.split(logits, ends, axis=1)], axis=1)


def says_itself(language_model: LanguageModel, probes: ProbeSet) -> bool:
    """Say whether the model's own probability answers what the probes are asked."""
    one = probes.common
    return one["lag"] == -1 and one["token"] is not None and probes.pool == "last" and not language_model.why_no_logits


def overlapping_sequences(
    texts: list[np.ndarray], windows: Windowing, causal: bool
) -> tuple[list[tuple[int, Stretch]], Sequences]:
    """Cut texts into windows that overlap: (of each, which text and stretch it is; the sequences)."""
    stretches = [
        (index, stretch)
        for index, text in enumerate(texts)
        for stretch in overlapping_windows(len(text), windows.width, windows.overlap, causal)
    ]
    before, after = windows.frame
    sequences = unlabelled_sequences(
        [texts[index][stretch.start : stretch.end] for index, stretch in stretches],
        (before, after),
        documents=[index for index, _ in stretches],
        starts=[stretch.start for _, stretch in stretches],
    )
    sequences.metadata["tokenizer"] = {"before": before, "after": after}
    return stretches, sequences


def plan_of(stretches: list[tuple[int, Stretch]], before: int) -> ReadPlan:
    """Read the state of every token in the stretch that keeps it, so that rows are the tokens of all texts, in order.

    before: how many special tokens stand before a text
    """
    counts = [stretch.keep_to - stretch.keep_from for _, stretch in stretches]
    position = [before + np.arange(stretch.keep_from, stretch.keep_to) - stretch.start for _, stretch in stretches]
    return ReadPlan(np.repeat(np.arange(len(stretches)), counts), np.concatenate(position))
