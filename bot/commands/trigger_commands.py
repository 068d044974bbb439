"""Commands about triggers: show them, with what would be trained now, and set them."""

from dataclasses import dataclass

from bot.commands import commands
from bot.commands.perform import Context, Result, perform
from data.store.clock import now_us
from data.triggers import due, rules
from data.triggers.due import TriggerPlan


@dataclass(frozen=True)
class TriggersShown(Result):
    plan: TriggerPlan

    @property
    def text(self) -> str:
        settings = [f"{name}: {value}" for name, value in self.plan.settings.items()]
        return "\n".join([*settings, *self.plan.sentences])


@perform.register
def _show(command: commands.ShowTriggers, context: Context) -> TriggersShown:
    domain = context.domain(command.domain)
    return TriggersShown(due.plan(context.db, context.settings, domain, now_us()))


@dataclass(frozen=True)
class TriggerSet(Result):
    domain: str
    setting: str
    value: str

    @property
    def text(self) -> str:
        shown = f"`understudy triggers show {self.domain}`"
        return (
            f"{self.setting} of {self.domain} is now {self.value}. What would happen now: {shown}."
        )


@perform.register
def _set(command: commands.SetTrigger, context: Context) -> TriggerSet:
    domain = context.domain(command.domain)
    changed = rules.change(context.db, domain, {command.setting: command.value}, context.person)
    return TriggerSet(
        domain.name, command.setting, rules.shown(changed).get(command.setting, "off")
    )
