"""`understudy ab`: compare adapters, system prompts and sampling on live traffic."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from bot.cli.context import App, Group, json_option, pass_app, print_json, print_table
from data import domains
from data.domains import Domain
from data.experiments import assignments, decisions, design, experiments, testers, variants
from data.experiments.design import ExperimentDesign, guardrails
from data.experiments.experiments import Experiment
from data.experiments.metrics import METRICS, RATING, check_guardrail, guardable, signed
from data.feedback import raters
from data.people import consent
from data.store.errors import Invalid

HEADERS = ("", "what", "people", "who rated", "liked", "answers", "failed", "up", "down")
EFFECT = click.FloatRange(0, 1, min_open=True, max_open=True)
PERCENT = click.FloatRange(1, 99)  # below one, somebody meant a fraction


@click.group(cls=Group)
def ab() -> None:
    """Compare adapters, system prompts and sampling on live traffic."""


@ab.command()
@click.argument("domain")
@click.argument("sides", nargs=-1, required=True, metavar="A B [C]...")
@click.option(
    "--split", type=PERCENT, metavar="PERCENT", help="How many of the people get a candidate."
)
@click.option("--prompt", "prompts", multiple=True, metavar="B=FILE", help="B's own system prompt.")
@click.option(
    "--sampling",
    multiple=True,
    metavar="B=NAME=VALUE",
    help="B's own setting: temperature, top_p, max_tokens, presence_penalty, frequency_penalty.",
)
@click.option(
    "--pairwise",
    type=PERCENT,
    metavar="PERCENT",
    help="How many of the questions get two blinded answers to choose from.",
)
@click.option(
    "--adaptive",
    type=PERCENT,
    metavar="PERCENT",
    help="Let shares follow the results; no side gets fewer of the people than this.",
)
@click.option("--fresh", is_flag=True, help="Without those the last comparison gave a candidate.")
@click.option(
    "--minimum-effect",
    type=EFFECT,
    default=ExperimentDesign.minimum_effect,
    show_default=True,
    help="The least difference in ratings (0..1) that is worth having.",
)
@click.option(
    "--expected-people",
    type=click.IntRange(min=10),
    default=ExperimentDesign.expected_people,
    show_default=True,
    help="How many people will have rated: the interval is tightest about there.",
)
@click.option(
    "--guardrail",
    "bounds",
    multiple=True,
    metavar="NAME=BOUND",
    help="How much worse a candidate may be, such as failed=0.05, latency=0.5 (of the time) or "
    "correction=none: " + ", ".join(guardable()) + ".",
)
@pass_app
def start(
    app: App,
    domain: str,
    sides: tuple[str, ...],
    split: float | None,
    prompts: tuple[str, ...],
    sampling: tuple[str, ...],
    pairwise: float | None,
    adaptive: float | None,
    fresh: bool,
    minimum_effect: float,
    expected_people: int,
    bounds: tuple[str, ...],
) -> None:
    """Compare A (the control) with B, or more: versions such as 2 or helpdesk@2, `live`, `base`.

    Everyone stays on one side for as long as it runs. By default every side gets as many people.
    """
    from bot.experiments import comparisons

    plan = comparisons.ExperimentPlan(
        share=split / 100 if split else None,
        prompts=_prompts(prompts),
        sampling=_sampling(sampling),
        pairwise=(pairwise or 0.0) / 100,
        adaptive=(adaptive or 0.0) / 100,
        fresh=fresh,
        terms=ExperimentDesign(
            minimum_effect=minimum_effect,
            expected_people=expected_people,
            guardrails=guardrails(_bounds(bounds)),
        ),
    )
    with app.store.write() as db:
        begun = comparisons.begin(db, domains.get(db, domain), sides, app.actor, plan)
    shown = " with ".join(v.described for v in begun.variants)
    click.echo(
        f"Experiment {begun.id} compares {shown}. Watch it: `understudy ab status {domain}`."
    )


@ab.command()
@click.argument("domain", required=False)
@json_option
@pass_app
def status(app: App, domain: str | None, as_json: bool) -> None:
    """The comparison that is running in DOMAIN, or the last one."""
    from bot.experiments import comparisons, stats

    db = app.store.db
    experiment = experiments.latest(db, _domain(app, domain))
    results = stats.compute_results(db, experiment)
    if as_json:
        return print_json({"experiment": experiments.public(experiment), "results": results})
    click.echo(_head(experiment))
    print_table(HEADERS, _lines(experiment, results), "")
    ended = experiment.state != "running"
    if ended:
        click.echo(comparisons.ending(db, experiment))
    _print_intervals(results)
    click.echo("\n".join([*([] if ended else [results.sentence]), *results.details]))
    odd = raters.quarantined_in(db, experiment)
    if any(odd.values()):
        click.echo("Quarantined: " + ", ".join(f"{n} on {label}" for label, n in odd.items()))
    if chosen := testers.list_testers(db, experiment):
        click.echo("Testers, who are not counted: " + ", ".join(chosen))
    return None


@ab.command()
@click.argument("domain")
@click.argument("percent", type=click.FloatRange(0, 100, min_open=True, max_open=True))
@pass_app
def ramp(app: App, domain: str, percent: float) -> None:
    """Give PERCENT of the people a candidate from now on. A share only grows, and whoever has been
    answered stays where they are."""
    from bot.experiments import comparisons

    with app.store.write() as db:
        after = comparisons.ramp(db, domains.get(db, domain), percent / 100, app.actor)
    shares = ", ".join(f"{v.label} {v.share:.0%}" for v in after.variants)
    click.echo(f"Stage {after.stage} of experiment {after.id}: {shares} of the new people.")


@ab.command()
@click.argument("domain")
@click.argument("person")
@click.argument("label")
@pass_app
def tester(app: App, domain: str, person: str, label: str) -> None:
    """Let PERSON (such as slack:T1/U2) be answered by variant LABEL (A, B, ...) in the running
    comparison. They are in no statistic of it from then on."""
    from bot.experiments import comparisons

    with app.store.write() as db:
        running = comparisons.current(db, domains.get(db, domain))
        variant = testers.put(db, running, person, label, app.actor)
    click.echo(f"{person} is answered by {variant.label} ({variant.described}), and not counted.")


@ab.command("where")
@click.argument("domain")
@click.argument("person")
@pass_app
def where(app: App, domain: str, person: str) -> None:
    """Say which side PERSON (such as slack:T1/U2) is on."""
    from bot.experiments import comparisons

    db = app.store.db
    running = comparisons.current(db, domains.get(db, domain))
    place = assignments.place(db, running, consent.check(person))
    if place is None:
        click.echo(f"{person} is in no comparison: held out, or left out for an earlier one.")
        return
    how = "for good" if place.settled else "from their first question on"
    click.echo(f"{person} is on {place.variant.label} ({place.variant.described}), {how}.")


@ab.command("decisions")
@click.argument("domain", required=False)
@json_option
@pass_app
def list_decisions(app: App, domain: str | None, as_json: bool) -> None:
    """What was decided about the comparison of DOMAIN that runs, or the last one."""
    db = app.store.db
    experiment = experiments.latest(db, _domain(app, domain))
    found = decisions.list_decisions(db, experiment.id)
    if as_json:
        return print_json(found)
    click.echo(_head(experiment))
    running = experiment.state == "running"
    return print_table(
        ("decision", "policy", "state", "", "done", "because"),
        [(d.id, d.policy, d.state, d.variant, d.action, d.sentence) for d in found],
        "Nothing has been decided: it holds." if running else "Nothing was decided.",
    )


@ab.command("explain")
@click.argument("decision", type=click.IntRange(min=1))
@json_option
@pass_app
def explain_decision(app: App, decision: int, as_json: bool) -> None:
    """Work a DECISION out anew from the numbers it was made with, and show that it comes to the
    same. Exit code 1 when it does not."""
    from bot.experiments.explain import explain

    explained = explain(decisions.get(app.store.db, decision))
    if as_json:
        print_json(explained)
    else:
        _print_explained(app, explained)
    if explained.differing:
        raise SystemExit(1)


@ab.command()
@click.argument("domain")
@pass_app
def stop(app: App, domain: str) -> None:
    """End the comparison; everyone gets the live adapter again."""
    from bot.experiments import comparisons

    with app.store.write() as db:
        ended = comparisons.stop(db, domains.get(db, domain), app.actor)
    click.echo(f"Experiment {ended.id} has ended. Its results: `understudy ab status {domain}`.")


def _print_intervals(results: Any) -> None:
    """The state of each candidate, with the interval that decides it."""
    for found in results.comparisons:
        line, rating = f"{found.label}: {found.state}", found.differences.get(RATING)
        if rating:
            low, high = signed(rating.low), signed(rating.high)
            line += f", {signed(rating.estimate)} points ({low} to {high})"
        click.echo(line)


def _print_explained(app: App, explained: Any) -> None:
    made = explained.decision
    experiment = experiments.get(app.store.db, made.experiment_id)
    click.echo(
        f"Decision {made.id} about experiment {experiment.id} of {experiment.domain}, under the "
        f"policy {made.policy}: {made.action} ({made.state})."
    )
    click.echo(f"Then: {made.sentence}")
    print_table(HEADERS, _lines(experiment, explained.results), "")
    _print_intervals(explained.results)
    click.echo("\n".join(_agreed(design.from_json(made.terms))))
    click.echo(f"Worked out anew: {explained.again.action}. {explained.again.sentence}")
    if explained.differing:
        click.echo("It does NOT come to the same; what differs: " + ", ".join(explained.differing))
        click.echo(
            "Either what was stored has been changed, or another version of Understudy decided, "
            "which worked it out otherwise: see CHANGELOG.md."
        )
    else:
        click.echo("It comes to the same, in every number.")


def _agreed(agreed: ExperimentDesign) -> tuple[str, ...]:
    """The terms that a comparison was begun with, a line each."""
    bounds = ", ".join(
        f"{name} {METRICS[name].allowed(bound)}" for name, bound in agreed.guardrails.items()
    )
    return (
        "Agreed on at the start:",
        f"  Of equal sides, one is called better or worse at most {100 * agreed.alpha:g}% of the "
        "time.",
        f"  A difference of {100 * agreed.minimum_effect:g} points is worth having; about "
        f"{agreed.expected_people:,} people are expected to rate, {agreed.least_people} of each "
        "side at least.",
        f"  Guardrails, how much worse a candidate may be: {bounds or 'none'}; a sound one is "
        f"called broken at most {100 * agreed.guardrail_alpha:g}% of the time.",
        f"  A sound split of the people is called broken at most {100 * agreed.srm_alpha:g}% of "
        "the time.",
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
            why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            raise Invalid(f"--prompt {text}: the file cannot be read: {why}.") from None
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
            raise Invalid(f"--guardrail {text}: say NAME=BOUND, such as failed=0.05.") from None
    return found
