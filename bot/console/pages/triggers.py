"""When a domain retrains by itself: its triggers, its limits, what would be queued now, and why."""

from typing import Annotated, Any

from fastapi import Depends, Request
from sqlite_utils import Database
from starlette.responses import Response

from bot.console import access, rendering
from bot.console.access import SignedIn
from bot.console.rendering import HOME, ConsoleRouter
from bot.service import Service
from data import domains
from data.store.clock import now_us
from data.triggers import due, rules
from data.triggers.due import TriggerPlan
from data.triggers.rules import FOLLOW_UPS, SETTINGS

router = ConsoleRouter()
PATH = f"{HOME}/domains/{{domain}}/triggers"
OFF = "off"
MOST = 200  # characters of a setting
TITLES = {  # of the settings, for people
    "schedule": "On a schedule",
    "pairs": "After this many approved pairs",
    "ratings": "When ratings fall",
    "topic": "When so many people asked about one topic in vain",
    "base": "When the base model is new",
    "time-zone": "Time zone",
    "quiet-hours": "Quiet hours",
    "cool-down": "Hours between two runs",
    "weekly-runs": "Most runs in seven days",
    "weekly-hours": "Most hours of training in seven days",
    "then": "What becomes of the new version",
}
SWITCHES = ("ratings", "base")
HOLDING = ("time-zone", "quiet-hours", "cool-down", "weekly-runs", "weekly-hours")


@router.get(PATH)
async def show(
    request: Request, domain: str, signed_in: Annotated[SignedIn, Depends(access.reviewer)]
) -> Response:
    service: Service = request.app.state.service
    found = await service.store.read(lambda db: _plan(db, service, domain))
    return await rendering.page(
        request,
        "triggers.html",
        signed_in,
        plan=due.as_json(found),
        texts={s.name: found.settings.get(s.name, "") for s in SETTINGS},
        settings=[s for s in SETTINGS if s.name != "then"],
        titles=TITLES,
        switches=SWITCHES,
        holding=HOLDING,
        follow_ups=FOLLOW_UPS,
    )


@router.post(PATH)
async def change(
    request: Request, domain: str, signed_in: Annotated[SignedIn, Depends(access.admin)]
) -> Response:
    """Change the settings that differ from those that apply now. An empty field removes one."""
    service: Service = request.app.state.service
    entered = await request.form(max_fields=len(SETTINGS) + 1, max_files=0)
    given = {
        s.name: str(entered[s.name]).strip()[:MOST] or OFF for s in SETTINGS if s.name in entered
    }

    def write(db: Database) -> bool:
        applies: dict[str, Any] = _plan(db, service, domain).settings
        changed = {name: text for name, text in given.items() if text != applies.get(name, OFF)}
        if changed:
            rules.change(db, domains.get(db, domain), changed, signed_in.person)
        return bool(changed)

    said = "The triggers are changed." if await service.store.submit(write) else "Nothing changed."
    return rendering.done(request, PATH.format(domain=domain), said)


def _plan(db: Database, service: Service, domain: str) -> TriggerPlan:
    return due.plan(db, service.settings, domains.get(db, domain), now_us())
