"""Who may do anything at all, checked once for every delivery, before a listener sees it.

Guests and people from other organisations may do nothing unless the settings say so: not ask, vote,
correct, teach, or press a button. `refused` decides it for each kind of delivery, so that a new
listener is covered without a check of its own. What is decided later, by the same rules:

- questions: when they are taken from the queue (`bot/slack/handlers/answer.py`), because Slack may
  take longer to say who somebody is than an acknowledgement may take
- `/understudy`: when the command is performed, with the person's role (`bot/commands/roles.py`)
- the Home tab, which tells a refused person why (`bot/slack/handlers/home.py`)

The buttons for one's own data stay open to everyone: people may be refused today and have asked
yesterday.
"""

import contextlib
from collections.abc import Collection
from typing import Any

import orjson
from slack_bolt import BoltResponse

from bot.slack.client.stream import SlackPlace
from bot.slack.payloads import place_of, team_of
from bot.slack.render.blocks import plain
from bot.slack.workspace.context import WorkspaceContext
from bot.slack.workspace.roles import UNKNOWN

QUESTIONS = ("message", "app_mention")
VOTES = ("reaction_added", "reaction_removed")
WITHOUT_A_PERSON = ("app_uninstalled", "tokens_revoked")


async def refused(
    workspace: WorkspaceContext, body: dict[str, Any], for_everyone: Collection[str] = ()
) -> str:
    """Why the person who caused a delivery may not do so; '' if they may. `for_everyone`: the
    action ids of buttons that everybody may press."""
    event = body.get("event") or {}
    if event.get("type") in (*QUESTIONS, *WITHOUT_A_PERSON) or "command" in body:
        return ""
    if event.get("type") == "app_home_opened" and event.get("tab") == "home":
        return ""
    actions = [str(action.get("action_id")) for action in body.get("actions") or ()]
    if actions and all(action in for_everyone for action in actions):
        return ""
    user = event.get("user") or (body.get("user") or {}).get("id") or ""
    return await workspace.roles.refused_to_act(team_of(body), str(user))


def turned_away(workspace: WorkspaceContext, body: dict[str, Any], why: str) -> BoltResponse:
    """The acknowledgement of a refused delivery. The person is told why; not about an event, to
    which nobody expects a reply. Slack is asked to deliver an
    emoji again whose person is unknown for the moment."""
    if body.get("type") == "event_callback":
        again = why == UNKNOWN and body["event"].get("type") in VOTES
        return BoltResponse(status=503 if again else 200, body="")
    view = body.get("view") or {}
    inputs = [b for b in view.get("blocks") or () if b.get("type") == "input"]
    if body.get("type") == "view_submission" and inputs:  # keep the typed text, to be copied
        errors = {inputs[-1]["block_id"]: plain(why)}
        return BoltResponse(status=200, body={"response_action": "errors", "errors": errors})
    place, url = _reply_to(body, view)
    workspace.tasks.start(workspace.tell(place, why, url), "refusal")
    return BoltResponse(status=200, body="")


def _reply_to(body: dict[str, Any], view: dict[str, Any]) -> tuple[SlackPlace, str]:
    """Where to tell the person: for a form that knows where it was opened from, there."""
    place, known = place_of(body), {}
    with contextlib.suppress(orjson.JSONDecodeError):
        known = orjson.loads(view.get("private_metadata") or "{}")
    if not isinstance(known, dict) or not known.get("channel"):
        return place, str(body.get("response_url") or "")
    channel, thread_ts = str(known["channel"]), str(known.get("thread_ts") or "")
    place = SlackPlace(place.team, channel, thread_ts, place.user)
    return place, str(known.get("response_url") or "")
