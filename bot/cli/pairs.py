"""`understudy pairs`: import, export and review training pairs."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bot.cli import interruption, pair_export, pair_quality, terminal
from bot.cli.context import (
    App,
    Group,
    base_option,
    json_option,
    pass_app,
    print_json,
    print_table,
)
from bot.cli.import_report import print_findings, print_preview, print_report
from bot.cli.pair_quality import unusable_option
from bot.cli.verbs import registered
from bot.commands import admin
from data import domains
from data.pair_files.formats import AUTO, FORMATS
from data.pairs import masked_words
from data.pairs import pairs as store
from data.pairs.contamination import Leak
from data.store import audit
from data.store.clock import iso
from data.store.errors import Invalid, Unavailable, UnderstudyError

if TYPE_CHECKING:
    from data.pair_files.importer import ImportReport
    from data.quality.findings import Policy, QualityReport
    from data.quality.unusable import UnusableDrafts
    from data.search.search import Reference

CHECKED_AT_IMPORT = 2_000  # pairs in a domain; they take about 2 seconds of a core
ENCODED_AT_IMPORT = 2_000  # pairs in a domain; they take about 20 seconds of a core


@click.group(cls=Group)
def pairs() -> None:
    """Import, export and review training pairs."""


pairs.add_command(pair_quality.check)
pairs.add_command(pair_quality.allow)
pairs.add_command(pair_export.export)


@pairs.command("import")
@click.argument("domain")
@click.argument("file", type=click.Path(path_type=Path, exists=True))
@click.option(
    "--format",
    "format_",
    type=click.Choice((AUTO, *FORMATS)),
    default=AUTO,
    show_default=True,
    help="The format of FILE; auto detects it.",
)
@click.option("--pending", is_flag=True, help="Leave the pairs for a reviewer to approve.")
@click.option(
    "--map",
    "mapping",
    multiple=True,
    metavar="PART=COLUMN,...",
    help="What a column holds, such as question=Frage,answer=Antwort; ignore=COLUMN leaves it out.",
)
@click.option(
    "--channel",
    "channels",
    multiple=True,
    metavar="NAME",
    help="Of a Slack export, read this channel; by default all public ones.",
)
@unusable_option
@click.option("--name", default="", help="A name for the import; by default that of FILE.")
@click.option("--preview", is_flag=True, help="Show what would be imported, and change nothing.")
@json_option
@pass_app
def import_(
    app: App,
    domain: str,
    file: Path,
    format_: str,
    pending: bool,
    mapping: tuple[str, ...],
    unusable: "Policy",
    channels: tuple[str, ...],
    name: str,
    preview: bool,
    as_json: bool,
) -> None:
    """Import pairs from FILE: JSON, a table, an FAQ, or the export of another tool.

    JSON, chat messages, preference data, CSV, Excel, Parquet, FAQs, zip archives and folders, and
    exports of annotation tools, help desks and Slack: the format is recognised by the content
    (docs/importing.md), and columns by their names, in several languages. Valid rows are imported;
    the others are reported with their line numbers, and columns that are not used are named.
    Importing a file again adds nothing.
    """
    from data.pair_files import columns, importer

    subject = domains.get(app.store.db, domain)
    status: store.Status = "pending" if pending else "approved"
    given = columns.parse(mapping)
    if terminal.is_interactive() and not as_json:
        from bot.cli import ask_columns

        given = ask_columns.completed(file, format_, given)
    judge = _unusable(app, subject, unusable)
    if preview:
        found = importer.preview_file(
            app.store,
            subject,
            file,
            format=format_,
            status=status,
            columns=given,
            channels=channels,
            unusable=judge,
        )
        return print_json(found) if as_json else print_preview(subject.name, file, found)
    report = _import(
        app,
        subject,
        file,
        "pairs import",
        as_json,
        format=format_,
        status=status,
        columns=given,
        channels=channels,
        name=name,
        unusable=judge,
    )
    apart = report.waiting + sum(report.unusable_total.values())
    hint = f"To train on them: `understudy tune {subject.name}`." if report.added > apart else ""
    if report.added and not pending and not as_json:
        _make_searchable(app, subject)
    faults = None if as_json else _check_small(app, subject, report)
    return _print_import(subject, file, report, as_json, hint, faults)


@pairs.command("imports")
@click.argument("domain")
@json_option
@pass_app
def list_imports(app: App, domain: str, as_json: bool) -> None:
    """List the imports of DOMAIN, newest first, with what is left of each."""
    from data.pairs import imports

    db = app.store.db
    found = imports.list_imports(db, domains.get(db, domain))
    if as_json:
        return print_json(found)
    lines = [
        (
            one.batch.id,
            one.batch.name,
            iso(one.batch.created_at),
            one.batch.author,
            sum(one.pairs.values()),
            one.rated_answers,
            iso(one.batch.undone_at) if one.batch.undone_at else "",
        )
        for one in found
    ]
    headers = ("import", "name", "at", "by", "pairs", "rated", "undone")
    return print_table(headers, lines, "There are no imports yet.")


@pairs.command()
@click.argument("number", type=int, metavar="IMPORT")
@pass_app
def undo(app: App, number: int) -> None:
    """Take back everything that IMPORT brought; its number is shown by `pairs imports`.

    Pairs that an adapter was trained on, or that an answer rests on, are rejected and stay stored.
    The others are deleted. Importing the file again brings them back.
    """
    from data.pairs import imports

    found = imports.get(app.store.db, number)
    count = imports.undo(app.store, number, app.actor)
    terminal.echo(f"Import {number} ({found.name}) is undone: {count} pairs were taken back.")


@pairs.command("list")
@click.argument("domain")
@click.option(
    "--status", type=click.Choice(store.STATUSES), help="List only pairs with this status."
)
@click.option("--import", "batch", type=int, help="List only pairs of this import.")
@click.option(
    "--finding",
    metavar="CHECK",
    help="List only pairs with this fault, such as too-long; `pairs check` names the checks.",
)
@base_option
@click.option(
    "--limit",
    type=click.IntRange(1),
    default=50,
    show_default=True,
    help="List at most this many pairs.",
)
@json_option
@pass_app
def list_(
    app: App,
    domain: str,
    status: store.Status | None,
    batch: int | None,
    finding: str | None,
    limit: int,
    as_json: bool,
) -> None:
    """List the pairs of DOMAIN, oldest first."""
    db = app.store.db
    subject = domains.get(db, domain)
    if finding is None:
        found = store.list_pairs(db, subject, status, limit, import_id=batch)
    else:
        from data.quality import checker, token_counts

        around = token_counts.of_base(app.settings, subject)
        faulty = checker.with_finding(db, subject, finding, around)
        found = [
            pair
            for pair in store.list_pairs(db, subject, status, import_id=batch)
            if pair.id in faulty
        ][:limit]
    if as_json:
        return print_json(found)
    lines = [(p.id, p.status, p.split, p.source, p.prompt, p.response) for p in found]
    headers = ("id", "status", "split", "source", "prompt", "response")
    return print_table(headers, lines, "There are no such pairs.")


@pairs.command()
@click.argument("domain")
@json_option
@pass_app
def counts(app: App, domain: str, as_json: bool) -> None:
    """Count the pairs of DOMAIN by status."""
    db = app.store.db
    found = store.counts(db, domains.get(db, domain))
    if as_json:
        return print_json(found)
    return print_table(("status", "pairs"), list(found.items()), "")


@registered(pairs, "review")
@click.argument("domain")
@pass_app
def review(app: App, domain: str) -> None:
    from data.quality import private_words

    subject = domains.get(app.store.db, domain)
    waiting = store.list_pairs(app.store.db, subject, "pending")
    if not waiting:
        terminal.echo("There are no pending pairs.")
    propose = _proposing(app, subject)
    for number, pair in enumerate(waiting, 1):
        terminal.echo(f"\n[{number}/{len(waiting)}] pair {pair.id}, {pair.source} by {pair.author}")
        terminal.echo(
            f"  question: {terminal.indented(pair.prompt, 12)}\n"
            f"  answer:   {terminal.indented(pair.response, 12)}  ({iso(pair.created_at)})"
        )
        masked = private_words.sentence(masked_words.of_pair(app.store.db, pair.id))
        if masked:
            terminal.echo(f"  {masked}")
            if terminal.prompt("  [s]how the words, or [g]o on", click.Choice(("s", "g"))) == "s":
                with app.store.write() as db:
                    pair = private_words.reveal(db, pair.id, app.actor)
                terminal.echo(
                    f"  question: {terminal.indented(pair.prompt, 12)}\n"
                    f"  answer:   {terminal.indented(pair.response, 12)}"
                )
        proposed = propose(pair)
        same = ""
        if proposed is not None:
            terminal.echo(
                f"  perhaps a newer answer to: {terminal.indented(proposed.prompt, 12)}\n"
                f"            which says: {terminal.indented(proposed.response, 12)}"
            )
            same = "approve as the [n]ewer answer to that, "
        keys = click.Choice(("a", "n", "r", "s", "q") if same else ("a", "r", "s", "q"))
        choice = terminal.prompt(f"  [a]pprove, {same}[r]eject, [s]kip, [q]uit", keys)
        if choice == "q":
            break
        if choice in "anr":
            fact = proposed.fact if proposed is not None and choice == "n" else ""
            try:
                _decide(app, (pair.id,), "rejected" if choice == "r" else "approved", fact)
            except Leak as leak:  # the pair stays pending; the review continues
                terminal.echo(f"  {leak}", err=True)


@pairs.command()
@click.argument("ids", type=int, nargs=-1, required=True, metavar="ID...")
@click.option("--fact", default="", help="The fact that they state; other pairs must name it.")
@pass_app
def approve(app: App, ids: tuple[int, ...], fact: str) -> None:
    """Approve pairs, so that the next retrain learns them.

    With --fact, their answer replaces the older ones to all questions about that fact.
    """
    _decide(app, ids, "approved", fact)


@pairs.command()
@click.argument("ids", type=int, nargs=-1, required=True, metavar="ID...")
@pass_app
def reject(app: App, ids: tuple[int, ...]) -> None:
    """Reject pairs, which stay stored but are never learned."""
    _decide(app, ids, "rejected")


@pairs.command("python-docs")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@pass_app
def python_docs(app: App, file: Path) -> None:
    """Write pairs about the installed Python, from its documentation, to FILE (JSONL).

    Use these thousands of real pairs for tests with a large domain.
    """
    from data.pair_files import files as formats
    from tools import python_docs as source

    terminal.echo(f"Wrote {formats.write(source.build(), file, 'jsonl')} pairs to {file}.")


@pairs.group()
def golden() -> None:
    """Manage golden questions, which evaluate every adapter and train none."""


@golden.command("add")
@click.argument("domain")
@click.argument("question")
@click.argument("answer")
@click.option("--fact", default="", help="The fact it asks about, as named in training pairs.")
@pass_app
def golden_add(app: App, domain: str, question: str, answer: str, fact: str) -> None:
    """Add QUESTION and its expected ANSWER to the golden set of DOMAIN.

    The question is refused if a training pair asks nearly the same.
    """
    from data.pairs import golden as golden_set

    subject = domains.get(app.store.db, domain)
    added = golden_set.add_to(app.store, subject, question, answer, app.actor, fact)
    terminal.echo(f"Added golden question {added.pair.id} to {subject.name}.")
    if added.seen_by:
        terminal.echo(_seen(added.seen_by))


@golden.command("list")
@click.argument("domain")
@json_option
@pass_app
def golden_list(app: App, domain: str, as_json: bool) -> None:
    """List the golden questions of DOMAIN, oldest first."""
    from data.pairs import contamination
    from data.pairs import golden as golden_set

    db = app.store.db
    subject = domains.get(db, domain)
    found = golden_set.list_golden(db, subject)
    seen = contamination.seen_by(db, subject, found)
    if as_json:
        return print_json([{"pair": p, "seen_by": seen[p.id]} for p in found])
    lines = [(p.id, p.prompt, p.response, ", ".join(seen[p.id])) for p in found]
    empty = (
        "There are no golden questions yet. Add one with "
        f"`understudy pairs golden add {subject.name} QUESTION ANSWER`."
    )
    return print_table(("id", "question", "expected", "adapters trained on it"), lines, empty)


@golden.command("import")
@click.argument("domain")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@json_option
@pass_app
def golden_import(app: App, domain: str, file: Path, as_json: bool) -> None:
    """Import golden questions from FILE, in a format of `pairs import`.

    A row that asks nearly the same as a training pair is skipped and reported with its line number.
    """
    from data.pairs import contamination as pairs_contamination
    from data.pairs import golden as golden_set

    subject = domains.get(app.store.db, domain)
    judge = _unusable(app, subject, "refuse")
    report = _import(app, subject, file, "golden import", as_json, golden=True, unusable=judge)
    seen = pairs_contamination.seen_by(
        app.store.db, subject, golden_set.list_golden(app.store.db, subject)
    )
    names = tuple(dict.fromkeys(name for some in seen.values() for name in some))
    hint = _seen(names, sum(bool(some) for some in seen.values())) if names else ""
    _print_import(subject, file, report, as_json, hint)


@golden.command("release")
@click.argument("domain")
@click.argument("number", type=int)
@pass_app
def golden_release(app: App, domain: str, number: int) -> None:
    """Turn golden question NUMBER of DOMAIN into a training pair."""
    from data.pairs import golden as golden_set

    with app.store.write() as db:
        subject = domains.get(db, domain)
        golden_set.release(db, subject, number, app.actor)
    terminal.echo(f"Pair {number} is no longer golden: the next retrain may learn it.")


def _unusable(app: App, subject: domains.Domain, policy: "Policy") -> "UnusableDrafts":
    from data.quality import token_counts
    from data.quality.unusable import UnusableDrafts

    return UnusableDrafts(subject, token_counts.of_base(app.settings, subject), policy)


def _import(
    app: App,
    subject: domains.Domain,
    file: Path,
    action: str,
    quiet: bool,
    **options: Any,
) -> "ImportReport":
    """Import a file and record it in the audit log. Where it is stopped half-way, by a person or by
    an error, say what was saved."""
    from rich.progress import Progress

    from data.pair_files import importer
    from data.pairs.imports import ImportUndone

    saved = importer.ImportReport(0, 0, (), 0, complete=False)
    with Progress(transient=True, disable=quiet) as bar, interruption.noticed() as stop:
        task = bar.add_task(f"Reading {file.name}", total=file.stat().st_size)

        def show(read: int, committed: importer.ImportReport) -> None:
            nonlocal saved
            saved = committed
            bar.update(task, completed=read)

        try:
            report = saved = importer.import_file(
                app.store,
                subject,
                file,
                author=app.actor,
                progress=show,
                stop=lambda: bool(stop),
                **options,
            )
        except KeyboardInterrupt:  # a second Ctrl-C
            terminal.echo(f"\n{_saved(saved, file)}", err=True)
            raise
        except UnderstudyError as error:
            if not saved.rows:
                raise
            with contextlib.suppress(Unavailable):  # perhaps the disk is full
                _record(app, subject, action, saved)
            if isinstance(error, ImportUndone):
                raise
            raise type(error)(f"{error} {_saved(saved, file)}") from error
    _record(app, subject, action, report)
    if not report.complete:
        terminal.echo(f"Stopped. {_saved(report, file)}", err=True)
        raise SystemExit(stop.exit_code)
    return report


def _record(app: App, subject: domains.Domain, action: str, report: "ImportReport") -> None:
    if report.batch is not None:
        detail = {"added": report.added, "import": report.batch}
        if report.rated_answers:
            detail["rated_answers"] = report.rated_answers
        with app.store.write() as db:
            audit.record(db, app.actor, action, subject.name, **detail)


def _saved(report: "ImportReport", file: Path) -> str:
    return (
        f"The first {report.rows:,} rows of {file.name} are done: {report.added:,} pairs were "
        "added and stay. Import the file again to add the rest."
    )


def _check_small(
    app: App, subject: domains.Domain, report: "ImportReport"
) -> "QualityReport | None":
    """What the checks find in the pairs that an import brought into a small domain."""
    from data.pairs import pairs as pair_store
    from data.quality import checker

    db = app.store.db
    if not report.added or sum(pair_store.counts(db, subject).values()) > CHECKED_AT_IMPORT:
        return None
    return checker.check_domain(db, subject, import_id=report.batch)


def _make_searchable(app: App, subject: domains.Domain) -> None:
    """Encode the pairs of a small domain, so that the first question finds them by meaning; those
    of a large one are encoded while the bot runs. Warn if the encoder cannot be used, or if it or
    the base model does not know the language of the pairs."""
    from bot.cli.search import read_new_pairs
    from data.bases import language_fit
    from data.pairs import pairs as pair_store
    from data.search.search import PairSearch

    search = PairSearch(app.store, app.settings.search)
    if pair_store.counts(app.store.db, subject).get("approved", 0) <= ENCODED_AT_IMPORT:
        read_new_pairs(search, subject, quiet=False)
    if unsuited := search.why_by_words(subject):
        terminal.echo(unsuited, err=True)
    fit = language_fit.of_domain(app.store.db, subject.id, app.settings)
    if fit is not None and not fit.suits:
        terminal.echo(fit.sentence(subject.name), err=True)


def _seen(names: tuple[str, ...], questions: int = 1) -> str:
    what = "it" if questions == 1 else f"{questions} of the golden questions"
    return (
        f"Adapters already trained on {what}: {', '.join(names)}. Their scores on the golden set "
        "are too high."
    )


def _print_import(
    subject: domains.Domain,
    file: Path,
    report: "ImportReport",
    as_json: bool,
    hint: str,
    found: "QualityReport | None" = None,
) -> None:
    """Print the result of an import; exits with code 1 if rows were skipped."""
    if as_json:
        print_json(report)
    else:
        if not (report.rows or report.rated_answers):
            raise Invalid(f"{file} has no rows.")
        print_report(subject.name, file, report)
        if found is not None and report.batch is not None:
            print_findings(subject.name, report.batch, found)
        if report.added and hint:
            terminal.echo(hint)
    if report.bad_total:
        raise SystemExit(1)


def _proposing(app: App, subject: domains.Domain) -> "Callable[[store.Pair], Reference | None]":
    """A function that finds the approved pair whose fact a pending one probably states."""
    from data.search import fact_proposals
    from data.search.search import PairSearch

    search = PairSearch(app.store, app.settings.search)
    return lambda pair: fact_proposals.propose(search, subject, pair)


def _decide(app: App, ids: tuple[int, ...], status: store.Status, fact: str = "") -> None:
    try:
        with app.store.write() as db:
            for pair_id in ids:
                admin.review(db, pair_id, status, app.actor, fact)
    except UnderstudyError as error:
        raise type(error)(f"{error} Nothing was changed.") from error
    terminal.echo(f"{len(ids)} pair{'s' if len(ids) > 1 else ''} {status}.")


@registered(pairs, "pairs lineage")
@click.argument("number", type=click.IntRange(min=1))
@json_option
@pass_app
def lineage(app: App, number: int, as_json: bool) -> None:
    """From the people and the answer that it corrects, to datasets and adapters."""
    from data.privacy import lineage as lines

    found = lines.of_pair(app.store.db, number)
    return print_json(found) if as_json else terminal.echo("\n".join(found.sentences))
