"""Commands about A/B comparisons: start, ramp, stop, results, decisions, policy."""

from dataclasses import dataclass

from bot.commands import admin, commands
from bot.commands.perform import Context, Result, perform
from bot.experiments import comparisons, stats
from bot.experiments.explain import Explained, explain
from bot.experiments.stats import Results
from data.domains import Domain
from data.experiments import decisions, experiments, policies, testers
from data.experiments.decisions import Decision
from data.experiments.experiments import Experiment
from data.experiments.policies import Rules
from data.feedback import uncounted

PAIRWISE = 0.1  # share of the questions that get both answers, when `--pairwise` is given


@dataclass(frozen=True)
class ComparisonStarted(Result):
    experiment: Experiment

    @property
    def text(self) -> str:
        begun = self.experiment
        compared = " with ".join(v.described for v in begun.variants)
        return (
            f"Experiment {begun.id} compares {compared}. "
            f"To see results: `understudy ab status {begun.domain}`."
        )


@perform.register
def _start(command: commands.StartComparison, context: Context) -> ComparisonStarted:
    domain = context.domain(command.domain)
    pairwise = PAIRWISE if command.pairwise else 0.0
    return ComparisonStarted(
        admin.start_comparison(
            context.db,
            domain,
            command.a,
            command.b,
            context.person,
            command.share,
            pairwise=pairwise,
        )
    )


@dataclass(frozen=True)
class ComparisonRamped(Result):
    experiment: Experiment

    @property
    def text(self) -> str:
        after = self.experiment
        shares = ", ".join(f"{v.label} {v.share:.0%}" for v in after.variants)
        return f"Stage {after.stage} of experiment {after.id}: {shares} of the new people."


@perform.register
def _ramp(command: commands.RampComparison, context: Context) -> ComparisonRamped:
    domain = context.domain(command.domain)
    return ComparisonRamped(comparisons.ramp(context.db, domain, command.share, context.person))


@dataclass(frozen=True)
class TesterAdded(Result):
    person: str
    label: str  # of the variant
    described: str

    @property
    def text(self) -> str:
        return f"{self.person} is now on {self.label} ({self.described}) and is not counted."


@perform.register
def _tester(command: commands.PutTester, context: Context) -> TesterAdded:
    running = comparisons.current(context.db, context.domain(command.domain))
    variant = testers.set_variant(
        context.db, running, command.person, command.label, context.person
    )
    return TesterAdded(command.person, variant.label, variant.described)


@dataclass(frozen=True)
class ComparisonStopped(Result):
    experiment: Experiment
    results: Results

    @property
    def text(self) -> str:
        ended = self.experiment
        results = f"`understudy ab status {ended.domain}`"
        return f"Experiment {ended.id} has ended. To see its results: {results}."


@perform.register
def _stop(command: commands.StopComparison, context: Context) -> ComparisonStopped:
    stopped = admin.stop_comparison(context.db, context.domain(command.domain), context.person)
    return ComparisonStopped(stopped, stats.compute_results(context.db, stopped))


@dataclass(frozen=True)
class ComparisonReport(Result):
    experiment: Experiment
    results: Results
    ending: str  # how it ended; empty while it runs
    not_counted: tuple[str, ...] = ()  # the ratings that do not count, as sentences

    @property
    def text(self) -> str:
        shares = [f"{v.label}: {v.described}, {v.share:.0%}" for v in self.experiment.variants]
        sentence = self.ending or self.results.sentence
        return "\n".join([*shares, sentence, *self.results.details, *self.not_counted])


@perform.register
def _show(command: commands.ShowComparison, context: Context) -> ComparisonReport:
    db = context.db
    experiment = experiments.latest(db, context.domain(command.domain))
    ending = "" if experiment.state == "running" else comparisons.ending(db, experiment)
    left_out = uncounted.uncounted(db, experiment)
    lines = filter(None, (uncounted.heading(left_out), uncounted.advice(experiment, left_out)))
    results = stats.compute_results(db, experiment)
    return ComparisonReport(experiment, results, ending, tuple(lines))


@dataclass(frozen=True)
class DecisionList(Result):
    experiment: Experiment
    decisions: tuple[Decision, ...]  # the newest last

    @property
    def text(self) -> str:
        lines = [f"decision {d.id}: {d.action}. {d.sentence}" for d in self.decisions]
        return "\n".join(lines) or "No decisions."


@perform.register
def _decisions(command: commands.ListDecisions, context: Context) -> DecisionList:
    experiment = experiments.latest(context.db, context.domain(command.domain))
    return DecisionList(experiment, tuple(decisions.list_decisions(context.db, experiment.id)))


@dataclass(frozen=True)
class DecisionExplained(Result):
    experiment: Experiment
    explained: Explained

    @property
    def text(self) -> str:
        differing = ", ".join(self.explained.differing)
        same = f"The result differs in: {differing}." if differing else "The result is the same."
        return f"{self.explained.decision.sentence}\n{same}"


@perform.register
def _explain(command: commands.ExplainDecision, context: Context) -> DecisionExplained:
    explained = explain(decisions.get(context.db, command.decision))
    experiment = experiments.get(context.db, explained.decision.experiment_id)
    return DecisionExplained(experiment, explained)


@dataclass(frozen=True)
class PolicyReport(Result):
    domain: Domain
    rules: Rules

    @property
    def text(self) -> str:
        return f"The policy of {self.domain.name} is {self.rules.policy}."


@perform.register
def _policy(command: commands.ShowPolicy, context: Context) -> PolicyReport:
    domain = context.domain(command.domain)
    return PolicyReport(domain, policies.policy_of(context.db, domain.id))


@perform.register
def _set_policy(command: commands.SetPolicy, context: Context) -> PolicyReport:
    domain = context.domain(command.domain)
    return PolicyReport(
        domain, policies.set_policy(context.db, domain, command.policy, context.person)
    )
