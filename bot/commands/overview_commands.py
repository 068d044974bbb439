"""Commands that give an overview: help, status, domains; and the daily review digest."""

from dataclasses import dataclass

from bot.commands import admin, commands, registry, roles
from bot.commands.admin import DomainStatus, ServiceStatus
from bot.commands.perform import Context, Result, perform
from data import domains
from data.domains import Domain
from data.feedback.feedback_summary import RatingCounts
from data.pairs.review_queue import Waiting
from data.people.roles import Role


@dataclass(frozen=True)
class HelpText(Result):
    role: Role  # whose commands are listed

    @property
    def text(self) -> str:
        return "\n".join(f"{verb.usage}: {verb.help}" for verb in registry.listed(self.role))


@perform.register
def _help(command: commands.Help, context: Context) -> HelpText:
    return HelpText(roles.role_of(context.db, context.requester))


@dataclass(frozen=True)
class StatusReport(Result):
    status: ServiceStatus

    @property
    def text(self) -> str:
        lines = [_line(domain) for domain in self.status.domains]
        lines += [f"engine {r.name}: {r.condition}" for r in self.status.replicas]
        return "\n".join([*lines, *(alert.text for alert in self.status.alerts)])


def _line(found: DomainStatus) -> str:
    live = found.live.name if found.live else "the base model"
    run = f"; run {found.run.id}: {found.run.phase}" if found.run and found.run.open else ""
    compared = f"; {found.results.sentence}" if found.results else ""
    return f"{found.domain.name}: {live} answers{run}{compared}"


@perform.register
def _status(command: commands.StatusCommand, context: Context) -> StatusReport:
    return StatusReport(admin.status(context.db))


@dataclass(frozen=True)
class DomainList(Result):
    domains: tuple[Domain, ...]
    here: str  # the name of the one that answers in this place

    @property
    def text(self) -> str:
        return "\n".join(
            f"{d.name}: {d.title}{' (answers here)' if d.name == self.here else ''}"
            for d in self.domains
        )


@perform.register
def _domains(command: commands.ListDomains, context: Context) -> DomainList:
    found = domains.list_domains(context.db)
    return DomainList(tuple(found), context.domain(None).name)


@dataclass(frozen=True)
class ReviewDigest(Result):
    """The pairs that wait for review, and the last day's reviews and ratings. No command returns
    it."""

    waiting: tuple[Waiting, ...]
    decided: dict[str, int]  # status -> pairs
    ratings: RatingCounts
    unanswered: int = 0  # questions that the bot declined and nobody has answered

    @property
    def text(self) -> str:
        lines = [f"{w.title}: {w.pending} pairs to review" for w in self.waiting]
        if self.unanswered:
            lines.append(f"unanswered questions: {self.unanswered}")
        return "\n".join(lines)
