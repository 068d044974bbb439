"""Messages that commands return: help, status, runs, adapters, roles, the digest.

All are pure functions of what `bot.commands.admin` and the store return."""

from collections.abc import Sequence

from bot.commands import registry, retrain_plan, scores
from bot.commands.admin import DomainStatus, ServiceStatus
from bot.commands.requester import Requester
from bot.commands.retrain_plan import RetrainPlan
from bot.experiments.comparisons import WITHOUT_ADAPTER
from bot.slack.render import admin_forms, comparison_reports
from bot.slack.render.blocks import Block, ago, context, escape, mention, section, sentence, shorten
from bot.slack.render.run_message import progress_bar
from data.adapters.registry import Adapter
from data.config.settings import SlackSettings
from data.domains import Domain
from data.experiments.experiments import Experiment
from data.feedback.feedback_summary import RatingCounts
from data.pairs.review_queue import Waiting
from data.people.roles import Grant, Role, at_least
from data.privacy.erasure import ErasureReceipt
from data.runs.runs import Run

MARKS = {"done": ":white_check_mark:", "failed": ":x:", "cancelled": ":no_entry_sign:"}
NO_DOMAIN = "There is no domain yet. Add one with `understudy domains add NAME`."
HEADS: dict[Role, str] = {
    "member": "Commands for everyone",
    "reviewer": "Commands for reviewers",
    "admin": "Commands for admins",
}
MOST_DOMAINS = 20
MOST_RUNS = 10
MOST_ADAPTERS = 15
MOST_PEOPLE = 40
MOST_ALERTS = 5


def help_text(role: Role) -> list[Block]:
    """How to talk to the bot, and the commands that this role may use."""
    intro = (
        "Ask me in a direct message, or mention me in a channel. In a thread where I take part, "
        "you don't need to mention me. I learn from 👍 and 👎 under my answers, and most of all "
        "from the better answers that you can give after 👎. I answer people: messages of apps and "
        "of workflows (Workflow Builder) get no answer, even if they mention me."
    )
    shown = [section(intro)]
    for needed, head in HEADS.items():
        if at_least(role, needed):
            lines = [
                f"• `/understudy {verb.usage}`: {escape(verb.explained)}"
                for verb in registry.listed()
                if verb.role == needed
            ]
            shown.append(section("\n".join([f"*{head}*", *lines])))
    form = "`/understudy` on its own opens a form where you can do all of this with buttons."
    return [*shown, section(form)]


def status(found: ServiceStatus) -> list[Block]:
    """A few lines for each domain, then alerts and the engines."""
    if not found.domains:
        return [section(sentence(NO_DOMAIN))]
    shown = [block for d in found.domains[:MOST_DOMAINS] for block in domain_state(d)]
    if len(found.domains) > MOST_DOMAINS:
        shown.append(context(f"and {len(found.domains) - MOST_DOMAINS} more domains"))
    for alert in found.alerts[:MOST_ALERTS]:
        shown.append(section(f":warning: {sentence(alert.text)}"))
    if len(found.alerts) > MOST_ALERTS:
        rest = len(found.alerts) - MOST_ALERTS
        shown.append(context(f"and {rest} more alerts: `understudy status` on the command line"))
    return [*shown, context(engines(found))]


def domain_state(d: DomainStatus) -> list[Block]:
    """The live version of a domain, its run and comparison in progress, and its pending pairs."""
    answering = d.live.name if d.live else "the base model"
    lines = [f"*{escape(d.domain.title)}* (`{d.domain.name}`): answered by {answering}"]
    if d.run is not None and d.run.open:
        lines.append(run_line(d.run))
    if d.experiment is not None:
        lines.append(comparison_reports.line(d.experiment))
    if d.results is not None:
        lines.append(escape(d.results.sentence))
    pending = d.pairs.get("pending", 0)
    lines.append(
        f"{_count(d.new_pairs, 'new approved pair')}, {pending} pending review; "
        f"{d.feedback['up']} 👍, {d.feedback['down']} 👎, "
        f"{d.feedback['corrections']} corrections"
    )
    return [section("\n".join(lines))]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def engines(found: ServiceStatus) -> str:
    """The state of each engine."""
    if not found.replicas:
        return "no engine"
    return ", ".join(
        f"engine {escape(r.name)}: {'not responding' if r.stale else r.state}"
        for r in found.replicas
    )


def run_line(run: Run) -> str:
    """One line of a list of runs."""
    mark = MARKS.get(run.state, ":hourglass_flowing_sand:")
    what = f"{mark} run {run.id} of *{run.domain}*: {escape(run.phase)}"
    if run.open:
        return f"{what} {progress_bar(run)}" if run.total_steps else what
    ended = f", {ago(run.finished_at)}" if run.finished_at else ""
    return f"{what}{ended}{': ' + escape(run.error) if run.error else ''}"


