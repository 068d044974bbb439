"""`understudy runs`: list, show, resume and cancel tuning runs."""

import click

from bot.cli import terminal, waiting
from bot.cli.context import (
    App,
    Group,
    json_option,
    pass_app,
    print_json,
    print_table,
    threads_option,
)
from bot.cli.follow import figures
from bot.cli.verbs import add_generated, registered
from data import domains
from data.adapters import registry
from data.adapters.registry import Adapter
from data.runs import report as runs_report
from data.runs import runs as store
from data.runs import search_report, trials
from data.runs.methods import DEFAULT, WHY
from data.store.clock import iso, now_us
from data.store.errors import Conflict, NotFound


@click.group(cls=Group)
def runs() -> None:
    """List, show, resume and cancel tuning runs."""


@registered(runs, "runs")
@click.option("--domain", help="List only the runs of this domain.")
@click.option(
    "--limit",
    type=click.IntRange(1),
    default=20,
    show_default=True,
    help="List at most this many runs.",
)
@json_option
@pass_app
def list_(app: App, domain: str | None, limit: int, as_json: bool) -> None:
    db = app.store.db
    found = store.recent(db, domains.get(db, domain) if domain else None, limit)
    if as_json:
        return print_json(found)
    names = {a.id: a.name for a in registry.list_adapters(db)}
    lines = [
        (
            r.id,
            r.domain,
            r.kind,
            r.state,
            names.get(r.adapter_id or 0, "") or r.error or figures(r),
            r.requested_by,
            iso(r.queued_at),
        )
        for r in found
    ]
    headers = ("run", "domain", "kind", "state", "", "requested by", "queued")
    empty = "There are no runs yet. Start one with `understudy tune DOMAIN`."
    return print_table(headers, lines, empty)


@runs.command()
@click.argument("number", type=int)
@json_option
@pass_app
def show(app: App, number: int, as_json: bool) -> None:
    """Show one run: its loss curve, its metrics and the verdict of the gate."""
    report = runs_report.gather(app.store.db, number)
    run, points, evaluation = report.run, report.points, report.evaluation
    if as_json:
        measured = {"evaluation": evaluation or None, "gate": report.rules}
        tried = trials.list_trials(app.store.db, number)
        return print_json({"run": run, "curve": points, "trials": tried, **measured})
    duration = (run.finished_at or now_us()) - run.started_at if run.started_at else 0
    made = f"{report.adapter.name}, {runs_report.verdict(report)}" if report.adapter else None
    if said := runs_report.headline(report.adapter):
        terminal.echo(said)
    facts = {
        "domain": run.domain,
        "kind": run.kind,
        "state": run.state,
        "phase": run.phase,
        "adapter": made,
        "error": run.error or None,
        "recipe": report.adapter.recipe.get("why") if report.adapter else None,
        "answers from": runs_report.answers_from(report.adapter) or None,
        "progress": figures(run) or None,
        "requested by": run.requested_by,
        "reason": run.why or None,
        "method": run.recipe.get(WHY) or (run.method if run.method != DEFAULT else None),
        "queued": iso(run.queued_at),
        "duration": f"{duration / 1e6:.0f} s",
        "dataset": run.dataset_id,
        "attempts": run.attempts,
        "left out": _superseded(report.adapter),
    }
    print_table(("", ""), [(k, v) for k, v in facts.items() if v is not None], "")
    held_out = [p for p in points if (p.validation_loss, p.probe_loss) != (None, None)]
    lines = [
        (p.step, _loss(p.loss), _loss(p.validation_loss), _loss(p.probe_loss)) for p in held_out
    ]
    headers = ("step", "training loss", "held-out facts", "held-out phrasings")
    print_table(headers, lines, _unmeasured(run))
    if tried := trials.list_trials(app.store.db, number):
        terminal.echo(search_report.text_with_path(tried, app.settings.runs_path / str(number)))
    if note := runs_report.overfitting(points):
        terminal.echo(note)
    if evaluation:
        _print_evaluation(app, report)
    return None


def _print_evaluation(app: App, report: runs_report.Report) -> None:
    """Print the report's metrics as tables."""
    terminal.echo(f"Answered by {runs_report.answered(report)}.")
    names = [name for _, name in runs_report.models(report)]
    for name in report.sets:
        asked = report.evaluation["sets"][name]
        headers = (f"{name}, {asked['n']} of {asked['of']}", *names)
        print_table(headers, runs_report.table(report, name), "")
    print_table(("", "gate", ""), runs_report.gate_lines(report), "")
    for line in runs_report.examination_lines(report.adapter):
        terminal.echo(line)
    page = app.settings.runs_path / str(report.run.id) / runs_report.FILE
    if page.is_file():
        terminal.echo(f"The full report, with the worst answers: {page}")
    if last := runs_report.repeats(report.adapter):
        terminal.echo(last)


@runs.command()
@click.argument("number", type=int)
@pass_app
def log(app: App, number: int) -> None:
    """Print the log of a run."""
    store.get(app.store.db, number)
    file = app.settings.runs_path / str(number) / "run.log"
    if not file.is_file():
        raise NotFound(f"There is no log of run {number} on this machine.")
    terminal.echo(file.read_text(encoding="utf-8", errors="replace"), nl=False)


@runs.command()
@click.argument("number", type=int)
@threads_option
@json_option
@pass_app
def resume(app: App, number: int, threads: int | None, as_json: bool) -> None:
    """Continue a paused run from its last checkpoint, or follow one that a worker executes.

    Ctrl-C pauses it again.
    """
    run = store.get(app.store.db, number)
    if not run.open:
        raise Conflict(
            f"Run {number} has already ended ({run.state}). Request a new one: `understudy tune "
            f"{run.domain}`."
        )
    waiting.report(app, waiting.wait_for_run(app, number, threads, quiet=as_json), as_json)


add_generated(runs, "runs")


def _superseded(adapter: Adapter | None) -> str | None:
    """A note about pairs that were left out of training; None if there are none."""
    count = adapter.scores.get("pairs_superseded", 0) if adapter else 0
    if not count:
        return None
    pairs = "1 pair" if count == 1 else f"{count} pairs"
    return f"{pairs} with a newer answer to the same question"


def _unmeasured(run: store.Run) -> str:
    return "No measurements yet." if run.open else "Nothing was measured during training."


def _loss(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
