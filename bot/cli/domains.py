"""`understudy domains`: the subjects, their words to the model, their Slack channels."""

import click

from bot.cli.context import App, Group, json_option, pass_app, print_json, print_table
from data import domains as store
from data.experiments import policies
from data.experiments.policies import POLICIES
from data.pairs import pairs as pair_store
from data.store import audit
from data.store.errors import Invalid


@click.group(cls=Group)
def domains() -> None:
    """The subjects that are answered on."""


@domains.command("list")
@json_option
@pass_app
def list_(app: App, as_json: bool) -> None:
    """All domains."""
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
        "No domain yet: `understudy domains add NAME`.",
    )


@domains.command()
@click.argument("name")
@click.option("--title", default="", help="For people; the name by default.")
@click.option("--system-prompt", default="", help="What the model is told before every question.")
@click.option(
    "--validation-share",
    type=click.FloatRange(0, 0.5),
    default=0.1,
    show_default=True,
    help="Share of the facts that is kept out of training to measure on, from 50 facts on.",
)
@click.option(
    "--suggest",
    "suggested",
    multiple=True,
    metavar="QUESTION",
    help="Shown on the web page and in Slack to whoever begins. May be given several times.",
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
    click.echo(f"Added {domain.name}. Teach it: `understudy pairs import {domain.name} FILE`.")


@domains.command()
@click.argument("name")
@pass_app
def default(app: App, name: str) -> None:
    """Let NAME answer where nothing says otherwise."""
    with app.store.write() as db:
        store.make_default(db, store.get(db, name))
        audit.record(db, app.actor, "domain default", name)
    click.echo(f"{name} is the default now.")


@domains.command()
@click.argument("name")
@click.argument("text")
@pass_app
def prompt(app: App, name: str, text: str) -> None:
    """Set the system prompt of NAME to TEXT, from the next message on."""
    with app.store.write() as db:
        store.set_system_prompt(db, store.get(db, name), text)
        audit.record(db, app.actor, "domain prompt", name)
    click.echo(
        f"The system prompt of {name} is set. Adapters trained with another one answer best "
        f"after a retrain: `understudy tune {name} --full`."
    )


@domains.command()
@click.argument("name")
@click.argument("questions", nargs=-1, metavar="[QUESTION]...")
@click.option("--none", is_flag=True, help="Suggest nothing any more.")
@pass_app
def suggest(app: App, name: str, questions: tuple[str, ...], none: bool) -> None:
    """Suggest each QUESTION to whoever begins, on the web page and in Slack, instead of those
    before; show them without any."""
    if questions and none:
        raise Invalid("Give either questions or --none.")
    if questions or none:
        with app.store.write() as db:
            store.set_suggested_prompts(db, store.get(db, name), questions)
            audit.record(db, app.actor, "domain suggest", name, count=len(questions))
    suggested = store.get(app.store.db, name).suggested_prompts
    click.echo("\n".join(suggested) or f"{name} suggests nothing.")


@domains.command()
@click.argument("name")
@click.argument("team")
@click.argument("channel")
@pass_app
def bind(app: App, name: str, team: str, channel: str) -> None:
    """Let NAME answer in a Slack CHANNEL (C…) of the workspace TEAM (T…)."""
    with app.store.write() as db:
        store.bind_channel(db, store.get(db, name), team, channel)
        audit.record(db, app.actor, "domain bind", name, channel=f"{team}/{channel}")
    click.echo(f"{name} answers in {team}/{channel} now.")


@domains.command()
@click.argument("team")
@click.argument("channel")
@pass_app
def unbind(app: App, team: str, channel: str) -> None:
    """Give a Slack channel back to the default domain."""
    with app.store.write() as db:
        bound = store.unbind_channel(db, team, channel)
        if bound:
            audit.record(db, app.actor, "domain unbind", f"{team}/{channel}")
    click.echo("Done." if bound else "That channel was not bound; nothing changed.")


@domains.command()
@click.argument("name")
@click.argument("policy", required=False, type=click.Choice(POLICIES))
@pass_app
def policy(app: App, name: str, policy: str | None) -> None:
    """Say what may be decided about NAME's comparisons without a person; show it without POLICY.

    auto-promote makes a candidate that is better the live one, auto-roll-back ends a comparison
    whose candidate is worse, auto does both, advise neither.
    """
    if policy is None:
        rules = policies.policy_of(app.store.db, store.get(app.store.db, name).id)
        return click.echo(f"{name}: {rules.policy}, {rules.holdout:.0%} of the people held out")
    with app.store.write() as db:
        policies.set_policy(db, store.get(db, name), policy, app.actor)
    return click.echo(f"The policy of {name} is {policy} now.")


@domains.command()
@click.argument("name")
@click.argument("percent", type=click.FloatRange(0, 50))
@pass_app
def holdout(app: App, name: str, percent: float) -> None:
    """Keep PERCENT of the people on the live adapter, out of every comparison of NAME.

    They are always the same people; a larger holdout only adds some.
    """
    with app.store.write() as db:
        policies.set_holdout(db, store.get(db, name), percent / 100, app.actor)
    click.echo(f"{percent:g}% of the people are held out of the comparisons of {name}.")
