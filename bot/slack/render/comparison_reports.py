"""What commands say of comparisons: how one stands, what was decided about it, and by which policy.
Pure functions of what the store and `bot.experiments.stats` return."""

from collections.abc import Sequence

from bot.experiments.explain import Explained
from bot.experiments.stats import Results
from bot.slack.render import admin_forms
from bot.slack.render.blocks import Block, ago, context, escape, mention, section, sentence
from data.domains import Domain
from data.experiments.decisions import Decision
from data.experiments.experiments import Experiment, Variant
from data.experiments.policies import Rules

MOST_DECISIONS, MOST_BUTTONS = 8, 5
POLICY = {  # short: they stand in a menu as well
    "advise": "I say what the numbers say, a person decides",
    "auto-promote": "a better candidate goes live by itself",
    "auto-roll-back": "a worse candidate is taken out by itself",
    "auto": "a better one goes live, a worse one is taken out, by itself",
}


def line(experiment: Experiment) -> str:
    """`Comparing A: helpdesk@2 (80 %) and B: helpdesk@3 (20 %)`."""
    sides = " and ".join(
        f"{v.label}: {escape(v.described)} ({v.share * 100:.0f} %)" for v in experiment.variants
    )
    return f"Comparing {sides}"


def started(experiment: Experiment) -> list[Block]:
    """What people will see of it, and how to go on."""
    said = f":scales: {line(experiment)}. Everybody stays on one side."
    if experiment.pairwise:
        said += f" {experiment.pairwise:.0%} of the questions get both answers to choose from."
    return [section(said), context("`/understudy ab status` shows how it stands")]


def comparison(experiment: Experiment, results: Results, ending: str = "") -> list[Block]:
    """How a comparison stands: counts for each side, and the sentence that sums it up; for one
    that has ended, what it came to (`ending`)."""
    lines = [f"*{experiment.domain}*, comparison {experiment.id}, {_state(experiment)}"]
    if ending:
        lines.append(escape(ending))
    for v, variant in zip(results.variants, experiment.variants, strict=True):
        failed = f", {v.failed} failed" if v.failed else ""
        lines.append(
            f"*{v.label}* {escape(variant.described)}: {v.people} people got {v.replies} answers"
            f"{failed}; {v.raters} of them rated, {v.up} 👍, {v.down} 👎"
        )
    if not ending:
        lines.append(escape(results.sentence))
    began = f"begun {ago(experiment.started_at)} by {mention(experiment.started_by)}"
    details = [context("\n".join(escape(detail) for detail in results.details))]
    return [section("\n".join(lines)), *details, context(began)]


def _state(experiment: Experiment) -> str:
    if experiment.state == "running":
        return "running"
    return f"stopped by {mention(experiment.stopped_by)}" if experiment.stopped_by else "stopped"


def ramped(experiment: Experiment) -> list[Block]:
    """More people get a candidate."""
    said = f":scales: {line(experiment)}, of everybody who asks from now on."
    return [section(said), context("Who was answered before stays on their side.")]


def tester(user: str, variant: Variant) -> list[Block]:
    """Somebody looks at a side."""
    return [
        section(
            f":scales: <@{user}> is answered by {variant.label} ({escape(variant.described)}) from "
            "now on, and is not counted in the comparison."
        )
    ]


def policy(domain: Domain, rules: Rules) -> list[Block]:
    """What may be decided without a person."""
    held = f" {rules.holdout:.0%} of the people are kept out of all." if rules.holdout else ""
    others = ", ".join(f"`{name}`" for name in POLICY if name != rules.policy)
    return [
        section(
            f"Comparisons of *{escape(domain.title)}* have the policy *{rules.policy}*: "
            f"{POLICY[rules.policy]}.{held}"
        ),
        context(f"others are {others}: `/understudy policy NAME {domain.name}`"),
    ]


def decisions(experiment: Experiment, found: Sequence[Decision]) -> list[Block]:
    """What was decided about a comparison, the newest last."""
    head = f"*{experiment.domain}*, comparison {experiment.id}, {_state(experiment)}"
    if not found:
        yet = "has been decided yet: it goes on as it is"
        said = yet if experiment.state == "running" else "was decided about it"
        return [section(f"{head}\nNothing {said}.")]
    shown = [section(f"• {_decision(d)}") for d in found[-MOST_DECISIONS:]]
    rest = len(found) - MOST_DECISIONS
    before = f"{rest} before these: `understudy ab decisions` on a command line"
    more = [context(before)] if rest > 0 else []
    newest = [
        admin_forms.button(f"Explain {d.id}", f"ab explain {d.id}") for d in found[-MOST_BUTTONS:]
    ]
    explain: Block = {"type": "actions", "elements": newest}
    return [section(head), *more, *shown, explain]


def explained(experiment: Experiment, found: Explained) -> list[Block]:
    """A decision, and whether its numbers come to it again."""
    made, rates = found.decision, found.results.variants
    lines = [f"*{experiment.domain}*, comparison {experiment.id}", _decision(made)]
    lines += [
        f"*{v.label}* {v.adapter}: {v.people} people, {v.raters} rated, {v.up} 👍, {v.down} 👎"
        for v in rates
    ]
    lines.append(f"Worked out anew: *{found.again.action}*. {escape(found.again.sentence)}")
    if found.differing:
        parts = ", ".join(found.differing)
        lines.append(f":x: It does not come to the same; what differs: {escape(parts)}.")
    else:
        lines.append(":white_check_mark: It comes to the same, in every number.")
    return [
        section("\n".join(lines)),
        context("`understudy ab explain` on a command line shows the terms as well"),
    ]


def _decision(made: Decision) -> str:
    return (
        f"decision {made.id}, {ago(made.at)}, under the policy {made.policy}: *{made.action}*. "
        f"{sentence(made.sentence)}"
    )
