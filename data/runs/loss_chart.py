"""Loss curves as an SVG drawing: the training loss of each step, and beside it the losses on what
was held out: facts that training never sees, and single phrasings of facts that it does.

The scale is logarithmic, because a loss falls by orders of magnitude. Colours are left to the page
that the drawing is part of: classes `training`, `held-out`, `probe` and `grid`.
"""

import math
from collections.abc import Callable, Sequence

from data.runs.runs import LossPoint

WIDTH, HEIGHT = 860, 300
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 26, 34
LEAST = 1e-4  # a loss below is drawn here: its logarithm has no end
POINTS = 600  # of a line; more are not to be seen

Place = Callable[[float], float]


def svg(points: Sequence[LossPoint]) -> str:
    """The drawing, or a sentence when there is nothing to draw."""
    training = [(p.step, p.loss) for p in points if _drawable(p.loss)]
    held_out = [(p.step, p.validation_loss) for p in points if _drawable(p.validation_loss)]
    probe = [(p.step, p.probe_loss) for p in points if _drawable(p.probe_loss)]
    every = [*training, *held_out, *probe]
    losses = [max(y, LEAST) for _, y in every if y is not None]
    if not losses:
        return "<p>No loss was recorded.</p>"
    steps = [x for x, _ in every]
    low, high = min(losses), max(losses)
    if high / low < 2:
        low, high = low / math.sqrt(2), high * math.sqrt(2)
    x, y = _linear(min(steps), max(steps)), _logarithmic(low, high)
    return "".join(
        [
            f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
            f'aria-label="Training and held-out loss by step">',
            *(_level(value, y(value)) for value in ticks(low, high)),
            *_steps(steps, x),
            _line("training", training, x, y),
            *_measured("held-out", held_out, x, y),
            *_measured("probe", probe, x, y),
            f'<text class="training" x="{LEFT}" y="14">training loss</text>',
            *(
                f'<text class="{name}" x="{at}" y="14">{words}</text>'
                for name, curve, at, words in (
                    ("held-out", held_out, LEFT + 100, "held-out facts"),
                    ("probe", probe, LEFT + 200, "held-out phrasings"),
                )
                if curve
            ),
            "</svg>",
        ]
    )


def ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten between the two; of a wide range the powers alone."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    factors = (1,) if high / low > 1000 else (1, 2, 5)
    found = [factor * 10.0**power for power in powers for factor in factors]
    return [value for value in found if low <= value <= high]


def _drawable(loss: float | None) -> bool:
    return loss is not None and math.isfinite(loss)


def _linear(low: float, high: float) -> Place:
    width = WIDTH - LEFT - RIGHT
    return lambda step: LEFT + width * (step - low) / max(1, high - low)


def _logarithmic(low: float, high: float) -> Place:
    height, span = HEIGHT - TOP - BOTTOM, math.log(high / low)
    return lambda loss: TOP + height * math.log(high / max(loss, LEAST)) / span


def _level(value: float, at: float) -> str:
    return (
        f'<line class="grid" x1="{LEFT}" y1="{at:.1f}" x2="{WIDTH - RIGHT}" y2="{at:.1f}"/>'
        f'<text x="{LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{value:g}</text>'
    )


def _steps(steps: Sequence[int], x: Place) -> list[str]:
    first, last = min(steps), max(steps)
    shown = sorted({first, (first + last) // 2, last})
    anchors = {first: "start", last: "end"}
    return [
        f'<text x="{x(step):.1f}" y="{HEIGHT - 12}" '
        f'text-anchor="{anchors.get(step, "middle")}">step {step}</text>'
        for step in shown
    ]


def _measured(
    name: str, curve: Sequence[tuple[int, float | None]], x: Place, y: Place
) -> list[str]:
    """A line with a dot wherever it was measured."""
    dots = [
        f'<circle class="{name}" cx="{x(s):.1f}" cy="{y(v or 0):.1f}" r="2.5"/>' for s, v in curve
    ]
    return [_line(name, curve, x, y), *dots]


def _line(name: str, curve: Sequence[tuple[int, float | None]], x: Place, y: Place) -> str:
    thinned = curve[:: max(1, len(curve) // POINTS)]
    places = " ".join(f"{x(step):.1f},{y(loss or 0):.1f}" for step, loss in thinned)
    return f'<polyline class="{name}" points="{places}"/>'
