"""A file, a folder or a Hub dataset -> documents. What differs between tasks is here, and only here."""

from dataclasses import dataclass

from utils.base.files import fingerprint


@dataclass(frozen=True)
class Document:
    """One text. `group` is the highest unit that two documents can share (here: the book); never split apart."""

    text: str
    name: str
    group: str


def text_hash(text) -> str:
    """By which a text is known again, whatever file or dataset it comes from."""
    return fingerprint(text.encode("utf-8"))
