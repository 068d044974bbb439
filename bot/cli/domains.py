"""`understudy domains`: domains, their system prompts, Slack channels and policies."""

from typing import TYPE_CHECKING, Literal

import click

from bot.cli import terminal
from bot.cli.context import App, Group, json_option, pass_app, print_json, print_table
from bot.cli.verbs import registered
from data import domains as store
from data.experiments import policies
from data.experiments.policies import POLICIES
from data.pairs import pairs as pair_store
from data.store import audit
from data.store.errors import Invalid

if TYPE_CHECKING:
    from data.search.domain_calibration import CalibrationReport

MODES: dict[str, Literal["", store.AnswerMode]] = {
    "grounded": "grounded",
    "quote": "quote",
    "adapter": "adapter",
    "default": "",
}


@click.group(cls=Group)
def domains() -> None:
    """Manage domains, the topics the bot answers."""


@registered(domains, "domains")
@json_option
@pass_app
def list_(app: App, as_json: bool) -> None:
    found = store.list_domains(app.store.db)
    if as_json:
        return print_json(found)
    lines = [
        (
            d.name,
            "default" if d.is_default else "",
            d.title,
            pair_store.counts(app.store.db, d)["approved"],
        )
        for d in found
    ]
    return print_table(
        ("name", "", "title", "approved pairs"),
        lines,
        "There are no domains yet. Add one with `understudy domains add NAME`.",
    )


@domains.command()
@click.argument("name")
@click.option("--title", default="", help="The title shown to people. Default: the name.")
@click.option("--system-prompt", default="", help="The system prompt, sent with every question.")
@click.option(
    "--validation-share",
    type=click.FloatRange(0, 0.5),
    default=0.1,
    show_default=True,
    help="Share of the facts kept out of training for validation, in domains with 50 facts or "
    "more.",
)
@click.option(
    "--suggest",
    "suggested",
    multiple=True,
    metavar="QUESTION",
    help="A suggested first question, shown in the web chat and in Slack.",
)
@pass_app
def add(
    app: App,
    name: str,
    title: str,
    system_prompt: str,
    validation_share: float,
    suggested: tuple[str, ...],
) -> None:
    """Add a domain. The first one is the default."""
    with app.store.write() as db:
        domain = store.create(db, name, title, system_prompt, suggested, validation_share)
        audit.record(db, app.actor, "domain add", name)
    terminal.echo(
        f"Added {domain.name}. To add training pairs: `understudy pairs import {domain.name} FILE`."
    )


@domains.command()
@click.argument("name")
@pass_app
def default(app: App, name: str) -> None:
    """Make NAME the default domain, which answers when no domain is named."""
    with app.store.write() as db:
        store.make_default(db, store.get(db, name))
        audit.record(db, app.actor, "domain default", name)
    terminal.echo(f"{name} is now the default domain.")


@domains.command()
@click.argument("name")
@click.argument("text")
@pass_app
def prompt(app: App, name: str, text: str) -> None:
    """Set the system prompt of NAME to TEXT, starting with the next message."""
    with app.store.write() as db:
        store.set_system_prompt(db, store.get(db, name), text)
        audit.record(db, app.actor, "domain prompt", name)
    terminal.echo(
        f"The system prompt of {name} is set. Adapters trained with the previous one answer best "
        f"after a retrain: `understudy tune {name} --full`."
    )


@domains.command()
@click.argument("name")
@click.argument("questions", nargs=-1, metavar="[QUESTION]...")
@click.option("--none", is_flag=True, help="Remove all suggested questions.")
@pass_app
def suggest(app: App, name: str, questions: tuple[str, ...], none: bool) -> None:
    """Replace the suggested first questions of NAME; without QUESTION, show them.

    They appear in the web chat and in Slack.
    """
    if questions and none:
        raise Invalid("Give either questions or --none.")
    if questions or none:
        with app.store.write() as db:
            store.set_suggested_prompts(db, store.get(db, name), questions)
            audit.record(db, app.actor, "domain suggest", name, count=len(questions))
    suggested = store.get(app.store.db, name).suggested_prompts
    terminal.echo("\n".join(suggested) or f"{name} has no suggested questions.")


