"""Draws the results of a comparison as SVG: the interval that decides, and how it changed by day.

The page sets the colours of the classes. The numbers stand in a table beside each drawing.
"""

from collections.abc import Sequence

from markupsafe import Markup

from bot.experiments.breakdowns import DayResult
from bot.experiments.stats import Difference
from data.experiments.metrics import signed
from data.runs.chart_axes import linear, round_axis
from data.store.clock import DAY_US

WIDTH, HEIGHT = 860, 260
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 14, 30
LEAST_REACH = 0.1  # of the axis, so that a narrow interval does not look like a wide one


def interval_svg(rating: Difference, least: float) -> Markup:
    """The interval on an axis that is symmetric around zero; the band is the minimum effect."""
    reach = min(1.0, max(abs(rating.low), abs(rating.high), 2 * least)) * 1.05
    x = linear(-reach, reach, 0, 100)

    def at(share: float) -> str:
        return f"{x(max(-reach, min(reach, share))):.2f}%"

    return Markup(
        '<svg class="interval" role="img" aria-label="interval {} to {} points">'
        '<rect class="band" x="{}" y="4" width="{:.2f}%" height="24"/>'
        '<line class="zero" x1="50%" x2="50%" y1="0" y2="32"/>'
        '<line class="reach" x1="{}" x2="{}" y1="16" y2="16"/>'
        '<circle class="estimate" cx="{}" cy="16" r="6"/>'
        '<text x="0" y="46">worse</text>'
        '<text x="50%" y="46" text-anchor="middle">no difference</text>'
        '<text x="100%" y="46" text-anchor="end">better</text></svg>'
    ).format(
        signed(rating.low),
        signed(rating.high),
        at(-least),
        x(min(reach, least)) - x(max(-reach, -least)),
        at(rating.low),
        at(rating.high),
        at(rating.estimate),
    )


def history_svg(days: Sequence[DayResult], candidate: int, label: str, least: float) -> Markup:
    """The difference of a candidate (its index among the candidates) by day, with its interval.
    Empty with fewer than two days."""
    found = [(d.at, d.ratings.differences[candidate]) for d in days]
    points = [(at, one) for at, one in found if one is not None]
    if len(points) < 2:
        return Markup("")
    reach = max(LEAST_REACH, *(max(abs(d.low), abs(d.high)) for _, d in points[len(points) // 4 :]))
    axis = round_axis(-min(1.0, reach), min(1.0, reach))
    x = linear(points[0][0], points[-1][0], LEFT, WIDTH - RIGHT)
    y = linear(axis.low, axis.high, HEIGHT - BOTTOM, TOP)

    def place(at: int, value: float) -> str:
        return f"{x(at):.1f},{y(max(axis.low, min(axis.high, value))):.1f}"

    upper = [place(at, d.high) for at, d in points]
    lower = [place(at, d.low) for at, d in points]
    last = round((points[-1][0] - points[0][0]) / DAY_US)
    parts = [
        Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">').format(
            WIDTH, HEIGHT, f"Difference of {label} to A in the mean rating, by day"
        ),
        _rect(y(least), y(-least)),
        *(_level(value, y(value)) for value in axis.ticks()),
        Markup('<polygon class="likely" points="{}"/>').format(" ".join([*upper, *lower[::-1]])),
        Markup('<polyline class="training" points="{}"/>').format(
            " ".join(place(at, d.estimate) for at, d in points)
        ),
        _text(LEFT, HEIGHT - 8, "start", "first ratings"),
        _text(WIDTH - RIGHT, HEIGHT - 8, "end", f"{last} day{'s' if last != 1 else ''} later"),
        Markup("</svg>"),
    ]
    return Markup("").join(parts)


def _rect(top: float, bottom: float) -> Markup:
    return Markup('<rect class="band" x="{}" y="{:.1f}" width="{}" height="{:.1f}"/>').format(
        LEFT, top, WIDTH - LEFT - RIGHT, bottom - top
    )


def _level(value: float, at: float) -> Markup:
    zero = abs(value) < 1e-9
    return Markup('<line class="{}" x1="{}" y1="{:.1f}" x2="{}" y2="{:.1f}"/>').format(
        "zero" if zero else "grid", LEFT, at, WIDTH - RIGHT, at
    ) + _text(LEFT - 6, at + 4, "end", "0" if zero else f"{100 * value:+.0f}")


def _text(x: float, y: float, anchor: str, text: str) -> Markup:
    return Markup('<text x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>').format(
        x, y, anchor, text
    )
