"""What can go wrong, in five words that every edge knows how to say.

A module raises one of these, or a subclass of its own, with a sentence a person can act on.
HTTP turns them into a status (`bot/app.py`), Slack into an ephemeral message, the CLI into an
exit code. Anything else that is raised is a defect of ours and is treated as one.
"""


class UnderstudyError(Exception):
    """An expected failure; `str(error)` is the sentence to show."""


class Invalid(UnderstudyError):
    """What was given makes no sense: HTTP 400, exit code 2."""


class Forbidden(UnderstudyError):
    """Known, but may not do this: HTTP 403, exit code 1."""


class NotFound(UnderstudyError):
    """Nothing has that name: HTTP 404, exit code 1."""


class Conflict(UnderstudyError):
    """Right request, wrong moment (already running, already there): HTTP 409, exit code 1."""


class Unavailable(UnderstudyError):
    """Something needed is down or full; trying again may help: HTTP 503, exit code 1."""
