"""The one pass: hidden states of many layers from one forward of the model's body, stopped after the deepest."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from time import perf_counter

import numpy as np
import torch

from utils.base.errors import UserError
from utils.model.anatomy import state_of, stream_before
from utils.model.language_model import is_out_of_memory, own_logits
from utils.states.attention_rows import ATTENTION, by_segment, eager_attention, watching_attention

LONG_BATCH = 5  # seconds
POOL_BYTES = 2**28  # of one layer's states pooled together
OWN_LOGITS = "own_logits"  # the reading that is no layer: the model's own log-odds of the target


class Enough(Exception):
    """The deepest layer has been read: the rest of the forward is not needed."""


@contextmanager
def watching(anatomy, layers, take):
    """Within the block, a forward of the model calls take(layer, state [batch, tokens, hidden_size]) for each of
    `layers` and then ends with Enough. Hooks go away with the block, whatever happens in it.
    """
    layers = set(layers)
    deepest_block = max((layer for layer in layers if isinstance(layer, int)), default=-1)
    calls = 0

    def before_blocks(_module, arguments, keywords):
        if calls == 0:
            take("embed", stream_before(arguments, keywords))
            if layers == {"embed"}:
                raise Enough

    def after_block(_module, _arguments, output):
        nonlocal calls
        layer, calls = calls, calls + 1
        if layer in layers:
            take(layer, state_of(output))
        if layer == deepest_block and "final_norm" not in layers:
            raise Enough

    def after_norm(_module, _arguments, output):
        take("final_norm", state_of(output))
        raise Enough

    with ExitStack() as hooks:
        if "embed" in layers:
            hooks.callback(anatomy.blocks[0].register_forward_pre_hook(before_blocks, with_kwargs=True).remove)
        for block in dict.fromkeys(anatomy.blocks):
            hooks.callback(block.register_forward_hook(after_block).remove)
        if "final_norm" in layers:
            hooks.callback(anatomy.final_norm.register_forward_hook(after_norm).remove)
        yield


@torch.inference_mode()
def forward(language_model, input_ids, attention_mask, layers, take):
    """One batch through the body; take(layer, state) sees it in a layout where every row starts at column 0.

    input_ids, attention_mask: int64 [batch, tokens], padded on either side. Rows padded on the left are moved first:
    a model that counts positions from column 0 would else read the text at positions that it is not at.
    """
    width = int(attention_mask.sum(1).max())
    order = attention_mask.argsort(dim=1, descending=True, stable=True)[:, :width]
    input_ids, attention_mask = input_ids.gather(1, order), attention_mask.gather(1, order)
    mask = None if bool(attention_mask.all()) else attention_mask.to(language_model.device)
    with watching(language_model.anatomy, layers, take), suppress(Enough):
        language_model.body(input_ids=input_ids.to(language_model.device), attention_mask=mask)


def read_states(
    language_model, sequences, plan, layers, batch_size, own_targets=None, first=0, last=None, attention_segments=0
) -> Iterator[tuple[str | int, slice, torch.Tensor]]:
    """Yield (reading, rows of the plan, values [rows, hidden_size]) batch by batch for sequences first to last - 1.

    layers: the readings; with `own_targets` (int64 [rows of the plan], -1: not asked) the reading OWN_LOGITS follows
    each batch, values float32 [rows] with NaN where it was not asked; a plan that pools has none. With
    `attention_segments` the reading ATTENTION follows, values float32 [rows, layers * heads * segments]
    (attention_rows); the model then runs with eager attention, whose states differ by rounding. When memory runs out,
    the batch is halved.
    """
    last = len(sequences) if last is None else last
    if plan.pool != "last":
        own_targets = None  # asked of a token's own state only
        if plan.position.min(initial=sequences.text_start) < sequences.text_start:
            raise ValueError(f"the plan pools up to position {plan.position.min()}, before the first text token")
    wanted = list(layers)
    if attention_segments and "final_norm" not in wanted:  # every block must be run
        wanted.append(len(language_model.anatomy.blocks) - 1)
    if own_targets is not None and "final_norm" not in wanted:
        wanted.append("final_norm")
    read_at = np.searchsorted(plan.sequence, np.arange(len(sequences) + 1))
    with_reads = first + np.flatnonzero(np.diff(read_at)[first:last])
    start = 0
    while start < len(with_reads):
        size = min(batch_size, language_model.largest_batch or batch_size)
        chosen = with_reads[start : start + size]
        try:
            rows, found = read_batch(language_model, sequences, plan, chosen, read_at, wanted, attention_segments)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            language_model.largest_batch = halve(size, error)
            continue
        for layer in layers:
            yield layer, rows, found[layer]
        if own_targets is not None:
            yield OWN_LOGITS, rows, own_where_asked(language_model, found["final_norm"], own_targets[rows])
        if attention_segments:
            yield ATTENTION, rows, found[ATTENTION]
        start += len(chosen)


def halve(batch_size, error) -> int:
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if batch_size == 1:
        raise UserError(
            "one sequence does not fit into memory; use a smaller --model_dtype, a smaller model or a shorter context"
        ) from error
    print(f"out of memory: --batch_size {batch_size} is too large here, going on with {batch_size // 2}", flush=True)
    return batch_size // 2


def read_batch(language_model, sequences, plan, chosen, read_at, layers, attention_segments=0):
    """The rows of the plan that these sequences hold, and {layer: their states [rows, hidden_size]} in main memory; with
    `attention_segments` also {ATTENTION: float32 [rows, layers * heads * segments]}.
    """
    rows = slice(int(read_at[chosen[0]]), int(read_at[chosen[-1] + 1]))
    positions = plan.position[rows]
    batch_row = torch.from_numpy(np.searchsorted(chosen, plan.sequence[rows])).to(language_model.device)
    position = torch.from_numpy(positions).to(language_model.device)
    lengths = sequences.lengths[chosen]
    width = int(lengths.max())
    if language_model.anatomy.causal:  # what comes after the last position read moves nothing
        width = int(positions.max()) + 1
    input_ids = torch.from_numpy(sequences.input_ids[chosen, :width].astype(np.int64))
    mask = torch.from_numpy((np.arange(width) < lengths[:, None]).astype(np.int64))
    asked = slice(None) if plan.attended is None else torch.from_numpy(np.flatnonzero(plan.attended[rows]))
    found, looked = {}, []

    def take(layer, state):
        found[layer] = pooled(state, batch_row, position, plan.pool, 0 if plan.pool == "last" else sequences.text_start)

    def take_attention(layer, weights):
        looked.append(
            by_segment(weights, batch_row[asked], position[asked], sequences.text_start, layer.window, attention_segments)
        )

    with watching_attention(language_model, take_attention) if attention_segments else nullcontext():
        forward(language_model, input_ids, mask, layers, take)
    if attention_segments:
        of_asked = torch.cat(looked, dim=1).flatten(1)
        found[ATTENTION] = of_asked.new_zeros(len(positions), of_asked.shape[1])
        found[ATTENTION][asked] = of_asked
    return rows, {layer: state.cpu() for layer, state in found.items()}


def pooled(state, batch_row, position, pool, text_start) -> torch.Tensor:
    """[rows, hidden_size] in the state's dtype: at each (batch_row, position) the state, or the mean or the maximum of the
    states from text_start on up to it. state: [batch, tokens, hidden_size]; sums are taken in float32.
    """
    if pool == "last":
        return state[batch_row, position]
    text, count = state[:, text_start:], position - text_start + 1
    dimensions = max(1, POOL_BYTES // (12 * text.shape[0] * text.shape[1]))  # 8 bytes an index of cummax, 4 a value
    parts = []
    for part in text.split(dimensions, dim=2):
        running = part.cummax(1).values if pool == "max" else part.cumsum(1, dtype=torch.float32)
        parts.append(running[batch_row, count - 1])
    result = torch.cat(parts, dim=1)
    return result if pool == "max" else (result / count[:, None]).to(state.dtype)


def own_where_asked(language_model, states, targets) -> torch.Tensor:
    targets = torch.as_tensor(targets)
    result = torch.full((len(states),), torch.nan)
    asked = targets >= 0
    result[asked] = own_logits(language_model, states[asked], targets[asked])
    return result


@torch.inference_mode()
def hook_free_rate(language_model, sequences, batch_size, eager=False) -> float | None:
    """Tokens/s of the whole body on one batch from the middle (files may begin with short texts) without any hook; None
    where the batch does not fit into memory.

    eager: with the attention that gives weights.
    """
    first = max(0, (len(sequences) - batch_size) // 2)
    lengths = sequences.lengths[first : first + batch_size]
    width = int(lengths.max())
    rows = sequences.input_ids[first : first + batch_size, :width]
    input_ids = torch.from_numpy(rows.astype(np.int64)).to(language_model.device)
    mask = torch.from_numpy((np.arange(width) < lengths[:, None]).astype(np.int64)).to(language_model.device)
    for _ in range(2):  # the first run of a shape is slow: the second counts, unless the first was long
        start = perf_counter()
        try:
            with eager_attention(language_model.body) if eager else nullcontext():
                output = language_model.body(input_ids=input_ids, attention_mask=mask)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            return None
        float(output.last_hidden_state[0, 0, 0])  # waits for the device
        seconds = perf_counter() - start
        if seconds > LONG_BATCH:
            break
    return float(lengths.sum()) / seconds
