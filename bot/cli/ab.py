"""`understudy ab`: compare adapters, system prompts, sampling and references on live traffic."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from bot.cli import terminal
from bot.cli.context import App, Group, json_option, pass_app, print_json, print_table
from bot.cli.verbs import add_generated, registered
from data import domains
from data.domains import Domain
from data.experiments import assignments, decisions, design, experiments, testers, variants
from data.experiments.counted_people import CHOICES, NOTES, People
from data.experiments.design import MAX_NOVELTY_DAYS, ExperimentDesign, guardrails
from data.experiments.experiments import Experiment
from data.experiments.metrics import METRICS, RATING, check_guardrail, guardable, signed
from data.feedback import raters, uncounted
from data.people import consent
from data.store.errors import Invalid

HEADERS = ("", "variant", "people", "raters", "liked", "answers", "failed", "up", "down")
EFFECT = click.FloatRange(0, 1, min_open=True, max_open=True)
PERCENT = click.FloatRange(1, 99)  # a value below 1 is probably meant as a fraction


@click.group(cls=Group)
def ab() -> None:
    """Compare adapters, system prompts and sampling on live traffic."""


@registered(ab, "ab start")
@click.argument("domain")
@click.argument("names", nargs=-1, required=True, metavar="A B [C]...")
@click.option(
    "--split",
    type=PERCENT,
    metavar="PERCENT",
    help="Share of the people who get a candidate. Default: equal shares for all variants.",
)
@click.option(
    "--prompt",
    "prompts",
    multiple=True,
    metavar="B=FILE",
    help="A system prompt for variant B only, read from FILE.",
)
@click.option(
    "--sampling",
    multiple=True,
    metavar="B=NAME=VALUE",
    help="A sampling setting for variant B only: temperature, top_p, max_tokens, "
    "presence_penalty or frequency_penalty.",
)
@click.option(
    "--pairwise",
    type=PERCENT,
    metavar="PERCENT",
    help="Share of the questions that get two blinded answers to choose from.",
)
@click.option(
    "--adaptive",
    type=PERCENT,
    metavar="PERCENT",
    help="Adapt the shares to the results; each variant keeps at least this share of the people.",
)
@click.option(
    "--fresh", is_flag=True, help="Exclude the people who had a candidate in the last comparison."
)
@click.option(
    "--minimum-effect",
    type=EFFECT,
    default=ExperimentDesign.minimum_effect,
    show_default=True,
    help="The smallest difference in ratings (0 to 1) that matters.",
)
@click.option(
    "--expected-people",
    type=click.IntRange(min=10),
    help="The number of people who will probably rate; the interval is narrow around it. "
    "Default: as many as rated in the last four weeks.",
)
@click.option(
    "--novelty-days",
    type=click.IntRange(0, MAX_NOVELTY_DAYS),
    default=ExperimentDesign.novelty_days,
    show_default=True,
    metavar="DAYS",
    help="How long a variant is new to a person. A policy promotes a candidate only if later "
    "ratings confirm that it is better. 0: later ratings need not.",
)
@click.option(
    "--guardrail",
    "bounds",
    multiple=True,
    metavar="NAME=BOUND",
    help="The largest acceptable deterioration of a metric, such as failed=0.05 (5 points), "
    "latency=0.5 (50% longer) or correction=none (no limit). Metrics: "
    + ", ".join(guardable())
    + ".",
)
@click.option(
    "--people",
    type=click.Choice(CHOICES),
    default="verified",
    show_default=True,
    help="Whose ratings count: those of verified people (`understudy keys mark --help`), or of "
    "anyone. `anyone` is for a deployment that has no verified people, such as an open web page: "
    "what they say is a suggestion, and a policy does not act on it.",
)
@pass_app
def start(
    app: App,
    domain: str,
    names: tuple[str, ...],
    split: float | None,
    prompts: tuple[str, ...],
    sampling: tuple[str, ...],
    pairwise: float | None,
    adaptive: float | None,
    fresh: bool,
    minimum_effect: float,
    expected_people: int | None,
    novelty_days: int,
    bounds: tuple[str, ...],
    people: People,
) -> None:
    """Further candidates may follow B. Name each variant by its adapter: a version such as 2 or
    helpdesk@2, `live`, or `base`. `live:grounded` answers from approved pairs, `live:ungrounded`
    without them; otherwise a variant answers as the domain does. Each person stays on one variant
    as long as the comparison runs.
    """
    from bot.experiments import comparisons

    plan = comparisons.ExperimentPlan(
        share=split / 100 if split else None,
        prompts=_prompts(prompts),
        sampling=_sampling(sampling),
        pairwise=(pairwise or 0.0) / 100,
        adaptive=(adaptive or 0.0) / 100,
        fresh=fresh,
    )
    with app.store.write() as db:
        found = domains.get(db, domain)
        agreed = comparisons.design_for(
            db,
            found,
            expected_people,
            minimum_effect=minimum_effect,
            novelty_days=novelty_days,
            guardrails=guardrails(_bounds(bounds)),
            people=people,
        )
        begun = comparisons.begin(db, found, names, app.actor, replace(plan, design=agreed))
    described = " with ".join(v.described for v in begun.variants)
    terminal.echo(
        f"Experiment {begun.id} compares {described}. "
        f"To see its results: `understudy ab status {domain}`."
    )
    if note := NOTES.get(people):
        terminal.echo(note)


@ab.command("plan")
@click.argument("domain")
@click.option(
    "--split",
    type=PERCENT,
    default=50,
    show_default=True,
    metavar="PERCENT",
    help="Share of the people who get the candidate.",
)
@click.option(
    "--people",
    type=click.Choice(CHOICES),
    default="verified",
    show_default=True,
    help="Whose ratings count.",
)
@json_option
@pass_app
def plan(app: App, domain: str, split: float, people: People, as_json: bool) -> None:
    """Show how many people must rate, and how long it takes at the pace of the last four weeks.

    Nothing is started. The numbers apply to two variants, and if most people rate their answers.
    """
    from bot.experiments.forecast import forecast

    db = app.store.db
    found = forecast(db, domains.get(db, domain), split / 100, people)
    if as_json:
        return print_json(found)
    raters = "1 person" if found.raters == 1 else f"{found.raters:,} people"
    terminal.echo(f"{raters} rated in the last four weeks and would count.")
    lines = [
        (
            f"{100 * line.difference:g} points",
            f"{line.people:,}",
            "never: nobody rates"
            if line.days is None
            else f"{'at least' if line.longer else 'about'} {line.days:,} days",
        )
        for line in found.lines
    ]
    print_table(("difference", "people who must rate", "time"), lines, "")
    if not found.known:
        terminal.echo("Too few have rated to know how ratings vary; these are the largest numbers.")
    return None


@registered(ab, "ab status")
@click.argument("domain", required=False)
@json_option
@pass_app
def status(app: App, domain: str | None, as_json: bool) -> None:
    from bot.experiments import comparisons, stats

    db = app.store.db
    experiment = experiments.latest(db, _domain(app, domain))
    results = stats.compute_results(db, experiment)
    left_out = uncounted.uncounted(db, experiment)
    if as_json:
        shown = {"experiment": experiments.public(experiment), "results": results}
        return print_json(shown | {"not_counted": left_out})
    terminal.echo(_head(experiment))
    print_table(HEADERS, _lines(experiment, results), "")
    ended = experiment.state != "running"
    if ended:
        terminal.echo(comparisons.ending(db, experiment))
    _print_intervals(results)
    terminal.echo("\n".join([*([] if ended else [results.sentence]), *results.details]))
    for line in filter(None, (uncounted.heading(left_out), uncounted.advice(experiment, left_out))):
        terminal.echo(line)
    quarantined = raters.quarantined_in(db, experiment)
    if any(quarantined.values()):
        counts = ", ".join(f"{n} on {label}" for label, n in quarantined.items())
        terminal.echo(f"Quarantined raters: {counts}")
    if found := testers.list_testers(db, experiment):
        terminal.echo("Testers (not counted): " + ", ".join(found))
    return None


@ab.command("where")
@click.argument("domain")
@click.argument("person")
@pass_app
def where(app: App, domain: str, person: str) -> None:
    """Show the variant of PERSON (such as slack:T1/U2)."""
    from bot.experiments import comparisons

    db = app.store.db
    running = comparisons.current(db, domains.get(db, domain))
    assigned = assignments.current_assignment(db, running, consent.check_person(db, person))
    if assigned is None:
        terminal.echo(
            f"{person} is not in the comparison: they are held out, or had a candidate in an "
            "earlier one."
        )
        return
    variant = f"{assigned.variant.label} ({assigned.variant.described})"
    if assigned.settled:
        terminal.echo(f"{person} is on {variant}.")
    else:
        terminal.echo(f"{person} will be on {variant}, starting with their first question.")


@registered(ab, "ab decisions")
@click.argument("domain", required=False)
@json_option
@pass_app
def list_decisions(app: App, domain: str | None, as_json: bool) -> None:
    db = app.store.db
    experiment = experiments.latest(db, _domain(app, domain))
    found = decisions.list_decisions(db, experiment.id)
    if as_json:
        return print_json(found)
    terminal.echo(_head(experiment))
    running = experiment.state == "running"
    return print_table(
        ("decision", "policy", "state", "variant", "action", "reason"),
        [(d.id, d.policy, d.state, d.variant, d.action, d.sentence) for d in found],
        "No decision yet; the comparison continues." if running else "Nothing was decided.",
    )


@registered(ab, "ab explain")
@click.argument("decision", type=click.IntRange(min=1))
@json_option
@pass_app
def explain_decision(app: App, decision: int, as_json: bool) -> None:
    """The exit code is 1 if it is not."""
    from bot.experiments.explain import explain

    explained = explain(decisions.get(app.store.db, decision))
    if as_json:
        print_json(explained)
    else:
        _print_explained(app, explained)
    if explained.differing:
        raise SystemExit(1)


add_generated(ab, "ab")


def _print_intervals(results: Any) -> None:
    """Print the state of each candidate, with the confidence interval behind it."""
    for found in results.comparisons:
        line, rating = f"{found.label}: {found.state}", found.differences.get(RATING)
        if rating:
            low, high = signed(rating.low), signed(rating.high)
            line += f", {signed(rating.estimate)} points ({low} to {high})"
        terminal.echo(line)


def _print_explained(app: App, explained: Any) -> None:
    decision = explained.decision
    experiment = experiments.get(app.store.db, decision.experiment_id)
    terminal.echo(
        f"Decision {decision.id} about experiment {experiment.id} of {experiment.domain}, under "
        f"the policy {decision.policy}: {decision.action} ({decision.state})."
    )
    terminal.echo(f"Stored result: {decision.sentence}")
    print_table(HEADERS, _lines(experiment, explained.results), "")
    _print_intervals(explained.results)
    terminal.echo("\n".join(_design(design.from_json(decision.terms))))
    terminal.echo(f"Recomputed: {explained.again.action}. {explained.again.sentence}")
    if explained.differing:
        terminal.echo(
            "The result is NOT the same. It differs in: " + ", ".join(explained.differing)
        )
        terminal.echo(
            "Either the stored numbers have been changed, or the decision was made by a version "
            "of Understudy that computes it differently: see CHANGELOG.md."
        )
    else:
        terminal.echo("The result is the same in every number.")


COUNTS: dict[People, str] = {
    "verified": "The ratings of verified people count.",
    "anyone": "Everybody's ratings count, those of people who are not verified within limits. A "
    "policy acts only on those of verified people.",
    "everyone": "Everybody's ratings count.",
}


def _design(plan: ExperimentDesign) -> tuple[str, ...]:
    """The design of a comparison, one line for each item."""
    bounds = ", ".join(
        f"{name} {METRICS[name].allowed(bound)}" for name, bound in plan.guardrails.items()
    )
    return (
        "Design, fixed at the start:",
        f"  If the variants are equally good, the chance of a false verdict (better or worse) is "
        f"at most {100 * plan.alpha:g}%.",
        f"  The smallest difference that matters is {100 * plan.minimum_effect:g} points. About "
        f"{plan.expected_people:,} people are expected to rate, and at least {plan.least_people} "
        "must rate each variant.",
        f"  Guardrails (largest acceptable deterioration): {bounds or 'none'}. The chance of a "
        f"false alarm is at most {100 * plan.guardrail_alpha:g}%"
        f"{', all of them together' if plan.version > 1 else ''}.",
        *_checks(plan),
        f"  {COUNTS[plan.people]}",
        f"  The chance of a false alarm about the split of the people is at most "
        f"{100 * plan.srm_alpha:g}%.",
    )


def _checks(plan: ExperimentDesign) -> tuple[str, ...]:
    if not plan.novelty_days:
        return ()
    return (
        f"  A policy promotes a better candidate once ratings confirm it that are cast more than "
        f"{plan.novelty_days} days after a person's first answer.",
    )


def _domain(app: App, name: str | None) -> Domain:
    db = app.store.db
    return domains.get(db, name) if name else domains.default(db)


def _head(experiment: Experiment) -> str:
    by = f" by {experiment.stopped_by}" if experiment.stopped_by else ""
    stage = f", stage {experiment.stage}" if experiment.stage > 1 else ""
    return f"Experiment {experiment.id} of {experiment.domain}, {experiment.state}{by}{stage}"


def _lines(experiment: Experiment, results: Any) -> Iterable[tuple[object, ...]]:
    for variant, v in zip(experiment.variants, results.variants, strict=True):
        liked = "" if v.mean is None else f"{v.mean:.0%}"
        what = variant.described
        yield (v.label, what, v.people, v.raters, liked, v.replies, v.failed, v.up, v.down)


def _prompts(given: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for text in given:
        label, _, name = text.partition("=")
        try:
            found[label.upper()] = Path(name).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            raise Invalid(f"--prompt {text}: the file cannot be read: {reason}.") from None
    return found


def _sampling(given: tuple[str, ...]) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for text in given:
        label, _, setting = text.partition("=")
        name, value = variants.setting(setting)
        found.setdefault(label.upper(), {})[name] = value
    return found


def _bounds(given: tuple[str, ...]) -> dict[str, float | None]:
    found: dict[str, float | None] = {}
    for text in given:
        name, _, bound = text.partition("=")
        try:
            found[check_guardrail(name.replace("-", "_"))] = (
                None if bound == "none" else float(bound)
            )
        except ValueError:
            raise Invalid(f"--guardrail {text}: use NAME=BOUND, such as failed=0.05.") from None
    return found
