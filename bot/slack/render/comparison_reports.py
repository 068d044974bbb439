"""Reports about A/B comparisons: status, decisions and policy.

All are pure functions of what the store and `bot.experiments.stats` return."""

from collections.abc import Sequence

from bot.experiments.explain import Explained
from bot.experiments.stats import Results
from bot.slack.render import admin_forms
from bot.slack.render.blocks import Block, ago, context, escape, mention, section, sentence
from data.domains import Domain
from data.experiments.decisions import Decision
from data.experiments.experiments import Experiment
from data.experiments.policies import Rules

MAX_DECISIONS, MAX_BUTTONS = 8, 5
POLICY = {  # short, because a menu shows them too
    "advise": "I report the results, and a person decides",
    "auto-promote": "a better candidate goes live automatically",
    "auto-roll-back": "a worse candidate is rolled back automatically",
    "auto": "better candidates go live, worse ones are rolled back automatically",
}


def line(experiment: Experiment) -> str:
    """`Comparing A: helpdesk@2 (80 %) and B: helpdesk@3 (20 %)`."""
    variants = " and ".join(
        f"{v.label}: {escape(v.described)} ({v.share * 100:.0f} %)" for v in experiment.variants
    )
    return f"Comparing {variants}"


def started(experiment: Experiment) -> list[Block]:
    """A comparison that was just started: who gets what, and how to see the results."""
    text = f":scales: {line(experiment)}. Each person keeps the same variant."
    if experiment.pairwise:
        text += f" For {experiment.pairwise:.0%} of questions, people choose between two answers."
    return [section(text), context("`/understudy ab status` shows the results")]


def comparison(
    experiment: Experiment, results: Results, ending: str = "", not_counted: Sequence[str] = ()
) -> list[Block]:
    """The state of a comparison: counts for each variant and a one-sentence summary. `ending` is
    the outcome of one that has ended, and replaces the summary. `not_counted` says which ratings do
    not count, and why."""
    lines = [f"*{experiment.domain}*, comparison {experiment.id}, {_state(experiment)}"]
    if ending:
        lines.append(escape(ending))
    for v, variant in zip(results.variants, experiment.variants, strict=True):
        failed = f", {v.failed} failed" if v.failed else ""
        lines.append(
            f"*{v.label}* {escape(variant.described)}: {v.people} people, {v.replies} answers"
            f"{failed}; {v.raters} people rated, {v.up} 👍, {v.down} 👎"
        )
    if not ending:
        lines.append(escape(results.sentence))
    start = f"started {ago(experiment.started_at)} by {mention(experiment.started_by)}"
    details = [context("\n".join(escape(d) for d in (*results.details, *not_counted)))]
    return [section("\n".join(lines)), *details, context(start)]


def _state(experiment: Experiment) -> str:
    if experiment.state == "running":
        return "running"
    return f"stopped by {mention(experiment.stopped_by)}" if experiment.stopped_by else "stopped"


def ramped(experiment: Experiment) -> list[Block]:
    """The new split of a comparison whose candidate share was increased."""
    text = f":scales: {line(experiment)}. The new split applies from the next question on."
    return [section(text), context("People who already got an answer keep their variant.")]


def tester(person: str, label: str, described: str) -> list[Block]:
    """A person was assigned to a variant as a tester."""
    return [
        section(
            f":scales: {mention(person)} now gets answers from {label} "
            f"({escape(described)}) and is not counted in the comparison."
        )
    ]


def policy(domain: Domain, rules: Rules) -> list[Block]:
    """What may be decided automatically about comparisons in a domain."""
    held_out = ""
    if rules.holdout:
        held_out = f" {rules.holdout:.0%} of people take part in no comparison."
    others = ", ".join(f"`{name}`" for name in POLICY if name != rules.policy)
    return [
        section(
            f"The comparison policy of *{escape(domain.title)}* is *{rules.policy}*: "
            f"{POLICY[rules.policy]}.{held_out}"
        ),
        context(f"other policies: {others}; `/understudy policy NAME {domain.name}` sets one"),
    ]


def decisions(experiment: Experiment, found: Sequence[Decision]) -> list[Block]:
    """The decisions about a comparison, the newest last."""
    head = f"*{experiment.domain}*, comparison {experiment.id}, {_state(experiment)}"
    if not found:
        running = experiment.state == "running"
        none = "No decision yet; the comparison continues." if running else "No decision was made."
        return [section(f"{head}\n{none}")]
    shown = [section(f"• {_decision(d)}") for d in found[-MAX_DECISIONS:]]
    rest = len(found) - MAX_DECISIONS
    earlier = f"{rest} earlier: `understudy ab decisions` on the command line"
    more = [context(earlier)] if rest > 0 else []
    newest = [
        admin_forms.button(f"Explain {d.id}", f"ab explain {d.id}") for d in found[-MAX_BUTTONS:]
    ]
    explain: Block = {"type": "actions", "elements": newest}
    return [section(head), *more, *shown, explain]


def explained(experiment: Experiment, found: Explained) -> list[Block]:
    """A decision, recalculated from its recorded numbers and compared with the original."""
    made, rates = found.decision, found.results.variants
    lines = [f"*{experiment.domain}*, comparison {experiment.id}", _decision(made)]
    lines += [
        f"*{v.label}* {v.adapter}: {v.people} people, {v.raters} rated, {v.up} 👍, {v.down} 👎"
        for v in rates
    ]
    lines.append(f"Recalculated: *{found.again.action}*. {escape(found.again.sentence)}")
    if found.differing:
        parts = ", ".join(found.differing)
        lines.append(f":x: The recalculated decision differs in: {escape(parts)}.")
    else:
        lines.append(":white_check_mark: The recalculated decision matches in every number.")
    return [
        section("\n".join(lines)),
        context("`understudy ab explain` on the command line also shows the experiment design"),
    ]


def _decision(made: Decision) -> str:
    return (
        f"decision {made.id}, {ago(made.at)}, policy {made.policy}: *{made.action}*. "
        f"{sentence(made.sentence)}"
    )
