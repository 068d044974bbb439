"""How pages show texts, times, numbers and people: the filters of the templates.

Every text is shown with symbols for characters that would change how it reads
(`data/visible_text.py`), except what a form gives back: `as_entered`.
"""

from collections.abc import Callable
from datetime import UTC, datetime

from markupsafe import Markup, escape

from data.store.clock import now_us
from data.visible_text import visible

UNITS = ((86_400, "day"), (3_600, "hour"), (60, "minute"))


def finalize(value: object) -> object:
    """What a template shows of a value; markup and numbers stay."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def as_entered(text: str) -> Markup:
    """A text as the value of a field, which a form sends back unchanged."""
    return escape(text)


def ago(us: int) -> Markup:
    """A `<time>` element: `3 minutes ago`, and the exact time for whoever points at it."""
    seconds = (now_us() - us) / 1_000_000
    return _time(us, "just now" if seconds < 60 else f"{_span(seconds)} ago")


def until(us: int) -> Markup:
    """A `<time>` element: `in 3 days`, to the nearest unit."""
    return _time(us, f"in {_span(max(0, us - now_us()) / 1_000_000, round)}")


def _time(us: int, text: str) -> Markup:
    at = datetime.fromtimestamp(us / 1_000_000, UTC)
    exact = f"{at:%Y-%m-%d %H:%M} UTC"
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        at.isoformat(timespec="seconds"), exact, text
    )


def day(us: int) -> str:
    """`2026-03-01`, in UTC."""
    return f"{datetime.fromtimestamp(us / 1_000_000, UTC):%Y-%m-%d}"


def span(seconds: float) -> str:
    """`2 hours`, `3 minutes`, `less than a minute`."""
    return _span(seconds)


def _span(seconds: float, to_whole: Callable[[float], int] = int) -> str:
    for size, unit in UNITS:
        if seconds >= size:
            return count(to_whole(seconds / size), unit)
    return "less than a minute"


def count(number: int, noun: str) -> str:
    """`1 pair`, `1,200 pairs`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def size(number: int) -> str:
    """`1.2 GB`."""
    for unit, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if number >= unit:
            return f"{number / unit:.1f} {name}"
    return count(number, "byte")


def percent(share: float) -> str:
    """`87%`."""
    return f"{share:.0%}"


def sentence_case(text: str) -> str:
    """A sentence that begins with a capital and ends with a stop."""
    return text if not text else f"{text[0].upper()}{text[1:].rstrip('.')}."


def person(identity: str) -> str:
    """A person as others read them: the name of a sign-in or of an operator, otherwise the id."""
    front, _, name = identity.partition(":")
    return name if front in ("user", "cli") and name else identity


FILTERS = {
    "as_entered": as_entered,
    "ago": ago,
    "day": day,
    "until": until,
    "span": span,
    "count": count,
    "percent": percent,
    "size": size,
    "person": person,
    "sentence_case": sentence_case,
}
