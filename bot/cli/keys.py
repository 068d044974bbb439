"""`understudy keys`: API keys."""

import click

from bot.cli import terminal
from bot.cli.context import App, Group, json_option, pass_app, print_json, print_table
from data.people import keys as store
from data.people.keys import KEY_PEOPLE, KeyPeople
from data.people.roles import ROLES, Role
from data.store.clock import iso


@click.group(cls=Group)
def keys() -> None:
    """Create, list, mark and revoke API keys."""


people_option = click.option(
    "--people",
    type=click.Choice(KEY_PEOPLE),
    default="unverified",
    show_default=True,
    help="Whom the key stands for. Comparisons decide by verified people: a key of `one` person, "
    "or the `user` names of a key that signs its people in and is `vouched` for.",
)


@keys.command()
@click.argument("name")
@click.option(
    "--role",
    type=click.Choice(ROLES),
    default="member",
    show_default=True,
    help="A member asks and rates, a reviewer also reviews pairs, an admin may do everything.",
)
@people_option
@json_option
@pass_app
def create(app: App, name: str, role: Role, people: KeyPeople, as_json: bool) -> None:
    """Create a key for NAME. It is shown only once; the store keeps only its digest."""
    with app.store.write() as db:
        key, secret = store.create(db, name, role, app.actor, people)
    if as_json:
        shown = {"id": key.id, "name": key.name, "role": key.role, "people": key.people}
        return print_json(shown | {"key": secret})
    terminal.echo(f"Key {key.id} for {key.name} ({key.role}), shown only once:", err=True)
    return terminal.echo(secret)


@keys.command("list")
@json_option
@pass_app
def list_(app: App, as_json: bool) -> None:
    """List all keys by their first characters."""
    found = store.list_keys(app.store.db)
    if as_json:
        return print_json(found)
    lines = [
        (
            k.id,
            k.name,
            k.role,
            k.people,
            f"{k.prefix}…",
            iso(k.created_at),
            f"revoked {iso(k.revoked_at)}" if k.revoked_at else "",
        )
        for k in found
    ]
    headers = ("id", "name", "role", "people", "prefix", "created", "")
    empty = "There are no keys yet. Create one with `understudy keys create NAME`."
    return print_table(headers, lines, empty)


@keys.command()
@click.argument("key_id", type=int, metavar="ID")
@click.argument("people", type=click.Choice(KEY_PEOPLE))
@pass_app
def mark(app: App, key_id: int, people: KeyPeople) -> None:
    """Mark whom the key ID stands for.

    \b
    one         the key belongs to one person
    vouched     its owner signs people in and gives each of them one `user` name
    unverified  anybody may stand behind its `user` names

    The mark applies at once, also to the comparisons that are running."""
    with app.store.write() as db:
        key = store.set_people(db, key_id, people, app.actor)
    terminal.echo(f"Key {key.id} of {key.name}: {MEANING[key.people]}")


MEANING: dict[KeyPeople, str] = {
    "one": "it is one person, who counts in comparisons.",
    "vouched": "its `user` names are verified people, who count in comparisons.",
    "unverified": "its people are not verified; comparisons decide without them.",
}


@keys.command()
@click.argument("key_id", type=int, metavar="ID")
@pass_app
def revoke(app: App, key_id: int) -> None:
    """Revoke a key, starting with the next request."""
    with app.store.write() as db:
        key = store.revoke(db, key_id, app.actor)
    terminal.echo(f"Key {key.id} of {key.name} is revoked.")
