"""What `understudy pairs import` says about a file: before, with `--preview`, and afterwards."""

import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from bot.cli import terminal

if TYPE_CHECKING:
    from data.pair_files.importer import ImportReport
    from data.quality.findings import QualityReport

MAX_LINES = 10  # bad rows, conflicts and columns that are printed
SHORT = 80  # characters of a text that is quoted
KNOWN = {
    "pending": "pending",
    "rejected": "rejected here",
    "quarantined": "quarantined",
    "in the file": "repeated in the file",
    "rated": "rated answers",
}


def print_report(name: str, file: Path, report: "ImportReport") -> None:
    """Print the result of an import into the domain `name`."""
    already = f"Already present: {report.duplicates}{_known(report.known)}."
    terminal.echo(f"Added to {name}: {report.added}. {already} Invalid rows: {report.bad_total}.")
    for line in _remarks(name, report):
        terminal.echo(line)
    _print_bad(file, report)
    _print_conflicts(file, report)
    if report.batch is not None:
        terminal.echo(f"To take all of it back: `understudy pairs undo {report.batch}`.")


def print_preview(name: str, file: Path, report: "ImportReport") -> None:
    """Print what an import into the domain `name` would do."""
    for field, columns in report.columns.items():
        terminal.echo(f"{field}: {', '.join(columns)}")
    for draft in report.shown:
        terminal.echo(f"  question: {_short(draft.prompt)}")
        terminal.echo(f"  answer:   {_short(draft.response)}")
    terminal.echo(
        f"Would be added to {name}: {report.added}. Already present: {report.duplicates}"
        f"{_known(report.known)}. Invalid rows: {report.bad_total}."
    )
    for line in _remarks(name, report):
        terminal.echo(line)
    _print_bad(file, report)
    _print_conflicts(file, report)
    terminal.echo("Nothing was changed.")


def print_findings(name: str, batch: int, report: "QualityReport") -> None:
    """Print how many of the added pairs have which faults, and how to list them."""
    found = [one for one in report.found if one.unit == "pairs"]
    if not found:
        return
    counted = ", ".join(f"{one.title.lower()} ({one.count:,})" for one in found)
    terminal.echo(
        f"Found in the added pairs: {counted}. To list them: `understudy pairs list {name} "
        f"--import {batch} --finding {found[0].check}`"
        f"{''.join(f', or {one.check}' for one in found[1:])}. `understudy pairs check {name}` "
        "says what can be done."
    )


def _remarks(name: str, report: "ImportReport") -> Iterator[str]:
    yield from report.notes
    if report.rated_answers:
        yield (
            f"Rated answers for preference tuning: {report.rated_answers}. They are not pairs; "
            f"`understudy tune {name} --method kto` learns from them."
        )
    if report.waiting:
        yield (
            f"Waiting for review: {report.waiting} of the added pairs. To review them: "
            f"`understudy pairs review {name}`."
        )
    if report.left_out:
        reasons = ", ".join(f"{reason} ({n})" for reason, n in report.left_out.items())
        yield f"Left out, as the file says: {reasons}."
    if report.unusable_total:
        yield from _unusable(name, report)
    for column in report.unused[:MAX_LINES]:
        meant = f"; did you mean {column.suggestion}?" if column.suggestion else "."
        yield f"Not used: {column.name}, in {_count(column.rows, 'row')}{meant}"
    if len(report.unused) > MAX_LINES:
        yield f"Not used: {len(report.unused) - MAX_LINES} more columns"
    for system, rows in list(report.systems.items())[:1]:
        given = shlex.quote(system) if _short(system) == system else "TEXT"
        yield (
            f"{_count(rows, 'pair')} came with the system prompt “{_short(system)}”. The bot "
            "answers with the domain's own. To make it the domain's: "
            f"`understudy domains prompt {name} {given}`."
        )


def _unusable(name: str, report: "ImportReport") -> Iterator[str]:
    """What no run can learn, and what became of it."""
    from data.quality.unusable import REASONS

    for check, n in report.unusable_total.items():
        lines = [one for one in report.unusable if one.check == check]
        shown = ", ".join(f"line {u.pair_id} ({u.detail}; {u.became})" for u in lines[:3])
        more = ", …" if n > 3 else ""
        yield f"No run can learn {_count(n, 'pair')}, {REASONS[check]}: {shown}{more}."
        if any(u.became != "shortened" for u in lines):
            yield f"To list them: `understudy pairs list {name} --finding {check}`."


def _print_bad(file: Path, report: "ImportReport") -> None:
    for bad in report.bad[:MAX_LINES]:
        where = f"{file.name}/{bad.member}" if bad.member else file.name
        terminal.echo(f"  {where}:{bad.line}: {bad.reason}", err=True)
    if report.bad_total > MAX_LINES:
        terminal.echo(f"  … and {report.bad_total - MAX_LINES} more", err=True)


def _print_conflicts(file: Path, report: "ImportReport") -> None:
    if not report.conflicts_total:
        return
    questions = _count(report.conflicts_total, "question")
    terminal.echo(f"Another answer replaces the one before, for {questions}:")
    for found in report.conflicts[:MAX_LINES]:
        terminal.echo(
            f"  {file.name}:{found.line}: {_short(found.question)}\n"
            f"    pair {found.pair_id} says: {_short(found.other_answer)}\n"
            f"    the file says: {_short(found.answer)}"
        )
    if report.conflicts_total > MAX_LINES:
        terminal.echo(f"  … and {report.conflicts_total - MAX_LINES} more")


def _known(known: Mapping[str, int]) -> str:
    """What the pairs are that were there already, but for approved ones."""
    parts = [f"{n} {KNOWN[status]}" for status, n in known.items() if status in KNOWN]
    return f" ({', '.join(parts)})" if parts else ""


def _count(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= SHORT else line[: SHORT - 1] + "…"
