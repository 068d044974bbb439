"""What each command does and says, inside one transaction.

`carry_out` takes a deed from the store, checks the role of who gave it, does it, and writes down
what is to be told, all in one commit. `shown` is for the commands that change nothing.
"""

import logging
from dataclasses import dataclass

from sqlite_utils import Database

from bot.commands import admin, commands, grammar, retrain_plan, roles
from bot.commands.standing import Standing
from bot.experiments import comparisons, stats
from bot.experiments.explain import explain
from bot.slack.render import blocks, comparison_reports, reports, run_message
from bot.slack.render.blocks import Block
from bot.slack.render.run_message import RunSnapshot
from data import command_queue, domains
from data.adapters import registry
from data.command_queue import How, QueuedCommand
from data.config.settings import Settings
from data.domains import Domain
from data.experiments import decisions, experiments, policies, testers
from data.people import roles as granted
from data.privacy import erasure
from data.runs import runs
from data.runs.methods import with_preferences
from data.store.clock import now_us
from data.store.db import sqlite3
from data.store.errors import Conflict, Invalid, UnderstudyError

log = logging.getLogger(__name__)

STALE_S = 3600  # a deed that waited longer, because the bot was stopped, is not done any more
PAIRWISE = 0.1  # share of the questions that both sides answer, where that is asked for
OUR_FAULT = "Something went wrong on our side; it has been logged. Nothing was changed."


@dataclass(frozen=True)
class CommandResult:
    """What a deed came to: what is said, where, and the run that the message follows."""

    said: list[Block]
    how: How | None = None  # None: where the deed asked for it
    run_id: int | None = None


@dataclass(frozen=True)
class Where:
    """Whose domain is meant when none is named."""

    team: str
    channel: str
    person: str

    def domain(self, db: Database, name: str | None) -> Domain:
        """The domain that is named, else the one that answers there. Raises NotFound."""
        if name is not None:
            return domains.get(db, name)
        return domains.answering(db, self.person, self.team, self.channel)


def execute(db: Database, settings: Settings, deed_id: int, standing: Standing) -> None:
    """Do what waits to be done; what was done before stays as it is."""
    queued = command_queue.get(db, deed_id)
    if queued is None or queued.state != "waiting":
        return
    try:
        with db.atomic():
            _refuse_stale(queued)
            outcome = _carry_out(db, settings, queued, standing)
    except UnderstudyError as error:
        outcome = CommandResult([blocks.section(blocks.sentence(str(error)))], "private")
    except sqlite3.Error:
        raise  # the store's trouble: it is tried again
    except Exception:
        log.exception("The command of deed %d failed", deed_id)
        outcome = CommandResult([blocks.section(OUR_FAULT)], "private")
    command_queue.done(db, deed_id, outcome.said, outcome.how, outcome.run_id)


def _refuse_stale(queued: QueuedCommand) -> None:
    """Nobody expects that what they typed yesterday is done when the bot is started today."""
    age_s = (now_us() - queued.created_at) / 1_000_000
    if age_s > STALE_S:
        shown = queued.command.strip()[:80].replace("`", "'")
        raise Conflict(
            f"{blocks.duration(age_s)} ago you asked for `{shown}`, and I was stopped before I "
            "could do it. Nothing was changed. Ask again if you still want it."
        )


def _carry_out(
    db: Database, settings: Settings, queued: QueuedCommand, standing: Standing
) -> CommandResult:
    command = grammar.parse(queued.command)
    roles.check(db, standing, command.needs)
    where = Where(queued.team, queued.channel, standing.person)
    match command:
        case commands.RetrainCommand():
            return _retrain(db, where, command, standing.person)
        case commands.GrantRole() | commands.RevokeRole():
            return CommandResult(_change_role(db, queued.team, command, standing))
        case commands.CancelRun():
            run = runs.cancel(db, command.run_id, standing.person)
            return CommandResult(reports.cancelled(run))
        case commands.Forget():
            receipt = erasure.begin(db, f"slack:{queued.team}/{command.user}", standing.person)
            return CommandResult(reports.forgetting(command.user, receipt))
    said = _change(db, where, command, standing.person)
    if queued.how == "thread":
        said = [*said, blocks.context(f"by {blocks.mention(standing.person)}")]
    return CommandResult(said)


