"""Commands about lineage: what an adapter learned from, and where a pair went."""

from dataclasses import dataclass

from bot.commands import commands
from bot.commands.perform import Context, Result, perform
from data.adapters import registry
from data.privacy import lineage
from data.store.errors import Invalid


@dataclass(frozen=True)
class LineageShown(Result):
    lines: tuple[str, ...]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


@perform.register
def _adapter(command: commands.ShowAdapterLineage, context: Context) -> LineageShown:
    domain = context.domain(command.domain) if "@" not in command.version else None
    live = registry.live(context.db, domain.id) if domain and command.version == "live" else None
    if command.version in ("base", "live") and live is None:
        raise Invalid("The bare base model has learned nothing here. Name a version, such as 3.")
    adapter = live or registry.get(context.db, command.version, domain)
    return LineageShown(tuple(lineage.of_adapter(context.db, adapter.id).sentences))


@perform.register
def _pair(command: commands.ShowPairLineage, context: Context) -> LineageShown:
    return LineageShown(tuple(lineage.of_pair(context.db, command.pair).sentences))
