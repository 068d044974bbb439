"""Commands about a Slack channel: which domain answers there, and which messages."""

from dataclasses import dataclass

from bot.commands import commands
from bot.commands.perform import Context, Result, perform
from data import domains
from data.slack import channels
from data.slack.channels import Listens
from data.store import audit
from data.store.errors import Invalid

LISTENING: dict[Listens, str] = {
    "all": "every question, also without a mention; I stay silent where I have no answer",
    "mentions": "messages that mention me, and the threads that follow",
    "off": "nothing",
}
NO_PLACE = "Type this in the channel that it is about. A direct message has no such setting."


@dataclass(frozen=True)
class ChannelReport(Result):
    domain: str  # its title
    listens: Listens

    @property
    def text(self) -> str:
        return f"In this channel I answer {LISTENING[self.listens]}. The domain is {self.domain}."


@perform.register
def _show(command: commands.ShowChannel, context: Context) -> ChannelReport:
    return _report(context)


@perform.register
def _set_listens(command: commands.SetChannelListens, context: Context) -> ChannelReport:
    team, channel = _place(context)
    channels.set_listens(context.db, team, channel, command.to, context.person)
    audit.record(context.db, context.person, "channel listen", f"{team}/{channel}", to=command.to)
    return _report(context)


@perform.register
def _set_domain(command: commands.SetChannelDomain, context: Context) -> ChannelReport:
    team, channel = _place(context)
    if command.domain is None:
        domains.unbind_channel(context.db, team, channel)
        audit.record(context.db, context.person, "domain unbind", f"{team}/{channel}")
    else:
        domain = domains.get(context.db, command.domain)
        domains.bind_channel(context.db, domain, team, channel)
        where = f"{team}/{channel}"
        audit.record(context.db, context.person, "domain bind", domain.name, channel=where)
    return _report(context)


def _report(context: Context) -> ChannelReport:
    team, channel = _place(context)
    domain = domains.answering(context.db, context.person, team, channel)
    return ChannelReport(domain.title, channels.listens(context.db, team, channel))


def _place(context: Context) -> tuple[str, str]:
    """The workspace and the channel. Raises Invalid for a direct message, or no channel."""
    if not context.channel or context.channel.startswith("D"):
        raise Invalid(NO_PLACE)
    return context.team, context.channel
