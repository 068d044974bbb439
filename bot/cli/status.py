"""`understudy status`: the state of the service on one screen."""

from bot.cli import terminal
from bot.cli.context import App, json_option, pass_app, print_json, print_table
from bot.cli.verbs import registered
from bot.commands import admin
from bot.commands.admin import DomainStatus
from data.adapters import placements, registry
from data.adapters.placements import Replica


@registered(None, "status")
@json_option
@pass_app
def status(app: App, as_json: bool) -> None:
    """The exit code is 1 if something needs attention."""
    found = admin.status(app.store.db)
    if as_json:
        print_json(admin.as_json(found))
    else:
        print_table(
            ("domain", "live", "run", "comparison", "new pairs", "to review"),
            [_domain(d) for d in found.domains],
            "There are no domains yet. Add one with `understudy domains add NAME`.",
        )
        for d in found.domains:
            if d.results is not None:
                terminal.echo(f"{d.domain.name}: {d.results.sentence}")
        print_table(
            ("engine", "state", "precision", "adapters", "address"),
            [_replica(app, r) for r in found.replicas],
            "No engine is running.",
        )
        for alert in found.alerts:
            terminal.secho("! ", fg="red", bold=True, nl=False)
            terminal.echo(alert.text)
        if not found.alerts:
            terminal.echo("Nothing needs attention.")
    if found.alerts:
        raise SystemExit(1)


def _domain(d: DomainStatus) -> tuple[object, ...]:
    run = f"{d.run.id}: {d.run.phase if d.run.open else d.run.state}" if d.run else ""
    variants = " and ".join(v.described for v in d.experiment.variants) if d.experiment else ""
    state = f": {d.results.state}" if d.results else ""
    live = d.live.name if d.live else "bare base"
    return (d.domain.name, live, run, variants + state, d.new_pairs, d.pairs.get("pending", 0))


def _replica(app: App, r: Replica) -> tuple[object, ...]:
    db = app.store.db
    loaded = [
        registry.by_id(db, p.adapter_id).name
        for p in placements.placements_on(db, r.name)
        if p.state == "loaded" and r.condition not in ("down", "silent")
    ]
    return (r.name, r.condition, r.precision, ", ".join(loaded), r.url)