def run_list(found: Sequence[Run]) -> list[Block]:
    if not found:
        return [section("There are no runs yet. `/understudy retrain` starts one.")]
    return [section(run_line(run)) for run in found[:MOST_RUNS]]


def cancelled(run: Run) -> list[Block]:
    word = "is cancelled" if not run.open else "will stop within a few seconds"
    return [section(f":no_entry_sign: Run {run.id} of {run.domain} {word}.")]


def followed(run_id: int, posted: str | None, asked_in: str) -> list[Block]:
    """Where to follow a run, for a person who requested it elsewhere. `posted` is the channel of
    the run's message, or None if Slack accepted it nowhere."""
    if posted is None:
        return [section(f"Run {run_id} is queued. `/understudy runs` shows its progress.")]
    here = posted == asked_in and not posted.startswith("D")
    where = f"in <#{posted}>" if here else "in our direct messages"
    return [section(f"Run {run_id} is queued. You can follow its progress {where}.")]


def planned(found: RetrainPlan) -> list[Block]:
    """What a retrain would do."""
    lines = [escape(line) for line in retrain_plan.describe(found)]
    if found.pending:
        lines.append(f"{found.pending} pairs are pending review: `/understudy review`.")
    return [section("\n".join(lines)), context("dry run: nothing was changed")]


def digest(
    waiting: Sequence[Waiting], decided: dict[str, int], ratings: RatingCounts, unanswered: int = 0
) -> list[Block]:
    """The pairs that are pending review, the questions that nobody has answered, and what happened
    since yesterday."""
    lines = [
        f"• *{escape(w.title)}*: {_count(w.pending, 'pair')}"
        + (f", the oldest suggested {ago(w.oldest_at)}" if w.oldest_at else "")
        for w in waiting[:MOST_DOMAINS]
    ]
    count = sum(w.pending for w in waiting)
    head = f"*Suggested answers to review: {count}*" if count else "*There is nothing to review*"
    since = (
        f"since yesterday: {decided['approved']} approved, {decided['rejected']} rejected, "
        f"{ratings.up} 👍, {ratings.down} 👎, {ratings.corrections} corrections"
    )
    shown = [section("\n".join([head, *lines]))]
    if count:
        shown.append(
            {"type": "actions", "elements": [admin_forms.button("Review", "review", "primary")]}
        )
    if unanswered:
        asked = _count(unanswered, "question")
        shown.append(section(f"*Questions without an answer: {asked}*"))
        answering = admin_forms.button("Answer them", "unanswered")
        shown.append({"type": "actions", "elements": [answering]})
    return [*shown, context(since)]


def domain_list(found: Sequence[Domain], here: str) -> list[Block]:
    """All domains. `here` is the one that answers where the command was given."""
    lines = [
        f"• *{escape(d.title)}* (`{d.name}`){', used here' if d.name == here else ''}"
        for d in found[:MOST_PEOPLE]
    ]
    rest = len(found) - MOST_PEOPLE
    hint = f"and {rest} more domains: `understudy domains list` on the command line"
    return [section("\n".join(lines)), *([context(hint)] if rest > 0 else [])]


def adapter_list(domain: Domain, found: Sequence[Adapter]) -> list[Block]:
    """The versions of a domain, newest first, with their scores on held-out questions."""
    if not found:
        return [
            section(
                f"*{escape(domain.title)}* has no version yet: people get {WITHOUT_ADAPTER}. "
                "`/understudy retrain` trains the first."
            )
        ]
    lines = [
        f"• *{a.name}*, {a.state}, created {ago(a.created_at)}: {escape(scores.sentence(a))}"
        + (f". {_because(a)}" if a.state == "rejected" else "")
        for a in found[:MOST_ADAPTERS]
    ]
    rest = len(found) - MOST_ADAPTERS
    hint = f"and {rest} older versions: `understudy adapters list` on the command line"
    more = [context(hint)] if rest > 0 else []
    return [section(shorten("\n".join(lines), 3_000)), *more]


def _because(rejected: Adapter) -> str:
    return f"Rejected: {sentence(shorten(rejected.state_reason, 200))}"


