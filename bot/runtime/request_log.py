"""Names the HTTP request in every log line about it, also in lines of tasks that it started."""

import logging
from contextvars import ContextVar

request_name: ContextVar[str] = ContextVar("request_name", default="")
"""The id of the request that the current task works for, and its `traceparent` if it has one."""


class RequestFilter(logging.Filter):
    """Sets `request` of each record: ` [ID]` for a line about a request, otherwise nothing."""

    def filter(self, record: logging.LogRecord) -> bool:
        name = request_name.get()
        record.request = f" [{name}]" if name else ""
        return True
