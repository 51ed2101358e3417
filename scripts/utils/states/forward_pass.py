"""Run the one pass: read the hidden states of many layers in one forward of the model's body, stopped after the deepest."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from time import perf_counter

import numpy as np
import torch

from utils.base.errors import UserError, is_out_of_memory
from utils.data.sequences import Sequences
from utils.model.anatomy import Anatomy
from utils.model.language_model import LanguageModel, own_logits
from utils.model.streams import apart, inputs_of
from utils.model.unchanged import unchanged
from utils.states.attention_rows import by_segment, eager_attention, watching_attention
from utils.states.gathering import pooled, to_main_memory
from utils.states.positions import ReadPlan
from utils.states.sites import ATTENTION, EMBED, FINAL_NORM, Layer, layer_depth

LONG_BATCH = 5  # seconds
OWN_LOGITS = "own_logits"  # the reading that is no layer: the model's own log-odds of the target

Take = Callable[[Layer, torch.Tensor], torch.Tensor | None]  # state [batch, tokens, hidden_size] -> another in its place


class Enough(Exception):
    """Ends a forward once the deepest layer has been read."""


@contextmanager
def watching(
    anatomy: Anatomy, layers: Iterable[Layer], take: Take, shape: tuple[int, int], ends: bool = True
) -> Iterator[None]:
    """Hook the layers: within the block a forward of the model calls take(layer, state) for each, then ends with Enough.

    shape: batch and tokens; state: [batch, tokens, hidden_size]; ends: False lets the forward go on to its own end, from
    the states that take returns where it does. The hooks go away with the block, whatever happens in it.
    """
    layers = set(layers)
    deepest = max(layers, key=layer_depth, default=None)
    calls, entered = 0, False

    def read(layer, place, values):
        state = place.state(values, *shape)
        if state is None:
            raise UserError(
                f"a block of the model gave no states of {shape[0]} x {shape[1]} tokens, though shorter ones it did"
            )
        instead = take(layer, state)
        if ends and layer == deepest:
            raise Enough
        return None if instead is None else place.put(values, instead)

    def before_blocks(_module, inputs, keywords):
        nonlocal entered
        if entered:
            return None
        entered = True
        instead = read(EMBED, anatomy.enters, inputs_of(inputs, keywords))
        return None if instead is None else apart(instead)

    def after_block(_module, _inputs, output):
        nonlocal calls
        layer, calls = calls, calls + 1
        return read(layer, anatomy.leaves, output) if layer in layers else None

    def after_norm(_module, _inputs, output):
        there = calls == len(anatomy.blocks)  # NanoChat calls the same module before the blocks too
        return read(FINAL_NORM, anatomy.normed, output) if there else None

    with ExitStack() as hooks:
        if EMBED in layers:
            hooks.callback(anatomy.entry.register_forward_pre_hook(before_blocks, with_kwargs=True).remove)
        for block in dict.fromkeys(anatomy.blocks):
            hooks.callback(block.register_forward_hook(after_block).remove)
        if FINAL_NORM in layers and anatomy.final_norm is not None:
            hooks.callback(anatomy.final_norm.register_forward_hook(after_norm).remove)
        yield


@torch.inference_mode()
def forward(
    language_model: LanguageModel,
    input_ids: torch.Tensor,
    attention_mask: torch.Tensor,
    layers: Iterable[Layer],
    take: Take,
) -> None:
    """Run one batch through the body; take(layer, state) sees it in a layout where every row starts at column 0.

    input_ids, attention_mask: int64 [batch, tokens], padded on either side. Rows padded on the left are moved first:
    a model that counts positions from column 0 would else read the text at positions that it is not at.
    """
    given = inputs_to(language_model, input_ids, attention_mask)
    batch, tokens = given["input_ids"].shape
    with kept(language_model), watching(language_model.anatomy, layers, take, (batch, tokens)), suppress(Enough):
        language_model.body(**given)


def kept(language_model: LanguageModel) -> AbstractContextManager:
    """Put the model back after a forward, where a forward changes it."""
    return unchanged(language_model.body) if language_model.anatomy.restless else nullcontext()


def inputs_to(
    language_model: LanguageModel, input_ids: torch.Tensor, attention_mask: torch.Tensor
) -> dict[str, torch.Tensor]:
    """Make what the body is given: every row from column 0 on, on its device, with a mask where rows differ in length."""
    width = int(attention_mask.sum(1).max())
    order = attention_mask.argsort(dim=1, descending=True, stable=True)[:, :width]
    input_ids, attention_mask = input_ids.gather(1, order), attention_mask.gather(1, order)
    given = {"input_ids": input_ids.to(language_model.device)}
    if language_model.anatomy.takes_mask and not bool(attention_mask.all()):
        given["attention_mask"] = attention_mask.to(language_model.device)
    return given


@dataclass(frozen=True)
class Pass:
    """A model, the sequences it reads, the plan that says what is kept, and how many sequences it reads together."""

    model: LanguageModel
    sequences: Sequences
    plan: ReadPlan
    batch_size: int

    def __post_init__(self):
        start = self.sequences.text_start if self.plan.pool != "last" else 0
        if self.plan.position.min(initial=start) < start:
            raise ValueError(f"the plan pools up to position {self.plan.position.min()}, before the first text token")

    @property
    def own_targets(self) -> np.ndarray | None:
        """Give the plan's own targets: they are asked of a token's own state only, so a plan that pools has none."""
        return self.plan.own_targets if self.plan.pool == "last" else None

    @property
    def needed(self) -> list[Layer]:
        """List the layers that must be run: the plan's, and the end of the model where the rest of the plan needs it."""
        needed = list(self.plan.layers)
        if self.plan.segments and FINAL_NORM not in needed:  # every block must be run
            needed.append(len(self.model.anatomy.blocks) - 1)
        if self.own_targets is not None and FINAL_NORM not in needed:
            needed.append(FINAL_NORM)
        return needed


