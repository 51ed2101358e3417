"""The texts of a run by their hashes, split by split: written once beside its probes, not into each of them.

texts_{dataset_fingerprint}.json    {"format", "version", "texts": {split: [hash of each document]}, "checksum"}

Probe files of before hold the same {split: [hash]} in their metadata, as "texts"; an export has it there still.
"""

from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path

from utils.base.errors import UserError
from utils.base.files import WriteTogether, json_text, read_checked_json, with_checksum
from utils.base.paths import require_path
from utils.data.sequences import Sequences

TEXTS_FORMAT, TEXTS_VERSION = "probe-texts", 1
SEEN = ("train", "val")  # the splits whose texts a probe was trained on or chosen by
TRAIN_AGAIN = "train the probes again, or move it away, and texts seen in training cannot be recognised"


class Texts(dict):
    """{split: hashes of its documents}"""

    @cached_property
    def seen(self) -> frozenset[str] | None:
        """Collect the hashes of what probes were trained on or chosen by; None where these are not known."""
        return frozenset(text for split in SEEN for text in self[split]) if set(SEEN) <= set(self) else None


def texts_path(folder: Path | str, dataset_fingerprint: str) -> Path:
    """Name the file that lies beside the probes of a dataset."""
    return Path(folder) / f"texts_{dataset_fingerprint}.json"


def hashes_of_texts(splits: Mapping[str, Sequences]) -> Texts | None:
    """Collect the hashes of the documents of each split; None for data that hold none."""
    hashes = splits["train"].document_hashes
    if hashes is None:
        return None
    return Texts(
        (name, [hashes[document] for document in sorted(set(sequences.documents.tolist()))])
        for name, sequences in splits.items()
    )


def write_texts(files: WriteTogether, folder: Path | str, splits: Mapping[str, Sequences]) -> None:
    """Write the texts of a dataset beside its probes, where the data tell them."""
    texts = hashes_of_texts(splits)
    if texts is None:
        return
    path = texts_path(folder, splits["train"].dataset_fingerprint)
    with files.open(path) as file:
        file.write(json_text(with_checksum({"format": TEXTS_FORMAT, "version": TEXTS_VERSION, "texts": texts})).encode())


def read_texts_beside(folder: Path | str, dataset_fingerprint: str) -> Texts | None:
    """Read what `write_texts` wrote; None where there is no file. Raise UserError for one that is damaged."""
    path = texts_path(folder, dataset_fingerprint)
    require_path(path, "file", TRAIN_AGAIN)
    if not path.exists():
        return None
    try:
        about = read_checked_json(path)
        known = (about["format"], about["version"]) == (TEXTS_FORMAT, TEXTS_VERSION)
        texts = {split: list(hashes) for split, hashes in about["texts"].items()}
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}; {TRAIN_AGAIN}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is damaged; {TRAIN_AGAIN}") from error
    if not known:
        raise UserError(f"{path} is of another format or version; {TRAIN_AGAIN}")
    return Texts(texts)


def give_texts(folder: Path | str, metadata: Iterable[dict]) -> None:
    """Put the texts beside the probes into the metadata of those that hold none; all of one dataset share one object."""
    found: dict[str, Texts | None] = {}
    for one in metadata:
        name = one["dataset_fingerprint"]
        if "texts" in one:
            continue
        if name not in found:
            found[name] = read_texts_beside(folder, name)
        if found[name] is not None:
            one["texts"] = found[name]
