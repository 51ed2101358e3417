"""The one family of errors that a user can mend. Anything else that escapes is a bug of ours and shows a traceback."""


class UserError(Exception):
    """A run that cannot go on. The message is one line: what was wrong, with which value, and the remedy."""

    exit_status = 1


class UsageError(UserError):
    """Wrong usage of the command line, found before anything is loaded."""

    exit_status = 2
