"""A file, a folder or a Hub dataset -> documents. What differs between tasks is here, and only here."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Document:
    """One text. `group` is the highest unit that two documents can share (here: the book); never split apart."""

    text: str
    name: str
    group: str
