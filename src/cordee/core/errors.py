"""What can go wrong in a way the user can mend: each error says what, where and the way out."""


class CordeeError(Exception):
    """Shown to the user as `error: ...`, without a traceback."""

    exit_code = 1


class UsageError(CordeeError):
    """The request cannot be carried out as it was made."""

    exit_code = 2


class NotEmulated(CordeeError):
    """The virtual chip has no such function; it never guesses a result."""


class SourceError(CordeeError):
    """A file of the user's is not what its name says, such as Python that does not parse."""
