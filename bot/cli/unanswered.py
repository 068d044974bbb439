"""`understudy unanswered`: the questions that the bot declined."""

from typing import TYPE_CHECKING

import click

from bot.cli import terminal
from bot.cli.context import App, Group, json_option, pass_app, print_json, print_table
from bot.cli.verbs import registered
from data import domains
from data.store.clock import iso
from data.store.errors import Invalid

if TYPE_CHECKING:
    from bot.answering.unanswered_groups import UnansweredGroup
    from data.search.search import PairSearch

SHOWN = 60  # characters of a question or draft in the table


@click.group(cls=Group)
def unanswered() -> None:
    """Answer the questions that the bot declined."""


@registered(unanswered, "unanswered")
@click.argument("domain", required=False)
@json_option
@pass_app
def list_(app: App, domain: str | None, as_json: bool) -> None:
    """The open questions of DOMAIN come in groups of the same meaning, those that most people asked
    first. The draft is the nearest approved answer.
    """
    from bot.answering import unanswered_groups

    subject = domains.get(app.store.db, domain) if domain else domains.default(app.store.db)
    found = unanswered_groups.list_groups(app.store, _search(app), subject)
    if as_json:
        return print_json([_as_json(group) for group in found])
    return print_table(
        ("id", "people", "times", "wants a person", "question", "draft"),
        [_line(group) for group in found],
        f"{subject.name} has no unanswered questions.",
    )


@unanswered.command()
@click.argument("domain")
@click.argument("id_", metavar="ID")
@click.argument("answer", required=False)
@click.option("--draft", is_flag=True, help="Use the draft as the answer.")
@click.option("--question", default="", help="Better words for the question.")
@pass_app
def answer(app: App, domain: str, id_: str, answer: str | None, draft: bool, question: str) -> None:
    """Answer the question ID of DOMAIN: it becomes an approved pair and counts at once."""
    from bot.answering import unanswered_groups

    if (answer is None) == (not draft):
        raise Invalid("Give either an answer or --draft.")
    search, subject = _search(app), domains.get(app.store.db, domain)
    if answer is None:
        group = unanswered_groups.find(app.store, search, subject, id_)
        if group.draft is None:
            raise Invalid("There is no draft: the domain has no approved pairs.")
        answer = group.draft.response
    pair = unanswered_groups.answer(app.store, search, subject, id_, answer, app.actor, question)
    terminal.echo(f"Pair {pair.id} answers “{pair.prompt}” from the next question on.")


@unanswered.command()
@click.argument("domain")
@click.argument("id_", metavar="ID")
@pass_app
def dismiss(app: App, domain: str, id_: str) -> None:
    """Take the question ID of DOMAIN off the list without an answer."""
    from bot.answering import unanswered_groups

    subject = domains.get(app.store.db, domain)
    count = unanswered_groups.dismiss(app.store, _search(app), subject, id_, app.actor)
    terminal.echo(f"Dismissed {count} question{'' if count == 1 else 's'}.")


def _search(app: App) -> "PairSearch":
    from data.search.search import PairSearch

    return PairSearch(app.store, app.settings.search)


def _line(group: "UnansweredGroup") -> tuple[object, ...]:
    draft = "" if group.draft is None else _short(group.draft.response)
    wants = group.want_person or ""
    times = len(group.questions)
    return group.id, group.people, times, wants, _short(group.question), draft


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= SHOWN else f"{line[: SHOWN - 1]}…"


def _as_json(group: "UnansweredGroup") -> dict[str, object]:
    return {
        "id": group.id,
        "question": group.question,
        "people": group.people,
        "times": len(group.questions),
        "want_person": group.want_person,
        "last_at": iso(group.last_at),
        "draft": None if group.draft is None else group.draft.response,
    }
