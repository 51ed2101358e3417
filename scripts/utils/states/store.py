"""Keep the rows of the pass: in memory while they fit, else in shards on disk that a killed run finds again.

Shards do not depend on each other: several processes could share the loop of `collect_on_disk`.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from utils.base.errors import UserError
from utils.base.files import atomic_write, fingerprint, require_writable_folder, write_json
from utils.model.language_model import LanguageModel
from utils.states.attention_rows import attention_features
from utils.states.forward_pass import OWN_LOGITS, Pass, read_batches
from utils.states.matrices import CHUNK_BYTES
from utils.states.positions import ReadPlan
from utils.states.sites import ATTENTION, Layer

FORMAT, VERSION = "probe-states", 1
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
    folder = find_folder(Path(folder), run)
    require_writable_folder(folder, "--cache_dir")
    index = read_shard_index(folder)
    if index is None:
        index = {
            "format": FORMAT,
            "version": VERSION,
            "layers": list(run.plan.layers),
            "rows": len(run.plan),
            "own": targets_hash(run.own_targets),
            "shards": ranges(run),
        }
        write_json(folder / "index.json", index)
    held = index["layers"]  # perhaps more than is asked: a damaged shard is made again with all of them
    of_all = replace(run, plan=replace(run.plan, layers=tuple(held)))
    for first, last in index["shards"]:
        path = shard_path(folder, first, last)
        if read_shard(path) is None:
            start, end = np.searchsorted(run.plan.sequence, [first, last])
            part = empty_part(of_all, int(end - start))
            fill_part(part, of_all, first, last, tick, offset=int(start))
            write_shard(path, part)
        else:
            tick(int(run.sequences.lengths[first:last].sum()))
    parts = [require_shard(shard_path(folder, first, last)) for first, last in index["shards"]]
    return StateTable(list(run.plan.layers), parts, held=held)


def shard_path(folder: Path, first: int, last: int) -> Path:
    """Name a shard by its range of sequences."""
    return folder / f"states_{first:08d}_{last:08d}.safetensors"


def ranges(run: Pass) -> list[list[int]]:
    """Cut the sequences into [first, last) of whole batches, so that a restart finds the same batches, on disk or not."""
    count = len(run.sequences)
    per_sequence = max(1, table_bytes(run.model, run.plan) // count)
    step = max(1, SHARD_BYTES // (per_sequence * run.batch_size)) * run.batch_size
    return [[first, min(first + step, count)] for first in range(0, count, step)]


def empty_part(run: Pass, rows: int) -> dict[str, torch.Tensor]:
    """Make room for so many rows of the plan."""
    model, plan = run.model, run.plan
    part = {
        "states": torch.empty(len(plan.layers), rows, model.anatomy.hidden_size, dtype=model.dtype),
        "own": torch.full((rows,), torch.nan),
    }
    if plan.segments:
        part["attention"] = torch.empty(rows, attention_features(model, plan.segments))
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


def find_folder(cache: Path, run: Pass) -> Path:
    """Find the folder of these rows that holds at least what is asked, whole; else name the one to fill with it."""
    plan, own = run.plan, targets_hash(run.own_targets)
    how = [run.sequences.text_start, plan.pool, plan.segments] if plan.pool != "last" or plan.segments else []
    how += [] if plan.attended is None else [plan.attended]
    model = run.model
    data = run.sequences.content_hash()
    key = fingerprint(model.fingerprint, str(model.dtype), data, plan.sequence, plan.position, *how)
    for folder in sorted(cache.glob(f"{key}-*")):
        index = read_shard_index(folder)
        if (
            index
            and set(plan.layers) <= set(index["layers"])
            and own in (None, index["own"])
            and all(shard_path(folder, first, last).exists() for first, last in index["shards"])
        ):
            return folder
    return cache / f"{key}-{fingerprint(list(plan.layers), own)[:8]}"


def targets_hash(own_targets: np.ndarray | None) -> str | None:
    """Hash the own targets of a plan, where it has some."""
    return None if own_targets is None else fingerprint(np.asarray(own_targets))


def read_shard_index(folder: Path) -> dict | None:
    """Read what a folder of shards holds; None where there is no index. Raise UserError for another format."""
    try:
        index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    if index.get("format") != FORMAT or index.get("version") != VERSION:
        raise UserError(
            f"{folder} has format {index.get('format')!r} version {index.get('version')!r}, not {FORMAT!r} "
            f"version {VERSION}; delete the folder or give another --cache_dir"
        )
    return index


def read_shard(path: Path) -> dict[str, torch.Tensor] | None:
    """Map a shard into memory; None where it is absent or damaged, so that it is made again."""
    from safetensors import SafetensorError, safe_open

    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  a file is no dict
    except (SafetensorError, OSError) as error:
        print(f"{path} is damaged ({error}); its states are computed again", flush=True)
        return None


def require_shard(path: Path) -> dict[str, torch.Tensor]:
    """Map a shard into memory that was written before. Raise UserError where it has gone or is damaged."""
    part = read_shard(path)
    if part is None:
        raise UserError(f"{path} was changed while it was in use; run the same command again")
    return part


def write_shard(path: Path, part: dict[str, torch.Tensor]) -> None:
    """Write a shard, whole or not at all."""
    from safetensors.torch import save

    with atomic_write(path) as file:
        file.write(save(part))
