"""`understudy triggers`: when a domain retrains by itself, and what becomes of the result."""

import click

from bot.cli import terminal
from bot.cli.context import App, Group, json_option, pass_app, print_json
from bot.cli.verbs import registered
from data import domains
from data.store.clock import now_us
from data.triggers import rules
from data.triggers.rules import NAMES, SETTINGS


@click.group(cls=Group)
def triggers() -> None:
    """Show and set when a domain retrains by itself."""


@registered(triggers, "triggers show")
@click.argument("domain")
@json_option
@pass_app
def show(app: App, domain: str, as_json: bool) -> None:
    """Nothing is queued: this is a dry run. For each trigger that is set, it says what is still
    missing, or when it is next due; then, what would be trained now, or what holds it back.
    """
    from bot.commands.trigger_commands import TriggersShown
    from data.triggers import due

    subject = domains.get(app.store.db, domain)
    found = due.plan(app.store.db, app.settings, subject, now_us())
    if as_json:
        return print_json(due.as_json(found))
    return terminal.echo(TriggersShown(found).text)


@registered(triggers, "triggers set")
@click.argument("domain")
@click.argument("setting", type=click.Choice(NAMES))
@click.argument("value", nargs=-1, required=True)
@pass_app
def set_(app: App, domain: str, setting: str, value: tuple[str, ...]) -> None:
    from bot.commands.trigger_commands import TriggerSet

    with app.store.write() as db:
        changed = rules.change(db, domains.get(db, domain), {setting: " ".join(value)}, app.actor)
    terminal.echo(TriggerSet(domain, setting, rules.shown(changed).get(setting, "off")).text)


set_.help = f"{set_.help}\n\n" + "\n\n".join(
    f"{setting.name}: {setting.help.replace('`', '')}." for setting in SETTINGS
)
