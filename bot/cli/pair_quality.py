"""`understudy pairs check` and `pairs allow`: the quality of pairs before training."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from bot.cli import terminal
from bot.cli.context import App, base_option, json_option, pass_app, print_json, print_table
from data import domains
from data.quality.findings import POLICIES
from data.store.errors import Invalid

if TYPE_CHECKING:
    from data.quality.findings import QualityReport
    from data.quality.fixes import Fixed


unusable_option = click.option(
    "--unusable",
    type=click.Choice(POLICIES),
    default="quarantine",
    show_default=True,
    help="What becomes of pairs that no run can learn, because they are too long for the base "
    "model, hold its control tokens or are refused by its chat template; truncate ends answers "
    "that are too long after a sentence, and puts other pairs in quarantine.",
)


@click.command()
@click.argument("domain")
@click.option("--fix", is_flag=True, help="Mask, quarantine or merge what was found.")
@click.option("--undo", is_flag=True, help="Undo the last --fix of DOMAIN.")
@click.option(
    "--only",
    multiple=True,
    metavar="CHECK",
    help="Run only this check, such as emails; may be given several times.",
)
@click.option(
    "--html",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the report with charts to this file.",
)
@base_option
@json_option
@pass_app
def check(
    app: App,
    domain: str,
    fix: bool,
    undo: bool,
    only: tuple[str, ...],
    html: Path | None,
    as_json: bool,
) -> None:
    """Check the pairs of DOMAIN for duplicates, contradictions, private data and other faults.

    Nothing changes without --fix. Pairs that may be right, such as those with a phone number, are
    only fixed if --only names their check. Golden questions are never changed.
    """
    from data.quality import checker, fixes, quality_page, token_counts

    subject = domains.get(app.store.db, domain)
    if undo:
        if fix or only or html:
            raise Invalid("--undo takes no other options.")
        return _print_fixed(fixes.undo(app.store, subject, app.actor), as_json, undone=True)
    around = token_counts.of_base(app.settings, subject)
    report = checker.check_domain(app.store.db, subject, around, only=only)
    if html is not None:
        try:
            html.write_text(quality_page.html(report), encoding="utf-8")
        except OSError as error:
            raise Invalid(terminal.refusal(error)) from error
    if fix:
        fixed = fixes.apply(app.store, subject, report, app.actor, only=only)
        return _print_fixed(fixed, as_json, undone=False)
    if as_json:
        return print_json(report)
    print_report(report)
    if html is not None:
        terminal.echo(f"Wrote {html}.")
    return None


@click.command()
@click.argument("domain")
@click.argument("words", required=False)
@click.option("--remove", is_flag=True, help="Remove WORDS from the list.")
@json_option
@pass_app
def allow(app: App, domain: str, words: str | None, remove: bool, as_json: bool) -> None:
    """Allow an address or number, WORDS, in the pairs of DOMAIN; without WORDS, show the list.

    Corrections that hold other contact data, or secrets, are masked before a reviewer sees them.
    """
    from data.quality import private_words

    subject = domains.get(app.store.db, domain)
    if words:
        change = private_words.disallow if remove else private_words.allow
        with app.store.write() as db:
            change(db, subject, words, app.actor)
    found = private_words.allow_list(app.store.db, subject)
    if as_json:
        return print_json(found)
    empty = f"{subject.name} allows no contact data beside that of its system prompt and pairs."
    return print_table(("allowed",), [(one,) for one in found], empty)


def print_report(report: "QualityReport") -> None:
    """Print what was found, and what could not be checked."""
    from data.quality import quality_page

    terminal.echo(quality_page.verdict(report))
    for one in report.found:
        terminal.echo(f"\n{one.title} ({one.check}): {one.counted}")
        for example in one.examples[:3]:
            terminal.echo(f"  pair {example.pair_id}: {example.prompt} [{example.detail}]")
        terminal.echo(f"  --fix: {one.fix_says}")
    if report.not_checked:
        terminal.echo()
    for one in report.not_checked:
        terminal.echo(f"Not checked: {one.title.lower()}, because {one.not_checked}.")


def _print_fixed(fixed: "Fixed", as_json: bool, *, undone: bool) -> None:
    if as_json:
        return print_json(fixed)
    did = (
        f"{fixed.masked:,} masked, {fixed.quarantined:,} put in quarantine, "
        f"{fixed.merged:,} merged into another pair."
    )
    if undone:
        terminal.echo(f"Undone: {did}")
    elif fixed.masked + fixed.quarantined + fixed.merged:
        terminal.echo(f"Pairs: {did} `--undo` undoes this.")
    else:
        terminal.echo("There was nothing to fix.")
    if fixed.left:
        terminal.echo(f"{fixed.left:,} pairs were left as they are: they had changed meanwhile.")
    return None
