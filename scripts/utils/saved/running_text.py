"""Saved probes on whole texts: a logit for every token and layer, each state read with context before it."""

import numpy as np

from utils.data.sequences import unlabelled_sequences
from utils.data.windows import overlapping_windows
from utils.states.forward_pass import read_states
from utils.states.positions import ReadPlan


def probe_logits(language_model, texts, frame, probes, lag, width, overlap, batch_size, tick) -> list[np.ndarray]:
    """Logits float32 [probes, tokens] of each text: column p is what is said of token p, from the state at p + lag.

    texts: token ids without special tokens, int32 [tokens] each; frame: (ids before, ids after) a text; width, overlap:
    text tokens of a window and how many it shares with the next. NaN where p + lag is outside the text, or the state
    overflowed. tick(tokens) is called as windows are done.
    """
    windows = [
        (index, window)
        for index, text in enumerate(texts)
        for window in overlapping_windows(len(text), width, overlap, language_model.anatomy.causal)
    ]
    sequences = unlabelled_sequences(
        [texts[index][window.start : window.end] for index, window in windows],
        frame,
        documents=[index for index, _ in windows],
        starts=[window.start for _, window in windows],
    )
    plan = plan_of(windows, len(frame[0]))
    row_of = {layer: index for index, layer in enumerate(probes.layers)}
    at_state = np.full((len(probes.layers), len(plan)), np.nan, dtype=np.float32)
    for layer, rows, states in read_states(language_model, sequences, plan, probes.layers, batch_size):
        index = row_of[layer]
        at_state[index, rows] = (states.float() @ probes.weight[index] + probes.bias[index]).numpy()
        if layer == probes.layers[-1]:
            tick(rows.stop - rows.start)
    at_state[~np.isfinite(at_state)] = np.nan
    ends = np.cumsum([len(text) for text in texts])
    return [moved(part, lag) for part in np.split(at_state, ends[:-1], axis=1)]


def plan_of(windows, before) -> ReadPlan:
    """The state of every token, from the window that keeps it: so rows are the tokens of all texts, in order."""
    counts = [window.keep_to - window.keep_from for _, window in windows]
    position = [before + np.arange(window.keep_from, window.keep_to) - window.start for _, window in windows]
    return ReadPlan(np.repeat(np.arange(len(windows)), counts), np.concatenate(position))


def moved(at_state, lag) -> np.ndarray:
    """Column p takes column p + lag; NaN where there is none."""
    result = np.full_like(at_state, np.nan)
    tokens = at_state.shape[1]
    to = slice(max(0, -lag), max(0, min(tokens, tokens - lag)))
    result[:, to] = at_state[:, max(0, lag) : max(0, min(tokens, tokens + lag))]
    return result
