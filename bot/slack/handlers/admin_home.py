"""The part of the Home tab for reviewers and admins: domains, runs, this week's feedback, the
lowest-rated answers, and the engines.

`home.py` appends it to the part that everyone sees. All data is read at once, and a pure function
renders it.
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
MAX_DOMAINS, MAX_WORST, MAX_ALERTS = 6, 5, 5


@dataclass(frozen=True)
class Overview:
    """Everything that this part shows."""

    role: Role
    status: admin.ServiceStatus
    losses: dict[int, list[float]]  # training losses of the open runs, by run id
    pending: int  # pairs that are pending review
    this_week: RatingCounts
    last_week: RatingCounts
    worst: list[BadAnswer]


async def part(workspace: WorkspaceContext, team: str, user: str) -> list[Block]:
    """The blocks for this person; empty for a member."""
    requester = await workspace.roles.requester(team, user)

    def build(db: Database) -> list[Block]:
        role = roles.role_of(db, requester)
        return shown(read(db, role)) if at_least(role, "reviewer") else []

    return await workspace.service.store.read(build)


def read(db: Database, role: Role) -> Overview:
    now, status = now_us(), admin.status(db)
    open_runs = [d.run for d in status.domains if d.run is not None and d.run.open]
    losses = {run.id: _losses(db, run) for run in open_runs}
    return Overview(
        role=role,
        status=status,
        losses=losses,
        pending=review_queue.pending(db),
        this_week=feedback_summary.rating_counts(db, now - WEEK_US),
        last_week=feedback_summary.rating_counts(db, now - 2 * WEEK_US, now - WEEK_US),
        worst=feedback_summary.worst_answers(db, now - WEEK_US, MAX_WORST),
    )


def _losses(db: Database, run: runs.Run) -> list[float]:
    """The training losses, thinned out to what a sparkline can show."""
    curve = runs.curve(db, run.id, every=run.step // SPARK_WIDTH)
    return [point.loss for point in curve if point.loss is not None]


def shown(found: Overview) -> list[Block]:
    """At most 45 blocks."""
    return [
        {"type": "divider"},
        _header("Overview"),
        *_buttons(found),
        *_domains(found),
        _header("Feedback this week"),
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
        admin_forms.button("Roles", "roles"),
    ]
    return [{"type": "actions", "elements": buttons}]


def _domains(found: Overview) -> list[Block]:
    """For each domain: the live version, the run in progress, and the comparison."""
    blocks = []
    for domain in found.status.domains[:MAX_DOMAINS]:
        blocks += reports.domain_state(domain)
        run = domain.run
        if run is not None and run.open and (line := sparkline(found.losses.get(run.id, []))):
            last = found.losses[run.id][-1]
            blocks.append(context(f"training loss of run {run.id}: `{line}` {last:.3f}"))
    if len(found.status.domains) > MAX_DOMAINS:
        rest = len(found.status.domains) - MAX_DOMAINS
        blocks.append(context(f"and {rest} more domains: `/understudy status`"))
    return blocks or [section(sentence(reports.NO_DOMAIN))]


def _week(found: Overview) -> list[Block]:
    now, before = found.this_week, found.last_week
    if not now.any:
        return [section("Nobody rated an answer this week.")]
    line = (
        f"{now.up} 👍, {now.down} 👎, {now.corrections} corrections from {now.people} people "
        f"(last week: {before.up} 👍, {before.down} 👎, {before.corrections} corrections)"
    )
    if not found.worst:
        return [section(line)]
    return [section(line), section("*Lowest-rated answers*"), *_worst(found.worst)]


def _worst(worst: Sequence[BadAnswer]) -> list[Block]:
    blocks = []
    for bad in worst:
        notes = [f"{bad.down} 👎", bad.adapter]
        if bad.reason:
            notes.append(f"“{one_line(bad.reason, 150)}”")
        if bad.pending:
            notes.append("a better answer is pending review")
        blocks.append(section(f"*{one_line(bad.question, 200)}*\n{one_line(bad.answer, 300)}"))
        blocks.append(context(" · ".join(notes)))
    return blocks


def _engines(status: admin.ServiceStatus) -> list[Block]:
    blocks = [section(f":warning: {sentence(a.text)}") for a in status.alerts[:MAX_ALERTS]]
    if len(status.alerts) > MAX_ALERTS:
        rest = len(status.alerts) - MAX_ALERTS
        blocks.append(context(f"and {rest} more alerts: `understudy status` on the command line"))
    if not blocks:
        blocks.append(section(":white_check_mark: There are no alerts."))
    return [*blocks, context(reports.engines(status))]


def _header(text: str) -> Block:
    return {"type": "header", "text": {"type": "plain_text", "text": text}}
