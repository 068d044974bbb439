"""The report of the checks as a page with charts. It loads nothing and runs no script; all words of
pairs are escaped, and private ones are masked already (`checker.py`)."""

from html import escape

from data.quality.findings import Distribution, QualityFinding, QualityReport
from data.runs.report import PAGE, STYLE
from data.visible_text import visible

WIDTH, BAR, LABEL, NUMBER = 860, 22, 250, 70  # pixels
MORE_STYLE = """
svg.bars { max-width: 54rem; } svg.bars rect { fill: var(--one); }
svg.bars text { font-size: 12px; } svg.bars .count { fill: var(--ink); }
.finding { margin: 0 0 1.5rem; } .finding p { margin: .2rem 0; }
"""


def html(report: QualityReport) -> str:
    """The whole page."""
    title = f"Quality of the pairs of {report.domain}"
    found = Distribution("Findings", tuple((one.title, one.count) for one in report.found))
    good = "good" if not report.found else "unknown"
    parts = [
        f"<h1>{_text(title)}</h1>",
        f'<p class="verdict {good}">{_text(verdict(report))}</p>',
        chart(found),
        *(f"<h2>{_text(one.title)}</h2>{_finding(one)}" for one in report.found),
        *_not_checked(report),
        *(f"<h2>{_text(one.title)}</h2>{chart(one)}" for one in report.distributions),
    ]
    return PAGE.format(title=_text(title), style=STYLE + MORE_STYLE, body="\n".join(parts))


def verdict(report: QualityReport) -> str:
    """The result in one sentence."""
    checked = len(report.findings) - len([f for f in report.not_checked if not f.count])
    if not report.found:
        return f"{checked} checks found nothing in {report.pairs:,} pairs."
    pairs = {pair_id for one in report.found for pair_id in one.pair_ids}
    return (
        f"{len(report.found)} of {checked} checks found something in {len(pairs):,} of "
        f"{report.pairs:,} pairs."
    )


def chart(distribution: Distribution) -> str:
    """Horizontal bars; '' without any."""
    if not distribution.bars:
        return ""
    most = max(n for _, n in distribution.bars) or 1
    wide = WIDTH - LABEL - NUMBER
    height = BAR * len(distribution.bars) + 8
    rows = "".join(
        f'<text x="{LABEL - 8}" y="{BAR * at + 17}" text-anchor="end">{_text(_cut(name))}</text>'
        f'<rect x="{LABEL}" y="{BAR * at + 5}" width="{max(1, wide * n / most):.1f}" height="15"/>'
        f'<text class="count" x="{LABEL + max(1, wide * n / most) + 6:.1f}" y="{BAR * at + 17}">'
        f"{n:,}</text>"
        for at, (name, n) in enumerate(distribution.bars)
    )
    return (
        f'<svg class="bars" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-label="{_text(distribution.title)}">{rows}</svg>'
    )


def _finding(found: QualityFinding) -> str:
    rows = "".join(
        f'<tr><td>{one.pair_id}</td><th scope="row">{_text(one.prompt)}</th>'
        f"<td>{_text(one.detail)}</td></tr>"
        for one in found.examples
    )
    more = found.count - len(found.examples)
    rest = f"<p>… and {more:,} more.</p>" if more > 0 else ""
    partly = f"<p>Not checked: {_text(found.not_checked)}.</p>" if found.not_checked else ""
    return (
        f'<div class="finding"><p>{_text(found.counted)}. '
        f"--fix: {_text(found.fix_says)}.</p>{partly}"
        f'<table><thead><tr><th scope="col">pair</th><th scope="col">question</th>'
        f'<th scope="col">found</th></tr></thead><tbody>{rows}</tbody></table>{rest}</div>'
    )


def _not_checked(report: QualityReport) -> list[str]:
    rows = "".join(
        f"<li>{_text(one.title)}: {_text(one.not_checked)}</li>"
        for one in report.not_checked
        if not one.count
    )
    return [f"<h2>Not checked</h2><ul>{rows}</ul>"] if rows else []


def _cut(name: str) -> str:
    return name if len(name) <= 36 else name[:35] + "…"


def _text(text: str) -> str:
    return escape(visible(text))
