"""`understudy people` and `understudy forget`: a person's data, consent and erasure."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from bot.cli import terminal
from bot.cli.context import App, Group, json_option, pass_app, print_json, print_table
from bot.cli.verbs import registered

if TYPE_CHECKING:
    from data.privacy.erasure import ErasureReceipt


@click.group(cls=Group)
def people() -> None:
    """Show and export a person's data, and manage their consent to learning.

    A person's name depends on where they ask: slack:TEAM/USER, user:NAME (signed in to the
    console), http:KEY/USER (KEY is the id in `understudy keys list`) or web:SESSION.
    """


@people.command()
@click.argument("person")
@json_option
@pass_app
def show(app: App, person: str, as_json: bool) -> None:
    """Show how much is stored about PERSON, and what happened to their corrections."""
    from data.people import consent
    from data.privacy import contributions, personal_data
    from data.store.clock import iso

    person = consent.check_person(app.store.db, person)
    seen = personal_data.summarise(app.store.db, person)
    contributed = contributions.contributions_of(app.store.db, person, -1)
    if as_json:
        return print_json({"person": seen, "taught": contributed})
    lines = [
        ("first seen", iso(seen.since) if seen.since else "never"),
        ("questions", seen.questions),
        ("thumbs", seen.thumbs),
        ("reasons", seen.reasons),
        ("corrections", seen.corrections),
        *((f"pairs, {status}", count) for status, count in seen.pairs.items()),
        ("learning", "allowed" if seen.learning else "opted out"),
        ("domain", seen.domain or "the default domain"),
    ]
    print_table(("data", ""), lines, "")
    rows = [(iso(c.at), c.question[:60], c.sentence) for c in contributed]
    return print_table(("time", "question", "correction"), rows, "There are no corrections.")


@people.command()
@click.argument("person")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False), required=False)
@pass_app
def export(app: App, person: str, file: Path | None) -> None:
    """Export everything that PERSON wrote, and what happened to it, as JSON.

    Without FILE, the JSON is printed.
    """
    import orjson

    from data.people import consent as people_consent
    from data.privacy import personal_data as data_personal_data
    from data.store.errors import Conflict, Unavailable

    db = app.store.db
    found = data_personal_data.export(db, people_consent.check_person(db, person))
    text = orjson.dumps(found, option=orjson.OPT_INDENT_2) + b"\n"
    if file is None:
        terminal.echo(text.decode(), nl=False)
        return
    try:
        with file.open("xb") as opened:
            opened.write(text)
    except FileExistsError as error:
        raise Conflict(f"{file} already exists; nothing was changed.") from error
    except OSError as error:
        raise Unavailable(f"{file} could not be written: {error.strerror}") from error
    terminal.echo(f"Saved {file}.", err=True)


@people.command("opt-out")
@click.argument("person")
@pass_app
def opt_out(app: App, person: str) -> None:
    """Stop learning from PERSON, and withdraw their pairs that wait for review."""
    from data.people import consent
    from data.privacy import opt_out as learning

    with app.store.write() as db:
        withdrawn = learning.opt_out(db, consent.check_person(db, person))
    terminal.echo(f"{person} has opted out of learning; withdrawn pairs: {withdrawn}.")


@people.command("opt-in")
@click.argument("person")
@pass_app
def opt_in(app: App, person: str) -> None:
    """Allow learning from PERSON again."""
    from data.people import consent
    from data.privacy import opt_out as learning

    with app.store.write() as db:
        learning.opt_in(db, consent.check_person(db, person))
    terminal.echo(f"{person} has opted in to learning again.")


@registered(None, "forget")
@click.argument("person")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@click.option("--dry-run", is_flag=True, help="Print what would be erased, and change nothing.")
@click.option("--retrain", is_flag=True, help="Also queue full runs that replace adapters in use.")
@json_option
@pass_app
def forget(app: App, person: str, yes: bool, dry_run: bool, retrain: bool, as_json: bool) -> None:
    """Their questions, the answers, their feedback and their pairs are deleted; counts stay under a
    keyed digest instead of the name. Adapters that were trained on these pairs are listed;
    --retrain queues the runs that replace them.
    """
    import asyncio

    from data.people import consent as privacy
    from data.privacy import erasure

    person = privacy.check_person(app.store.db, person)
    preview = erasure.preview(app.store.db, person)
    if dry_run:
        return print_json(preview) if as_json else _print_receipt(preview, "would be erased")
    if not yes:
        _print_receipt(preview, "will be erased")
        also = ", and queue full runs that replace these adapters" if retrain else ""
        terminal.confirm(f"Erase the data of {person}{also}? This cannot be undone")
    home = app.settings.home
    done = asyncio.run(erasure.erase_person(app.store, home, person, app.actor, retrain=retrain))
    if as_json:
        return print_json(done)
    _print_receipt(done, "were erased")
    return terminal.echo(
        f"The receipt is {done.receipt}, as in `understudy audit`. Earlier backups, exported files "
        "and messages in Slack are not changed."
    )


def _print_receipt(receipt: "ErasureReceipt", verb: str) -> None:
    terminal.echo(f"{receipt.figures} {verb}.")
    if receipt.holes:
        terminal.echo(
            f"Pairs in frozen datasets, which keep an empty entry for each: {receipt.holes}."
        )
    if receipt.retrains:
        queued = ", ".join(map(str, receipt.retrains))
        terminal.echo(f"Queued runs that replace adapters trained on these pairs: {queued}.")
    elif receipt.adapters:
        names = ", ".join(receipt.adapters)
        domain = receipt.adapters[0].partition("@")[0]
        terminal.echo(
            f"Adapters trained on these pairs: {names}. `understudy tune {domain} --full` trains "
            "one without them; `understudy adapters remove` deletes the old ones."
        )
    if receipt.runs:
        runs = ", ".join(map(str, receipt.runs))
        terminal.echo(f"Cancelled runs, which would train on these pairs: {runs}.")
