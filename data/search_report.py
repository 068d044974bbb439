"""What a search found, as a table and a plot: in words for a terminal, and as an SVG drawing.

Lower is better: the plot shows the loss on what was held out, the mean over the folds where there
are any, with one standard deviation to each side.
"""

import math
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from data import trials
from data.trials import Point, Trial

FILE = "search.svg"
BAR = 32  # characters of the longest bar
WIDTH, ROW, LABEL, VALUE, TOP = 720, 26, 240, 150, 34  # of the drawing, in pixels


def text(tried: Sequence[Trial]) -> str:
    """The table and the plot; points in the order in which they were asked for."""
    points = trials.points(tried)
    kept = trials.best(tried)
    folds = max(len(p.trials) for p in points)
    head = "held-out loss" + (f", mean and spread of {folds} folds" if folds > 1 else "")
    width = max(len(label(p)) for p in points)
    lines = [f"Trials ({head}; lower is better):"]
    lines += [
        f"  {'*' if kept is not None and p.changes == kept.changes else ' '} "
        f"{label(p):<{width}}  {_figures(p):<24} {_bar(p, points)}".rstrip()
        for p in points
    ]
    failed: dict[str, list[str]] = {}
    for point in points:
        for error in _errors(point):
            failed.setdefault(error, []).append(label(point))
    lines += [f"    {', '.join(labels)}: {error}" for error, labels in failed.items()]
    return "\n".join(lines)


def told(tried: Sequence[Trial], folder: Path) -> str:
    """The table and the plot, and where the drawing is."""
    drawn = folder / FILE
    return text(tried) + (f"\nDrawn: {drawn}" if drawn.is_file() else "")


def svg(tried: Sequence[Trial]) -> str:
    """The same as a drawing, a row for each point. Stands for itself in a browser."""
    points = trials.points(tried)
    kept = trials.best(tried)
    height = TOP + ROW * len(points) + 10
    scale = _scale(points)
    body = []
    for i, point in enumerate(points):
        y = TOP + ROW * i + ROW // 2
        colour = "#0a7d33" if kept is not None and point.changes == kept.changes else "#30507a"
        body.append(f'<text x="{LABEL - 10}" y="{y + 4}" text-anchor="end">{_safe(point)}</text>')
        if point.loss is None:
            body.append(f'<text x="{LABEL}" y="{y + 4}" fill="#a33">failed</text>')
            continue
        x, spread = LABEL + scale(point.loss), point.loss_spread or 0.0
        left, right = (LABEL + scale(point.loss + s) for s in (-spread, spread))
        body.append(f'<line x1="{LABEL}" y1="{y}" x2="{x:.1f}" y2="{y}" stroke="#ddd"/>')
        body.append(
            f'<line x1="{left:.1f}" y1="{y}" x2="{right:.1f}" y2="{y}" stroke="{colour}" '
            'stroke-width="2"/>'
        )
        body.append(f'<circle cx="{x:.1f}" cy="{y}" r="5" fill="{colour}"/>')
        body.append(f'<text x="{WIDTH - VALUE + 16}" y="{y + 4}">{_figures(point)}</text>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        'font-family="sans-serif" font-size="13">'
        '<rect width="100%" height="100%" fill="#fff"/>'
        f'<text x="{LABEL}" y="18">held-out loss, nats a token (lower is better)</text>'
        + "".join(body)
        + "</svg>\n"
    )


def write(folder: Path, tried: Sequence[Trial]) -> Path:
    """The drawing as a file of the run's folder. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / FILE
    file.write_text(svg(tried), encoding="utf-8")
    return file


def label(point: Point) -> str:
    """`learning_rate=0.0002 rank=8`."""
    return " ".join(f"{key}={_plain(value)}" for key, value in point.changes.items()) or "recipe"


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _safe(point: Point) -> str:
    return escape(label(point))


def _figures(point: Point) -> str:
    if point.loss is None:
        return "failed" if _errors(point) else "not done yet"
    spread = "" if point.loss_spread is None else f" ± {point.loss_spread:.3f}"
    f1 = "" if point.f1 is None else f", F1 {point.f1:.2f}"
    if point.f1_spread is not None:
        f1 += f" ± {point.f1_spread:.2f}"
    return f"{point.loss:.3f}{spread}{f1}"


def _errors(point: Point) -> list[str]:
    return list(dict.fromkeys(t.error for t in point.trials if t.state == "failed"))


def _bar(point: Point, points: Sequence[Point]) -> str:
    if point.loss is None:
        return ""
    highest = max(p.loss or 0.0 for p in points)
    return "▇" * max(1, round(BAR * point.loss / highest)) if highest else ""


def _scale(points: Sequence[Point]) -> Any:
    """Loss -> pixels from the left; the losses of all points fill the width."""
    ends = [p.loss + s for p in points if p.loss is not None
            for s in (-(p.loss_spread or 0.0), p.loss_spread or 0.0)]  # fmt: skip
    low, high = (min(ends), max(ends)) if ends else (0.0, 1.0)
    room = WIDTH - LABEL - VALUE
    span = high - low if math.isfinite(high - low) and high > low else 1.0
    return lambda loss: 12 + (room - 24) * (loss - low) / span
