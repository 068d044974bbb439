"""`understudy search DOMAIN QUESTION`: the approved pairs that bear on a question, best first."""

from typing import TYPE_CHECKING

import click

from bot.cli import terminal
from bot.cli.context import App, json_option, pass_app, print_json, print_table
from data import domains

if TYPE_CHECKING:
    from data.search.search import PairSearch


@click.command()
@click.argument("domain")
@click.argument("question")
@click.option(
    "--after",
    multiple=True,
    metavar="QUESTION",
    help="A question asked before in the same conversation. Can be given several times, oldest "
    "first.",
)
@click.option(
    "--limit",
    type=click.IntRange(1, 50),
    default=4,
    show_default=True,
    help="Show at most this many pairs.",
)
@click.option(
    "--no-wait", is_flag=True, help="Do not wait until the encoder has read every new pair."
)
@json_option
@pass_app
def search(
    app: App,
    domain: str,
    question: str,
    after: tuple[str, ...],
    limit: int,
    no_wait: bool,
    as_json: bool,
) -> None:
    """Show the approved pairs of DOMAIN that bear on QUESTION, best first.

    These are the pairs that an answer rests on. Golden questions are never found.
    """
    from data.conversations.conversations import Message
    from data.search.search import PairSearch

    subject = domains.get(app.store.db, domain)
    pairs = PairSearch(app.store, app.settings.search)
    if not no_wait:
        read_new_pairs(pairs, subject, as_json)
    earlier = [Message("user", text) for text in after]
    found = pairs.find(subject, question, earlier, limit=limit)
    if as_json:
        return print_json(found)
    lines = [
        (r.pair_id, f"{r.similarity:.2f}", f"{r.score:.2f}", r.prompt, r.response)
        for r in found.references
    ]
    print_table(
        ("pair", "similarity", "score", "prompt", "response"),
        lines,
        f"No approved pair of {subject.name} bears on this question.",
    )
    if found.confidence is not None:
        terminal.echo(f"The first pair answers with a confidence of {found.confidence:.0%}.")
    how = "words" if found.method == "words" else "meaning"
    return terminal.echo(f"Searched by {how} ([search] encoder = {app.settings.search.encoder!r}).")


def read_new_pairs(pairs: "PairSearch", subject: domains.Domain, quiet: bool) -> None:
    """Wait for the encoder. If it cannot be used, words are searched, and the reason is logged."""
    from rich.progress import Progress

    from data.search.encoder import EncoderFailed

    with Progress(transient=True, disable=quiet) as bar:
        task = bar.add_task("Reading new pairs", total=None)
        try:
            pairs.complete(subject, lambda done: bar.advance(task, done))
        except EncoderFailed:
            return
