"""The errors that a user can cause or meet.

Each message says what was expected, what was got, where, and what to try. The command line prints the message
alone, without a traceback.
"""


class GradscopeError(Exception):
    """Anything that gradscope refuses or cannot do, said in words for the user."""


class UsageError(GradscopeError):
    """The request itself is wrong: an argument, a study file, a model that has nothing to watch."""


class RunError(GradscopeError):
    """A run folder cannot be written or read: missing, damaged, in use already, not a run."""
