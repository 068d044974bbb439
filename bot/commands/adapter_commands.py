"""Commands about versions: list, promote, roll back, retire."""

from dataclasses import dataclass

from bot.commands import admin, commands, scores
from bot.commands.perform import Context, Result, perform
from bot.experiments import comparisons
from data.adapters import registry
from data.adapters.registry import Adapter
from data.domains import Domain


@dataclass(frozen=True)
class AdapterList(Result):
    domain: Domain
    adapters: tuple[Adapter, ...]  # the newest first

    @property
    def text(self) -> str:
        lines = [f"{a.name}, {a.state}: {scores.sentence(a)}" for a in self.adapters]
        return "\n".join(lines) or (
            f"{self.domain.name} has no version: people get {comparisons.WITHOUT_ADAPTER}."
        )


@perform.register
def _list(command: commands.ListAdapters, context: Context) -> AdapterList:
    domain = context.domain(command.domain)
    return AdapterList(domain, tuple(registry.list_adapters(context.db, domain)))


@dataclass(frozen=True)
class NeedsConfirmation(Result):
    """Nothing was changed, because the command would do more than what it says."""

    reason: str  # what it would end, as a sentence
    command: str  # as it is typed to confirm it: `rollback helpdesk --yes`

    @property
    def text(self) -> str:
        return f"{self.reason} Nothing was changed. To go on: `{self.command}`."


@dataclass(frozen=True)
class Promoted(Result):
    adapter: str  # its name
    domain: str

    @property
    def text(self) -> str:
        return f"{self.adapter} is live. To undo: `understudy adapters rollback {self.domain}`."


@perform.register
def _promote(command: commands.Promote, context: Context) -> Promoted | NeedsConfirmation:
    domain, confirmed = context.domain(command.domain), command.confirmed
    try:
        promoted = admin.promote(
            context.db, domain, command.version, context.person, confirmed=confirmed
        )
    except admin.Unconfirmed as ends:
        again = f"promote {command.version} {domain.name} --yes"
        return NeedsConfirmation(str(ends), again)
    return Promoted(promoted.name, domain.name)


@dataclass(frozen=True)
class RolledBack(Result):
    domain: str
    adapter: str | None  # that answers now; None: the base model
    undone: str | None  # that answered before

    @property
    def text(self) -> str:
        return f"{self.adapter} answers again." if self.adapter else admin.NONE_LIVE


@perform.register
def _roll_back(command: commands.RollBack, context: Context) -> RolledBack | NeedsConfirmation:
    domain = context.domain(command.domain)
    undone = registry.live(context.db, domain.id)
    try:
        after = admin.roll_back(context.db, domain, context.person, confirmed=command.confirmed)
    except admin.Unconfirmed as ends:
        return NeedsConfirmation(str(ends), f"rollback {domain.name} --yes")
    return RolledBack(domain.name, after.name if after else None, undone.name if undone else None)


@dataclass(frozen=True)
class Retired(Result):
    adapter: str

    @property
    def text(self) -> str:
        return f"{self.adapter} is retired."


@perform.register
def _retire(command: commands.Retire, context: Context) -> Retired:
    adapter = registry.get(context.db, command.version, context.domain(command.domain))
    return Retired(registry.retire(context.db, adapter, context.person).name)
