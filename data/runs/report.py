"""The report of a run, for people who decide about its adapter: as an HTML page and as text.

All of its content is in the store, so it is generated on request. The file in the run's folder is a
copy for people without access to a server. The page is self-contained: no scripts, fonts or images.
Text that people wrote is escaped.
"""

import contextlib
import logging
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from sqlite_utils import Database

from data.adapters import registry
from data.adapters.registry import Adapter
from data.config import base_precision
from data.config.settings import Settings
from data.runs import loss_chart, runs, search_report, trials
from data.runs.runs import LossPoint, Run
from data.runs.trials import Trial
from data.store.clock import iso
from data.store.errors import NotFound

log = logging.getLogger(__name__)

FILE = "report.html"
SETS = ("golden", "probe", "validation", "new", "replay")
SET_WORDS = {
    "golden": "the frozen questions that no adapter is trained on",
    "probe": "phrasings that this run held out, of facts that it trained on",
    "validation": "facts that this run held out",
    "new": "training pairs that are new to the live adapter",
    "replay": "training pairs of the live adapter that are still valid",
}
FIGURES = (  # key, label, number of digits or "%"
    ("right", "right answers", "%"),
    ("wrong", "wrong answers", "%"),
    ("needless", "needless refusals", "%"),
    ("exact", "exact match", "%"),
    ("f1", "token F1", "3"),
    ("refusals", "refusals", "%"),
    ("words", "words per answer", "1"),
    ("cut", "did not end by itself", "%"),
    ("bleu", "BLEU", "1"),
    ("chrf", "chrF", "1"),
    ("loss", "loss, nats per token", "3"),
    ("perplexity", "perplexity", "2"),
)
OVERFITTED = 1.05  # a held-out loss above this multiple of its best value counts as over-fitting
OLD_FACTS = {
    "reworded": "with typing errors",
    "follow_up": "in conversations",
    "repeated": "asked for the third time",
}
UNMEASURED = (
    "Its quality is unknown, because nothing was held out and there are no golden questions."
)
MARKS = {True: "✓", False: "✗", None: "–"}


@dataclass(frozen=True)
class Report:
    run: Run
    points: Sequence[LossPoint]
    adapter: Adapter | None  # None: the run made none
    tried: Sequence[Trial] = ()  # the trials of its search

    @property
    def evaluation(self) -> dict[str, Any]:
        return dict(self.adapter.scores.get("evaluation") or {}) if self.adapter else {}

    @property
    def rules(self) -> list[dict[str, Any]]:
        gate = (self.adapter.scores.get("gate") or {}) if self.adapter else {}
        return list(gate.get("rules", []))

    @property
    def measured(self) -> bool:
        """Whether the gate compared it on questions that it was not trained on."""
        gate = (self.adapter.scores.get("gate") or {}) if self.adapter else {}
        return bool(gate.get("measured", True))  # older runs did not say

    @property
    def sets(self) -> list[str]:
        return [name for name in SETS if name in self.evaluation.get("sets", {})]

    @property
    def title(self) -> str:
        made = self.adapter.name if self.adapter else f"of {self.run.domain}"
        return f"Run {self.run.id}: {made}"


def gather(db: Database, run_id: int) -> Report:
    """Everything that the store holds about a run. Raises NotFound."""
    run = runs.get(db, run_id)
    adapter = registry.by_id(db, run.adapter_id) if run.adapter_id else None
    return Report(run, runs.curve(db, run_id), adapter, trials.list_trials(db, run_id))


def page(db: Database, run_id: int) -> str:
    """The report as HTML. Raises NotFound, also for a run that was never evaluated."""
    report = gather(db, run_id)
    if not report.evaluation:
        raise NotFound(f"Run {run_id} has no report, because it was not evaluated.")
    return html(report)


