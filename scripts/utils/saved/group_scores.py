"""Keep how far each group of texts moves each probe's scores, so that two runs can be compared, paired, by their tables.

group_scores.safetensors holds blocks, each of one question on one split. Of the block 0:

    0/positives, 0/negatives           float64 [groups]          how many examples of each class a group holds
    0/auc, 0/balanced_accuracy         float64 [probes, groups]  each group's linear influence on the score
    0/auc_values, 0/balanced_accuracy_values  float64 [probes, 3]  the score and the ends of its interval

header      one key, "group_scores": JSON {"format", "version", "checksum", "blocks": [{"target", "lag", "split", "n",
            "examples": their hash, "probes": [[layer, kind, seed], ...], and whose they are}]}
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from utils.base.errors import UserError
from utils.base.files import WriteTogether, fingerprint
from utils.base.tensor_files import CHECKSUM
from utils.scores.differences import DIFFERENCES_OF, ByGroup
from utils.scores.intervals import Classes
from utils.states.positions import Question

GROUP_SCORES = "group_scores.safetensors"
SIGN = {"format": "probe-group-scores", "version": 1}
GROUP_SCORES_HEADER = "group_scores"
RENEW = "move it away and run scripts/train_probe.py again"
KINDS_OF_ARRAYS = ("positives", "negatives", *(f"{name}{what}" for name in DIFFERENCES_OF for what in ("", "_values")))


@dataclass(frozen=True)
class Block:
    """The scores of a question's probes on one split. about: what the header says of it; arrays: by their names."""

    about: dict
    arrays: dict[str, np.ndarray]

    @cached_property
    def rows(self) -> dict[tuple[str, str, int], int]:
        """Give the row of each (layer, kind, seed)."""
        return {(layer, kind, seed): row for row, (layer, kind, seed) in enumerate(self.about["probes"])}

    @cached_property
    def classes(self) -> Classes:
        """Give how the groups hold the classes, as one probe: it is the same for all."""
        return Classes(self.arrays["positives"][None], self.arrays["negatives"][None])

    def scores(self, metric: str) -> ByGroup:
        """Give a score of all its probes. metric: one of DIFFERENCES_OF."""
        return ByGroup(*(self.arrays[name] for name in (f"{metric}_values", metric, "positives", "negatives")))

    def without(self, gone: set[tuple]) -> "Block | None":
        """Leave probes out; None where none is left."""
        kept = [row for key, row in self.rows.items() if key not in gone]
        if not kept:
            return None
        arrays = {name: values if values.ndim == 1 else values[kept] for name, values in self.arrays.items()}
        return Block({**self.about, "probes": [self.about["probes"][row] for row in kept]}, arrays)


def hash_of_examples(question: Question, split: str) -> str:
    """Hash what is scored: labels, groups and texts. Whole texts are the same whatever tokenizer reads them."""
    sequences, examples = question.sequences[split], question.examples[split]
    hashes = sequences.document_hashes
    if question.of_sequences and hashes is not None:
        texts = [hashes[document] for document in sequences.documents[examples.sequence].tolist()]
        return fingerprint(texts, sequences.starts[examples.sequence], examples.labels, examples.groups)
    ids = np.where(np.arange(sequences.input_ids.shape[1]) < sequences.lengths[:, None], sequences.input_ids, -1)
    used, sequence = np.unique(examples.sequence, return_inverse=True)
    return fingerprint(ids[used], sequence, examples.position, examples.labels, examples.groups)


def write_group_scores(files: WriteTogether, path: Path, blocks: Sequence[Block], replaced: Iterable[Path]) -> None:
    """Write these blocks and those of the file, unless it is `replaced`; a probe that is there twice is kept once."""
    from safetensors.numpy import save

    new = {(*question_of(block), *key) for block in blocks for key in block.rows}
    kept = [
        left
        for block in ([] if path in replaced else read_group_scores(path))
        if (left := block.without({key for key in block.rows if (*question_of(block), *key) in new}))
    ]
    arrays = {
        f"{number}/{name}": part for number, block in enumerate([*kept, *blocks]) for name, part in block.arrays.items()
    }
    about = {**SIGN, "blocks": [block.about for block in [*kept, *blocks]]}
    about = {**about, CHECKSUM: group_scores_sum(about, arrays)}
    with files.open(path) as file:
        file.write(save(arrays, {GROUP_SCORES_HEADER: json.dumps(about, ensure_ascii=False)}))


def question_of(block: Block) -> tuple:
    return tuple(block.about[name] for name in ("target", "lag", "split"))


def group_scores_sum(about: dict, arrays: dict[str, np.ndarray]) -> str:
    return fingerprint(about, *(part for name in sorted(arrays) for part in (name, arrays[name])))


def read_group_scores(path: Path) -> list[Block]:
    """Read the blocks of a file; [] where there is none. Raise UserError for damage and for another format."""
    from safetensors import SafetensorError, safe_open

    if not path.exists():
        return []
    try:
        with safe_open(path, framework="numpy") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  it is no dict
            about = json.loads((file.metadata() or {})[GROUP_SCORES_HEADER])
        if {name: about.get(name) for name in SIGN} != SIGN:
            raise ValueError(f"its format is {about.get('format')!r}, version {about.get('version')!r}")
        if about.pop(CHECKSUM) != group_scores_sum(about, arrays):
            raise ValueError("its checksum is of other content")
        return [
            Block(one, {name: arrays[f"{number}/{name}"] for name in KINDS_OF_ARRAYS})
            for number, one in enumerate(about["blocks"])
        ]
    except (SafetensorError, OSError, KeyError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{path} is damaged or of another kind ({error}); {RENEW}") from error


def owners_of_group_scores(path: Path) -> list[dict]:
    """Read whose scores a file holds, as the rows of a table are read."""
    return [block.about for block in read_group_scores(path)]
