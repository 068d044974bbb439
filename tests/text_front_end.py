"""A front end in a hundred lines: commands are lines of standard input, answers are plain text.

It shows what a front end needs from `bot/commands`, and imports nothing of `bot/slack`. A line is
`NAME COMMAND`, such as `ada promote 2`; people are named `@ada` in commands.

    python -m tests.text_front_end HOME ADMIN < lines
"""

import asyncio
import re
import sys
from itertools import count
from pathlib import Path

from sqlite_utils import Database

from bot.commands import command_json, executor, grammar
from bot.commands.commands import Help, Menu
from bot.commands.grammar import Dialect
from bot.commands.perform import Context
from bot.commands.registry import Command
from bot.commands.requester import Requester
from data import command_queue
from data.command_queue import DeliveryAddress, QueuedCommand
from data.config.settings import Settings
from data.people.roles import Role
from data.store.clock import now_us
from data.store.db import Store
from data.store.errors import UnderstudyError

NAME = "text"  # of this front end: the team of its queued commands, and the prefix of its people


def person(word: str) -> str | None:
    """`@ada` is the person `text:ada`."""
    match = re.fullmatch(r"@(\w+)", word)
    return f"{NAME}:{match[1]}" if match else None


DIALECT = Dialect(person=person, ask_person="Who? Name the person as in @ada.")


class TextFrontEnd:
    def __init__(self, store: Store, settings: Settings, admin: str) -> None:
        self.store = store
        self.settings = settings
        self.admin = admin
        self._keys = count(now_us())

    def requester(self, user: str) -> Requester:
        """What this front end knows of a person: who the first admin is."""
        role: Role = "admin" if user == self.admin else "member"
        return Requester(f"{NAME}:{user}", role, admins=(f"{NAME}:{self.admin}",))

    async def answer(self, user: str, line: str) -> str:
        """Carry one line out; returns what to print."""
        try:
            command = grammar.parse(line, DIALECT)
            if command.verb.effect == "change":
                return await self._change(user, command)
            return await self._show(user, Help() if isinstance(command, Menu) else command)
        except UnderstudyError as error:
            return str(error)

    async def _show(self, user: str, command: Command) -> str:
        def look(db: Database) -> str:
            context = Context(db, self.settings, self.requester(user))
            return executor.run(context, command).text

        return await self.store.read(look)

    async def _change(self, user: str, command: Command) -> str:
        """Queue the command first: whatever stops this process, it is executed once."""
        key, address = str(next(self._keys)), DeliveryAddress(NAME)

        def enqueue(db: Database) -> int | None:
            return executor.enqueue(db, command, key=key, user=user, address=address)

        command_id = await self.store.submit(enqueue)
        return "" if command_id is None else await self._deliver(command_id)

    async def _deliver(self, command_id: int) -> str:
        async def requester_of(queued: QueuedCommand) -> Requester:
            return self.requester(queued.user)

        queued = await executor.execute_queued(self.store, self.settings, command_id, requester_of)
        if queued is None or queued.state == "told":
            return ""
        await self.store.submit(lambda db: command_queue.mark_delivered(db, command_id))
        return command_json.load_result(queued.result).text

    async def finish(self) -> list[str]:
        """Carry out and deliver what an earlier process left in the queue."""
        found = await self.store.read(lambda db: command_queue.unfinished(db, now_us()))
        return [await self._deliver(q.id) for q in found if q.address.team == NAME]


async def main(home: Path, admin: str) -> None:
    with Store(home / "understudy.db") as store:
        front = TextFrontEnd(store, Settings(home=home), admin)
        for answer in await front.finish():
            _print(answer)
        for line in sys.stdin:
            user, _, text = line.strip().partition(" ")
            _print(await front.answer(user, text))


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