@domains.command()
@click.argument("name")
@click.argument("text", required=False)
@click.option("--default", "reset", is_flag=True, help="Use the usual sentence again.")
@pass_app
def refusal(app: App, name: str, text: str | None, reset: bool) -> None:
    """Set what NAME says when it has no answer; without TEXT, show it."""
    if text is not None and reset:
        raise Invalid("Give either a text or --default.")
    if text is not None or reset:
        with app.store.write() as db:
            store.set_refusal(db, store.get(db, name), text or "")
            audit.record(db, app.actor, "domain refusal", name)
    terminal.echo(store.get(app.store.db, name).refusal_text)


@domains.command()
@click.argument("name")
@click.option(
    "--mode",
    type=click.Choice(("grounded", "quote", "adapter", "default")),
    help="Override `[answers] mode`; default removes the override.",
)
@click.option(
    "--decline-below",
    type=click.FloatRange(0, 1),
    help="Override `[answers] decline_below`: a similarity.",
)
@click.option("--default-threshold", is_flag=True, help="Use `[answers] decline_below` again.")
@pass_app
def answers(
    app: App, name: str, mode: str | None, decline_below: float | None, default_threshold: bool
) -> None:
    """Set where the answers of NAME come from; without options, show it."""
    from data.search import domain_calibration
    from data.search.search import PairSearch

    if decline_below is not None and default_threshold:
        raise Invalid("Give either --decline-below or --default-threshold.")
    if mode or decline_below is not None or default_threshold:
        with app.store.write() as db:
            domain = store.get(db, name)
            if mode:
                store.set_answer_mode(db, domain, MODES[mode])
            if decline_below is not None or default_threshold:
                store.set_decline_below(db, domain, decline_below)
            audit.record(db, app.actor, "domain answers", name)
    domain = store.get(app.store.db, name)
    settings = app.settings.answers
    terminal.echo(f"mode: {domain.answer_mode or settings.mode}")
    least = settings.decline_below if domain.decline_below is None else domain.decline_below
    known = least or domain.decline_below is not None
    terminal.echo(f"decline below: {f'{least:g}' if known else 'the default of the search'}")
    own = domain_calibration.in_use(app.store.db, domain)
    if own is not None and not known:
        terminal.echo(
            f"answer from: a confidence of {own.answer_from:.2f} (90% interval {own.low:.2f} to "
            f"{own.high:.2f}, {own.questions} golden questions)"
        )
        search = PairSearch(app.store, app.settings.search)
        if not_used := domain_calibration.why_not_used(app.store.db, domain, search):
            terminal.echo(not_used)


@domains.command()
@click.argument("name")
@click.option("--reset", is_flag=True, help="Use the shipped threshold again.")
@click.option("--dry-run", is_flag=True, help="Only show what it would be.")
@json_option
@pass_app
def calibrate(app: App, name: str, reset: bool, dry_run: bool, as_json: bool) -> None:
    """Measure from which confidence on NAME answers, on its golden questions.

    Each golden question is searched as it is, which a pair answers, and without the pairs of its
    fact, which none answers. Off-topic questions are searched, too. With fewer than 100 golden
    questions, the threshold stays near the shipped one. Each new adapter is calibrated
    when it is evaluated, also by its own answers if it reads references; what was measured last
    counts.
    """
    from bot.cli.search import read_new_pairs
    from data.search import domain_calibration
    from data.search.search import PairSearch

    domain = store.get(app.store.db, name)
    if reset:
        with app.store.write() as db:
            domain_calibration.remove(db, domain)
            audit.record(db, app.actor, "domain calibrate", f"{name}: reset")
        return terminal.echo(f"{name} answers from the shipped confidence on.")
    search = PairSearch(app.store, app.settings.search)
    read_new_pairs(search, domain, as_json)
    found = domain_calibration.measure(app.store.db, domain, search)
    if found is None:
        raise Invalid(
            f"{name} cannot be calibrated: it takes the shipped encoder, pairs in English and at "
            f"least {domain_calibration.FEWEST} golden questions."
        )
    if not dry_run:
        with app.store.write() as db:
            domain_calibration.save(db, domain, found.calibration)
            audit.record(db, app.actor, "domain calibrate", name)
    return print_json(found) if as_json else _show_calibration(found)


