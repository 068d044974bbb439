"""Executes commands: the role check, the transaction, the queue. The same for every front end.

A command that only shows something runs at once (`run`). A command that changes something is put
in the queue before the front end acknowledges it (`enqueue`). It is executed in the transaction
that also stores its result, so a crash leaves it either not executed or completely executed
(`execute_queued`). The front end delivers the stored result, and then marks it as delivered. A
front end whose caller waits for the transaction, such as the command line, needs no queue and runs
such a command at once, too.
"""

import logging
from collections.abc import Awaitable, Callable

from sqlite_utils import Database

from bot.commands import (
    adapter_commands,
    channel_commands,
    command_json,
    commands,
    comparison_commands,
    grammar,
    lineage_commands,
    overview_commands,
    people_commands,
    roles,
    run_commands,
    trigger_commands,
)
from bot.commands.perform import Context, Refused, Result, perform
from bot.commands.registry import Command
from bot.commands.requester import Requester
from data import command_queue
from data.command_queue import Audience, DeliveryAddress, QueuedCommand
from data.config.settings import Settings
from data.privacy import erasure
from data.store.clock import now_us
from data.store.db import Store, sqlite3
from data.store.errors import Conflict, UnderstudyError

__all__ = [
    "adapter_commands",
    "channel_commands",
    "comparison_commands",
    "lineage_commands",
    "overview_commands",
    "people_commands",
    "run_commands",
    "trigger_commands",
]

log = logging.getLogger(__name__)

STALE_S = 3600  # a command that waited longer, because the bot was stopped, is refused
OUR_FAULT = "Something went wrong on our side; it has been logged. Nothing was changed."


def run(context: Context, command: Command) -> Result:
    """Check the role and perform the command in the caller's transaction. Raises an
    UnderstudyError."""
    roles.check(context.db, context.requester, command.needs)
    return perform(command, context)


def enqueue(
    db: Database,
    command: Command,
    *,
    key: str,
    user: str,
    address: DeliveryAddress,
    audience: Audience = "private",
) -> int | None:
    """Queue a command; returns its id, or None when `key` was queued before."""
    stored = command_json.dump_command(command)
    return command_queue.add(
        db, key=key, user=user, command=stored, address=address, audience=audience
    )


async def execute_queued(
    store: Store,
    settings: Settings,
    command_id: int,
    requester_of: Callable[[QueuedCommand], Awaitable[Requester]],
) -> QueuedCommand | None:
    """Execute a queued command, unless that was done before; returns it with its result.

    None: it was deleted. `requester_of` asks the front end about the person who gave it."""
    queued = await store.read(lambda db: command_queue.get(db, command_id))
    if queued is not None and queued.state == "waiting":
        requester = await requester_of(queued)
        await store.submit(lambda db: execute(db, settings, command_id, requester))
        queued = await store.read(lambda db: command_queue.get(db, command_id))
    if queued is not None and queued.state == "done" and _erases(queued):
        await erasure.resume(store, settings.home)  # the transaction only started it
    return queued


def execute(db: Database, settings: Settings, command_id: int, requester: Requester) -> None:
    """Execute a waiting command and store its result, in the caller's transaction."""
    queued = command_queue.get(db, command_id)
    if queued is None or queued.state != "waiting":
        return
    result: Result
    try:
        with db.atomic():
            command = command_json.load_command(queued.command)
            _refuse_stale(queued, command)
            address = queued.address
            context = Context(db, settings, requester, address.team, address.channel)
            result = run(context, command)
    except UnderstudyError as error:
        result = Refused(str(error))
    except sqlite3.Error:
        raise  # a fault of the store: the command is tried again
    except Exception:
        log.exception("Queued command %d failed", command_id)
        result = Refused(OUR_FAULT)
    audience: Audience | None = "channel" if result.public else None
    if isinstance(result, Refused):
        audience = "private"
    run_id = result.run.id if result.run else None
    command_queue.mark_executed(db, command_id, command_json.dump_result(result), audience, run_id)


def _erases(queued: QueuedCommand) -> bool:
    return queued.command.get("command") == commands.Forget.verb.name


def _refuse_stale(queued: QueuedCommand, command: Command) -> None:
    """Nobody expects a command from yesterday to run when the bot starts today."""
    age_s = (now_us() - queued.created_at) / 1_000_000
    if age_s > STALE_S:
        hours = round(age_s / 3600)
        ago = f"{hours} hour{'s' if hours > 1 else ''}" if hours < 48 else f"{hours // 24} days"
        raise Conflict(
            f"`{grammar.spell(command)}` did not run, because the bot was down. You sent it {ago} "
            "ago. Nothing was changed. Send it again if you still want it."
        )
