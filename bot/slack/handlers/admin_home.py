"""What reviewers and admins see on their Home tab, below what everybody sees: how things stand,
what runs, what people thought this week, the answers they liked least, and the engines.

`home.py` puts it there. It is read at once, and shown by a pure function.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlite_utils import Database

from bot.commands import admin, roles
from bot.slack.render import admin_forms, reports
from bot.slack.render.blocks import Block, context, one_line, section, sentence
from bot.slack.render.run_message import SPARK_WIDTH, sparkline
from bot.slack.workspace.context import WorkspaceContext
from data.feedback import feedback_summary
from data.feedback.feedback_summary import BadAnswer, RatingCounts
from data.pairs import review_queue
from data.people.roles import Role, at_least
from data.runs import runs
from data.store.clock import now_us

WEEK_US = 7 * 24 * 3600 * 1_000_000
MOST_DOMAINS, MOST_BAD, MOST_ALERTS = 6, 5, 5


@dataclass(frozen=True)
class Overview:
    """All that is shown."""

    role: Role
    status: admin.ServiceStatus
    losses: dict[int, list[float]]  # of the runs that are at work, by id
    pending: int  # pairs that wait for review
    judged: RatingCounts  # this week
    before: RatingCounts  # the week before
    worst: list[BadAnswer]


async def part(workspace: WorkspaceContext, team: str, user: str) -> list[Block]:
    """The part of this person's Home tab; nothing for who is neither reviewer nor admin."""
    standing = await workspace.roles.standing(team, user)

    def look(db: Database) -> list[Block]:
        role = roles.role_of(db, standing)
        return shown(read(db, role)) if at_least(role, "reviewer") else []

    return await workspace.service.store.read(look)


def read(db: Database, role: Role) -> Overview:
    now, status = now_us(), admin.status(db)
    at_work = [d.run for d in status.domains if d.run is not None and d.run.open]
    losses = {run.id: _losses(db, run) for run in at_work}
    return Overview(
        role=role,
        status=status,
        losses=losses,
        pending=review_queue.pending(db),
        judged=feedback_summary.rating_counts(db, now - WEEK_US),
        before=feedback_summary.rating_counts(db, now - 2 * WEEK_US, now - WEEK_US),
        worst=feedback_summary.worst_answers(db, now - WEEK_US, MOST_BAD),
    )


def _losses(db: Database, run: runs.Run) -> list[float]:
    """Of the training, as many as a line of text shows."""
    curve = runs.curve(db, run.id, every=run.step // SPARK_WIDTH)
    return [point.loss for point in curve if point.loss is not None]


def shown(found: Overview) -> list[Block]:
    """At most 45 blocks."""
    return [
        {"type": "divider"},
        _header("How things stand"),
        *_buttons(found),
        *_domains(found),
        _header("What people thought this week"),
        *_week(found),
        _header("Engines"),
        *_engines(found.status),
    ]


def _buttons(found: Overview) -> list[Block]:
    buttons = [
        admin_forms.button(
            f"Review ({found.pending})", "review", "primary" if found.pending else ""
        ),
        admin_forms.button("Runs", "runs"),
        admin_forms.button("Who may do what", "roles"),
    ]
    return [{"type": "actions", "elements": buttons}]


def _domains(found: Overview) -> list[Block]:
    """What answers, the run in progress, the comparison with its interval, for each domain."""
    blocks = []
    for domain in found.status.domains[:MOST_DOMAINS]:
        blocks += reports.domain_state(domain)
        run = domain.run
        if run is not None and run.open and (line := sparkline(found.losses.get(run.id, []))):
            last = found.losses[run.id][-1]
            blocks.append(context(f"loss of run {run.id}: `{line}` {last:.3f}"))
    if len(found.status.domains) > MOST_DOMAINS:
        rest = len(found.status.domains) - MOST_DOMAINS
        blocks.append(context(f"and {rest} more domains: `/understudy status`"))
    return blocks or [section(sentence(reports.NO_DOMAIN))]


def _week(found: Overview) -> list[Block]:
    judged, before = found.judged, found.before
    if not judged.any:
        return [section("Nobody rated an answer this week.")]
    line = (
        f"{judged.up} 👍, {judged.down} 👎, {judged.corrections} corrections from {judged.people} "
        f"people (the week before: {before.up} 👍, {before.down} 👎, {before.corrections})"
    )
    if not found.worst:
        return [section(line)]
    return [section(line), section("*The answers that were liked least*"), *_bad(found.worst)]


def _bad(worst: Sequence[BadAnswer]) -> list[Block]:
    blocks = []
    for bad in worst:
        notes = [f"{bad.down} 👎", bad.adapter]
        if bad.reason:
            notes.append(f"“{one_line(bad.reason, 150)}”")
        if bad.pending:
            notes.append("a better answer waits for review")
        blocks.append(section(f"*{one_line(bad.question, 200)}*\n{one_line(bad.answer, 300)}"))
        blocks.append(context(" · ".join(notes)))
    return blocks


def _engines(status: admin.ServiceStatus) -> list[Block]:
    blocks = [section(f":warning: {sentence(a.text)}") for a in status.alerts[:MOST_ALERTS]]
    if len(status.alerts) > MOST_ALERTS:
        blocks.append(context(f"and {len(status.alerts) - MOST_ALERTS} more: `understudy status`"))
    if not blocks:
        blocks.append(section(":white_check_mark: Nothing needs looking at."))
    return [*blocks, context(reports.engines(status))]


def _header(text: str) -> Block:
    return {"type": "header", "text": {"type": "plain_text", "text": text}}
