"""What commands say: the help, the state of everything, runs and comparisons. Pure functions of
what `bot.admin` and the store return."""

from bot.admin import DomainStatus, Status
from bot.slack.blocks import Block, ago, context, escape, mention, progress_bar, section
from bot.slack.commands import RANK, USAGE, Role
from bot.stats import Results
from data.adapters import Adapter
from data.domains import Domain
from data.experiments import Experiment
from data.runs import Run

MARKS = {"done": ":white_check_mark:", "failed": ":x:", "cancelled": ":no_entry_sign:"}
MOST_DOMAINS = 20
MOST_RUNS = 10
MOST_ALERTS = 5


def help_text(role: Role) -> list[Block]:
    """How to talk to the bot, and the commands that this role may use."""
    lines = [
        f"• `/understudy {usage}`: {escape(what)}"
        for needed, usage, what in USAGE
        if RANK[role] >= RANK[needed]
    ]
    intro = (
        "Ask me in a direct message, or mention me in a channel. In a thread that I take part in, "
        "no mention is needed. I learn from 👍 and 👎 under my answers, and most of all from the "
        "better answer that 👎 asks you for."
    )
    return [section(intro), section("\n".join(lines))]


def status(found: Status) -> list[Block]:
    """Each domain in a few lines, and the engines."""
    if not found.domains:
        return [section("There is no domain yet. Add one: `understudy domains add NAME`.")]
    shown = [section(_domain(d)) for d in found.domains[:MOST_DOMAINS]]
    if len(found.domains) > MOST_DOMAINS:
        shown.append(context(f"and {len(found.domains) - MOST_DOMAINS} more domains"))
    for alert in found.alerts[:MOST_ALERTS]:
        shown.append(section(f":warning: {escape(alert.text)}"))
    if len(found.alerts) > MOST_ALERTS:
        shown.append(context(f"and {len(found.alerts) - MOST_ALERTS} more: `understudy status`"))
    return [*shown, context(_engines(found))]


def _domain(d: DomainStatus) -> str:
    answering = d.live.name if d.live else "the bare base model"
    lines = [f"*{escape(d.domain.title)}* (`{d.domain.name}`): {answering} answers"]
    if d.run is not None and d.run.open:
        lines.append(run_line(d.run))
    if d.experiment is not None:
        lines.append(comparison_line(d.experiment))
    if d.results is not None:
        lines.append(escape(d.results.sentence))
    pending = d.pairs.get("pending", 0)
    lines.append(
        f"{d.new_pairs} new approved pairs, {pending} to review; "
        f"{d.feedback['up']} 👍, {d.feedback['down']} 👎, "
        f"{d.feedback['corrections']} corrections"
    )
    return "\n".join(lines)


def _engines(found: Status) -> str:
    if not found.replicas:
        return "no engine"
    return ", ".join(
        f"engine {escape(r.name)} {'fell silent' if r.stale else r.state}" for r in found.replicas
    )


def run_line(run: Run) -> str:
    """One line of a list of runs."""
    mark = MARKS.get(run.state, ":hourglass_flowing_sand:")
    what = f"{mark} run {run.id} of *{run.domain}*: {escape(run.phase)}"
    if run.open:
        return f"{what} {progress_bar(run)}" if run.total_steps else what
    ended = f", {ago(run.finished_at)}" if run.finished_at else ""
    return f"{what}{ended}{': ' + escape(run.error) if run.error else ''}"


def run_list(found: list[Run]) -> list[Block]:
    if not found:
        return [section("Nothing has been tuned yet. `/understudy retrain` begins.")]
    return [section(run_line(run)) for run in found[:MOST_RUNS]]


def comparison_line(experiment: Experiment) -> str:
    sides = " and ".join(
        f"{v.label}: {v.adapter} ({v.share * 100:.0f} %)" for v in experiment.variants
    )
    return f"Comparing {sides}"


def comparison(experiment: Experiment, results: Results) -> list[Block]:
    """How a comparison stands: counts for each side, and the sentence that sums it up."""
    state = "running" if experiment.state == "running" else "stopped"
    lines = [f"*{experiment.domain}*, comparison {experiment.id}, {state}"]
    for v in results.variants:
        failed = f", {v.failed} failed" if v.failed else ""
        lines.append(
            f"*{v.label}* {v.adapter}: {v.people} people, {v.replies} answers{failed}, "
            f"{v.up} 👍, {v.down} 👎 from {v.raters} people"
        )
    lines.append(escape(results.sentence))
    began = f"begun {ago(experiment.started_at)} by {mention(experiment.started_by)}"
    return [section("\n".join(lines)), context(began)]


def promoted(adapter: Adapter) -> list[Block]:
    return [
        section(
            f":white_check_mark: *{adapter.name}* answers everybody from the next message on. "
            "`/understudy rollback` undoes it."
        )
    ]


def rolled_back(domain: Domain, adapter: Adapter | None) -> list[Block]:
    answering = f"*{adapter.name}*" if adapter else "the bare base model"
    return [section(f":leftwards_arrow_with_hook: {domain.name}: {answering} answers again.")]
