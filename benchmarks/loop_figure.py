"""Draws the share of right answers against rounds, one line for each arm, as an SVG file."""

from collections.abc import Mapping, Sequence

from data.runs.chart_axes import linear

WIDTH, HEIGHT = 640, 280
LEFT, RIGHT, TOP, BOTTOM = 48, 110, 20, 40
COLOURS = ("#2166ac", "#b2182b", "#5e5e5e")
GRID = (0.0, 0.25, 0.5, 0.75, 1.0)


def svg(curves: Mapping[str, Sequence[float]]) -> str:
    """A picture for light and dark pages. Each curve begins before the first round."""
    most = max(len(shares) for shares in curves.values()) - 1
    x = linear(0, max(1, most), LEFT, WIDTH - RIGHT)
    y = linear(0, 1, HEIGHT - BOTTOM, TOP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        'aria-label="Share of right answers by round" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
    ]
    for share in GRID:
        at = y(share)
        parts.append(f'<path d="M{LEFT} {at:.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{share:.0%}</text>')
    for number in range(most + 1):
        place = f'x="{x(number):.1f}" y="{HEIGHT - BOTTOM + 18}"'
        parts.append(f'<text {place} text-anchor="middle">{number}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{HEIGHT - 4}" text-anchor="middle">rounds</text>')
    for (name, shares), colour in zip(curves.items(), COLOURS, strict=False):
        points = [(x(number), y(share)) for number, share in enumerate(shares)]
        line = " L".join(f"{at:.1f} {height:.1f}" for at, height in points)
        parts.append(f'<path d="M{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        end = f'x="{points[-1][0] + 8:.1f}" y="{points[-1][1] + 4:.1f}"'
        parts.append(f'<text {end} fill="{colour}">{name} {shares[-1]:.0%}</text>')
    return "".join([*parts, "</svg>\n"])