def _show_calibration(found: "CalibrationReport") -> None:
    made = found.calibration
    terminal.echo(
        f"Answers from a confidence of {made.answer_from:.0%} on (90% interval {made.low:.0%} to "
        f"{made.high:.0%}, {made.questions} golden questions). The shipped threshold is "
        f"{found.shipped_from:.0%}."
    )
    kinds = (("golden", found.golden), ("no pair answers", found.unanswerable))
    print_table(
        ("questions", "threshold", "right", "declined", "wrong"),
        [
            (kind, which, some.right, some.declined, some.wrong)
            for kind, both in kinds
            for which, some in zip(("shipped", "its own"), both, strict=True)
        ],
        "",
    )


@domains.command()
@click.argument("name")
@click.argument("people", required=False)
@click.option("--none", "nobody", is_flag=True, help="Tell nobody; the question is only listed.")
@pass_app
def people(app: App, name: str, people: str | None, nobody: bool) -> None:
    """Set who gets questions that NAME cannot answer; without PEOPLE, show it.

    PEOPLE is a Slack channel (T…/C…) or a person (slack:T…/U…). They get a question when its asker
    presses "Ask a person" in Slack.
    """
    if people and nobody:
        raise Invalid("Give either a channel or person, or --none.")
    if people or nobody:
        with app.store.write() as db:
            store.set_people(db, store.get(db, name), people or "")
            audit.record(db, app.actor, "domain people", name)
    terminal.echo(store.get(app.store.db, name).people or f"{name} passes questions on to nobody.")


@domains.command()
@click.argument("name")
@click.argument("team")
@click.argument("channel")
@pass_app
def bind(app: App, name: str, team: str, channel: str) -> None:
    """Make NAME answer in the Slack CHANNEL (C…) of the workspace TEAM (T…)."""
    with app.store.write() as db:
        store.bind_channel(db, store.get(db, name), team, channel)
        audit.record(db, app.actor, "domain bind", name, channel=f"{team}/{channel}")
    terminal.echo(f"{name} now answers in {team}/{channel}.")


@domains.command()
@click.argument("team")
@click.argument("channel")
@pass_app
def unbind(app: App, team: str, channel: str) -> None:
    """Make the default domain answer in a Slack channel again."""
    with app.store.write() as db:
        bound = store.unbind_channel(db, team, channel)
        if bound:
            audit.record(db, app.actor, "domain unbind", f"{team}/{channel}")
    terminal.echo("Done." if bound else "The channel was not bound to a domain; nothing changed.")


@registered(domains, "policy set")
@click.argument("name")
@click.argument("policy", required=False, type=click.Choice(POLICIES))
@pass_app
def policy(app: App, name: str, policy: str | None) -> None:
    """Without POLICY, show the policy of the domain NAME.

    auto-promote makes a better candidate live, auto-roll-back ends a comparison whose candidate is
    worse, auto does both, and advise does neither.
    """
    if policy is None:
        rules = policies.policy_of(app.store.db, store.get(app.store.db, name).id)
        return terminal.echo(f"{name}: {rules.policy}, {rules.holdout:.0%} of the people held out")
    with app.store.write() as db:
        policies.set_policy(db, store.get(db, name), policy, app.actor)
    return terminal.echo(f"The policy of {name} is now {policy}.")


@domains.command()
@click.argument("name")
@click.argument("percent", type=click.FloatRange(0, 50))
@pass_app
def holdout(app: App, name: str, percent: float) -> None:
    """Keep PERCENT of the people out of every comparison of NAME, on the live adapter.

    The holdout always contains the same people; raising PERCENT only adds people.
    """
    with app.store.write() as db:
        policies.set_holdout(db, store.get(db, name), percent / 100, app.actor)
    terminal.echo(f"{percent:g}% of the people are held out of the comparisons of {name}.")
