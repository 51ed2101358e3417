"""Choose where the texts come from that the page of probes shows."""

import os
from dataclasses import dataclass

from utils.base.errors import UserError

GUTENBERG = "manu/project_gutenberg"


@dataclass(frozen=True)
class TextRequest:
    """The text that the user asks for: a file, or a dataset with its column and language.

    None: as the probes' data were prepared.
    """

    file: str | None = None
    dataset: str | None = None
    column: str | None = None
    language: str | None = None


@dataclass(frozen=True)
class TextSource:
    """Where the shown texts come from.

    kind: "file", "dataset", or "annotated" for the file that the probes' data were made from
    place: a path, or the name of a Hub dataset
    column, language, max_texts, config: how a file or a dataset is read
    only_test: whether only the texts of the probes' test split are shown
    """

    kind: str
    place: str
    column: str = "text"
    language: str = "en"
    max_texts: int | None = None
    only_test: bool = False
    config: str | None = None


def choose_source(request: TextRequest, probes) -> TextSource:
    """Choose what is read: what was asked for, else what the probes' data were prepared from, its test split only."""
    if shows_annotated(request, probes):
        return TextSource("annotated", own_file(probes), only_test=has_test_texts(probes))
    if request.file:
        return TextSource("file", request.file, request.column or "text")
    prepared = {} if probes.annotated else probes.common.get("source") or {"dataset": GUTENBERG}
    own = request.dataset is None or same_place(request.dataset, prepared.get("dataset"))
    defaults = {"text_column": "text", "language": "en", **(prepared if own else {})}
    return TextSource(
        "dataset",
        request.dataset or prepared["dataset"],
        request.column or defaults["text_column"],
        request.language or defaults["language"],
        defaults.get("max_texts"),
        own and has_test_texts(probes),
        defaults.get("dataset_config"),
    )


def shows_annotated(request: TextRequest, probes) -> bool:
    """Say whether the texts are those of the annotated file that the probes are of, rather than plain ones."""
    return (
        probes.annotated and not request.file and (request.dataset is None or same_place(request.dataset, own_file(probes)))
    )


def own_file(probes) -> str:
    source = probes.common.get("source")
    path = source.get("input") if isinstance(source, dict) else None
    if not isinstance(path, str):
        raise UserError(f"{probes.paths[0]} does not say which file it was made from; give a text with --text_file")
    return path


def same_place(one: str, other: str | None) -> bool:
    """Say whether two names of datasets mean one thing. Paths are compared as places, Hub names as they are."""
    return one == other or (
        other is not None and os.path.exists(one) and os.path.exists(other) and os.path.samefile(one, other)
    )


def split_by_text(probes) -> dict[str, str]:
    """Map the hash of each text that the probes' data hold to its split."""
    return {one: split for split, hashes in probes.common.get("texts", {}).items() for one in hashes}


def has_test_texts(probes) -> bool:
    return "test" in split_by_text(probes).values()
