"""Server-sent events, parsed from bytes as they arrive.

The rules are those of https://html.spec.whatwg.org/multipage/server-sent-events.html, section
"Interpreting an event stream": lines end in CR, LF or both; a line that begins with a colon is a
comment; several `data` lines of an event are joined by line feeds; an event without data, or
without the empty line after it, is dropped. Event names, ids and retry times are read past, because
engines give them no meaning. A line and an event have a largest size, so that no engine can fill
the memory.
"""

MAX_BYTES = 1 << 20  # of a line, and of the data of an event; an answer's piece has a few hundred
BOM = b"\xef\xbb\xbf"


class EventTooLong(ValueError):
    """A line or an event is longer than `MAX_BYTES`."""


class EventParser:
    """The state of one stream. `feed` it the bytes as they arrive."""

    def __init__(self) -> None:
        self._rest = bytearray()  # a line that has not ended
        self._data: list[bytes] = []  # the data of an event that has not ended
        self._size = 0  # of `_data`
        self._after_cr = False  # a line feed now belongs to the carriage return before it
        self._first = True

    def feed(self, piece: bytes) -> list[bytes]:
        """The data of each event that `piece` completes. Raises EventTooLong."""
        if self._after_cr and piece:
            piece = piece.removeprefix(b"\n")
        self._after_cr = piece.endswith(b"\r") or (self._after_cr and not piece)
        events = []
        for line in piece.splitlines(keepends=True):
            if line[-1:] not in b"\r\n" or len(self._rest) + len(line) > MAX_BYTES:
                self._rest += line
                if len(self._rest) > MAX_BYTES:
                    raise EventTooLong(f"A line of the answer is longer than {MAX_BYTES} bytes.")
                continue
            whole = bytes(self._rest) + line.rstrip(b"\r\n") if self._rest else line.rstrip(b"\r\n")
            self._rest.clear()
            if whole:
                self._take(whole)
            elif self._data:
                events.append(b"\n".join(self._data))
                self._data, self._size = [], 0
        return [event for event in events if event]

    def _take(self, line: bytes) -> None:
        if self._first:
            self._first, line = False, line.removeprefix(BOM)
        name, _, value = line.partition(b":")
        if name != b"data":
            return
        value = value.removeprefix(b" ")
        self._size += len(value) + 1
        if self._size > MAX_BYTES:
            raise EventTooLong(f"An event of the answer is longer than {MAX_BYTES} bytes.")
        self._data.append(value)
