"""`understudy feedback`: whose votes count, and why others' do not."""

from datetime import datetime

import click

from bot.cli.context import App, Group, json_option, pass_app, print_json, print_table
from data import domains
from data.feedback import raters, rating_totals
from data.feedback.raters import Rater


@click.group(cls=Group)
def feedback() -> None:
    """Whose votes count, and why others' do not."""


@feedback.command("voters")
@click.argument("domain", required=False)
@click.option("--all", "everyone", is_flag=True, help="With those whose votes simply count.")
@json_option
@pass_app
def list_raters(app: App, domain: str | None, everyone: bool, as_json: bool) -> None:
    """Who is quarantined or was, and who voted beyond a daily cap, with the reason.

    Their votes stay stored and shown; they do not count in comparisons.
    """
    db = app.store.db
    subject = domains.get(db, domain) if domain else domains.default(db)
    found = raters.page(db, subject, everyone)
    if as_json:
        return print_json(found)
    print_table(
        ("person", "👍", "👎", "beyond the cap", "state", "because", "by", "since"),
        [_line(v) for v in found],
        f"Every vote in {subject.name} counts.",
    )
    return click.echo(
        f"At most {rating_totals.DAILY_CAP} judgements of a kind count, a person and day. To let "
        f"somebody's votes count again: `understudy feedback release {subject.name} PERSON`."
    )


@feedback.command()
@click.argument("domain")
@click.argument("person")
@pass_app
def release(app: App, domain: str, person: str) -> None:
    """Let the votes of PERSON (such as slack:T1/U2) count again, for good."""
    with app.store.write() as db:
        raters.release(db, domains.get(db, domain), person, app.actor)
    click.echo(f"The votes of {person} count again.")


@feedback.command()
@click.argument("domain")
@click.argument("person")
@click.option("--why", required=True, help="For who reads the list later.")
@pass_app
def quarantine(app: App, domain: str, person: str, why: str) -> None:
    """Let the votes of PERSON not count, until they are released."""
    with app.store.write() as db:
        raters.quarantine(db, domains.get(db, domain), person, why, app.actor)
    click.echo(f"The votes of {person} are kept and do not count.")


def _line(v: Rater) -> tuple[object, ...]:
    since = (
        datetime.fromtimestamp(v.changed_at / 1e6).strftime("%d %b %H:%M") if v.changed_at else ""
    )
    by = v.changed_by or ("the test" if v.rule else "")
    return (v.person, v.up, v.down, v.over_cap or "", v.state, v.why, by, since)
