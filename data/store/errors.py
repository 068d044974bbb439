"""The five kinds of expected failure.

A module raises one of these, or a subclass, with a sentence that a person can act on. HTTP turns
it into a status (`bot/api/problems.py`), Slack into an ephemeral message, the CLI into an exit
code. Any other exception is a bug and is reported as one.
"""


class UnderstudyError(Exception):
    """An expected failure; `str(error)` is the sentence to show."""


class Invalid(UnderstudyError):
    """The input is not valid: HTTP 400, exit code 2."""


class Forbidden(UnderstudyError):
    """The caller is known but may not do this: HTTP 403, exit code 1."""


class NotFound(UnderstudyError):
    """Nothing with that name exists: HTTP 404, exit code 1."""


class Conflict(UnderstudyError):
    """The current state does not allow this (already running, already there): HTTP 409, exit code
    1."""


class Unavailable(UnderstudyError):
    """A needed part is down or full, and a retry may succeed: HTTP 503, exit code 1."""