def read_batches(run: Pass, first: int = 0, last: int | None = None) -> Iterator[tuple[Layer, slice, torch.Tensor]]:
    """Yield (reading, rows of the plan, values) batch by batch for sequences first to last - 1.

    Each layer of the plan is a reading, with values [rows, hidden_size]. With `own_targets` the reading OWN_LOGITS follows
    each batch, values float32 [rows] with NaN where it was not asked. With `segments` the reading ATTENTION follows, values
    float32 [rows, layers * heads * segments] (see attention_rows); the model then runs with eager attention, whose states
    differ by rounding. When memory runs out, the batch is halved. Where a model lets padding into the text, a batch holds
    sequences of one length.
    """
    model, plan, needed, own_targets = run.model, run.plan, run.needed, run.own_targets
    read_at = np.searchsorted(plan.sequence, np.arange(len(run.sequences) + 1))
    with_reads = first + np.flatnonzero(np.diff(read_at)[first:last])
    start = 0
    while start < len(with_reads):
        size = min(run.batch_size, model.largest_batch or run.batch_size)
        chosen = with_reads[start : start + size]
        if model.anatomy.padding_moves:
            chosen = chosen[: run_of_equals(run.sequences.lengths[chosen])]
        try:
            rows, found = read_batch(run, chosen, read_at, needed)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            model.largest_batch = halve(size, error)
            continue
        for layer in plan.layers:
            yield layer, rows, found[layer]
        if own_targets is not None:
            yield OWN_LOGITS, rows, own_where_asked(model, found[FINAL_NORM], own_targets[rows])
        if plan.segments:
            yield ATTENTION, rows, found[ATTENTION]
        start += len(chosen)


def run_of_equals(lengths: np.ndarray) -> int:
    """Count how many lengths at the beginning are the same: 5, 5, 5, 4, 5 -> 3."""
    other = np.flatnonzero(lengths != lengths[0])
    return int(other[0]) if len(other) else len(lengths)


