"""`understudy people` and `understudy forget`: what the store keeps of somebody."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from bot.cli.context import App, Group, json_option, pass_app, print_json, print_table

if TYPE_CHECKING:
    from data.privacy.erasure import ErasureReceipt


@click.group(cls=Group)
def people() -> None:
    """People: show, export, opt out of learning, opt in.

    People are named by where they ask from: slack:TEAM/USER, http:KEY/USER (KEY is the number
    in `understudy keys list`) or web:SESSION.
    """


@people.command()
@click.argument("person")
@json_option
@pass_app
def show(app: App, person: str, as_json: bool) -> None:
    """What is kept of PERSON, in figures, and what became of what they taught."""
    from data.people import consent
    from data.privacy import contributions, personal_data
    from data.store.clock import iso

    seen = personal_data.see(app.store.db, consent.check(person))
    became = contributions.contributions_of(app.store.db, person, -1)
    if as_json:
        return print_json({"person": seen, "taught": became})
    lines = [
        ("first seen", iso(seen.since) if seen.since else "never"),
        ("questions", seen.questions),
        ("thumbs", seen.thumbs),
        ("reasons", seen.reasons),
        ("better answers", seen.corrections),
        *((f"pairs, {status}", count) for status, count in seen.pairs.items()),
        ("learning", "yes" if seen.learning else "opted out"),
        ("domain", seen.domain or "the default"),
    ]
    print_table(("what", ""), lines, "")
    told = [(iso(f.at), f.question[:60], f.sentence) for f in became]
    return print_table(("when", "question", "their answer"), told, "They have taught nothing.")


@people.command()
@click.argument("person")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False), required=False)
@pass_app
def export(app: App, person: str, file: Path | None) -> None:
    """Everything that PERSON wrote and what was made of it, as JSON, to FILE or here."""
    import orjson

    from data.people import consent as people_consent
    from data.privacy import personal_data as data_personal_data
    from data.store.errors import Conflict, Unavailable

    found = data_personal_data.export(app.store.db, people_consent.check(person))
    text = orjson.dumps(found, option=orjson.OPT_INDENT_2) + b"\n"
    if file is None:
        click.echo(text.decode(), nl=False)
        return
    try:
        with file.open("xb") as opened:
            opened.write(text)
    except FileExistsError as error:
        raise Conflict(f"{file} is there already; nothing was changed.") from error
    except OSError as error:
        raise Unavailable(f"{file} could not be written: {error.strerror}") from error
    click.echo(f"Saved {file}.", err=True)


@people.command("opt-out")
@click.argument("person")
@pass_app
def opt_out(app: App, person: str) -> None:
    """Learn nothing from PERSON any more; what waits for review is withdrawn."""
    from data.people import consent as privacy

    with app.store.write() as db:
        withdrawn = privacy.opt_out(db, privacy.check(person))
    click.echo(f"Nothing is learned from {person} any more; {withdrawn} pairs were withdrawn.")


@people.command("opt-in")
@click.argument("person")
@pass_app
def opt_in(app: App, person: str) -> None:
    """Let what PERSON writes be learned again."""
    from data.people import consent as privacy

    with app.store.write() as db:
        privacy.opt_in(db, privacy.check(person))
    click.echo(f"What {person} writes may be learned again.")


@click.command()
@click.argument("person")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and change nothing.")
@json_option
@pass_app
def forget(app: App, person: str, yes: bool, dry_run: bool, as_json: bool) -> None:
    """Remove every word of PERSON from the store, for good.

    Questions, answers, feedback and pairs with their words go; figures stay under a random name.
    The adapters that learned from such pairs are listed: tune anew to be rid of them.
    """
    import asyncio

    from data.people import consent as privacy
    from data.privacy import erasure

    would = erasure.preview(app.store.db, privacy.check(person))
    if dry_run:
        return print_json(would) if as_json else _tell(would, "would be removed")
    if not yes:
        _tell(would, "will be removed")
        click.confirm(f"Forget {person}? This cannot be undone", abort=True, err=True)
    home = app.settings.home
    done = asyncio.run(erasure.erase_person(app.store, home, person, app.actor))
    if as_json:
        return print_json(done)
    _tell(done, "are removed")
    return click.echo(
        f"Receipt {done.receipt}, as in `understudy audit`. Backups made before today, exported "
        "files and what stands in Slack cannot be reached from here."
    )


def _tell(done: "ErasureReceipt", verb: str) -> None:
    click.echo(f"{done.figures} {verb}.")
    if done.holes:
        click.echo(f"In frozen datasets, which keep a hole for each: {done.holes}.")
    if done.adapters:
        names = ", ".join(done.adapters)
        first = done.adapters[0].partition("@")[0]
        click.echo(
            f"Adapters that learned from them: {names}. `understudy tune {first} --full` makes one "
            "that did not; `understudy adapters remove` deletes the old ones."
        )
    if done.runs:
        click.echo(f"Runs that were learning from them: {', '.join(map(str, done.runs))}.")
