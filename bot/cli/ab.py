"""`understudy ab`: compare two adapters on live traffic."""

import click

from bot import admin, stats
from bot.cli.context import App, json_option, pass_app, print_json, print_table
from data import domains, experiments

HEADERS = ("", "adapter", "people", "who rated", "liked", "answers", "failed", "up", "down")


@click.group()
def ab() -> None:
    """Compare two adapters on live traffic."""


@ab.command()
@click.argument("domain")
@click.argument("a")
@click.argument("b")
@click.option(
    "--share",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.5,
    show_default=True,
    help="The part of the people that gets B.",
)
@pass_app
def start(app: App, domain: str, a: str, b: str, share: float) -> None:
    """Compare A (the control) with B: versions such as 2 or helpdesk@2, `live`, or `base`.

    Everyone stays on one side for as long as it runs.
    """
    with app.store.write() as db:
        begun = admin.start_comparison(db, domains.get(db, domain), a, b, app.actor, share)
    sides = " with ".join(v.adapter for v in begun.variants)
    click.echo(
        f"Experiment {begun.id} compares {sides}. Watch it: `understudy ab status {domain}`."
    )


@ab.command()
@click.argument("domain", required=False)
@json_option
@pass_app
def status(app: App, domain: str | None, as_json: bool) -> None:
    """The comparison that is running in DOMAIN, or the last one."""
    db = app.store.db
    subject = domains.get(db, domain) if domain else domains.default(db)
    experiment = experiments.latest(db, subject)
    results = stats.look(db, experiment)
    if as_json:
        return print_json({"experiment": experiment, "results": results})
    click.echo(f"Experiment {experiment.id} of {subject.name}, {experiment.state}")
    print_table(HEADERS, [_line(v) for v in results.variants], "")
    return click.echo(results.sentence)


@ab.command()
@click.argument("domain")
@pass_app
def stop(app: App, domain: str) -> None:
    """End the comparison; everyone gets the live adapter again."""
    with app.store.write() as db:
        ended = admin.stop_comparison(db, domains.get(db, domain), app.actor)
    click.echo(f"Experiment {ended.id} has ended. Its results: `understudy ab status {domain}`.")


def _line(v: stats.VariantResult) -> tuple[object, ...]:
    liked = "" if v.mean is None else f"{v.mean:.0%}"
    return (v.label, v.adapter, v.people, v.raters, liked, v.replies, v.failed, v.up, v.down)
