"""`understudy feedback`: raters, and the quarantine for their ratings."""

from datetime import datetime

import click

from bot.cli import terminal
from bot.cli.context import App, Group, json_option, pass_app, print_json, print_table
from data import domains
from data.feedback import raters, rating_totals
from data.feedback.raters import Rater


@click.group(cls=Group, renamed={"voters": "raters"})
def feedback() -> None:
    """Show, quarantine and release raters."""


@feedback.command("raters")
@click.argument("domain", required=False)
@click.option("--all", "everyone", is_flag=True, help="List everyone who has rated.")
@json_option
@pass_app
def list_raters(app: App, domain: str | None, everyone: bool, as_json: bool) -> None:
    """List raters who are or were quarantined or exceeded the daily cap, with the reasons.

    The ratings of a quarantined rater stay stored and visible, but do not count in comparisons.
    """
    db = app.store.db
    subject = domains.get(db, domain) if domain else domains.default(db)
    found = raters.page(db, subject, everyone)
    if as_json:
        return print_json(found)
    print_table(
        ("person", "👍", "👎", "over the cap", "state", "reason", "by", "since"),
        [_line(rater) for rater in found],
        f"All ratings in {subject.name} count.",
    )
    return terminal.echo(
        f"At most {rating_totals.DAILY_CAP} ratings of each kind count for each person and day. To "
        f"release somebody from quarantine: `understudy feedback release {subject.name} PERSON`."
    )


@feedback.command()
@click.argument("domain")
@click.argument("person")
@pass_app
def release(app: App, domain: str, person: str) -> None:
    """Release PERSON (such as slack:T1/U2): their ratings count again, permanently."""
    with app.store.write() as db:
        raters.release(db, domains.get(db, domain), person, app.actor)
    terminal.echo(f"The ratings of {person} count again.")


@feedback.command()
@click.argument("domain")
@click.argument("person")
@click.option("--why", required=True, help="The reason, shown in the list of raters.")
@pass_app
def quarantine(app: App, domain: str, person: str, why: str) -> None:
    """Quarantine PERSON: their ratings do not count until they are released."""
    with app.store.write() as db:
        raters.quarantine(db, domains.get(db, domain), person, why, app.actor)
    terminal.echo(f"The ratings of {person} are kept but no longer count.")


def _line(rater: Rater) -> tuple[object, ...]:
    changed = datetime.fromtimestamp(rater.changed_at / 1e6) if rater.changed_at else None
    return (
        rater.person,
        rater.up,
        rater.down,
        rater.over_cap or "",
        rater.state,
        rater.why,
        rater.changed_by or ("automatic test" if rater.rule else ""),
        changed.strftime("%d %b %H:%M") if changed else "",
    )