def _change(db: Database, where: Where, command: commands.Command, who: str) -> list[Block]:
    """The commands that change what answers."""
    match command:
        case commands.Promote():
            domain = where.domain(db, command.domain)
            return reports.promoted(admin.promote(db, domain, command.version, who))
        case commands.RollBack():
            domain = where.domain(db, command.domain)
            undone = registry.live(db, domain.id)
            return reports.rolled_back(domain, admin.roll_back(db, domain, who), undone)
        case commands.Retire():
            domain = where.domain(db, command.domain)
            adapter = registry.get(db, command.version, domain)
            return reports.retired(registry.retire(db, adapter, who))
        case commands.StartComparison():
            domain = where.domain(db, command.domain)
            share, pairwise = command.share, PAIRWISE if command.pairwise else 0.0
            begun = admin.start_comparison(
                db, domain, command.a, command.b, who, share, pairwise=pairwise
            )
            return comparison_reports.started(begun)
        case commands.StopComparison():
            domain = where.domain(db, command.domain)
            stopped = admin.stop_comparison(db, domain, who)
            return comparison_reports.comparison(stopped, stats.compute_results(db, stopped))
        case commands.RampComparison():
            domain = where.domain(db, command.domain)
            return comparison_reports.ramped(comparisons.ramp(db, domain, command.share, who))
        case commands.PutTester():
            domain = where.domain(db, command.domain)
            running = comparisons.current(db, domain)
            person = f"slack:{where.team}/{command.user}"
            variant = testers.put(db, running, person, command.label, who)
            return comparison_reports.tester(command.user, variant)
        case commands.SetPolicy():
            domain = where.domain(db, command.domain)
            return comparison_reports.policy(
                domain, policies.set_policy(db, domain, command.policy, who)
            )
    raise Invalid("That is no command for here.")


def _retrain(
    db: Database, where: Where, command: commands.RetrainCommand, who: str
) -> CommandResult:
    """Queue a run; the message in the channel follows it to its end
    (`bot/slack/handlers/run_follower.py`)."""
    domain = where.domain(db, command.domain)
    recipe = with_preferences(None, command.preferences)
    run = admin.retrain(db, domain, who, full=command.full, recipe=recipe)
    return CommandResult(run_message.shown(RunSnapshot(run)), "channel", run.id)


def _change_role(
    db: Database,
    team: str,
    command: commands.GrantRole | commands.RevokeRole,
    standing: Standing,
) -> list[Block]:
    person = f"slack:{team}/{command.user}"
    if isinstance(command, commands.GrantRole):
        roles.grant(db, standing, person, command.role)
        return reports.role_granted(command.user, command.role)
    roles.revoke(db, standing, person)
    return reports.role_revoked(command.user)


def show(
    db: Database,
    settings: Settings,
    where: Where,
    command: commands.Command,
    standing: Standing,
) -> list[Block]:
    """What a command that changes nothing shows. Raises Forbidden, NotFound."""
    roles.check(db, standing, command.needs)
    match command:
        case commands.Help():
            return reports.help_text(roles.role_of(db, standing))
        case commands.StatusCommand():
            return reports.status(admin.status(db))
        case commands.ListDomains():
            return reports.domain_list(domains.list_domains(db), where.domain(db, None))
        case commands.ListAdapters():
            domain = where.domain(db, command.domain)
            return reports.adapter_list(domain, registry.list_adapters(db, domain))
        case commands.ShowRoles():
            return reports.role_list(settings.slack, granted.list_grants(db), standing)
        case commands.ListRuns():
            domain_or_none = domains.get(db, command.domain) if command.domain else None
            return reports.run_list(runs.recent(db, domain_or_none, limit=reports.MOST_RUNS))
        case commands.PlanRetrain():
            domain = where.domain(db, command.domain)
            recipe = with_preferences(None, command.preferences)
            planned = retrain_plan.plan(db, settings, domain, full=command.full, overrides=recipe)
            return reports.planned(planned)
        case commands.ShowComparison():
            return _results(db, experiments.latest(db, where.domain(db, command.domain)))
        case commands.ListDecisions():
            experiment = experiments.latest(db, where.domain(db, command.domain))
            return comparison_reports.decisions(
                experiment, decisions.list_decisions(db, experiment.id)
            )
        case commands.ExplainDecision():
            explained = explain(decisions.get(db, command.decision))
            experiment = experiments.get(db, explained.decision.experiment_id)
            return comparison_reports.explained(experiment, explained)
        case commands.ShowPolicy():
            domain = where.domain(db, command.domain)
            return comparison_reports.policy(domain, policies.policy_of(db, domain.id))
    raise Invalid("That is no command for here.")


CHANGES = (
    commands.RetrainCommand,
    commands.CancelRun,
    commands.StartComparison,
    commands.RampComparison,
    commands.PutTester,
    commands.StopComparison,
    commands.SetPolicy,
    commands.Promote,
    commands.Retire,
    commands.RollBack,
    commands.Forget,
    commands.GrantRole,
    commands.RevokeRole,
)


def changes_something(command: commands.Command) -> bool:
    """Whether it is a deed: it changes something, so it has to survive a crash."""
    return isinstance(command, CHANGES)


def _results(db: Database, experiment: experiments.Experiment) -> list[Block]:
    ending = "" if experiment.state == "running" else comparisons.ending(db, experiment)
    return comparison_reports.comparison(experiment, stats.compute_results(db, experiment), ending)
