"""One text as every reader hands it on, and the hash by which it is known again."""

from dataclasses import dataclass, field

from utils.base.errors import UserError
from utils.base.files import fingerprint


@dataclass(frozen=True)
class Document:
    """One text.

    group  the highest unit that two documents can share, such as a book; a group is never split apart
    split  where the input says it, else None: train, val or test; of plain texts the name as it is published
    """

    text: str
    name: str
    group: str
    split: str | None = field(default=None, kw_only=True)


def text_hash(text: str) -> str:
    """Hash a text, so that it is known again whatever file or dataset it comes from."""
    return fingerprint(text.encode("utf-8"))


def require_whole_characters(text: str, where: str) -> None:
    """Raise UserError for a text with half a surrogate pair, which cannot be written as UTF-8. where begins the message."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise UserError(
            f"{where}: {text[error.start]!r} at character {error.start} is half a surrogate pair and no text; "
            "mend or leave out the row"
        ) from error