def write(db: Database, settings: Settings, run_id: int) -> Path | None:
    """Write the page to the run's folder. Returns None if the disk refuses it, which must not fail
    the run."""
    file = settings.runs_path / str(run_id) / FILE
    part = file.with_name(f".{FILE}.{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(page(db, run_id), encoding="utf-8")
        part.replace(file)
    except OSError as error:
        log.warning("the report of run %d was not written: %s", run_id, error)
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        return None
    return file


def rewrite(db: Database, settings_runs: Path) -> None:
    """Regenerate the copies that differ from the store, as after the erasure of a person."""
    for file in settings_runs.glob(f"*/{FILE}"):
        try:
            text = page(db, int(file.parent.name))
        except (NotFound, ValueError):  # not the report of a run that the store knows
            text = ""
        if text != file.read_text(encoding="utf-8"):
            part = file.with_name(f".{FILE}.{os.getpid()}")
            part.write_text(text, encoding="utf-8")
            part.replace(file)


# -- as text -----------------------------------------------------------------------------------


def answered(report: Report) -> str:
    """The models whose answers were evaluated."""
    evaluation = report.evaluation
    why = f", because {evaluation['why']}" if evaluation["why"] else ""
    return f"{evaluation['answered_by']}{why}"


def overfitting(points: Sequence[LossPoint]) -> str:
    """A warning if a held-out loss rose again while the training loss kept falling, else ''. If
    phrasings are held out, training is judged by them, and facts that training never saw are
    reported separately."""
    phrasings = _risen([(p.step, p.loss, p.probe_loss) for p in points])
    facts = _risen([(p.step, p.loss, p.validation_loss) for p in points])
    if phrasings:
        return f"Over-fitting: {phrasings('phrasings')} Try fewer epochs or more dropout."
    if facts and any(p.probe_loss is not None for p in points):
        return (
            f"Training does not generalise to facts that it never saw: "
            f"{facts('facts')} Held-out phrasings show no over-fitting."
        )
    if facts:
        return (
            f"Over-fitting: {facts('facts')} Fewer epochs or more dropout help with facts that "
            "were not trained. This does not measure how well the adapter knows the trained facts."
        )
    return ""


def _risen(
    curve: Sequence[tuple[int, float | None, float | None]],
) -> Callable[[str], str] | None:
    """A function that describes where the held-out loss rose while the training loss fell, or None
    if that did not happen."""
    seen = [(s, loss, held) for s, loss, held in curve if loss is not None and held is not None]
    if not seen:
        return None
    best, last = min(seen, key=lambda point: point[2]), seen[-1]
    if last[2] < OVERFITTED * best[2] or last[1] >= best[1]:
        return None
    return lambda what: (
        f"after step {best[0]} the loss on held-out {what} rose from {best[2]:.3f} to "
        f"{last[2]:.3f}, while the training loss fell from {best[1]:.3f} to {last[1]:.3f}."
    )


def models(report: Report) -> list[tuple[str, str]]:
    """The evaluated models: the key of their figures, and their name."""
    assert report.adapter is not None
    found = [("candidate", report.adapter.name)]
    compared = str(report.evaluation["compared_with"])
    if any("live" in s for s in report.evaluation["sets"].values()):
        found.append(("live", f"{compared} (live)"))
    return [*found, ("base", "bare base")]


def table(report: Report, name: str) -> list[tuple[str, ...]]:
    """The figures of one eval set: one row for each metric, with its name and each model's
    value."""
    figures = report.evaluation["sets"][name]
    keys = [key for key, _ in models(report)]
    return [
        (label, *(_shown(figures[key].get(figure), digits) for key in keys if key in figures))
        for figure, label, digits in FIGURES
        if any(figure in figures[key] for key in keys if key in figures)  # older runs have fewer
    ]


def headline(adapter: Adapter | None) -> str:
    """What its report says first: how many questions it answers wrong; '' if none were asked, or
    the run is older than that measure."""
    return str(adapter.scores.get("headline") or "") if adapter is not None else ""


def repeats(adapter: Adapter | None) -> str:
    """How many of its own pairs it repeats, the last line of its report; '' if none were asked, or
    the run is older than that measure."""
    return str(adapter.scores.get("repeats") or "") if adapter is not None else ""


def examination_lines(adapter: Adapter | None) -> list[str]:
    """What the further questions showed, one sentence each; empty for older runs."""
    found = (adapter.scores.get("examination") or {}) if adapter is not None else {}
    lines = []
    for kind, words in OLD_FACTS.items():
        if kind in found:
            figures = found[kind]
            of_live = figures.get("live_right")
            compared = "" if of_live is None else f" (live adapter: {of_live:.0%})"
            lines.append(
                f"Old facts {words}: {figures['right']:.0%} of {figures['n']} questions are "
                f"answered right{compared}."
            )
    if suggested := found.get("suggested"):
        lines.append(
            f"Suggested questions: {suggested['right']} of {suggested['n']} are answered right."
        )
        lines += [
            f"“{one['question']}” is answered wrong: “{one['adapter']}” instead of "
            f"“{one['expected']}”."
            for one in suggested["wrong"]
        ]
        lines += [
            f"No approved pair asks the suggested question “{text}”."
            for text in suggested["unknown"]
        ]
    if off_topic := found.get("off_topic"):
        declined = off_topic["declined_by_search"], off_topic["declined_by_adapter"]
        lines.append(
            f"Off-topic questions: {off_topic['answered']} of {off_topic['n']} are answered; the "
            f"search declines {declined[0]}, the adapter {declined[1]}."
        )
        lines += [
            f"“{one['question']}” is answered: “{one['adapter']}”." for one in off_topic["examples"]
        ]
    return lines


def answers_from(adapter: Adapter | None) -> str:
    """The confidence from which on its questions are answered, with the interval; '' if it was not
    calibrated."""
    made = (adapter.scores.get("calibration") or {}) if adapter is not None else {}
    if not made:
        return ""
    return (
        f"a confidence of {made['answer_from']:.0%} on (90% interval {made['low']:.0%} to "
        f"{made['high']:.0%}, {made['questions']} golden questions)"
    )


def gate_lines(report: Report) -> list[tuple[str, str, str]]:
    """The gate's rules: symbol, name, sentence."""
    return [(MARKS[r["passed"]], str(r["name"]), str(r["sentence"])) for r in report.rules]


def verdict(report: Report) -> str:
    adapter = report.adapter
    assert adapter is not None
    if adapter.state == "rejected":
        return f"rejected: {adapter.state_reason}"
    accepted = f" ({adapter.state_reason})" if adapter.state_reason else ""
    failed = [r for r in report.rules if r["passed"] is False]
    unknown = "" if report.measured else f". {UNMEASURED}"
    return f"{adapter.state}{accepted}{', though the gate failed it' if failed else unknown}"


def _shown(value: float | None, digits: str) -> str:
    if value is None:
        return "∞"
    return f"{value:.0%}" if digits == "%" else f"{value:,.{digits}f}"


# -- as a page ---------------------------------------------------------------------------------


def html(report: Report) -> str:
    """The whole page. The report must have an evaluation."""
    adapter, evaluation = report.adapter, report.evaluation
    assert adapter is not None
    good = "good" if report.measured else "unknown"
    good = "bad" if adapter.state == "rejected" else good
    parts = [
        f"<h1>{escape(report.title)}</h1>",
        f'<p class="verdict {good}">{escape(adapter.name)}: {escape(verdict(report))}</p>',
        *_paragraph(headline(adapter)),
        _definitions(_facts(report)),
        "<h2>The gate</h2>",
        _gate(report),
        "<h2>Measured</h2>",
        *(_figures(report, name) for name in report.sets),
        f'<p class="small">{escape(str(evaluation["signatures"]))}. Losses come from the trainer. '
        "Refusals are detected by English phrases.</p>",
        "<h2>Loss</h2>",
        loss_chart.svg(report.points),
        *_paragraph(overfitting(report.points)),
        *_search(report),
        *_further(adapter),
        *_answers(report, "Worst answers", "worst"),
        *_answers(report, "Some golden answers, as they come", "some"),
        "<h2>Recipe</h2>",
        _definitions((k, str(v)) for k, v in adapter.recipe.items()),
        *_paragraph(repeats(adapter)),
    ]
    return PAGE.format(title=escape(report.title), style=STYLE, body="\n".join(parts))


def _facts(report: Report) -> list[tuple[str, str]]:
    run, adapter = report.run, report.adapter
    assert adapter is not None
    scores = adapter.scores
    lasted = (run.finished_at or 0) - (run.started_at or 0)
    return [
        ("domain", run.domain),
        ("kind", f"{run.kind}, asked for by {run.requested_by}"),
        *([("reason", run.why)] if run.why else []),
        ("compared with", str(report.evaluation["compared_with"])),
        ("answered by", answered(report)),
        *([("prompts", str(said))] if (said := report.evaluation.get("prompts")) else []),
        ("base model", adapter.base_model + _precision(report)),
        ("steps", f"{scores.get('steps')}, kept step {scores.get('best_step')} "
                  f"(chosen by {scores.get('chosen_by')})"),
        ("trained", f"{scores.get('train_seconds')} s of {lasted / 1e6:.0f} s in all"),
        ("finished", iso(run.finished_at) if run.finished_at else ""),
        *([("answers from", said)] if (said := answers_from(adapter)) else []),
        ("digest", adapter.sha256),
    ]  # fmt: skip


def _precision(report: Report) -> str:
    """In which precisions the base model was trained on and served; '' for older runs."""
    both = report.evaluation.get("precision") or {}
    trained, served = (base_precision.name(both.get(key, "")) for key in ("trained", "served"))
    if not trained:
        return ""
    of_engine = f" and in {served} in the engine" if served else ""
    return f", held in {trained} in training{of_engine}"


def _definitions(facts: Iterable[tuple[str, str]]) -> str:
    rows = "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in facts)
    return f"<dl>{rows}</dl>"


def _gate(report: Report) -> str:
    classes = {"✓": "good", "✗": "bad", "–": "none"}
    rows = "".join(
        f'<tr class="{classes[mark]}"><td>{mark}</td><th scope="row">{escape(name)}</th>'
        f"<td>{escape(sentence)}</td></tr>"
        for mark, name, sentence in gate_lines(report)
    )
    return f'<table class="gate">{rows}</table>'


def _further(adapter: Adapter) -> list[str]:
    lines = examination_lines(adapter)
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return ["<h2>Further questions</h2>", f"<ul>{items}</ul>"] if lines else []


def _figures(report: Report, name: str) -> str:
    figures = report.evaluation["sets"][name]
    head = "".join(f'<th scope="col">{escape(label)}</th>' for _, label in models(report))
    rows = "".join(
        f'<tr><th scope="row">{escape(label)}</th>'
        + "".join(f"<td>{escape(v)}</td>" for v in values)
        + "</tr>"
        for label, *values in table(report, name)
    )
    expected = (
        f"expected: {figures['expected_words']:.1f} words per answer, "
        f"{figures['expected_refusals']:.0%} refusals"
    )
    return (
        f'<table class="figures"><caption><b>{escape(name)}</b>: {escape(SET_WORDS[name])}. '
        f"{figures['n']} of {figures['of']} were asked; {expected}.</caption>"
        f"<thead><tr><td></td>{head}</tr></thead><tbody>{rows}</tbody></table>"
    )


def _paragraph(text: str) -> list[str]:
    return [f'<p class="note">{escape(text)}</p>'] if text else []


def _search(report: Report) -> list[str]:
    """The trials of a sweep or cross-validation."""
    if not report.tried:
        return []
    failed = [part for text in search_report.failures(report.tried) for part in _paragraph(text)]
    return ["<h2>Trials</h2>", search_report.svg(report.tried), *failed]


def _samples(report: Report, kind: str) -> list[dict[str, str]]:
    assert report.adapter is not None
    return [s for s in report.adapter.scores.get("samples", []) if s.get("shown") == kind]


def _answers(report: Report, title: str, kind: str) -> list[str]:
    samples, names = _samples(report, kind), dict(models(report))
    if not samples:
        return []
    name, live = names["candidate"], names.get("live", "")
    columns = [("expected", "expected"), ("adapter", name), ("live", live), ("base", "bare base")]
    kept = [(key, label) for key, label in columns if any(key in s for s in samples)]
    head = "".join(f'<th scope="col">{escape(label)}</th>' for _, label in kept)
    rows = "".join(
        f'<tr><th scope="row">{escape(s["question"])}<span>{escape(s.get("set", ""))}</span></th>'
        + "".join(
            f'<td data-of="{escape(label)}">{escape(s.get(key, ""))}</td>' for key, label in kept
        )
        + "</tr>"
        for s in samples
    )
    return [
        f"<h2>{escape(title)}</h2>",
        f'<table class="answers"><thead><tr><th scope="col">asked</th>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table>",
    ]


STYLE = """
:root { color-scheme: light dark; --ink: #1c2024; --soft: #60646c; --line: #d9d9e0;
  --page: #fcfcfd; --good: #18794e; --bad: #c62a2f; --one: #3e63dd; --two: #d9730d; }
@media (prefers-color-scheme: dark) { :root { --ink: #edeef0; --soft: #b0b4ba; --line: #363a3f;
  --page: #111113; --good: #3dd68c; --bad: #ff9592; --one: #9eb1ff; --two: #ffa057; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 66rem; background: var(--page);
  color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: 0 0 .75rem; } h2 { font-size: 1.1rem; margin: 2.25rem 0 .75rem; }
.verdict { margin: 0 0 1.25rem; padding: .6rem .9rem; border-left: 4px solid; }
.good.verdict { border-color: var(--good); } .bad.verdict { border-color: var(--bad); }
.unknown.verdict { border-color: var(--two); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1rem; margin: 0; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .35rem .6rem .35rem 0; font-weight: 400;
  border-bottom: 1px solid var(--line); overflow-wrap: anywhere; }
thead th { color: var(--soft); font-size: .87rem; }
.gate td:first-child { width: 1.6rem; font-weight: 700; } .gate th { width: 7rem; }
.gate .good td:first-child { color: var(--good); } .gate .bad td { color: var(--bad); }
.figures { margin: 0 0 1.75rem; } .figures caption { text-align: left; padding-bottom: .4rem; }
.figures td, .figures thead th { text-align: right; width: 11rem; }
.figures td { font-variant-numeric: tabular-nums; }
.answers { table-layout: fixed; font-size: .9rem; } .answers td { white-space: pre-wrap; }
.answers tbody th { font-weight: 600; }
.answers span { display: block; color: var(--soft); font-weight: 400; font-size: .8rem; }
.small { color: var(--soft); font-size: .8rem; overflow-wrap: anywhere; }
.note { padding: .5rem .9rem; border-left: 4px solid var(--two); }
svg { width: 100%; height: auto; } svg text { fill: var(--soft); font-size: 11px; }
svg .grid { stroke: var(--line); } svg polyline { fill: none; stroke-width: 1.5; }
svg .training { stroke: var(--one); } svg .held-out { stroke: var(--two); }
svg circle { fill: var(--two); } svg text.training { fill: var(--one); stroke: none; }
svg text.held-out { fill: var(--two); stroke: none; }
svg .probe { stroke: var(--good); } svg circle.probe { fill: var(--good); }
svg text.probe { fill: var(--good); stroke: none; }
svg.search { max-width: 52rem; } svg.search .tried { stroke: var(--one); stroke-width: 2; }
svg.search .kept { stroke: var(--good); stroke-width: 2; } svg.search circle.tried {
  fill: var(--one); } svg.search circle.kept { fill: var(--good); }
svg.search text.failed { fill: var(--bad); }
@media (max-width: 40rem) { .answers, .answers tbody, .answers tr, .answers td, .answers th
  { display: block; } .answers thead { display: none; } dl { grid-template-columns: 1fr; }
  .answers td::before { content: attr(data-of); display: block; color: var(--soft);
  font-size: .8rem; } }
"""

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
{body}
</body>
</html>
"""
