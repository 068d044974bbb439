"""Draws loss curves as SVG: the training loss of each step, and the losses on held-out facts and on
held-out phrasings of trained facts.

The scale is logarithmic, because a loss falls by orders of magnitude. The page that contains the
drawing sets the colours of the classes `training`, `held-out`, `probe` and `grid`.
"""

import math
from collections.abc import Sequence

from data.runs.chart_axes import (
    Curve,
    Scale,
    curve,
    linear,
    logarithmic,
    logarithmic_ticks,
    path,
    step_ticks,
    thinned,
)
from data.runs.runs import LossPoint

WIDTH, HEIGHT = 860, 300
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 26, 34
LEAST = 1e-4  # a smaller loss is drawn here, because its logarithm is unbounded


def svg(points: Sequence[LossPoint]) -> str:
    """The drawing, or a sentence when there is nothing to draw."""
    training = curve(points, "loss")
    held_out = curve(points, "validation_loss")
    probe = curve(points, "probe_loss")
    every = [*training, *held_out, *probe]
    losses = [max(y, LEAST) for _, y in every]
    if not losses:
        return "<p>No loss was recorded.</p>"
    steps = [x for x, _ in every]
    low, high = min(losses), max(losses)
    if high / low < 2:
        low, high = low / math.sqrt(2), high * math.sqrt(2)
    x = linear(min(steps), max(steps), LEFT, WIDTH - RIGHT)
    y = logarithmic(low, high, HEIGHT - BOTTOM, TOP, LEAST)
    return "".join(
        [
            f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
            f'aria-label="Training and held-out loss by step">',
            *(_level(value, y(value)) for value in logarithmic_ticks(low, high)),
            *_steps(steps, x),
            _line("training", training, x, y),
            *_measured("held-out", held_out, x, y),
            *_measured("probe", probe, x, y),
            f'<text class="training" x="{LEFT}" y="14">training loss</text>',
            *(
                f'<text class="{name}" x="{at}" y="14">{words}</text>'
                for name, measured, at, words in (
                    ("held-out", held_out, LEFT + 100, "held-out facts"),
                    ("probe", probe, LEFT + 200, "held-out phrasings"),
                )
                if measured
            ),
            "</svg>",
        ]
    )


def _level(value: float, at: float) -> str:
    return (
        f'<line class="grid" x1="{LEFT}" y1="{at:.1f}" x2="{WIDTH - RIGHT}" y2="{at:.1f}"/>'
        f'<text x="{LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{value:g}</text>'
    )


def _steps(steps: Sequence[int], x: Scale) -> list[str]:
    anchors = {min(steps): "start", max(steps): "end"}
    return [
        f'<text x="{x(step):.1f}" y="{HEIGHT - 12}" '
        f'text-anchor="{anchors.get(step, "middle")}">step {step}</text>'
        for step in step_ticks(steps)
    ]


def _measured(name: str, points: Curve, x: Scale, y: Scale) -> list[str]:
    """A line with a dot wherever it was measured."""
    dots = [
        f'<circle class="{name}" cx="{at:.1f}" cy="{height:.1f}" r="2.5"/>'
        for at, height in path(points, x, y)
    ]
    return [_line(name, points, x, y), *dots]


def _line(name: str, points: Curve, x: Scale, y: Scale) -> str:
    places = " ".join(f"{at:.1f},{height:.1f}" for at, height in path(thinned(points), x, y))
    return f'<polyline class="{name}" points="{places}"/>'
