"""Commands about tuning runs: list, retrain, dry run, cancel."""

from dataclasses import dataclass

from bot.commands import admin, commands, retrain_plan
from bot.commands.perform import Context, Result, perform
from bot.commands.retrain_plan import RetrainPlan
from data import domains
from data.runs import runs
from data.runs.methods import with_preferences
from data.runs.runs import Run

LISTED = 10


@dataclass(frozen=True)
class RunList(Result):
    runs: tuple[Run, ...]  # the newest first

    @property
    def text(self) -> str:
        lines = [f"run {r.id} of {r.domain}: {r.error or r.phase}" for r in self.runs]
        return "\n".join(lines) or "No runs yet."


@perform.register
def _list(command: commands.ListRuns, context: Context) -> RunList:
    domain = domains.get(context.db, command.domain) if command.domain else None
    return RunList(tuple(runs.recent(context.db, domain, limit=LISTED)))


@dataclass(frozen=True)
class RetrainPlanned(Result):
    plan: RetrainPlan

    @property
    def text(self) -> str:
        return "\n".join(retrain_plan.describe(self.plan))


@perform.register
def _plan(command: commands.PlanRetrain, context: Context) -> RetrainPlanned:
    domain = context.domain(command.domain)
    recipe = with_preferences(None, command.preferences)
    return RetrainPlanned(
        retrain_plan.plan(context.db, context.settings, domain, full=command.full, overrides=recipe)
    )


@dataclass(frozen=True)
class RunQueued(Result):
    public = True
    queued: Run

    @property
    def text(self) -> str:
        return f"Run {self.queued.id} of {self.queued.domain} is queued."

    @property
    def run(self) -> Run:
        return self.queued


@perform.register
def _retrain(command: commands.RetrainCommand, context: Context) -> RunQueued:
    domain = context.domain(command.domain)
    recipe = with_preferences(None, command.preferences)
    return RunQueued(
        admin.retrain(context.db, domain, context.person, full=command.full, recipe=recipe)
    )


@dataclass(frozen=True)
class RunCancelled(Result):
    cancelled: Run

    @property
    def text(self) -> str:
        state = "being stopped" if self.cancelled.open else "cancelled"
        return f"Run {self.cancelled.id} is {state}."


@perform.register
def _cancel(command: commands.CancelRun, context: Context) -> RunCancelled:
    return RunCancelled(runs.cancel(context.db, command.run_id, context.person))
