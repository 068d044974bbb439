"""The results of a search, as a table with a plot for the terminal, and as an SVG drawing.

The plot shows the held-out loss (lower is better): with folds, their mean and one standard
deviation to each side.
"""

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from data.runs import trials
from data.runs.chart_axes import Scale, linear
from data.runs.trials import SearchPoint, Trial

FILE = "search.svg"
BAR = 32  # characters of the longest bar
ROOM, ROW, LABEL, VALUE, TOP = 330, 26, 240, 150, 34  # of the drawing, in pixels
LETTER = 7  # pixels, of a label
XMLNS = "http://www.w3.org/2000/svg"
COLOURS = (  # of the drawing by itself
    "text{font:13px sans-serif}.failed{fill:#a33}.grid{stroke:#ddd}"
    ".kept{fill:#0a7d33;stroke:#0a7d33;stroke-width:2}.tried{fill:#30507a;stroke:#30507a;"
    "stroke-width:2}"
)


def text(tried: Sequence[Trial]) -> str:
    """The table and the plot, with points in the order in which they were requested."""
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
    lines += [f"    {sentence}" for sentence in failures(tried)]
    return "\n".join(lines)


def text_with_path(tried: Sequence[Trial], folder: Path) -> str:
    """The table and the plot, and the path of the drawing."""
    drawn = folder / FILE
    return text(tried) + (f"\nDrawn: {drawn}" if drawn.is_file() else "")


def svg(tried: Sequence[Trial]) -> str:
    """The same as an SVG drawing with a row for each point. The surrounding page sets the
    colours."""
    points = trials.points(tried)
    kept = trials.best(tried)
    left = max(LABEL, LETTER * max((len(label(p)) for p in points), default=0) + 20)
    width = left + ROOM + VALUE
    height = TOP + ROW * len(points) + 10
    scale = _scale(points)
    body = []
    for i, point in enumerate(points):
        y = TOP + ROW * i + ROW // 2
        mark = "kept" if kept is not None and point.changes == kept.changes else "tried"
        body.append(f'<text x="{left - 10}" y="{y + 4}" text-anchor="end">{_safe(point)}</text>')
        if point.loss is None:
            body.append(f'<text class="failed" x="{left}" y="{y + 4}">{_figures(point)}</text>')
            continue
        x, spread = left + scale(point.loss), point.loss_spread or 0.0
        low, high = (left + scale(point.loss + s) for s in (-spread, spread))
        body.append(f'<line class="grid" x1="{left}" y1="{y}" x2="{x:.1f}" y2="{y}"/>')
        body.append(f'<line class="{mark}" x1="{low:.1f}" y1="{y}" x2="{high:.1f}" y2="{y}"/>')
        body.append(f'<circle class="{mark}" cx="{x:.1f}" cy="{y}" r="5"/>')
        body.append(f'<text x="{left + ROOM + 16}" y="{y + 4}">{_figures(point)}</text>')
    return (
        f'<svg class="search" viewBox="0 0 {width} {height}" role="img" '
        'aria-label="Held-out loss of each trial">'
        f'<text x="{left}" y="18">held-out loss, nats per token (lower is better)</text>'
        + "".join(body)
        + "</svg>"
    )


def page(tried: Sequence[Trial]) -> str:
    """The drawing as a self-contained file, for a browser or a paper."""
    inside = svg(tried)
    end = inside.index(">") + 1
    opened = inside[:end].replace("<svg ", f'<svg xmlns="{XMLNS}" ', 1)
    paper = '<rect width="100%" height="100%" fill="#fff"/>'
    return f"{opened}<style>{COLOURS}</style>{paper}{inside[end:]}\n"


def failures(tried: Sequence[Trial]) -> list[str]:
    """One sentence for each reason why points failed, with these points."""
    failed: dict[str, list[str]] = {}
    for point in trials.points(tried):
        for error in _errors(point):
            failed.setdefault(error, []).append(label(point))
    return [f"{', '.join(labels)}: {error}" for error, labels in failed.items()]


def write(folder: Path, tried: Sequence[Trial]) -> Path:
    """Write the drawing to the run's folder. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / FILE
    file.write_text(page(tried), encoding="utf-8")
    return file


def label(point: SearchPoint) -> str:
    """`learning_rate=0.0002 rank=8`."""
    return " ".join(f"{key}={_plain(value)}" for key, value in point.changes.items()) or "recipe"


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _safe(point: SearchPoint) -> str:
    return escape(label(point))


def _figures(point: SearchPoint) -> str:
    if point.loss is None:
        return "failed" if _errors(point) else "not done yet"
    spread = "" if point.loss_spread is None else f" ± {point.loss_spread:.3f}"
    f1 = "" if point.f1 is None else f", F1 {point.f1:.2f}"
    if point.f1_spread is not None:
        f1 += f" ± {point.f1_spread:.2f}"
    return f"{point.loss:.3f}{spread}{f1}"


def _errors(point: SearchPoint) -> list[str]:
    return list(dict.fromkeys(t.error for t in point.trials if t.state == "failed"))


def _bar(point: SearchPoint, points: Sequence[SearchPoint]) -> str:
    if point.loss is None:
        return ""
    highest = max(p.loss or 0.0 for p in points)
    return "▇" * max(1, round(linear(0, highest, 0, BAR)(point.loss))) if highest else ""


def _scale(points: Sequence[SearchPoint]) -> Scale:
    """Loss -> pixels from the left; the losses of all points fill the width."""
    ends = [p.loss + s for p in points if p.loss is not None
            for s in (-(p.loss_spread or 0.0), p.loss_spread or 0.0)]  # fmt: skip
    low, high = (min(ends), max(ends)) if ends else (0.0, 1.0)
    return linear(low, high, 12, ROOM - 12)
