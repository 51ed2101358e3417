"""The one family of errors that a user can mend. Anything else that escapes is a bug of ours and shows a traceback."""


class UserError(Exception):
    """A run that cannot go on. The message is one line: what was wrong, with which value, and the remedy."""

    exit_status = 1


class UsageError(UserError):
    """Wrong usage of the command line, found before anything is loaded."""

    exit_status = 2


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether an allocation failed, on any device: Python, numpy and pyarrow raise a MemoryError, torch its own."""
    names = {kind.__name__ for kind in type(error).__mro__}
    text = str(error).lower()
    return bool({"MemoryError", "OutOfMemoryError"} & names) or "out of memory" in text or "can't allocate memory" in text
