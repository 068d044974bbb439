"""What `/understudy` and the buttons of the bot's messages do.

A button's value is a command, so both go the same way: parsed, the role checked (again, at the
click), carried out in one transaction, and answered.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from sqlite_utils import Database

from bot import admin, stats
from bot.slack import blocks, commands, people, reports
from bot.slack.accept import person, place_of
from bot.slack.blocks import Block
from bot.slack.desk import Desk
from bot.slack.stream import Place
from data import domains, experiments, questions, runs
from data.clock import now_us
from data.domains import Domain
from data.errors import Invalid, UnderstudyError

Ack = Callable[..., Awaitable[Any]]
THINKING = "One moment, I am thinking…"


@dataclass(frozen=True)
class Caller:
    """Who gave a command, and where."""

    place: Place
    response_url: str

    @property
    def person(self) -> str:
        return person(self.place.team, self.place.user)


async def commanded(desk: Desk, ack: Ack, body: dict[str, Any]) -> None:
    """`/understudy …`: refused at once where it can be, else acknowledged and carried out."""
    caller = Caller(place_of(body), str(body.get("response_url") or ""))
    try:
        command = commands.parse(str(body.get("text") or ""))
        people.check(desk.service.settings.slack, caller.place.user, command)
        if isinstance(command, commands.AskPrivately):
            await _ask(desk, caller, command)
    except UnderstudyError as error:
        await ack(response_type="ephemeral", text=blocks.sentence(str(error)))
        return
    if isinstance(command, commands.AskPrivately):
        await ack(response_type="ephemeral", text=THINKING)
        desk.queue.wake()
        return
    await ack()
    desk.tasks.start(_obey(desk, caller, command), f"command {type(command).__name__}")


async def pressed(desk: Desk, ack: Ack, body: dict[str, Any]) -> None:
    """A button whose value is a command. What it did is said in the message's thread."""
    await ack()
    caller = Caller(place_of(body), str(body.get("response_url") or ""))
    value = str(body["actions"][0].get("value") or "")
    desk.tasks.start(_press(desk, caller, value), "button")


async def _press(desk: Desk, caller: Caller, value: str) -> None:
    async with desk.telling(caller.place):
        command = commands.parse(value)
        people.check(desk.service.settings.slack, caller.place.user, command)
        said = await _carry_out(desk, caller, command)
        by = blocks.context(f"by <@{caller.place.user}>")
        await desk.post(caller.place.channel, [*said, by], caller.place.thread_ts)


async def _obey(desk: Desk, caller: Caller, command: commands.Command) -> None:
    async with desk.telling(caller.place, caller.response_url):
        if isinstance(command, commands.Retrain):
            said = await _retrain(desk, caller, command)
        else:
            said = await _carry_out(desk, caller, command)
        if said:
            await desk.respond(caller.place, caller.response_url, said)


async def _carry_out(desk: Desk, caller: Caller, command: commands.Command) -> list[Block]:
    """One command, in one transaction."""
    store = desk.service.store
    match command:
        case commands.Help():
            return reports.help_text(people.role_of(desk.service.settings.slack, caller.place.user))
        case commands.Status():
            return reports.status(await store.read(admin.status))
        case commands.ListRuns():
            return await store.read(lambda db: _list_runs(db, command.domain))
        case commands.ShowComparison():
            return await store.read(lambda db: _show(db, _domain(db, caller, command.domain)))
        case (
            commands.StartComparison()
            | commands.StopComparison()
            | commands.Promote()
            | commands.RollBack()
            | commands.CancelRun()
        ):
            return await store.submit(lambda db: _change(db, caller, command))
    raise Invalid("That is no command for here.")


def _change(db: Database, caller: Caller, command: commands.Command) -> list[Block]:
    """The commands that change what answers."""
    who = caller.person
    match command:
        case commands.Promote():
            domain = _domain(db, caller, command.domain)
            return reports.promoted(admin.promote(db, domain, command.version, who))
        case commands.RollBack():
            domain = _domain(db, caller, command.domain)
            return reports.rolled_back(domain, admin.roll_back(db, domain, who))
        case commands.StartComparison():
            domain = _domain(db, caller, command.domain)
            begun = admin.start_comparison(
                db, domain, command.a, command.b, who, share=command.share
            )
            return [blocks.section(f":scales: {reports.comparison_line(begun)}.")]
        case commands.StopComparison():
            domain = _domain(db, caller, command.domain)
            ended = admin.stop_comparison(db, domain, who)
            return _results(db, ended)
        case commands.CancelRun():
            run = runs.cancel(db, command.run_id, who)
            word = "is cancelled" if not run.open else "stops within a few seconds"
            return [blocks.section(f":no_entry_sign: Run {run.id} of {run.domain} {word}.")]
    raise Invalid("That changes nothing.")


async def _retrain(desk: Desk, caller: Caller, command: commands.Retrain) -> list[Block]:
    """Queue a run, and post the message that follows it to its end (see `follow.py`)."""

    def queue(db: Database) -> runs.Run:
        domain = _domain(db, caller, command.domain)
        return admin.retrain(db, domain, caller.person, full=command.full)

    store = desk.service.store
    run = await store.submit(queue)
    content = blocks.run_message(run, None, None)
    posted = await desk.post(caller.place.channel, content) or await desk.post(
        caller.place.user,  # we are not in that channel: follow the run in a direct message
        content,
    )
    if posted is None:
        return [blocks.section(f"Run {run.id} is queued. `/understudy runs` shows how it goes.")]
    channel, ts = posted
    await store.submit(lambda db: runs.watch(db, run.id, caller.place.team, channel, ts))
    if channel == caller.place.channel:
        return []
    return [blocks.section(f"Run {run.id} is queued; I follow it in our direct messages.")]


async def _ask(desk: Desk, caller: Caller, command: commands.AskPrivately) -> None:
    """Queue a question whose answer only the asker sees: a conversation of one turn."""
    place = caller.place
    name = f"ask/{place.user}/{now_us()}"
    await desk.service.store.submit(
        lambda db: questions.add(
            db,
            team=place.team,
            channel=place.channel,
            ts=name,
            thread_ts=name,
            user=place.user,
            text=command.question,
            response_url=caller.response_url,
        )
    )


def _domain(db: Database, caller: Caller, name: str | None) -> Domain:
    """The domain that is named, else the channel's own."""
    if name is not None:
        return domains.get(db, name)
    return domains.of_channel(db, caller.place.team, caller.place.channel)


def _list_runs(db: Database, name: str | None) -> list[Block]:
    domain = domains.get(db, name) if name is not None else None
    return reports.run_list(runs.recent(db, domain, limit=reports.MOST_RUNS))


def _show(db: Database, domain: Domain) -> list[Block]:
    return _results(db, experiments.latest(db, domain))


def _results(db: Database, experiment: experiments.Experiment) -> list[Block]:
    return reports.comparison(experiment, stats.look(db, experiment))