def halve(batch_size: int, error: Exception) -> int:
    """Halve a batch that did not fit into memory. Raise UserError where it is one sequence already."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if batch_size == 1:
        raise UserError(
            "one sequence does not fit into memory; use a smaller --model_dtype, a smaller model or a shorter context"
        ) from error
    print(f"out of memory: --batch_size {batch_size} is too large here, going on with {batch_size // 2}", flush=True)
    return batch_size // 2


def read_batch(
    run: Pass, chosen: np.ndarray, read_at: np.ndarray, layers: Iterable[Layer]
) -> tuple[slice, dict[Layer, torch.Tensor]]:
    """Read the rows of the plan that these sequences hold, in one forward.

    Return the rows and {layer: their states [rows, hidden_size]} in main memory, with {ATTENTION: float32 [rows, features]}
    where the plan has segments. chosen: numbers of sequences; read_at: [sequences + 1], where each one's rows begin.
    """
    model, sequences, plan = run.model, run.sequences, run.plan
    rows = slice(int(read_at[chosen[0]]), int(read_at[chosen[-1] + 1]))
    positions = plan.position[rows]
    batch_row = torch.from_numpy(np.searchsorted(chosen, plan.sequence[rows])).to(model.device)
    position = torch.from_numpy(positions).to(model.device)
    lengths = sequences.lengths[chosen]
    width = int(lengths.max())
    if model.anatomy.causal:  # what comes after the last position read moves nothing
        width = int(positions.max()) + 1
    input_ids = torch.from_numpy(sequences.input_ids[chosen, :width].astype(np.int64))
    mask = torch.from_numpy((np.arange(width) < lengths[:, None]).astype(np.int64))
    asked = slice(None) if plan.attended is None else torch.from_numpy(np.flatnonzero(plan.attended[rows]))
    text_start = 0 if plan.pool == "last" and not plan.segments else sequences.text_start
    found, looked = {}, []

    def take(layer, state):
        found[layer] = pooled(state, batch_row, position, plan.pool, text_start)

    def take_attention(layer, weights):
        looked.append(by_segment(weights, batch_row[asked], position[asked], text_start, layer.window, plan.segments))

    with watching_attention(model, take_attention) if plan.segments else nullcontext():
        forward(model, input_ids, mask, layers, take)
    if plan.segments:
        of_asked = torch.cat(looked, dim=1).flatten(1)
        found[ATTENTION] = of_asked.new_zeros(len(positions), of_asked.shape[1])
        found[ATTENTION][asked] = of_asked
    return rows, to_main_memory(found)


def own_where_asked(language_model: LanguageModel, states: torch.Tensor, targets: np.ndarray) -> torch.Tensor:
    """Compute the model's own log-odds of each row's target: float32 [rows], NaN where the target is -1."""
    tokens = torch.as_tensor(targets)
    result = torch.full((len(states),), torch.nan)
    asked = tokens >= 0
    result[asked] = own_logits(language_model, states[asked], tokens[asked])
    return result


@torch.inference_mode()
def hook_free_rate(
    language_model: LanguageModel, sequences: Sequences, batch_size: int, eager: bool = False
) -> float | None:
    """Measure the tokens/s of the whole body on one batch without any hook; None where it does not fit into memory.

    The batch is taken from the middle, for files may begin with short texts. eager: with the attention that gives weights.
    """
    first = max(0, (len(sequences) - batch_size) // 2)
    lengths = sequences.lengths[first : first + batch_size]
    width = int(lengths.max())
    rows = sequences.input_ids[first : first + batch_size, :width]
    mask = torch.from_numpy((np.arange(width) < lengths[:, None]).astype(np.int64))
    given = inputs_to(language_model, torch.from_numpy(rows.astype(np.int64)), mask)
    for _ in range(2):  # the first run of a shape is slow: the second counts, unless the first was long
        start = perf_counter()
        try:
            with kept(language_model), eager_attention(language_model.body) if eager else nullcontext():
                output = language_model.body(**given)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            return None
        float(output.last_hidden_state[0, 0, 0])  # waits for the device
        seconds = perf_counter() - start
        if seconds > LONG_BATCH:
            break
    return float(lengths.sum()) / seconds