def role_list(
    settings: SlackSettings, grants: Sequence[Grant], own: Requester | None
) -> list[Block]:
    """Who has which role, and where each role comes from."""
    lines = [f"• {_person(user)}: admin, from the settings" for user in settings.admins]
    lines += [f"• {_person(user)}: reviewer, from the settings" for user in settings.reviewers]
    lines += [
        f"• {mention(g.person)}: {g.role}, granted by {mention(g.granted_by)} {ago(g.granted_at)}"
        for g in grants
    ]
    if settings.workspace_admins:
        lines.append("• owners and admins of this workspace: admin, from Slack")
    if settings.admin_group:
        lines.append(f"• the user group {settings.admin_group}: admin, from Slack")
    if settings.reviewer_group:
        lines.append(f"• the user group {settings.reviewer_group}: reviewer, from Slack")
    if not lines:
        lines = [f"Nobody has a role yet. {own.how if own else ''}"]
    shown = [section("\n".join(lines[:MOST_PEOPLE]))]
    if len(lines) > MOST_PEOPLE:
        shown.append(context(f"and {len(lines) - MOST_PEOPLE} more"))
    about = (
        "Everyone can ask questions and rate answers. Reviewers also decide which answers I learn. "
        "Admins can do everything."
    )
    return [*shown, context(about)]


def _person(user: str) -> str:
    return f"<@{user.rpartition('/')[2]}>"


def role_granted(person: str, role: str) -> list[Block]:
    kind = "an admin" if role == "admin" else "a reviewer"
    return [section(f":white_check_mark: {mention(person)} is now {kind}.")]


def role_revoked(person: str) -> list[Block]:
    return [
        section(f":white_check_mark: The role granted to {mention(person)} is revoked."),
        context("Roles from the settings or from Slack do not change: `/understudy roles`"),
    ]


def before_promotion(
    adapter: Adapter, live: Adapter | None, running: Experiment | None
) -> list[Block]:
    """What an admin should know before a version answers everyone."""
    now = f"*{live.name}*" if live else "the base model"
    lines = [
        f"*{adapter.name}* will answer everyone from the next message on, instead of {now}.",
        f"{adapter.name}: {escape(scores.sentence(adapter))}.",
    ]
    if live is not None:
        lines.append(f"{live.name}: {escape(scores.sentence(live))}.")
    if running is not None:
        compared = " with ".join(escape(v.described) for v in running.variants)
        lines.append(f"This ends comparison {running.id}, {compared}, without a decision.")
    return [section("\n".join(lines)), context("`/understudy rollback` undoes this")]


def before_forgetting(person: str, found: ErasureReceipt, *, retrain: bool = False) -> list[Block]:
    """What a deletion would delete. `retrain`: versions are replaced afterwards."""
    lines = [
        f"This deletes everything that {mention(person)} said to me and about my answers: "
        f"{found.messages} questions and answers, {found.judgements} ratings and comments, "
        f"{found.pairs} training pairs."
    ]
    if found.adapters:
        names = ", ".join(found.adapters[:8])
        how = "`/understudy retrain --full` trains one without them."
        if retrain:
            how = "Full retrains without them will be queued."
        lines.append(f"Versions trained on such pairs: {names}. {how}")
    if found.runs:
        lines.append(f"Run {found.runs[0]} is training on such pairs and will be cancelled.")
    return [section("\n".join(lines)), context("this can't be undone")]


def forgetting(person: str, receipt: str) -> list[Block]:
    return [
        section(
            f":white_check_mark: The data of {mention(person)} is deleted. The audit log records "
            f"this under receipt {receipt}, without a name."
        )
    ]


def retired(adapter: str) -> list[Block]:
    back = f"`/understudy promote {adapter}` brings it back until its files are removed."
    text = f":wastebasket: *{adapter}* is discarded, and the engines unload it."
    return [section(f"{text} {back}")]


def needs_confirmation(reason: str, command: str) -> list[Block]:
    """What a command would end, with a button that goes on."""
    anyway = admin_forms.button("Go on", command, "danger")
    said = section(f":warning: {escape(reason)} Nothing was changed.")
    return [said, {"type": "actions", "elements": [anyway]}]


def promoted(adapter: str) -> list[Block]:
    return [
        section(
            f":white_check_mark: *{adapter}* answers everyone from the next message on. "
            "`/understudy rollback` undoes this."
        )
    ]


def rolled_back(domain: str, adapter: str | None, undone: str | None) -> list[Block]:
    """The version that answers now, and how to restore the one that was rolled back."""
    text = f"*{adapter}* answers again" if adapter else f"people get {WITHOUT_ADAPTER}"
    instead = f", instead of *{undone}*" if undone and undone != adapter else ""
    said = section(f":leftwards_arrow_with_hook: {domain}: {text}{instead}.")
    return [said, context(f"`/understudy promote {undone}` undoes this")] if instead else [said]
