"""Keep the rows of the pass: in memory while they fit, else in shards on disk that a killed run finds again.

Shards do not depend on each other: several processes could share the loop of `collect_on_disk`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from utils.base.files import fingerprint, require_writable_folder
from utils.model.language_model import LanguageModel
from utils.states.attention_rows import attention_features
from utils.states.forward_pass import OWN_LOGITS, Pass, read_batches
from utils.states.matrices import CHUNK_BYTES
from utils.states.positions import ReadPlan
from utils.states.shards import (
    Shapes,
    read_shard,
    read_shard_index,
    require_shard,
    shard_path,
    write_shard,
    write_shard_index,
)
from utils.states.sites import ATTENTION, Layer

SHARD_BYTES = 2**27  # large enough for speed, small enough that a killed run loses little

Index = np.ndarray | torch.Tensor | list[int]  # int64, of rows
Tick = Callable[[int], None]  # takes the number of tokens that were read since the last call


@dataclass
class StateTable:
    """Rows of several layers.

    layers: which; parts: of consecutive rows, each {"states" [layers, rows, hidden_size], "own" [rows]}, and "attention"
    [rows, layers * heads * segments] where it was asked for. In memory there is one part; from disk there are many, mapped
    into memory and read when touched. held: the layers of the parts, where they hold more than `layers`.
    """

    layers: list[Layer]
    parts: list[dict[str, torch.Tensor]]
    held: list[Layer] | None = None

    def __post_init__(self):
        self._ends = np.cumsum([part["states"].shape[1] for part in self.parts])
        self._chosen = None
        if self.held is not None and self.held != self.layers:
            self._chosen = torch.tensor([self.held.index(layer) for layer in self.layers])[:, None]

    def __len__(self):
        return int(self._ends[-1])

    @property
    def hidden_size(self) -> int:
        return self.parts[0]["states"].shape[2]

    @property
    def own_logits(self) -> np.ndarray:
        """Give the model's own log-odds of the target: float32 [rows], NaN where not computed."""
        return np.concatenate([part["own"].numpy() for part in self.parts])

    def rows(self, index: Index) -> torch.Tensor:
        """Read rows of every layer: float32 [layers, len(index), hidden_size]."""
        index = torch.as_tensor(index)
        if len(self.parts) == 1:
            return self._take(0, index)
        result = torch.empty(len(self.layers), len(index), self.hidden_size)
        for part, here, inside in self._by_part(index):
            result[:, here] = self._take(part, inside)
        return result

    def attention_rows(self, index: Index) -> torch.Tensor:
        """Read attention rows: float32 [len(index), layers * heads * segments], as `attention_rows.by_segment` says."""
        index = torch.as_tensor(index)
        result = torch.empty(len(index), self.parts[0]["attention"].shape[1])
        for part, here, inside in self._by_part(index):
            result[here] = self.parts[part]["attention"][inside]
        return result

    def in_memory(self) -> "StateTable":
        """Copy the rows into one part: quicker to draw from, for a table from disk that fits into memory after all."""
        chosen = slice(None) if self._chosen is None else self._chosen[:, 0]
        part = {
            "states": torch.cat([part["states"][chosen] for part in self.parts], dim=1),
            "own": torch.from_numpy(self.own_logits),
        }
        if "attention" in self.parts[0]:
            part["attention"] = torch.cat([part["attention"] for part in self.parts])
        return StateTable(self.layers, [part])

    def _by_part(self, index: torch.Tensor) -> Iterator[tuple[int, torch.Tensor, torch.Tensor]]:
        """Yield (part, which of index lie in it, their rows inside it) for each part that holds some."""
        part_of = np.searchsorted(self._ends, index.numpy(), side="right")
        for part in np.unique(part_of):
            here = torch.from_numpy(np.flatnonzero(part_of == part))
            yield part, here, index[here] - (int(self._ends[part - 1]) if part else 0)

    def _take(self, part: int, index: torch.Tensor) -> torch.Tensor:
        states = self.parts[part]["states"]
        found = states.index_select(1, index) if self._chosen is None else states[self._chosen, index]
        return found.float()

    def non_finite(self) -> torch.Tensor:
        """Find the states that overflowed: bool [layers, rows]."""
        chunk = max(1, CHUNK_BYTES // (4 * len(self.layers) * self.hidden_size))
        wrong = torch.zeros(len(self.layers), len(self), dtype=torch.bool)
        for start in range(0, len(self), chunk):
            rows = torch.arange(start, min(start + chunk, len(self)))
            wrong[:, rows] = ~self.rows(rows).isfinite().all(-1)
        return wrong


def table_bytes(language_model: LanguageModel, plan: ReadPlan) -> int:
    """Count the bytes of everything that the plan reads."""
    of_states = len(plan.layers) * language_model.anatomy.hidden_size * language_model.dtype.itemsize
    return len(plan) * (of_states + 4 + 4 * attention_features(language_model, plan.segments))


def collect_in_memory(run: Pass, tick: Tick) -> StateTable:
    """Run the whole pass into one part. tick(tokens) is called as sequences are done."""
    part = empty_part(run, len(run.plan))
    for first, last in ranges(run):
        fill_part(part, run, first, last, tick)
    return StateTable(list(run.plan.layers), [part])


def collect_on_disk(folder: Path | str, run: Pass, tick: Tick) -> StateTable:
    """Run the pass into shards of one folder named by what they hold; shards that are there already are used."""
    folder, index = find_folder(Path(folder), run)
    require_writable_folder(folder, "--cache_dir")
    if index is None:
        own = targets_hash(run.own_targets)
        index = write_shard_index(folder, list(run.plan.layers), len(run.plan), own, ranges(run))
    held = index["layers"]  # perhaps more than is asked: a damaged shard is made again with all of them
    of_all, parts = replace(run, plan=replace(run.plan, layers=tuple(held))), []
    for first, last in index["shards"]:
        path = shard_path(folder, first, last)
        start, end = map(int, np.searchsorted(run.plan.sequence, [first, last]))
        part = read_shard(path, shapes_of(of_all, end - start))
        if part is None:
            part = empty_part(of_all, end - start)
            fill_part(part, of_all, first, last, tick, offset=start)
            write_shard(path, part)
            part = require_shard(path)
        else:
            tick(int(run.sequences.lengths[first:last].sum()))
        parts.append(part)
    return StateTable(list(run.plan.layers), parts, held=held)


def ranges(run: Pass) -> list[list[int]]:
    """Cut the sequences into [first, last) of whole batches, so that a restart finds the same batches, on disk or not."""
    count = len(run.sequences)
    per_sequence = max(1, table_bytes(run.model, run.plan) // count)
    step = max(1, SHARD_BYTES // (per_sequence * run.batch_size)) * run.batch_size
    return [[first, min(first + step, count)] for first in range(0, count, step)]


def shapes_of(run: Pass, rows: int) -> Shapes:
    """Say what so many rows of the plan are: {name: (shape, dtype)}."""
    model, plan = run.model, run.plan
    shapes: Shapes = {
        "states": ((len(plan.layers), rows, model.anatomy.hidden_size), model.dtype),
        "own": ((rows,), torch.float32),
    }
    if plan.segments:
        shapes["attention"] = ((rows, attention_features(model, plan.segments)), torch.float32)
    return shapes


def empty_part(run: Pass, rows: int) -> dict[str, torch.Tensor]:
    """Make room for so many rows of the plan."""
    part = {name: torch.empty(shape, dtype=dtype) for name, (shape, dtype) in shapes_of(run, rows).items()}
    part["own"].fill_(torch.nan)
    return part


def fill_part(part: dict[str, torch.Tensor], run: Pass, first: int, last: int, tick: Tick, offset: int = 0) -> None:
    """Read sequences first to last - 1 into the part.

    offset: the row of the plan with which the part begins.
    """
    layers, plan = run.plan.layers, run.plan
    where = {layer: index for index, layer in enumerate(layers)}
    for reading, of_plan, values in read_batches(run, first, last):
        rows = slice(of_plan.start - offset, of_plan.stop - offset)
        if reading == OWN_LOGITS:
            part["own"][rows] = values
        elif reading == ATTENTION:
            part["attention"][rows] = values
        else:
            part["states"][where[reading], rows] = values
        if reading == layers[-1]:
            done = np.unique(plan.sequence[of_plan])
            tick(int(run.sequences.lengths[done].sum()))


def find_folder(cache: Path, run: Pass) -> tuple[Path, dict | None]:
    """Find the folder of these rows that holds at least what is asked, whole; else name the one to fill with it.

    Return it with its index, None where it has none.
    """
    plan, own = run.plan, targets_hash(run.own_targets)
    how = [run.sequences.text_start, plan.pool, plan.segments] if plan.pool != "last" or plan.segments else []
    how += [] if plan.attended is None else [plan.attended]
    model = run.model
    data = run.sequences.content_hash()
    keys = [
        fingerprint(name, str(model.dtype), data, plan.sequence, plan.position, *how)
        for name in dict.fromkeys((model.fingerprint, model.former_fingerprint))
    ]
    indexes = {}
    for folder in sorted(folder for key in keys for folder in cache.glob(f"{key}-*")):
        index = indexes[folder] = read_shard_index(folder, len(plan), len(run.sequences))
        if (
            index
            and set(plan.layers) <= set(index["layers"])
            and own in (None, index["own"])
            and all(shard_path(folder, first, last).exists() for first, last in index["shards"])
        ):
            return folder, index
    folder = cache / f"{keys[0]}-{fingerprint(list(plan.layers), own)[:8]}"
    return folder, indexes.get(folder)


def targets_hash(own_targets: np.ndarray | None) -> str | None:
    """Hash the own targets of a plan, where it has some."""
    return None if own_targets is None else fingerprint(np.asarray(own_targets))
