"""The demo for a person: answers side by side, the scores, and what to try next."""

import asyncio
import time
from collections.abc import Sequence

import aiohttp
from rich import box
from rich.table import Table
from rich.text import Text

from bot.cli.context import as_records
from bot.commands import scores
from bot.demo.client import Client
from bot.demo.stage import EXAMPLE, DemoStage, key
from data.adapters.registry import Adapter
from data.pairs import datasets
from data.store.errors import UnderstudyError

KNOWN = "What is an adapter?"
QUESTIONS = 5
SIDE_BY_SIDE = 60  # characters of a terminal from which on answers stand side by side


async def quoted(stage: DemoStage) -> float:
    """Ask a question before anything is trained; returns the seconds since the demo began when its
    answer, the nearest approved one, was there. Raises UnderstudyError when none comes."""
    async with aiohttp.ClientSession() as session:
        client = Client(session, stage.address, key(stage, "demo", "member"))
        await client.wait_until_listening(60)
        answer = await client.ask(stage.domain.name, KNOWN)
    if not answer.sources:
        raise UnderstudyError(f"“{KNOWN}” was not answered from the pairs: “{answer.text}”.")
    seconds = time.monotonic() - stage.began
    stage.console.print(
        f"[green]✓[/green] {seconds:.0f} s, nothing is trained yet: “{KNOWN}” -> “{answer.text}” "
        f"({answer.outcome}; source: {answer.sources[0]})",
        highlight=False,
    )
    return seconds


async def side_by_side(stage: DemoStage, adapter: Adapter) -> None:
    """Ask the bare base and the adapter a few held-out questions, over HTTP."""
    async with aiohttp.ClientSession() as session:
        client = Client(session, stage.address, key(stage, "demo", "member"))
        await client.wait_until_healthy(60)
        asked = held_out(stage, adapter)
        models = (f"{stage.domain.name}@base", adapter.name)
        answers = await asyncio.gather(
            *(
                client.ask(model, question, f"reader-{number}")
                for number, question in enumerate(asked)
                for model in models
            )
        )
    texts = iter([answer.text for answer in answers])
    lines = [(question, next(texts), next(texts)) for question in asked]
    headers = ("question (not in the training data)", "bare base", adapter.name)
    stage.console.print(answers_table(headers, lines, stage.console.width))
    stage.console.print(f"[b]{adapter.name}[/b]: {scores.sentence(adapter)}")


def answers_table(
    headers: Sequence[str], lines: Sequence[Sequence[str]], width: int
) -> Table | Text:
    """The answers side by side, or one below the other where `width` characters are too few."""
    if width < SIDE_BY_SIDE:
        return Text(as_records(headers, lines))
    table = Table(box=box.ROUNDED, show_lines=True)
    for header in headers:
        table.add_column(header, overflow="fold", ratio=1)
    for line in lines:
        table.add_row(*map(Text, line))
    return table


def held_out(stage: DemoStage, adapter: Adapter) -> list[str]:
    """A few questions, evenly spread over the adapter's golden set."""
    if adapter.dataset_id is None:
        return []
    golden = datasets.pairs_of(stage.store.db, adapter.dataset_id, "golden")
    step = max(1, len(golden) // QUESTIONS)
    return [pair.prompt for pair in golden[::step][:QUESTIONS]]


def what_to_try(stage: DemoStage) -> None:
    """Print the address, and a first command for each front end."""
    understudy = f".venv/bin/understudy --config {stage.settings.home}/understudy.toml"
    domain = stage.domain.name
    secret = key(stage, "demo", "member")
    stage.console.print(
        f"""
The bot runs at [b]{stage.address}[/b] until you press Ctrl-C. Things to try:

  in a browser     {stage.address}   (rate an answer down and suggest a better one)
  in a terminal    {understudy} chat
  with curl        curl {stage.address}/v1/chat/completions \\
                     -H 'Authorization: Bearer {secret}' -H 'Content-Type: application/json' \\
                     -d '{{"model": "{domain}", "messages": [{{"role": "user",
                          "content": "What is a pair?"}}]}}'
  review feedback  {understudy} pairs review {domain}
  retrain          {understudy} tune {domain}
  add more pairs   {understudy} pairs import {domain} {EXAMPLE}/advanced.jsonl
  in Slack         {understudy} slack manifest, then see "Connect Slack" in the README
""",
        soft_wrap=True,
        highlight=False,
    )
