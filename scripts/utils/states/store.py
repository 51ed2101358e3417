"""Where the pass puts its rows: a table in memory while it fits, else shards on disk that a killed run finds again."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from utils.base.errors import UserError
from utils.base.files import fingerprint, require_writable_folder, write_json
from utils.states.attention_rows import ATTENTION, attention_features
from utils.states.forward_pass import OWN_LOGITS, read_states
from utils.states.matrices import CHUNK_BYTES

FORMAT, VERSION = "probe-states", 1
SHARD_BYTES = 2**27  # large enough for speed, small enough that a killed run loses little


@dataclass
class StateTable:
    """Rows of several layers. parts: of consecutive rows, each {"states" [layers, rows, hidden_size], "own" [rows]}, and
    "attention" [rows, layers * heads * segments] where it was asked for.

    In memory there is one part; from disk there are many, mapped into memory and read when touched. `held` names the
    layers of the parts where they hold more than `layers`.
    """

    layers: list
    parts: list[dict[str, torch.Tensor]]
    held: list | None = None

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
        """float32 [rows]: the model's own log-odds of the target, NaN where not computed."""
        return np.concatenate([part["own"].numpy() for part in self.parts])

    def rows(self, index) -> torch.Tensor:
        """float32 [layers, len(index), hidden_size]; index: int64 numpy or torch."""
        index = torch.as_tensor(index)
        if len(self.parts) == 1:
            return self._take(0, index)
        result = torch.empty(len(self.layers), len(index), self.hidden_size)
        for part, here, inside in self._by_part(index):
            result[:, here] = self._take(part, inside)
        return result

    def attention_rows(self, index) -> torch.Tensor:
        """float32 [len(index), layers * heads * segments], as `attention_rows.by_segment` says; index as in `rows`."""
        index = torch.as_tensor(index)
        result = torch.empty(len(index), self.parts[0]["attention"].shape[1])
        for part, here, inside in self._by_part(index):
            result[here] = self.parts[part]["attention"][inside]
        return result

    def in_memory(self) -> "StateTable":
        """The same rows in one part: quicker to draw from, for a table from disk that fits into memory after all."""
        chosen = slice(None) if self._chosen is None else self._chosen[:, 0]
        part = {
            "states": torch.cat([part["states"][chosen] for part in self.parts], dim=1),
            "own": torch.from_numpy(self.own_logits),
        }
        if "attention" in self.parts[0]:
            part["attention"] = torch.cat([part["attention"] for part in self.parts])
        return StateTable(self.layers, [part])

    def _by_part(self, index):
        """(part, which of index lie in it, their rows inside it) of each part that holds some."""
        part_of = np.searchsorted(self._ends, index.numpy(), side="right")
        for part in np.unique(part_of):
            here = torch.from_numpy(np.flatnonzero(part_of == part))
            yield part, here, index[here] - (int(self._ends[part - 1]) if part else 0)

    def _take(self, part, index) -> torch.Tensor:
        states = self.parts[part]["states"]
        found = states.index_select(1, index) if self._chosen is None else states[self._chosen, index]
        return found.float()

    def non_finite(self) -> torch.Tensor:
        """bool [layers, rows]: the states that overflowed."""
        chunk = max(1, CHUNK_BYTES // (4 * len(self.layers) * self.hidden_size))
        wrong = torch.zeros(len(self.layers), len(self), dtype=torch.bool)
        for start in range(0, len(self), chunk):
            rows = torch.arange(start, min(start + chunk, len(self)))
            wrong[:, rows] = ~self.rows(rows).isfinite().all(-1)
        return wrong


def table_bytes(language_model, rows, layers, attention_segments=0) -> int:
    return rows * (
        len(layers) * language_model.anatomy.hidden_size * language_model.dtype.itemsize
        + 4
        + 4 * attention_features(language_model, attention_segments)
    )


def collect_in_memory(
    language_model, sequences, plan, layers, batch_size, own_targets, tick, attention_segments=0
) -> StateTable:
    """The whole pass into one part. tick(tokens) is called as sequences are done."""
    part = empty_part(language_model, len(plan), layers, attention_segments)
    for first, last in ranges(language_model, sequences, plan, layers, batch_size, attention_segments):
        fill(
            part, 0, language_model, sequences, plan, layers, batch_size, own_targets, first, last, tick, attention_segments
        )
    return StateTable(list(layers), [part])


def collect_on_disk(
    folder, language_model, sequences, plan, layers, batch_size, own_targets, tick, attention_segments=0
) -> StateTable:
    """The pass into shards of one folder named by what they hold; shards that are there already are used."""
    folder = find_folder(Path(folder), language_model, sequences, plan, layers, own_targets, attention_segments)
    require_writable_folder(folder, "--cache_dir")
    index = read_index(folder)
    if index is None:
        index = {
            "format": FORMAT,
            "version": VERSION,
            "layers": list(layers),
            "rows": len(plan),
            "own": hash_of(own_targets),
            "shards": ranges(language_model, sequences, plan, layers, batch_size, attention_segments),
        }
        write_json(folder / "index.json", index)
    held = index["layers"]  # perhaps more than is asked: a damaged shard is made again with all of them
    for first, last in index["shards"]:
        path = folder / f"states_{first:08d}_{last:08d}.safetensors"
        if read_shard(path) is None:
            start, end = np.searchsorted(plan.sequence, [first, last])
            part = empty_part(language_model, end - start, held, attention_segments)
            fill(
                part,
                start,
                language_model,
                sequences,
                plan,
                held,
                batch_size,
                own_targets,
                first,
                last,
                tick,
                attention_segments,
            )
            write_shard(path, part)
        else:
            tick(int(sequences.lengths[first:last].sum()))
    parts = [read_shard(folder / f"states_{first:08d}_{last:08d}.safetensors") for first, last in index["shards"]]
    return StateTable(list(layers), parts, held=held)


def ranges(language_model, sequences, plan, layers, batch_size, attention_segments=0) -> list[list[int]]:
    """[first, last) of sequences, whole batches each: so batches are the same in memory, on disk and after a restart."""
    per_sequence = max(1, table_bytes(language_model, len(plan), layers, attention_segments) // len(sequences))
    step = max(1, SHARD_BYTES // (per_sequence * batch_size)) * batch_size
    return [[first, min(first + step, len(sequences))] for first in range(0, len(sequences), step)]


def empty_part(language_model, rows, layers, attention_segments=0) -> dict[str, torch.Tensor]:
    part = {
        "states": torch.empty(len(layers), rows, language_model.anatomy.hidden_size, dtype=language_model.dtype),
        "own": torch.full((rows,), torch.nan),
    }
    if attention_segments:
        part["attention"] = torch.empty(rows, attention_features(language_model, attention_segments))
    return part


def fill(
    part, offset, language_model, sequences, plan, layers, batch_size, own_targets, first, last, tick, attention_segments=0
):
    where = {layer: index for index, layer in enumerate(layers)}
    for reading, rows, values in read_states(
        language_model, sequences, plan, layers, batch_size, own_targets, first, last, attention_segments
    ):
        rows = slice(rows.start - offset, rows.stop - offset)
        if reading == OWN_LOGITS:
            part["own"][rows] = values
        elif reading == ATTENTION:
            part["attention"][rows] = values
        else:
            part["states"][where[reading], rows] = values
        if reading == layers[-1]:
            done = np.unique(plan.sequence[rows.start + offset : rows.stop + offset])
            tick(int(sequences.lengths[done].sum()))


def find_folder(cache, language_model, sequences, plan, layers, own_targets, attention_segments=0) -> Path:
    """The folder of these rows that holds at least what is asked, whole; else the one to fill with just this."""
    text = [sequences.text_start, plan.pool, attention_segments] if plan.pool != "last" or attention_segments else []
    text += [] if plan.attended is None else [plan.attended]
    key = fingerprint(
        language_model.fingerprint, str(language_model.dtype), sequences.content_hash(), plan.sequence, plan.position, *text
    )
    own = hash_of(own_targets)
    for folder in sorted(cache.glob(f"{key}-*")):
        index = read_index(folder)
        if (
            index
            and set(layers) <= set(index["layers"])
            and own in (None, index["own"])
            and all((folder / f"states_{first:08d}_{last:08d}.safetensors").exists() for first, last in index["shards"])
        ):
            return folder
    return cache / f"{key}-{fingerprint(list(layers), own)[:8]}"


def hash_of(own_targets) -> str | None:
    return None if own_targets is None else fingerprint(np.asarray(own_targets))


def read_index(folder) -> dict | None:
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


def read_shard(path) -> dict[str, torch.Tensor] | None:
    """The shard, mapped into memory; None where it is absent or damaged, so that it is made again."""
    from safetensors import SafetensorError, safe_open

    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  a file is no dict
    except (SafetensorError, OSError) as error:
        print(f"{path} is damaged ({error}); its states are computed again", flush=True)
        return None


def write_shard(path, part):
    from safetensors.torch import save

    from utils.base.files import atomic_write

    with atomic_write(path) as file:
        file.write(save(part))
